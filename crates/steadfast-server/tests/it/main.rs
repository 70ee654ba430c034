//! The program, as a whole process.

mod alive;
mod batches;
mod cli;
mod dev;
mod exec;
mod policy;
mod serve;
