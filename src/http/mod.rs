//! What HTTP means, whatever the version on the wire (RFC 9110): methods, status codes, fields, targets, messages and
//! bodies. Pure values and functions: nothing here knows a socket, and time is an argument.

pub mod authority;
pub mod body;
pub mod conditional;
pub mod date;
pub mod etag;
pub mod exchange;
pub mod fields;
pub mod forwarded;
pub mod media_type;
pub mod message;
pub mod method;
pub mod negotiate;
pub mod range;
pub mod status;
pub mod target;
pub mod upstream;

#[cfg(test)]
mod oracle;
#[cfg(test)]
pub mod sections;
