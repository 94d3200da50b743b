//! From a path to what is there, on a job thread: this is where the file system is asked.

use std::io;
use std::sync::Arc;

use super::field_rules::FieldRule;
use super::locate::{Address, PAGE_EXTENSION, Place, locate, locate_file, sibling_extension, unless_exhausted};
use super::representation::{Common, Compressible, Form, FormContent, Forms, Representation};
use super::resolve::Resolved;
use super::tag::{self, Digest, Digests, HASHED_BYTES_MAX, is_settled};
use super::{Site, Store};
use crate::base::disk::{FileMeta, Found, NotServed, OpenFile, Root};
use crate::http::fields::{CACHE_CONTROL, FieldName, FieldValue, has_directive};
use crate::http::media_type::{coding_of_name, is_compressible};
use crate::http::negotiate::Coding;
use crate::service::coding::forbids_transforms;

/// Files up to this many bytes are read when they are looked up, and leave with their head in one write.
pub const IN_MEMORY_BYTES_MAX: u64 = 64 * 1024;

/// What is asked of the file system.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// A resolved path; `None` for one that is not shown, which is answered like one that does not exist.
    pub path: Option<Vec<u8>>,
    /// The request's path ended in a slash.
    pub names_directory: bool,
    /// The time of the request, in seconds since 1970.
    pub now_secs: u64,
    /// What was there the last time. If it still is, that is the answer.
    pub known: Option<Arc<Representation>>,
}

impl Wanted {
    /// What a request wants.
    pub fn new(resolved: &Resolved<'_>, now_secs: u64, known: Option<Arc<Representation>>) -> Wanted {
        let path = Some(resolved.path().to_vec());
        Wanted { path, names_directory: resolved.names_directory(), now_secs, known }
    }

    /// Something that is not shown.
    pub fn nothing(now_secs: u64) -> Wanted {
        Wanted { path: None, names_directory: false, now_secs, known: None }
    }
}

/// What is there.
#[derive(Debug, Clone)]
pub enum Looked {
    /// A file, or a directory's index file.
    File(Arc<Representation>),
    /// It has another address.
    Redirect(Address),
    /// A directory without an index file, whose entries may be listed.
    Directory,
    /// Nothing; with the page that the site has for this.
    Missing(Option<Arc<Representation>>),
    /// Something that this process may not read.
    Forbidden,
    /// No descriptor or memory was left to look; what exactly is for the log.
    Busy(&'static str),
    /// The file system failed; the cause is for the log.
    Failed(Arc<str>),
}

/// Looks for what is wanted. May block for as long as a disk takes.
pub fn look_up(store: &Store, wanted: &Wanted) -> Looked {
    let looked = store.site.root.open().and_then(|root| {
        let look = Look { store, root, wanted };
        look.found().or_else(|not_served| match not_served {
            NotServed::NotFound | NotServed::NotAFile => Ok(look.missing()),
            other => Err(other),
        })
    });
    looked.unwrap_or_else(|not_served| match not_served {
        NotServed::NotFound | NotServed::NotAFile => Looked::Missing(None),
        NotServed::Forbidden => Looked::Forbidden,
        NotServed::Exhausted(what) => Looked::Busy(what),
        NotServed::Failed(error) => Looked::Failed(error.to_string().into()),
    })
}

/// One look, from its beginning to its end at what the root was when it began.
struct Look<'a> {
    store: &'a Store,
    root: Root,
    wanted: &'a Wanted,
}

