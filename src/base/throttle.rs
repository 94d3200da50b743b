//! Keeps a peer from filling the log.
