//! What the program `steadfast` is made of, and its API for services that run jobs themselves: [`Api`] gives a router to
//! be mounted beside their own routes.
//!
//! Nothing else of the program is a library: all that it does is by its commands.
#![forbid(unsafe_code)]

mod api;
mod cli;
mod config;
mod crontab;
mod doctor;
#[cfg(feature = "drill")]
mod drill;
mod handlers;
mod listen;
mod process;
mod serve;
mod sql;
mod suggest;
mod time;
mod tls;
mod traffic;
mod unhandled;
mod unwritten;
mod writes;

pub use api::{Api, ApiOptions};

use std::process::ExitCode;

use clap::Parser;

/// Runs the program.
#[doc(hidden)]
pub fn main() -> ExitCode {
    match cli::Cli::try_parse() {
        Ok(cli) => cli.command.run(),
        Err(error) => cli::fail::misunderstood(&error),
    }
}
