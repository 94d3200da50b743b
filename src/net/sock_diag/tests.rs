//! The parser alone, and the kernel itself.

mod kernel;
mod parser;
