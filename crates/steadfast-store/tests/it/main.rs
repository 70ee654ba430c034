//! The store through its public API, on every database.

mod conformance;
mod copy;
mod foreign;
mod migrate;
mod node;
mod pool;
mod prepare;
mod process;
mod sink;
mod traps;
mod trouble;
