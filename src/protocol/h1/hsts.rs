//! HTTP Strict Transport Security: a browser is told to use HTTPS alone for a while (RFC 6797).

use crate::http::message::Response;

const NAME: &str = "Strict-Transport-Security";
const NAME_IN_LOWER_CASE: &[u8] = b"strict-transport-security";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// The field line, as it stands in the head of a response.
#[derive(Debug)]
pub struct Hsts {
    /// The line, and the empty one that ends the head.
    line: Box<[u8]>,
    value: Box<[u8]>,
}

impl Hsts {
    /// For so many seconds. 0 takes back what was said before (RFC 6797 §6.1.1).
    pub fn new(seconds: u32) -> Hsts {
        let value = format!("max-age={seconds}");
        Hsts { line: format!("{NAME}: {value}\r\n\r\n").into_bytes().into(), value: value.into_bytes().into() }
    }

    /// Adds the line to a head that is complete, unless the response has it: there must be one at most (RFC 6797 §7.1). It
    /// must go over TLS only (§7.2).
    pub fn add_to(&self, head: &mut Vec<u8>, response: &Response) {
        if !has_it(response) && head.ends_with(END_OF_HEAD) {
            head.truncate(head.len() - END_OF_HEAD.len() / 2);
            head.extend_from_slice(&self.line);
        }
    }

    /// Name and value of the field for HTTP/2, unless the response has it.
    pub fn field_for(&self, response: &Response) -> Option<(&[u8], &[u8])> {
        (!has_it(response)).then_some((NAME_IN_LOWER_CASE, &self.value))
    }
}

fn has_it(response: &Response) -> bool {
    let is_it = |name: &[u8]| name.eq_ignore_ascii_case(NAME.as_bytes());
    response.prepared.iter().any(|(name, _)| is_it(name))
        || response.fields.iter().any(|(name, _)| is_it(name.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::{FieldName, FieldSet, FieldValue};
    use crate::http::status::Status;

    #[test]
    fn a_response_has_the_field_once() {
        let head = |response: &Response| {
            let mut head = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n".to_vec();
            Hsts::new(300).add_to(&mut head, response);
            String::from_utf8(head).unwrap()
        };
        let response = || Response::new(Status::OK);
        let with = "HTTP/1.1 200 OK\r\nServer: x\r\nStrict-Transport-Security: max-age=300\r\n\r\n";
        assert_eq!(head(&response()), with);
        let own = (FieldName::from_static("strict-transport-security"), FieldValue::from_static("max-age=1"));
        let without = "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n";
        assert_eq!(head(&response().with_prepared(FieldSet::new([(&own.0, &own.1)]))), without);
        assert_eq!(head(&response().with_field(own.0, own.1)), without);
    }

    /// `Response::head_bytes_max` reserves room for what the protocol adds.
    #[test]
    fn the_longest_line_is_short() {
        assert_eq!(Hsts::new(u32::MAX).line.len(), 47 + 2);
    }
}
