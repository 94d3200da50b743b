//! Files of a folder, and the folder itself.

pub mod compress;
pub mod listing;
