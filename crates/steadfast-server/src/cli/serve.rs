//! `steadfast serve`: the production program.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use steadfast::settings::Problems;
use steadfast::shutdown::Limits;
use steadfast::{Program, panic};

use super::{fail, log};
use crate::config::{self, Config, Refused};
use crate::serve;
use crate::serve::check::{self, Lacks};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What it is told; further files add handlers and schedules.
    #[arg(long, value_name = "FILE", default_value = "steadfast.toml")]
    config: Vec<PathBuf>,

    /// Writes a file with everything that can be said, and what holds if it is not.
    #[arg(long, conflicts_with_all = ["config", "check"])]
    generate_config: bool,

    /// Reads the files, looks whether this machine has what they name, says what is wrong, and ends.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(options: Options) -> ExitCode {
    if options.generate_config {
        let _ = write!(std::io::stdout(), "{}", config::commented());
        return ExitCode::SUCCESS;
    }
    let config = match Config::load(&options.config) {
        Ok(config) => config,
        Err(error) => return fail::tell(&error, false),
    };
    let lacks = match options.check {
        true => Lacks::Told,
        false => Lacks::Refused,
    };
    if let Some(problems) = Problems::collect(check::look(&config, lacks)) {
        if problems.has_errors() {
            return fail::tell(&Refused::Mistaken(problems).into(), false);
        }
        let _ = write!(std::io::stderr(), "{problems}");
    }
    if options.check {
        let (handlers, schedules) = (config.handlers.len(), config.schedules.len());
        let well = "the configuration can be served here";
        let _ = writeln!(
            std::io::stdout(),
            "{well}: handlers {handlers}, schedules {schedules}"
        );
        return ExitCode::SUCCESS;
    }
    let _flushed = log::as_told(&config.log);
    // Each is told as an event: no second copy that nothing parses.
    panic::install_quiet();
    let program = Program::new().limits(limits(&config));
    program.run(async move |shutdown| serve::run(config, shutdown).await)
}

/// Gives jobs their time, what was told to end the time of the slowest handler, and the whole the sum.
fn limits(config: &Config) -> Limits {
    let limits = Limits::default();
    let ending = config.handlers.values().map(serve::ending_of).max();
    let cancel = limits.cancel.saturating_add(ending.unwrap_or_default());
    let parts = [
        config.not_ready,
        limits.stop_accepting,
        config.drain,
        limits.drain_core,
        cancel,
        limits.cleanup,
    ];
    let sum = parts.iter().fold(Duration::from_secs(5), |sum, part| {
        sum.saturating_add(*part)
    });
    Limits {
        not_ready: config.not_ready,
        drain_lower: config.drain,
        cancel,
        hard: sum,
        ..limits
    }
}
