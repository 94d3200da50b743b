//! What HTTP means, whatever the version on the wire (RFC 9110): methods, status codes, fields, targets, messages and
//! bodies. Pure values and functions: nothing here knows a socket, and time is an argument.

pub mod body;
pub mod date;
pub mod fields;
pub mod message;
pub mod method;
pub mod status;
pub mod target;
