//! The command line: one file per command.

mod batches;
mod dev;
mod exec;
mod log;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::process::launch::Launch;

/// Keeps services up.
#[derive(Debug, Parser)]
#[command(name = "steadfast", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a small shop that you can hurt, and shows what becomes of it.
    Dev(dev::Options),
    /// Runs schedules and jobs, as a file says.
    Serve(serve::Options),
    /// Finds how many rows a batch should have.
    #[command(subcommand)]
    Batches(batches::Command),
    /// Runs a program of yours, and keeps it up.
    Exec(exec::Options),
    /// Becomes a program that dies with its supervisor; `exec` uses it.
    #[command(hide = true)]
    Launch(Launch),
}

impl Command {
    pub(crate) fn run(self) -> ExitCode {
        match self {
            Command::Dev(options) => dev::run(options),
            Command::Serve(options) => serve::run(options),
            Command::Batches(command) => command.run(),
            Command::Exec(options) => exec::run(options),
            Command::Launch(launch) => launch.run(),
        }
    }
}