impl Look<'_> {
    fn found(&self) -> Result<Looked, NotServed> {
        let path = self.wanted.path.as_deref().ok_or(NotServed::NotFound)?;
        let place = match &self.store.site.only {
            Some(name) => self.only_file(name, path)?,
            None => locate(&self.store.site, &self.root, path, self.wanted.names_directory)?,
        };
        match place {
            Place::File(path, file) => self.representation(&path, file, false).map(Looked::File),
            Place::Directory => Ok(Looked::Directory),
            Place::Elsewhere(address) => Ok(Looked::Redirect(address)),
        }
    }

    /// A site of one file has nothing else, whatever lies next to it, and no further address for it.
    fn only_file(&self, name: &[u8], path: &[u8]) -> Result<Place, NotServed> {
        let is_meant = path.is_empty() || (path == name && !self.wanted.names_directory);
        if is_meant { locate_file(&self.store.site, &self.root, name) } else { Err(NotServed::NotFound) }
    }

    /// Nothing has this name: a single-page site answers with its one page, any other with its page for this case.
    fn missing(&self) -> Looked {
        let page = |path: &[u8], is_fallback| match unless_exhausted(locate_file(&self.store.site, &self.root, path))? {
            Some(Place::File(path, file)) => self.representation(&path, file, is_fallback).map(Some),
            _ => Ok(None),
        };
        if self.store.site.only.is_some() {
            return Looked::Missing(None);
        }
        let spa = self.store.site.spa.as_deref().filter(|_| self.wanted.path.is_some());
        match spa.map_or(Ok(None), |path| page(path, true)) {
            Ok(Some(fallback)) => return Looked::File(fallback),
            Err(NotServed::Exhausted(what)) => return Looked::Busy(what),
            Ok(None) | Err(_) => {}
        }
        match page(b"404.html", false) {
            Err(NotServed::Exhausted(what)) => Looked::Busy(what),
            // The page of an error is not negotiated, so a coded form of it does not do.
            page => Looked::Missing(page.ok().flatten().filter(|page| page.form(Coding::Identity).is_some())),
        }
    }

    /// The file, if it is there itself, with its precompressed siblings; what is known already, if it is still that.
    /// `is_fallback`: it is the page for paths that do not exist.
    fn representation(
        &self,
        path: &[u8],
        file: Option<OpenFile>,
        is_fallback: bool,
    ) -> Result<Arc<Representation>, NotServed> {
        let files = self.with_siblings(path, file)?;
        if files.iter().all(Option::is_none) {
            return Err(NotServed::NotFound);
        }
        let known = self.wanted.known.as_ref();
        let known = known.filter(|known| *known.path == *path && known.common.is_fallback == is_fallback);
        let is_same = |known: &&Arc<Representation>| {
            known.versions().eq(files.iter().map(|file| file.as_ref().map(|file| file.meta)))
        };
        if let Some(known) = known.filter(is_same)
            && known.is_settled()
        {
            return Ok(Arc::clone(known));
        }
        let read = self.read(path, files, is_fallback, known.map(|known| &**known)).map_err(NotServed::Failed)?;
        match known.filter(|known| known.is_confirmed_by(&read)) {
            Some(known) => Ok(Arc::clone(known)),
            None => Ok(Arc::new(read)),
        }
    }

    /// The files that hold a content in its codings. A file whose name says that it is coded is a coded form already, and
    /// has no siblings.
    fn with_siblings(&self, path: &[u8], file: Option<OpenFile>) -> Result<Files, NotServed> {
        let mut files = Files::default();
        let named = coding_of_name(path);
        files[named as usize] = file;
        if named == Coding::Identity {
            for coding in &Coding::ALL[1..] {
                let sibling = self.root.find(&[path, sibling_extension(*coding)].concat());
                files[*coding as usize] = match unless_exhausted(sibling)? {
                    Some(Found::File(file)) => Some(file),
                    Some(Found::Directory(_)) | None => None,
                };
            }
        }
        Ok(files)
    }

    fn read(
        &self,
        path: &[u8],
        files: Files,
        is_fallback: bool,
        known: Option<&Representation>,
    ) -> io::Result<Representation> {
        let Store { site, digests } = self.store;
        let now_secs = self.wanted.now_secs;
        let content_type = site.media_types.for_path(path);
        let site_fields = site_fields(site, path, is_fallback);
        let compressible = files[Coding::Identity as usize]
            .as_ref()
            .filter(|_| site.compresses)
            .map_or(Compressible::No, |file| compressible(&content_type, file.meta.len, &site_fields));
        let varies = compressible != Compressible::No || files[1..].iter().any(Option::is_some);
        let mut parts: [Option<Part>; Coding::ALL.len()] = Default::default();
        for (coding, file) in Coding::ALL.into_iter().zip(files) {
            parts[coding as usize] = file.map(|file| Part::read(file, coding, digests, now_secs)).transpose()?;
        }
        let is_settled = parts.iter().flatten().all(|part| is_settled(&part.version, now_secs));
        // The part that the others are forms of.
        let original = parts.iter().flatten().next();
        let is_date_shared = known.zip(original).is_some_and(|(known, part)| part.shares_date_with(known));
        let modified = original.and_then(|part| last_modified(part.version, now_secs));
        let last_modified = modified.filter(|_| !is_date_shared);
        let common = Common { is_date_shared, last_modified, varies, is_fallback, site_fields };
        let mut forms: Forms = Default::default();
        for (coding, part) in Coding::ALL.into_iter().zip(parts) {
            forms[coding as usize] = part.map(|part| Arc::new(part.into_form(coding, &common)));
        }
        Ok(Representation::new(path, content_type, forms, common, compressible, is_settled))
    }
}

