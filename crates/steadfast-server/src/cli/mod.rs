//! The command line: one file per command.

mod dev;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
}

impl Command {
    pub(crate) fn run(self) -> ExitCode {
        match self {
            Command::Dev(options) => dev::run(options),
        }
    }
}
