//! How a request for a file is answered, told to people. The reasons come from the functions that decide.

use std::sync::Arc;

use super::StaticFiles;
use super::fallback::Reason;
use super::listing::Order;
use super::locate::Address;
use super::lookup::{Looked, Wanted, look_up, site_rules, stays_as_it_is};
use super::pages;
use super::representation::{Compressible, Form, Representation};
use super::resolve::{Resolved, Unresolved, resolve};
use super::respond::{Choice, MadeForm, MadeForms, Making, Offer, Selection, choose};
use super::serving::made;
use crate::http::conditional::{Condition, Outcome, Verdict};
use crate::http::fields::Fields;
use crate::http::media_type::is_compressible;
use crate::http::message::RequestHead;
use crate::http::method::Method;
use crate::http::negotiate::Coding;
use crate::http::range::Ranges;
use crate::service::explanation::{Explanation, accepted_text, printable};

impl StaticFiles {
    /// Tells how `request` is decided. `now_secs` is the response's Date in seconds since 1970. Asks the file system
    /// and compresses: may block.
    pub fn explain(&self, request: &RequestHead<'_>, now_secs: u64, explanation: &mut Explanation) {
        explanation.note("route", "files beneath ROOT");
        if !request.method.is_registered() {
            return explanation
                .note("method", "it is in no registry, and so the server does not know it (RFC 9110 §9.1)");
        }
        if pages::for_method(request).is_some() {
            return explanation.note("method", "files have GET, HEAD and OPTIONS, and no other (RFC 9110 §9.1)");
        }
        let resolved = match resolve(request.target.path, self.shared.store.site.show_hidden) {
            Ok(resolved) => Some(resolved),
            Err(Unresolved::Hidden) => None,
            Err(Unresolved::Malformed(why)) => return explanation.note("path", format_args!("none: {why}")),
        };
        explanation.note("path", path_text(resolved.as_ref()));
        self.explain_lookup(resolved.as_ref(), request, now_secs, explanation);
        // Whoever makes the request now has the same work to do.
        self.shared.store.digests.clear();
    }

    fn explain_lookup(
        &self,
        resolved: Option<&Resolved<'_>>,
        request: &RequestHead<'_>,
        now_secs: u64,
        explanation: &mut Explanation,
    ) {
        explanation.note_job("look it up");
        let wanted = resolved.map_or(Wanted::nothing(now_secs), |resolved| Wanted::new(resolved, now_secs, None));
        match look_up(&self.shared.store, &wanted) {
            Looked::File(page) if page.common.is_fallback && !self.explain_fallback(resolved, request, explanation) => {
                self.explain_lookup(None, request, now_secs, explanation);
            }
            Looked::File(found) => self.explain_file(&found, request, now_secs, explanation),
            Looked::Directory => explain_listing(request, explanation),
            Looked::Missing(Some(page)) => {
                explanation.note("file", format_args!("nothing; {} is the content of the 404", printable(&page.path)));
            }
            Looked::Missing(None) => explanation.note("file", "nothing has this name"),
            Looked::Redirect(address) => explanation.note("file", address_text(address)),
            Looked::Forbidden => explanation.note("file", "the server may not read it"),
            Looked::Busy(what) => explanation.note("file", format_args!("it cannot be opened now: {what}")),
            Looked::Failed(cause) => explanation.note("file", format_args!("the file system failed: {cause}")),
        }
    }

    /// Whether the request gets the page for paths that do not exist.
    fn explain_fallback(
        &self,
        resolved: Option<&Resolved<'_>>,
        request: &RequestHead<'_>,
        explanation: &mut Explanation,
    ) -> bool {
        let path = resolved.map_or(&b""[..], Resolved::key);
        let reason = Reason::of(request.fields, path, &self.shared.store.site.media_types);
        let follows = if reason.is_for_page() { "the page of --spa" } else { "not the page of --spa" };
        explanation.note("spa", format_args!("nothing has this name: {follows}, since {}", reason.text()));
        reason.is_for_page()
    }