const NO_CACHE: FieldValue = FieldValue::from_static("no-cache");

/// When the content was last modified, in seconds since 1970 and never later than now (RFC 9110 §8.8.2.1). `None` if the
/// file system says 1970, or a time before that: that is no time at which a file was written. Builds that want to have the
/// same result each time set 0 (OSTree, Guix: 1), and then a date would be the same for every version.
fn last_modified(version: FileMeta, now_secs: u64) -> Option<u64> {
    u64::try_from(version.modified.secs).ok().filter(|secs| *secs > 1).map(|secs| secs.min(now_secs))
}

/// The rules of the site for the file at `path`.
pub fn site_rules<'a>(site: &'a Site, path: &[u8]) -> Vec<&'a FieldRule> {
    let path = [b"/", path].concat();
    let of_index = |name: &Vec<u8>| path.strip_suffix(&name[..]).filter(|directory| directory.ends_with(b"/"));
    let directory = site.index.iter().chain(&site.only).find_map(of_index);
    let page = || path.strip_suffix(PAGE_EXTENSION).filter(|_| site.try_html);
    site.field_rules.of_file(&path, directory.or_else(page))
}

fn site_fields(site: &Site, path: &[u8], is_fallback: bool) -> Vec<(FieldName, FieldValue)> {
    let mut fields: Vec<_> = site_rules(site, path).into_iter().map(FieldRule::field).collect();
    if is_fallback {
        // What stands where something else may come is not immutable, whatever is said of all files.
        let is_immutable = |value: &FieldValue| has_directive(value.as_bytes(), "immutable");
        let caching = fields.iter_mut().filter(|(name, value)| name.is(&CACHE_CONTROL) && is_immutable(value));
        caching.for_each(|(_, value)| *value = NO_CACHE);
    }
    fields
}

/// Whether a field of the site forbids to compress what has it.
pub fn stays_as_it_is((name, value): &(FieldName, FieldValue)) -> bool {
    name.is(&CACHE_CONTROL) && forbids_transforms(value.as_bytes())
}

/// How a file is compressed that has these fields from the site.
fn compressible(content_type: &FieldValue, length: u64, site_fields: &[(FieldName, FieldValue)]) -> Compressible {
    match super::compress_lengths() {
        _ if !is_compressible(content_type.as_bytes()) || site_fields.iter().any(stays_as_it_is) => Compressible::No,
        whole if whole.contains(&length) => Compressible::Whole,
        whole if length > *whole.end() => Compressible::AsSent,
        _ => Compressible::No,
    }
}

/// A file and, by coding, its precompressed siblings.
type Files = [Option<OpenFile>; Coding::ALL.len()];

/// What was read of a file.
struct Part {
    version: FileMeta,
    content: FormContent,
    etag: Option<FieldValue>,
}

/// How often a file that changes while it is read is read again.
const READS_MAX: usize = 3;

