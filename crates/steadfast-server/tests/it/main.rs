//! The program, as a whole process.

mod alive;
mod batches;
mod cli;
mod db;
mod dev;
mod doctor;
#[cfg(feature = "drill")]
mod drill;
mod exec;
mod json;
mod mounted;
mod pages;
mod policy;
mod serve;
