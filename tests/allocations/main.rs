//! What the server allocates, counted: nothing for a request, and little for a connection.
#![allow(clippy::unwrap_used)]

mod requests;
mod slots;
