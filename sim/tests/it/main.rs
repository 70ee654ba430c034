//! Tests of the repository as a whole.

mod s4;
mod tidy;
