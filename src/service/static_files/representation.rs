//! One version of a file in all the forms it can be sent in. Everything a response says about it derives from here.

use std::fmt::Write;
use std::sync::Arc;

use super::Site;
use crate::base::disk::{FileMeta, OpenFile};
use crate::http::fields::{self, FieldBlock, FieldName, FieldValue};
use crate::http::negotiate::Coding;

/// One version of a file, and its precompressed siblings.
#[derive(Debug)]
pub struct Representation {
    /// What it is, whatever its coding.
    pub content_type: FieldValue,
    /// Seconds since 1970.
    pub last_modified: u64,
    /// Its forms, by [`Coding`]: identity always, others if a sibling file has them.
    pub forms: Forms,
    /// Whether it is worth compressing while we are asked for it.
    pub compressible: bool,
}

/// Forms by coding.
pub type Forms = [Option<Arc<Form>>; Coding::ALL.len()];

/// A file in one coding.
#[derive(Debug)]
pub struct Form {
    /// How it is coded.
    pub coding: Coding,
    /// Length in bytes.
    pub length: u64,
    /// A strong validator: other bytes have another one, and so has every other coding of the same file.
    pub etag: FieldValue,
    /// Where the bytes are.
    pub content: FormContent,
    /// The version of the file the bytes are from.
    pub version: FileMeta,
    /// What a response with content says about it.
    pub fields: FieldBlock,
    /// What a 304 says about it (RFC 9110 §15.4.5).
    pub not_modified_fields: FieldBlock,
}

/// Where the bytes of a form are.
#[derive(Debug)]
pub enum FormContent {
    /// In memory.
    Memory(Arc<[u8]>),
    /// In a file.
    File(Arc<OpenFile>),
}

impl Representation {
    /// The form in this coding, if there is one.
    pub fn form(&self, coding: Coding) -> Option<&Arc<Form>> {
        self.forms[coding.index()].as_ref()
    }

    /// The file as it is.
    pub fn identity(&self) -> &Arc<Form> {
        self.form(Coding::Identity).expect("a representation is made from its identity form")
    }

    /// Whether both are made from the same versions of the same files.
    pub fn is_same_version(&self, other: &Representation) -> bool {
        let version = |form: &Option<Arc<Form>>| form.as_ref().map(|form| form.version);
        self.content_type == other.content_type && self.forms.iter().map(version).eq(other.forms.iter().map(version))
    }

    /// What keeping it in memory costs, in bytes, beyond a fixed overhead for each entry.
    pub fn memory_bytes(&self) -> usize {
        self.forms.iter().flatten().map(|form| form.memory_bytes()).sum()
    }
}

/// What is the same for all forms of a representation.
pub struct Common<'a> {
    /// Seconds since 1970.
    pub last_modified: u64,
    /// Whether another client could get another form.
    pub varies: bool,
    /// The site's own fields.
    pub site: &'a Site,
}

impl Form {
    /// A form of the file in `version`.
    pub fn new(coding: Coding, length: u64, content: FormContent, version: FileMeta, common: &Common<'_>) -> Form {
        let etag = etag(&version, coding);
        let fields = content_fields(coding, &etag, common);
        let not_modified_fields = validating_fields(&etag, common);
        Form { coding, length, etag, content, version, fields, not_modified_fields }
    }

    /// What keeping it in memory costs, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let content = match &self.content {
            FormContent::Memory(bytes) => bytes.len(),
            FormContent::File(_) => 0,
        };
        content + self.fields.as_bytes().len() + self.not_modified_fields.as_bytes().len() + size_of::<Form>()
    }
}

/// Made from what changes when a file does: time of modification to the nanosecond, length, and the file's own number,
/// which a replacement by renaming changes (RFC 9110 §8.8.3). Strong, and different for every coding.
fn etag(version: &FileMeta, coding: Coding) -> FieldValue {
    let mut text = format!("\"{:x}.{:x}-{:x}-{:x}", version.modified.secs, version.modified.nanos, version.len, version.inode);
    if coding != Coding::Identity {
        write!(text, "-{}", coding.name()).expect("a String takes everything");
    }
    text.push('"');
    FieldValue::new(text).expect("hexadecimal digits and names of codings")
}

const BYTES: FieldValue = FieldValue::from_static("bytes");
const NOSNIFF: FieldValue = FieldValue::from_static("nosniff");
const ACCEPT_ENCODING: FieldValue = FieldValue::from_static("Accept-Encoding");

fn content_fields(coding: Coding, etag: &FieldValue, common: &Common<'_>) -> FieldBlock {
    let last_modified = http_date(common.last_modified);
    let coding = (coding != Coding::Identity).then(|| FieldValue::from_static(coding.name()));
    let mut all: Vec<(FieldName, &FieldValue)> = Vec::new();
    all.push((fields::LAST_MODIFIED, &last_modified));
    all.push((fields::ETAG, etag));
    all.push((fields::ACCEPT_RANGES, &BYTES));
    all.extend(coding.as_ref().map(|coding| (fields::CONTENT_ENCODING, coding)));
    all.extend(common.varies.then_some((fields::VARY, &ACCEPT_ENCODING)));
    all.push((fields::X_CONTENT_TYPE_OPTIONS, &NOSNIFF));
    all.extend(common.site.fields.iter().map(|(name, value)| (*name, value)));
    FieldBlock::new(all)
}

/// A 304 repeats what guides a cache and leaves out what it knows already.
fn validating_fields(etag: &FieldValue, common: &Common<'_>) -> FieldBlock {
    let mut all: Vec<(FieldName, &FieldValue)> = vec![(fields::ETAG, etag)];
    all.extend(common.varies.then_some((fields::VARY, &ACCEPT_ENCODING)));
    all.extend(common.site.fields.iter().map(|(name, value)| (*name, value)));
    FieldBlock::new(all)
}

fn http_date(secs: u64) -> FieldValue {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(secs);
    FieldValue::new(httpdate::fmt_http_date(at)).expect("a date is plain text")
}
