//! `steadfast serve`: the production program.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use steadfast::shutdown::Limits;
use steadfast::{Program, panic};

use super::log;
use crate::api::check_exposure;
use crate::config::{self, Config};
use crate::serve;

/// The exit code when the configuration is refused: 78, as `EX_CONFIG` of `sysexits.h`.
const REFUSED: u8 = 78;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What it is told; further files add handlers and schedules.
    #[arg(long, value_name = "FILE", default_value = "steadfast.toml")]
    config: Vec<PathBuf>,

    /// Writes a file with everything that can be said, and what holds if it is not.
    #[arg(long, conflicts_with_all = ["config", "check"])]
    generate_config: bool,

    /// Reads the files, says what is wrong with them, and ends.
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
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            return ExitCode::from(REFUSED);
        }
    };
    if options.check {
        if let Err(error) = check_exposure(&config.api) {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            return ExitCode::from(REFUSED);
        }
        return ExitCode::SUCCESS;
    }
    log::as_told(&config.log);
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
