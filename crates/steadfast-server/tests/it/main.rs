//! The program, as a whole process.

mod alive;
mod batches;
mod cli;
mod dev;
#[cfg(feature = "drill")]
mod drill;
mod exec;
mod policy;
mod serve;
