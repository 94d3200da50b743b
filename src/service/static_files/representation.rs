//! One version of a file in all the forms it can be sent in. Everything a response says about it derives from here.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::DECODED_BYTES_MAX;
use super::fallback::DECIDING_FIELDS;
use super::pages::NOSNIFF;
use super::tag::HASHED_BYTES_MAX;
use crate::base::disk::{FileMeta, OpenFile};
use crate::http::conditional::last_modified_value;
use crate::http::etag::EntityTag;
use crate::http::fields::{self, FieldName, FieldSet, FieldValue};
use crate::http::negotiate::Coding;
use crate::service::coding::CODINGS;

/// One version of a file, and its precompressed siblings.
#[derive(Debug)]
pub struct Representation {
    /// Where it is, beneath the root.
    pub path: Box<[u8]>,
    /// What it is, whatever its coding.
    pub content_type: FieldValue,
    /// Its forms, by [`Coding`], of which there are files: at least one.
    pub forms: Forms,
    /// What is the same for all forms.
    pub common: Common,
    /// Whether, and how, the original is compressed when somebody asks for that.
    pub compressible: Compressible,
    /// Whether the same versions of the files mean the same content.
    is_settled: AtomicBool,
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
    /// A strong validator: other bytes have another one, and so has every other coding of the same file. `None` while it
    /// is not known.
    pub etag: Option<FieldValue>,
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
#[derive(Debug, Clone)]
pub enum FormContent {
    /// In memory.
    Memory(Arc<[u8]>),
    /// In a file.
    File(Arc<OpenFile>),
}

/// What is the same for all forms of a representation.
#[derive(Debug, Clone)]
pub struct Common {
    /// Whether another content had the same time of modification, to the second. Then that is no `Last-Modified`: whoever
    /// asked with it would be told that nothing has changed.
    pub is_date_shared: bool,
    /// `Last-Modified` in seconds since 1970, never in the future; `None` where no date is honest.
    pub last_modified: Option<u64>,
    /// Whether another client could get another form.
    pub varies: bool,
    /// Whether it is the page for paths that do not exist: another client could get none.
    pub is_fallback: bool,
    /// Fields that the site adds to it.
    pub site_fields: Vec<(FieldName, FieldValue)>,
}

impl Representation {
    /// The form in this coding, if a file has it.
    pub fn form(&self, coding: Coding) -> Option<&Arc<Form>> {
        self.forms[coding as usize].as_ref()
    }

    /// The form that others are made of, and its coding: the one that is not coded, if there is a file of it.
    pub fn original(&self) -> (Coding, &Arc<Form>) {
        let forms = Coding::ALL.into_iter().filter_map(|coding| Some((coding, self.form(coding)?)));
        forms.into_iter().next().expect("a representation is made from a file")
    }

    /// Whether the form in this coding can be made of the original.
    pub fn can_make(&self, coding: Coding) -> bool {
        match self.original() {
            (Coding::Identity, _) => match self.compressible {
                Compressible::No => false,
                Compressible::Whole => true,
                Compressible::AsSent => CODINGS.contains(&coding),
            },
            (_, coded) => coding == Coding::Identity && coded.length <= DECODED_BYTES_MAX,
        }
    }

    /// Made of these parts. `is_settled`: whether the same versions of the files will mean the same content.
    pub fn new(
        path: &[u8],
        content_type: FieldValue,
        forms: Forms,
        common: Common,
        compressible: Compressible,
        is_settled: bool,
    ) -> Representation {
        let is_settled = AtomicBool::new(is_settled);
        Representation { path: path.into(), content_type, forms, common, compressible, is_settled }
    }

