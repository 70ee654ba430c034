//! The program `steadfast`.
#![forbid(unsafe_code)]

mod api;
mod cli;
mod config;
mod crontab;
mod doctor;
#[cfg(feature = "drill")]
mod drill;
mod handlers;
mod process;
mod serve;
mod sql;
mod suggest;
mod time;
mod tls;
mod traffic;
mod writes;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli.command.run()
}
