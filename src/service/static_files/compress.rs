//! Compression of whole files: done once for each version of a file, on a job thread, and kept.