impl Part {
    /// Reads a small file whole. A file that is being written to is read again, so that what is kept under one validator
    /// is one version; if it never rests, it is sent from the file like a large one.
    fn read(mut file: OpenFile, coding: Coding, digests: &Digests, now_secs: u64) -> io::Result<Part> {
        for _ in 0..READS_MAX {
            if file.meta.len > IN_MEMORY_BYTES_MAX {
                break;
            }
            let content = file.read_all(IN_MEMORY_BYTES_MAX as usize)?;
            let changed = file.refresh_meta()?;
            match content {
                Some(bytes) if !changed && bytes.len() as u64 == file.meta.len => {
                    let etag = Some(Digest::of_bytes(&bytes).tag(coding));
                    return Ok(Part { version: file.meta, content: FormContent::Memory(bytes.into()), etag });
                }
                _ => {}
            }
        }
        let version = file.meta;
        let etag = match version.len > HASHED_BYTES_MAX {
            true => tag::of_version(&version, coding, now_secs),
            false => digests.of(&version).map(|digest| digest.tag(coding)),
        };
        Ok(Part { version, content: FormContent::File(Arc::new(file)), etag })
    }

    /// Whether another content had the same time of modification, as far as is known.
    fn shares_date_with(&self, known: &Representation) -> bool {
        let (_, before) = known.original();
        let is_other = self.etag.is_none() || self.etag != before.etag;
        self.version.modified.secs == before.version.modified.secs
            && (known.common.is_date_shared || is_other && self.version != before.version)
    }

    fn into_form(self, coding: Coding, common: &Common) -> Form {
        let length = match &self.content {
            FormContent::Memory(bytes) => bytes.len() as u64,
            FormContent::File(_) => self.version.len,
        };
        Form::new(coding, length, self.content, self.version, self.etag, common)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::base::disk::{Links, RootPath, Timestamp};

    /// A folder that goes when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn with(files: &[&str]) -> Folder {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let folder = std::env::temp_dir().join(format!("tidemill-{}-lookup-{number}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            files.iter().for_each(|name| std::fs::write(folder.join(name), name).unwrap());
            Folder(folder)
        }

        /// A site of it that may have so many files open.
        fn site(&self, files_max: usize, spa: Option<&str>) -> Site {
            let root = RootPath::new(&self.0, Links::Beneath).unwrap().with_files_max(files_max);
            Site { spa: spa.map(|name| name.into()), ..Site::new(root) }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn looked(site: Site, path: &str) -> Looked {
        let store = Store { site, digests: Digests::default() };
        look_up(&store, &Wanted { path: Some(path.into()), names_directory: false, now_secs: 0, known: None })
    }

    #[test]
    fn what_cannot_be_opened_for_want_of_descriptors_is_not_taken_for_missing() {
        let folder = Folder::with(&["page.txt", "page.txt.br", "index.html", "404.html"]);
        for files_max in [0, 1] {
            let found = looked(folder.site(files_max, None), "page.txt");
            assert!(matches!(found, Looked::Busy(_)), "without its sibling: {found:?}");
        }
        let Looked::File(page) = looked(folder.site(2, None), "page.txt") else { panic!("there are enough") };
        assert!(page.form(Coding::Brotli).is_some());
        assert!(matches!(looked(folder.site(0, Some("index.html")), "nothing"), Looked::Busy(_)), "the only page");
        assert!(matches!(looked(folder.site(0, None), "nothing"), Looked::Busy(_)), "the page for 404");
        assert!(matches!(looked(folder.site(1, None), "nothing"), Looked::Missing(Some(_))));
    }

    #[test]
    fn a_time_at_which_nobody_wrote_a_file_is_no_date() {
        let of = |secs| {
            let modified = Timestamp { secs, nanos: 999_999_999 };
            last_modified(FileMeta { len: 1, modified, changed: modified, inode: 1, device: 1 }, 1_000)
        };
        assert_eq!([of(i64::MIN), of(-86_400), of(-1), of(0), of(1)], [None; 5]);
        assert_eq!([of(2), of(999), of(1_000)], [Some(2), Some(999), Some(1_000)]);
        assert_eq!([of(1_001), of(i64::MAX)], [Some(1_000); 2], "never later than Date");
    }
}