    fn explain_file(
        &self,
        found: &Arc<Representation>,
        request: &RequestHead<'_>,
        now_secs: u64,
        explanation: &mut Explanation,
    ) {
        explanation.note("file", file_text(found));
        for rule in site_rules(&self.shared.store.site, &found.path) {
            explanation.note("field", rule);
        }
        explanation.note("forms", forms_text(found, self.shared.hot.making() == Making::All));
        if let Some(form) = self.explain_coding(found, request, now_secs, explanation) {
            let selection = Selection::of(request, &form, found.common.last_modified, now_secs);
            explanation.note("conditional", verdict_text(selection.verdict, request.fields));
            if request.fields.first("range").is_some() {
                explanation.note("range", range_text(request.method, &selection, form.length));
            }
        }
    }

    /// Which form the client gets, made if need be.
    fn explain_coding(
        &self,
        found: &Arc<Representation>,
        request: &RequestHead<'_>,
        now_secs: u64,
        explanation: &mut Explanation,
    ) -> Option<Arc<Form>> {
        const RULE: &str = "(RFC 9110 §12.5.3)";
        let mut forms = MadeForms::default();
        loop {
            let making = self.shared.hot.making();
            match choose(request, &Offer { representation: found, made: &forms, making }) {
                Choice::Form(coding, form) => {
                    let (name, length) = (coding.name(), form.length);
                    explanation.note(
                        "coding",
                        format_args!("{name}, {length} bytes: {} {RULE}", accepted_text(request.fields)),
                    );
                    return Some(Arc::clone(form));
                }
                Choice::AsSent(coding, identity) => {
                    let accepted = accepted_text(request.fields);
                    explanation.note("coding", format_args!("{}, while it is sent: {accepted} {RULE}", coding.name()));
                    return Some(Arc::new(Form::coded_as_sent(identity, coding, &found.common)));
                }
                Choice::Unmade(coding) => {
                    match (found.form(coding), coding) {
                        (Some(_), _) => explanation.note_job("hash it"),
                        (None, Coding::Identity) => explanation.note_job("decode it"),
                        (None, coding) => explanation.note_job(format_args!("compress it to {}", coding.name())),
                    }
                    let form = made(&self.shared.store, found, coding, now_secs).map(Arc::new);
                    forms[coding as usize] = form.map_or(MadeForm::Useless, MadeForm::Made);
                }
                Choice::None => {
                    let accepted = accepted_text(request.fields);
                    explanation.note("coding", format_args!("none that is there is accepted: {accepted} {RULE}"));
                    return None;
                }
            }
        }
    }
}

fn path_text(resolved: Option<&Resolved<'_>>) -> String {
    match resolved {
        None => "hidden, since a name in it begins with a dot: answered like nothing".into(),
        Some(resolved) if resolved.path().is_empty() => "ROOT itself".into(),
        Some(resolved) if resolved.names_directory() => format!("{}/, a folder", printable(resolved.path())),
        Some(resolved) => printable(resolved.path()),
    }
}

fn address_text(address: Address) -> &'static str {
    match address {
        Address::WithSlash => "a folder, asked for without a slash at its end",
        Address::WithoutSlash => "a page, asked for with a slash at its end",
        Address::WithoutExtension => "a page, asked for with its extension",
        Address::OfDirectory => "the index file of a folder, asked for by its name",
    }
}

fn file_text(found: &Representation) -> String {
    let (path, length) = (printable(&found.path), found.original().1.length);
    format!("{path}, {length} bytes, {}", printable(found.content_type.as_bytes()))
}

fn forms_text(found: &Representation, can_compress: bool) -> String {
    let there = Coding::ALL.into_iter().filter(|coding| found.form(*coding).is_some());
    let names: Vec<&str> = there.map(Coding::name).collect();
    let is_decoded = found.form(Coding::Identity).is_none() && found.can_make(Coding::Identity);
    let others = match found.compressible {
        Compressible::No if can_compress && is_decoded => "; it is decoded when that is asked for".into(),
        Compressible::No => not_compressed_text(found),
        Compressible::Whole if can_compress => "; the others are made when they are asked for".into(),
        Compressible::AsSent if can_compress => {
            "; too long to be compressed as a whole: gzip and zstd are made while it is sent".into()
        }
        Compressible::Whole | Compressible::AsSent => "; --file-cache 0 compresses nothing".into(),
    };
    format!("{}{others}", names.join(", "))
}

