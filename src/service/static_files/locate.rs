//! Which file is served for a path: index files, pages without their extension, and files of which only a coded form is
//! there. Asks the file system, so it runs on job threads.

use super::Site;
use super::resolve::is_hidden;
use crate::base::disk::{Found, NotServed, OpenFile, Root, Seen};
use crate::http::negotiate::Coding;

/// What a path leads to.
#[derive(Debug)]
pub enum Place {
    /// This file. `None`: it is not there itself, but a coded form of it is.
    File(Vec<u8>, Option<OpenFile>),
    /// A directory without an index file, whose entries may be listed.
    Directory,
    /// What is asked for has another address.
    Elsewhere(Address),
}

/// The address of what is asked for, told by what it has in common with the one that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// The same with a slash at its end: a directory.
    WithSlash,
    /// The same without a slash at its end: a page.
    WithoutSlash,
    /// The same without `.html`: a page.
    WithoutExtension,
    /// That of the directory that it lies in: an index file.
    OfDirectory,
}

/// The extension of a file that holds another one in this coding; none for identity.
pub fn sibling_extension(coding: Coding) -> &'static [u8] {
    match coding {
        Coding::Identity => b"",
        Coding::Gzip => b".gz",
        Coding::Zstd => b".zst",
        Coding::Brotli => b".br",
    }
}

/// The extension that the address of a page may leave out.
pub const PAGE_EXTENSION: &[u8] = b".html";

/// Where `path`, relative to `root`, leads to. `names_directory`: the request's path ended in a slash.
pub fn locate(site: &Site, root: &Root, path: &[u8], names_directory: bool) -> Result<Place, NotServed> {
    let locator = Locator { site, root };
    if names_directory { locator.directory(path) } else { locator.file_or_directory(path) }
}

/// The file at `path`, or a coded form of it.
pub fn locate_file(site: &Site, root: &Root, path: &[u8]) -> Result<Place, NotServed> {
    Locator { site, root }.file(path)
}

struct Locator<'a> {
    site: &'a Site,
    root: &'a Root,
}

impl Locator<'_> {
    /// A page comes before the directory of the same name, as with `try_files $uri $uri.html $uri/` of nginx.
    fn file_or_directory(&self, path: &[u8]) -> Result<Place, NotServed> {
        if let Some(address) = self.shorter_address(path)? {
            return Ok(Place::Elsewhere(address));
        }
        match self.root.find(path) {
            Ok(Found::File(file)) => Ok(Place::File(path.to_vec(), Some(file))),
            Ok(Found::Directory(_)) => match self.page(path) {
                Err(NotServed::NotFound | NotServed::NotAFile) => Ok(Place::Elsewhere(Address::WithSlash)),
                page => page,
            },
            Err(NotServed::NotFound) => match self.coded_alone(path) {
                Err(NotServed::NotFound) => self.page(path),
                coded => coded,
            },
            Err(error) => Err(error),
        }
    }

    fn directory(&self, path: &[u8]) -> Result<Place, NotServed> {
        let place = match self.root.meta(path) {
            Ok(Seen::Directory(_)) => match self.index(path)? {
                Some((_, index)) => Ok(index),
                None if self.site.browse => Ok(Place::Directory),
                None => Err(NotServed::NotFound),
            },
            Ok(Seen::File(_)) => return Err(NotServed::NotFound),
            Err(error) => Err(error),
        };
        match place {
            Err(NotServed::NotFound) if is_there(self.page(path))? => Ok(Place::Elsewhere(Address::WithoutSlash)),
            place => place,
        }
    }

    /// The file that is served for a directory, the first that is there, and its name.
    fn index(&self, directory: &[u8]) -> Result<Option<(&[u8], Place)>, NotServed> {
        for name in &self.site.index {
            match self.file(&joined(directory, name)) {
                Ok(file) => return Ok(Some((name, file))),
                Err(NotServed::NotFound | NotServed::NotAFile) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The file itself, or a coded form of it.
    fn file(&self, path: &[u8]) -> Result<Place, NotServed> {
        match self.root.find(path) {
            Ok(Found::File(file)) => Ok(Place::File(path.to_vec(), Some(file))),
            Ok(Found::Directory(_)) => Err(NotServed::NotFound),
            Err(NotServed::NotFound) => self.coded_alone(path),
            Err(error) => Err(error),
        }
    }

    fn coded_alone(&self, path: &[u8]) -> Result<Place, NotServed> {
        for coding in &Coding::ALL[1..] {
            let sibling = [path, sibling_extension(*coding)].concat();
            if self.is_shown(&sibling) && matches!(unless_exhausted(self.root.meta(&sibling))?, Some(Seen::File(_))) {
                return Ok(Place::File(path.to_vec(), None));
            }
        }
        Err(NotServed::NotFound)
    }

    /// The page whose address has no extension.
    fn page(&self, path: &[u8]) -> Result<Place, NotServed> {
        let page = [path, PAGE_EXTENSION].concat();
        if self.site.try_html && self.is_shown(&page) { self.file(&page) } else { Err(NotServed::NotFound) }
    }

    /// Where `path` names a page with its extension or a directory's index file: the address without that, if the same
    /// is served there. So a page has one address.
    fn shorter_address(&self, path: &[u8]) -> Result<Option<Address>, NotServed> {
        if !self.site.try_html {
            return Ok(None);
        }
        let name = last_segment(path);
        let directory = path[..path.len() - name.len()].strip_suffix(b"/").unwrap_or_default();
        let is_file = |path: &[u8]| is_there(self.file(path));
        let may_name = |index: &[u8]| name == index || [name, PAGE_EXTENSION].concat() == index;
        if self.site.index.iter().any(|index| may_name(index))
            && let Some((index, _)) = unless_exhausted(self.index(directory))?.flatten()
            && may_name(index)
            && (name == index || !is_file(path)?)
        {
            return Ok(Some(Address::OfDirectory));
        }
        let Some(stem) = path.strip_suffix(PAGE_EXTENSION) else { return Ok(None) };
        let is_name = !matches!(last_segment(stem), b"" | b"." | b"..");
        Ok((is_name && is_file(path)? && !is_file(stem)?).then_some(Address::WithoutExtension))
    }

    /// What was added to a name may have made it one that is hidden: of `.well-known`, only the name itself is shown.
    fn is_shown(&self, path: &[u8]) -> bool {
        self.site.show_hidden || !is_hidden(last_segment(path))
    }
}

/// What was found; `None` if there is nothing that can be served. Without a descriptor nobody can tell: that stays an error,
/// so that no file is taken for missing, and none is found without its siblings.
pub fn unless_exhausted<T>(found: Result<T, NotServed>) -> Result<Option<T>, NotServed> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(NotServed::Exhausted(what)) => Err(NotServed::Exhausted(what)),
        Err(_) => Ok(None),
    }
}

fn is_there(place: Result<Place, NotServed>) -> Result<bool, NotServed> {
    Ok(unless_exhausted(place)?.is_some())
}

fn last_segment(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}
