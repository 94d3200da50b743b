//! Files.
pub mod cache;
pub mod resolve;
