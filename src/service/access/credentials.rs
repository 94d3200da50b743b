//! What a request says about who sends it: `Authorization` (RFC 9110 §11.6.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::http::fields::{Fields, trim_ows};

/// The credentials of a request.
#[derive(PartialEq, Eq)]
pub enum Credentials<'a> {
    /// None that can be used: no field, another scheme, more than one field, or text that is no credentials of its scheme.
    None(&'static str),
    /// A user and a password (RFC 7617).
    Basic(UserPass),
    /// A token (RFC 6750 §2.1), or what stands in its place.
    Bearer(&'a [u8]),
}

/// `user:password`. It is not printed.
#[derive(PartialEq, Eq)]
pub struct UserPass {
    text: Vec<u8>,
    /// Where the colon is.
    colon: usize,
}

impl UserPass {
    /// The user's name.
    pub fn user(&self) -> &[u8] {
        &self.text[..self.colon]
    }

    /// The password.
    pub fn password(&self) -> &[u8] {
        &self.text[self.colon + 1..]
    }
}

impl<'a> Credentials<'a> {
    /// Those of a request with these fields.
    pub fn of(fields: Fields<'a>) -> Credentials<'a> {
        let mut lines = fields.all("authorization");
        let Some(line) = lines.next() else { return Credentials::None("there is no Authorization") };
        // What comes behind us may read another of them.
        if lines.next().is_some() {
            return Credentials::None("there is more than one Authorization");
        }
        let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (scheme, rest) = (&line[..end], trim_ows(&line[end..]));
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return Credentials::Bearer(rest);
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return Credentials::None("the scheme of Authorization is neither Basic nor Bearer");
        }
        let user_pass = STANDARD.decode(rest).ok().and_then(|text| {
            let colon = memchr::memchr(b':', &text)?;
            Some(UserPass { text, colon })
        });
        user_pass.map_or(Credentials::None("what follows Basic is no user and password in base64"), Credentials::Basic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sections::Section;

    /// How the credentials of these lines are read.
    fn read(lines: &[(&str, &str)]) -> String {
        match Credentials::of(Section::of(lines).fields()) {
            Credentials::None(why) => why.into(),
            Credentials::Basic(pair) => {
                format!("{:?}", [pair.user(), pair.password()].map(|part| part.escape_ascii().to_string()))
            }
            Credentials::Bearer(token) => format!("token {}", token.escape_ascii()),
        }
    }

    #[test]
    fn credentials_are_read() {
        // The first two are the examples of RFC 7617 §2 and §2.1.
        for (value, told) in [
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", r#"["Aladdin", "open sesame"]"#),
            ("Basic dGVzdDoxMjPCow==", r#"["test", "123\\xc2\\xa3"]"#),
            ("bASIC  YTpiOmM=", r#"["a", "b:c"]"#),
            ("basic Og==", r#"["", ""]"#),
            ("Bearer mF_9.B5f-4.1JqM", "token mF_9.B5f-4.1JqM"),
            ("bearer   x y ", "token x y"),
            ("Bearer", "token "),
            ("Basic", "what follows Basic is no user and password in base64"),
            ("Basic YWJj", "what follows Basic is no user and password in base64"),
            ("Basic YTpi YTpi", "what follows Basic is no user and password in base64"),
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", "what follows Basic is no user and password in base64"),
            ("Digest username=a", "the scheme of Authorization is neither Basic nor Bearer"),
            ("BasicYTpi", "the scheme of Authorization is neither Basic nor Bearer"),
            ("", "the scheme of Authorization is neither Basic nor Bearer"),
        ] {
            assert_eq!(read(&[("Authorization", value)]), told, "{value}");
        }
    }

    #[test]
    fn two_fields_are_none() {
        assert_eq!(read(&[]), "there is no Authorization");
        let line = ("Authorization", "Basic YTpi");
        assert_eq!(read(&[line, ("authorization", "Bearer x")]), "there is more than one Authorization");
    }
}
