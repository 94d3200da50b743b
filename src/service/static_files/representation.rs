//! One version of a file in all the forms it can be sent in. Everything a response says about it derives from here.

use std::fmt::Write;
use std::sync::Arc;

use crate::base::disk::{FileMeta, OpenFile};
use crate::http::conditional::last_modified_value;
use crate::http::etag::EntityTag;
use crate::http::fields::{self, FieldName, FieldSet, FieldValue};
use crate::http::negotiate::Coding;

/// One version of a file, and its precompressed siblings.
#[derive(Debug)]
pub struct Representation {
    /// Where it is, beneath the root.
    pub path: Box<[u8]>,
    /// What it is, whatever its coding.
    pub content_type: FieldValue,
    /// Its forms, by [`Coding`]: identity always, others if a sibling file has them.
    pub forms: Forms,
    /// What is the same for all forms.
    pub common: Common,
    /// Whether, and how, it is compressed when somebody asks for that.
    pub compressible: Compressible,
}

/// What is done with a file that has no compressed sibling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressible {
    /// Nothing: it would not get smaller, or must stay as it is.
    No,
    /// It is compressed as a whole, and that is kept.
    Whole,
    /// It is too long for that, and is coded while it is sent.
    AsSent,
}

/// Forms by coding.
pub type Forms = [Option<Arc<Form>>; Coding::ALL.len()];

/// A file in one coding.
#[derive(Debug)]
pub struct Form {
    /// Length in bytes.
    pub length: u64,
    /// A strong validator: other bytes have another one, and so has every other coding of the same file.
    pub etag: FieldValue,
    /// Where the bytes are.
    pub content: FormContent,
    /// The version of the file that the bytes are from.
    pub version: FileMeta,
    /// What a response with content says about it.
    pub fields: FieldSet,
    /// What a 304 says about it (RFC 9110 §15.4.5).
    pub not_modified_fields: FieldSet,
}

/// Where the bytes of a form are.
#[derive(Debug)]
pub enum FormContent {
    /// In memory.
    Memory(Arc<[u8]>),
    /// In a file.
    File(Arc<OpenFile>),
}

/// What is the same for all forms of a representation.
#[derive(Debug)]
pub struct Common {
    /// `Last-Modified` in seconds since 1970, never in the future; `None` where no date is honest.
    pub last_modified: Option<u64>,
    /// Whether another client could get another form.
    pub varies: bool,
    /// Fields that the site adds to it.
    pub site_fields: Vec<(FieldName, FieldValue)>,
}

impl Representation {
    /// The form in this coding, if a file has it.
    pub fn form(&self, coding: Coding) -> Option<&Arc<Form>> {
        self.forms[coding as usize].as_ref()
    }

    /// The file as it is.
    pub fn identity(&self) -> &Arc<Form> {
        self.form(Coding::Identity).expect("a representation is made from its identity form")
    }

    /// The versions of the files it is made from.
    pub fn versions(&self) -> impl Iterator<Item = Option<FileMeta>> {
        self.forms.iter().map(|form| form.as_ref().map(|form| form.version))
    }

    /// What keeping it costs, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let forms: usize = self.forms.iter().flatten().map(|form| form.memory_bytes()).sum();
        size_of::<Representation>() + 2 * self.path.len() + forms
    }

    /// How many files it keeps open.
    pub fn open_files(&self) -> usize {
        self.forms.iter().flatten().filter(|form| matches!(form.content, FormContent::File(_))).count()
    }
}

impl Form {
    /// A form of the file in `version`.
    pub fn new(coding: Coding, length: u64, content: FormContent, version: FileMeta, common: &Common) -> Form {
        let etag = etag(&version, coding);
        let fields = content_fields(coding, &etag, &BYTES, common);
        let not_modified_fields = validating_fields(&etag, common);
        Form { length, etag, content, version, fields, not_modified_fields }
    }