/// Why a file that is there uncoded is never compressed (`lookup::compressible`).
fn not_compressed_text(found: &Representation) -> String {
    let Some(form) = found.form(Coding::Identity) else { return String::new() };
    if !is_compressible(found.content_type.as_bytes()) {
        let content_type = printable(found.content_type.as_bytes());
        return format!("; {content_type} is not compressed, since most of it would not become smaller");
    }
    match found.common.site_fields.iter().any(stays_as_it_is) {
        true => "; not compressed, since its Cache-Control says no-transform (RFC 9111 §5.2.2.6)".into(),
        false => format!("; not compressed, since {} bytes would hardly become fewer", form.length),
    }
}

fn verdict_text(verdict: Verdict, fields: Fields<'_>) -> String {
    let counts =
        |condition: &Condition| fields.first(condition.name()).is_some() && overruled_by(*condition, fields).is_none();
    let given = || Condition::ALL.into_iter().filter(counts);
    let Some(condition) = verdict.because else {
        let names: Vec<&str> = given().map(Condition::name).collect();
        return match names.is_empty() {
            true => "no condition".into(),
            false => format!(
                "nothing in {} stands in the way (RFC 9110 §13.2.2){}",
                names.join(", "),
                overruled_text(fields)
            ),
        };
    };
    let leads_to = match verdict.outcome {
        Outcome::NotModified => "what the client has is still good: 304",
        Outcome::PreconditionFailed => "what the client wants is no longer there: 412",
        Outcome::Proceed { .. } => "the parts would not fit what the client has, so it gets the whole",
    };
    let value = fields.first(condition.name()).map(printable).unwrap_or_default();
    format!("{}: {value} → {leads_to} ({})", condition.name(), condition.section())
}

/// The condition beside which a date is not looked at, if the request has both.
fn overruled_by(condition: Condition, fields: Fields<'_>) -> Option<Condition> {
    let other = match condition {
        Condition::IfUnmodifiedSince => Condition::IfMatch,
        Condition::IfModifiedSince => Condition::IfNoneMatch,
        Condition::IfMatch | Condition::IfNoneMatch | Condition::IfRange => return None,
    };
    [condition, other].iter().all(|each| fields.first(each.name()).is_some()).then_some(other)
}

fn overruled_text(fields: Fields<'_>) -> String {
    let overruled =
        Condition::ALL.into_iter().filter_map(|condition| Some((condition, overruled_by(condition, fields)?)));
    let text = |(condition, other): (Condition, Condition)| {
        format!("; {} is not looked at beside {} ({})", condition.name(), other.name(), condition.section())
    };
    overruled.map(text).collect()
}

fn range_text(method: Method, selection: &Selection, length: u64) -> String {
    const RULE: &str = "(RFC 9110 §14.2)";
    let asked = matches!(selection.verdict.outcome, Outcome::Proceed { range: true });
    match &selection.ranges {
        Ranges::One(range) => format!("bytes {}-{} of {length} {RULE}", range.first, range.last),
        Ranges::Several(ranges) => {
            let parts: Vec<String> = ranges.iter().map(|range| format!("{}-{}", range.first, range.last)).collect();
            format!("bytes {} of {length}, as multipart/byteranges (RFC 9110 §14.6)", parts.join(", "))
        }
        Ranges::Unsatisfiable => format!("none of it lies within {length} bytes: 416 (RFC 9110 §15.5.17)"),
        Ranges::Ignore if asked => format!("ignored: no set of byte ranges that is sensible to answer {RULE}"),
        Ranges::Ignore if method != Method::Get => format!("ignored: it means something for GET alone {RULE}"),
        Ranges::Ignore => format!("not looked at: the conditions have decided {RULE}"),
    }
}

fn explain_listing(request: &RequestHead<'_>, explanation: &mut Explanation) {
    explanation.note("file", "a folder without an index file: it is listed");
    let order = Order::asked(&request.target);
    let direction = if order.descending { "descending" } else { "ascending" };
    explanation.note("order", format_args!("by {}, {direction}", order.key.as_str()));
    explanation.note_job("read and sort its entries");
}
