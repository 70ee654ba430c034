//! What a robust process needs before it has a network or a database.

pub mod decide;
