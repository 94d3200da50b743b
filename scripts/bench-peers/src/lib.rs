//! What several programs of this crate need.

pub mod tls;
