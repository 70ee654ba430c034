//! The command line: one file per command.

mod admin;
pub(crate) mod ask;
mod batches;
mod db;
mod dev;
mod doctor;
#[cfg(feature = "drill")]
mod drill;
mod exec;
pub(crate) mod fail;
mod ids;
mod import;
pub(crate) mod log;
mod progress;
#[cfg(test)]
mod reference;
mod screen;
mod serve;
mod shell;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::process::launch::Launch;
use crate::process::warden::post;

/// Keeps services up.
#[derive(Debug, Parser)]
#[command(name = "steadfast", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What commands take that work on the store of a server instead of asking it.
#[derive(Debug, clap::Args)]
struct OfServer {
    /// The configuration of the server, which says where the store is.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "steadfast.toml"
    )]
    config: PathBuf,

    /// Prints JSON, with the version of its form, for programs.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a small shop that you can hurt, and shows what becomes of it.
    Dev(dev::Options),
    #[cfg(feature = "drill")]
    Drill(drill::Options),
    /// Runs schedules and jobs, as a file says.
    Serve(serve::Options),
    /// Finds what is wrong with a configuration, a service or a project, and says how to put it right.
    Doctor(doctor::Options),
    /// Finds how many rows a batch should have.
    #[command(subcommand)]
    Batches(batches::Command),
    /// Reads ids, hands them out, and proves that none is there twice.
    Ids(ids::Options),
    /// Runs a program of yours, and keeps it up.
    Exec(exec::Options),
    /// Shows how a server and its store are.
    Status(ask::status::Watching),
    /// Looks at jobs, and changes what becomes of them.
    Jobs {
        #[command(flatten)]
        ask: ask::Options,
        #[command(subcommand)]
        command: ask::jobs::Command,
    },
    /// Looks at schedules, and changes them.
    Schedules {
        #[command(flatten)]
        ask: ask::Options,
        #[command(subcommand)]
        command: ask::schedules::Command,
    },
    /// Looks at the processes that share the store.
    Nodes {
        #[command(flatten)]
        ask: ask::Options,
        #[command(subcommand)]
        command: ask::nodes::Command,
    },
    /// Looks at what has panicked in a server.
    Panics {
        #[command(flatten)]
        ask: ask::Options,
        #[command(subcommand)]
        command: ask::panics::Command,
    },
    /// Looks at what a service serves and calls, and takes a hand to it for a while.
    Routes {
        #[command(flatten)]
        ask: ask::Options,
        #[command(subcommand)]
        command: ask::routes::Command,
    },
    /// Looks at the policy of a service, checks one, and puts another in force.
    Policy {
        #[command(flatten)]
        ask: ask::Options,
        #[command(subcommand)]
        command: ask::policy::Command,
    },
    /// Looks at who did what.
    Audit {
        #[command(flatten)]
        ask: ask::Options,
        #[command(subcommand)]
        command: ask::audit::Command,
    },
    /// Says who may use the API.
    Admin(admin::Options),
    /// Brings the tables of the store up to date, and copies it.
    Db(db::Options),
    /// Writes what a shell needs to complete commands.
    Completions(shell::Completions),
    /// Writes the pages of the manual.
    Man(shell::Man),
    /// Becomes a program that dies with its supervisor; `exec` uses it.
    #[command(hide = true)]
    Launch(Launch),
    /// Ends what programs have started when their supervisor has died; `serve` and `exec` use it.
    #[command(hide = true)]
    Warden,
    #[cfg(feature = "drill")]
    #[command(hide = true)]
    DrillPart(crate::drill::part::Options),
}

impl Command {
    pub(crate) fn run(self) -> ExitCode {
        match self {
            Command::Dev(options) => dev::run(options),
            #[cfg(feature = "drill")]
            Command::Drill(options) => drill::run(options),
            Command::Serve(options) => serve::run(options),
            Command::Doctor(options) => doctor::run(options),
            Command::Batches(command) => command.run(),
            Command::Ids(options) => ids::run(options),
            Command::Exec(options) => exec::run(options),
            Command::Status(options) => ask::status::run(&options),
            Command::Jobs { ask, command } => ask::jobs::run(&ask, command),
            Command::Schedules { ask, command } => ask::schedules::run(&ask, command),
            Command::Nodes { ask, command } => ask::nodes::run(&ask, command),
            Command::Panics { ask, command } => ask::panics::run(&ask, command),
            Command::Routes { ask, command } => ask::routes::run(&ask, command),
            Command::Policy { ask, command } => ask::policy::run(&ask, command),
            Command::Audit { ask, command } => ask::audit::run(&ask, command),
            Command::Admin(options) => admin::run(options),
            Command::Db(options) => db::run(options),
            Command::Completions(options) => shell::completions(&options),
            Command::Man(options) => shell::man(&options),
            Command::Launch(launch) => launch.run(),
            Command::Warden => post::run(),
            #[cfg(feature = "drill")]
            Command::DrillPart(options) => crate::drill::part::run(options),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn every_command_fits_together() {
        super::Cli::command().debug_assert();
    }
}
