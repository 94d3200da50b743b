//! `--https-redirect`: what plain listeners answer when everything is to go over HTTPS.

use super::errors::{Detail, bad_request};
use crate::http::authority;
use crate::http::fields::{FieldValue, LOCATION};
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::http::target::TargetForm;

/// Where an authority that issues certificates looks for the proof that a name is ours (RFC 8555 §8.3). It begins at a plain
/// listener, and must find the proof also when no certificate for the name is there yet.
const ACME: &[u8] = b"/.well-known/acme-challenge/";
/// The port of `https` (RFC 9110 §4.2.2), which stands in no URL.
const DEFAULT_PORT: u16 = 443;

/// Redirects requests to a listener with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpsRedirect {
    /// The port of that listener.
    port: u16,
}

impl HttpsRedirect {
    /// To the listener with this `port`, or with none, as on a Unix socket: then to the default port.
    pub fn new(port: Option<u16>) -> HttpsRedirect {
        HttpsRedirect { port: port.unwrap_or(DEFAULT_PORT) }
    }

    /// The answer to a request on a plain listener: 308, which keeps method and content (RFC 9110 §15.4.9). `None` if the
    /// request is not redirected: it proves a name, or is for no resource.
    pub fn answer(self, request: &RequestHead<'_>) -> Option<Response> {
        let target = &request.target;
        let is_for_a_resource = matches!(target.form, TargetForm::Origin | TargetForm::Absolute);
        if !is_for_a_resource || is_proof(target.path) {
            return None;
        }
        let authority = request.authority().unwrap_or_default();
        let Some(host) = authority::host(authority) else {
            let hint = "a redirect to https: needs the name of the host";
            return Some(bad_request("no_host", [("hint", Detail::Text(hint))]));
        };
        let mut location = format!("https://{host}").into_bytes();
        if self.port != DEFAULT_PORT {
            location.extend(format!(":{}", self.port).bytes());
        }
        location.extend_from_slice(target.path);
        if let Some(query) = target.query {
            location.push(b'?');
            location.extend_from_slice(query);
        }
        // Its bytes were those of a request target, so they are those of a field value, too.
        let location = FieldValue::new(location).ok()?;
        Some(Response::new(Status::PERMANENT_REDIRECT).with_field(LOCATION, location))
    }
}

/// Whether the path is that of a proof. Its name is a token in base64url, so no dots lead from there to anything else.
fn is_proof(path: &[u8]) -> bool {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    path.strip_prefix(ACME).is_some_and(|token| !token.is_empty() && token.iter().all(is_of_token))
}
