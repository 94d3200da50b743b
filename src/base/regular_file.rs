//! Files that settings name and that are read whole: regular ones.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// The content of the regular file at `path`, of at most `bytes_max` bytes. Waits for the disk, and for nobody else.
///
/// # Errors
/// The system's, that it is something else than a regular file, or that it is longer.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    // A pipe would have us wait for whoever writes to it, and could not be read again.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    // O_NONBLOCK: something else may have taken its place by now.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let mut content = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it is larger than {}MiB", bytes_max >> 20)));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    fn said(path: &Path) -> String {
        read(path, 1 << 20).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_waits_for_nobody() {
        let folder = std::env::temp_dir().join(format!("tidemill-{}-regular", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let [pipe, link, file] = ["pipe", "link", "file"].map(|name| folder.join(name));
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        std::os::unix::fs::symlink("pipe", &link).unwrap();
        let refused = [&pipe, &link, &folder, Path::new("/dev/zero")].map(said);
        fs::write(&file, vec![b'a'; 1 << 20]).unwrap();
        let whole = read(&file, 1 << 20).map(|content| content.len());
        fs::write(&file, vec![b'a'; (1 << 20) + 1]).unwrap();
        let too_long = said(&file);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(refused, ["it is no regular file"; 4]);
        assert_eq!((whole.unwrap(), too_long.as_str()), (1 << 20, "it is larger than 1MiB"));
    }
}
