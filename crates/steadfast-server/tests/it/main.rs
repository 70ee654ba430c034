//! The program, as a whole process.

mod cli;
mod dev;
mod exec;
