//! The store through its public API, on every database.

mod conformance;
mod foreign;
mod node;
mod prepare;
mod process;
mod traps;
mod trouble;
