//! Tests of the repository as a whole.

mod s8;
mod scenarios;

mod tidy;
