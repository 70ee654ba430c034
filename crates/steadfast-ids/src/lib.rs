//! Unique, ordered ids, with or without a database.
#![forbid(unsafe_code)]