    /// What a form says that is coded while it is sent; its content and length are those of `identity`. The tag is weak,
    /// because the bytes may differ the next time, and is no tag of another coding (RFC 9110 §8.8.1, §8.8.3.3). Ranges
    /// of it do not exist.
    pub fn coded_as_sent(identity: &Form, coding: Coding, common: &Common) -> Form {
        let content = match &identity.content {
            FormContent::Memory(bytes) => FormContent::Memory(Arc::clone(bytes)),
            FormContent::File(file) => FormContent::File(Arc::clone(file)),
        };
        let etag = weak_etag(&identity.etag, coding);
        let fields = content_fields(coding, &etag, &NONE, common);
        let not_modified_fields = validating_fields(&etag, common);
        Form { length: identity.length, etag, content, version: identity.version, fields, not_modified_fields }
    }

    /// What keeping it costs, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let content = match &self.content {
            FormContent::Memory(bytes) => bytes.len(),
            FormContent::File(_) => 0,
        };
        let fields = self.fields.memory_bytes() + self.not_modified_fields.memory_bytes();
        size_of::<Form>() + self.etag.as_bytes().len() + fields + content
    }
}

/// Made from what changes when a file does: time of modification to the nanosecond, length, and the file's own number,
/// which a replacement by renaming changes (RFC 9110 §8.8.3). Strong, and different for every coding.
fn etag(version: &FileMeta, coding: Coding) -> FieldValue {
    let modified = version.modified;
    let mut text = format!("\"{:x}.{:x}-{:x}-{:x}", modified.secs, modified.nanos, version.len, version.inode);
    if coding != Coding::Identity {
        write!(text, "-{}", coding.name()).expect("a String takes everything");
    }
    text.push('"');
    FieldValue::new(text).expect("hexadecimal digits and the names of codings")
}

/// `"tag"` as `W/"tag-gzip"`.
fn weak_etag(etag: &FieldValue, coding: Coding) -> FieldValue {
    let opaque = EntityTag::of_checked(etag.as_bytes()).map_or(&b""[..], EntityTag::opaque);
    FieldValue::new([b"W/\"", opaque, b"-", coding.name().as_bytes(), b"\""].concat()).expect("a tag is a field value")
}

static BYTES: FieldValue = FieldValue::from_static("bytes");
static NONE: FieldValue = FieldValue::from_static("none");
static NOSNIFF: FieldValue = FieldValue::from_static("nosniff");
static ACCEPT_ENCODING: FieldValue = FieldValue::from_static("Accept-Encoding");

fn content_fields(coding: Coding, etag: &FieldValue, accept_ranges: &FieldValue, common: &Common) -> FieldSet {
    let coding = coding.field_value();
    let last_modified = common.last_modified.map(last_modified_value);
    let mut all: Vec<_> = last_modified.iter().map(|value| (fields::LAST_MODIFIED, value)).collect();
    all.extend([(fields::ETAG, etag), (fields::ACCEPT_RANGES, accept_ranges)]);
    // Of what we say, this alone may be said otherwise.
    let site_says = |name: FieldName| common.site_fields.iter().any(|(other, _)| other.is(&name));
    all.extend((!site_says(fields::X_CONTENT_TYPE_OPTIONS)).then_some((fields::X_CONTENT_TYPE_OPTIONS, &NOSNIFF)));
    all.extend(coding.as_ref().map(|coding| (fields::CONTENT_ENCODING, coding)));
    all.extend(common.varies.then_some((fields::VARY, &ACCEPT_ENCODING)));
    all.extend(common.site_fields.iter().map(|(name, value)| (name.clone(), value)));
    FieldSet::new(all)
}

/// A 304 repeats what guides a cache and leaves out what it knows already.
fn validating_fields(etag: &FieldValue, common: &Common) -> FieldSet {
    let mut all = vec![(fields::ETAG, etag)];
    all.extend(common.varies.then_some((fields::VARY, &ACCEPT_ENCODING)));
    all.extend(common.site_fields.iter().map(|(name, value)| (name.clone(), value)));
    FieldSet::new(all)
}