    /// Whether the same versions of the files mean the same content. If not, they have to be read again: the file system
    /// may have given two changes the same time.
    pub fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Relaxed)
    }

    /// Notes that the files were read again as in `read`, which has the same versions. False if their content was another
    /// one, or is not in memory.
    pub fn is_confirmed_by(&self, read: &Representation) -> bool {
        let same = self.versions().eq(read.versions())
            && self.forms.iter().zip(&read.forms).all(|(one, other)| match (one, other) {
                (None, None) => true,
                (Some(one), Some(other)) => one.has_bytes_of(other),
                _ => false,
            });
        if same && read.is_settled() {
            self.is_settled.store(true, Ordering::Relaxed);
        }
        same
    }

    /// The same, to be sent without promises about which version it is: for a file that changes whenever it is looked at.
    pub fn without_tags(&self) -> Representation {
        let untagged = |(coding, form): (Coding, &Option<Arc<Form>>)| {
            let form = form.as_ref()?;
            Some(Arc::new(Form::new(coding, form.length, form.content.clone(), form.version, None, &self.common)))
        };
        let mut forms: Forms = Default::default();
        for (slot, form) in forms.iter_mut().zip(Coding::ALL.into_iter().zip(&self.forms).map(untagged)) {
            *slot = form;
        }
        let (content_type, common) = (self.content_type.clone(), self.common.clone());
        Representation::new(&self.path, content_type, forms, common, Compressible::No, false)
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
    pub fn new(
        coding: Coding,
        length: u64,
        content: FormContent,
        version: FileMeta,
        etag: Option<FieldValue>,
        common: &Common,
    ) -> Form {
        let fields = content_fields(coding, etag.as_ref(), &BYTES, common);
        let not_modified_fields = validating_fields(etag.as_ref(), common);
        Form { length, etag, content, version, fields, not_modified_fields }
    }

    /// What a form says that is coded while it is sent; its content and length are those of `identity`. The tag is weak,
    /// because the bytes may differ the next time, and is no tag of another coding (RFC 9110 §8.8.1, §8.8.3.3). Ranges
    /// of it do not exist.
    pub fn coded_as_sent(identity: &Form, coding: Coding, common: &Common) -> Form {
        let etag = identity.etag.as_ref().map(|etag| weak_etag(etag, coding));
        let fields = content_fields(coding, etag.as_ref(), &NONE, common);
        let not_modified_fields = validating_fields(etag.as_ref(), common);
        let (length, content, version) = (identity.length, identity.content.clone(), identity.version);
        Form { length, etag, content, version, fields, not_modified_fields }
    }

    /// Whether its tag is to be made by reading the file.
    pub fn can_be_hashed(&self) -> bool {
        self.etag.is_none() && self.length <= HASHED_BYTES_MAX
    }

    /// Whether its bytes are still those that it was made for. Never waits. Adds the number of its system calls to
    /// `calls`.
    pub fn is_unchanged(&self, calls: &Cell<u64>) -> bool {
        match &self.content {
            FormContent::Memory(_) => true,
            FormContent::File(file) => file.is_unchanged(calls),
        }
    }

    /// Whether both are in memory and have the same bytes.
    fn has_bytes_of(&self, other: &Form) -> bool {
        match (&self.content, &other.content) {
            (FormContent::Memory(one), FormContent::Memory(other)) => one == other,
            _ => false,
        }
    }

    /// What keeping it costs, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let content = match &self.content {
            FormContent::Memory(bytes) => bytes.len(),
            FormContent::File(file) => file.path().len(),
        };
        let fields = self.fields.memory_bytes() + self.not_modified_fields.memory_bytes();
        size_of::<Form>() + self.etag.as_ref().map_or(0, |etag| etag.as_bytes().len()) + fields + content
    }
}

/// `"tag"` as `W/"tag-gzip"`.
fn weak_etag(etag: &FieldValue, coding: Coding) -> FieldValue {
    let opaque = EntityTag::of_checked(etag.as_bytes()).map_or(&b""[..], EntityTag::opaque);
    FieldValue::new([b"W/\"", opaque, b"-", coding.name().as_bytes(), b"\""].concat()).expect("a tag is a field value")
}

static BYTES: FieldValue = FieldValue::from_static("bytes");
static NONE: FieldValue = FieldValue::from_static("none");
static ACCEPT_ENCODING: FieldValue = FieldValue::from_static("Accept-Encoding");
static ALL_DECIDING_FIELDS: FieldValue = FieldValue::from_static("Accept, Sec-Fetch-Dest, Accept-Encoding");

impl Common {
    /// On what of a request it depends which response it gets (RFC 9110 §12.5.5).
    pub fn vary(&self) -> Option<&'static FieldValue> {
        match (self.varies, self.is_fallback) {
            (false, false) => None,
            (true, false) => Some(&ACCEPT_ENCODING),
            (false, true) => Some(&DECIDING_FIELDS),
            (true, true) => Some(&ALL_DECIDING_FIELDS),
        }
    }
}

fn content_fields(coding: Coding, etag: Option<&FieldValue>, accept_ranges: &FieldValue, common: &Common) -> FieldSet {
    let coding = coding.field_value();
    let last_modified = common.last_modified.map(last_modified_value);
    let mut all: Vec<_> = last_modified.iter().map(|value| (fields::LAST_MODIFIED, value)).collect();
    all.extend(etag.map(|etag| (fields::ETAG, etag)));
    all.push((fields::ACCEPT_RANGES, accept_ranges));
    // Of what we say, this alone may be said otherwise.
    let site_says = |name: FieldName| common.site_fields.iter().any(|(other, _)| other.is(&name));
    all.extend((!site_says(fields::X_CONTENT_TYPE_OPTIONS)).then_some((fields::X_CONTENT_TYPE_OPTIONS, &NOSNIFF)));
    all.extend(coding.as_ref().map(|coding| (fields::CONTENT_ENCODING, coding)));
    all.extend(common.vary().map(|vary| (fields::VARY, vary)));
    all.extend(common.site_fields.iter().map(|(name, value)| (name.clone(), value)));
    FieldSet::new(all)
}

/// A 304 repeats what guides a cache and leaves out what it knows already.
fn validating_fields(etag: Option<&FieldValue>, common: &Common) -> FieldSet {
    let mut all: Vec<_> = etag.map(|etag| (fields::ETAG, etag)).into_iter().collect();
    all.extend(common.vary().map(|vary| (fields::VARY, vary)));
    all.extend(common.site_fields.iter().map(|(name, value)| (name.clone(), value)));
    FieldSet::new(all)
}
