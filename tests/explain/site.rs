//! A folder to be served.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Longer than what is kept in memory, and sent in three pieces.
pub const LARGE: usize = 600_000;

/// Longer than what is compressed as a whole.
pub const LONG: u64 = 8 * 1024 * 1024 + 1;

fn compressed(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A folder of a test's own; removed when the test ends.
pub struct Site(PathBuf);

impl Site {
    pub fn new() -> Site {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tidemill-explain-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let site = Site(std::env::temp_dir().join(name));
        for folder in ["folder", "indexed"] {
            fs::create_dir_all(site.0.join(folder)).unwrap();
        }
        let lines: String = (0..2000).map(|number| format!("{number}\n")).collect();
        let files: [(&str, &[u8]); 8] = [
            ("small.txt", b"hello\n"),
            ("lines.txt", lines.as_bytes()),
            ("large.bin", &[7; LARGE]),
            ("both.html", b"<p>both"),
            ("both.html.br", b"not really"),
            ("folder/entry", b"x"),
            ("indexed/index.html", b"<p>index"),
            (".hidden", b"x"),
        ];
        for (name, content) in files {
            fs::write(site.0.join(name), content).unwrap();
        }
        fs::File::create(site.0.join("long.txt")).unwrap().set_len(LONG).unwrap();
        fs::write(site.0.join("a b"), b"space").unwrap();
        let picture = compressed(&"<svg/>".repeat(100));
        fs::write(site.0.join("picture.svgz"), &picture).unwrap();
        fs::write(site.0.join("alone.html.gz"), &picture).unwrap();
        fs::File::create(site.0.join("long.html.gz")).unwrap().set_len((8 << 20) + 1).unwrap();
        fs::write(site.0.join("secret"), b"x").unwrap();
        fs::set_permissions(site.0.join("secret"), fs::Permissions::from_mode(0o000)).unwrap();
        site
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}
