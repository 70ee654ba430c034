//! The program `steadfast`.
#![forbid(unsafe_code)]

mod cli;
mod config;
mod handlers;
mod process;
mod serve;
mod time;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli.command.run()
}
