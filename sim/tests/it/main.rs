//! Tests of the repository as a whole.

mod s4;
mod s8;
mod scenarios;

mod tidy;
