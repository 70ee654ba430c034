//! `steadfast serve`: the production program.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use steadfast::settings::Problems;
use steadfast::shutdown::Limits;
use steadfast::{Program, panic};

use super::ask::print::Printer;
use super::{fail, log};
use crate::api::routes::policy::mistakes;
use crate::api::types::Mistake;
use crate::config::{self, Config, Refused};
use crate::serve;
use crate::serve::check::{self, Looker};

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

    /// Prints what was looked at as JSON, with the version of its form, for programs.
    #[arg(long, requires = "check")]
    json: bool,
}

/// What a look has found.
#[derive(Serialize)]
struct Checked {
    handlers: usize,
    schedules: usize,
    warnings: Vec<Mistake>,
}

pub(crate) fn run(options: Options) -> ExitCode {
    if options.generate_config {
        let _ = write!(std::io::stdout(), "{}", config::commented());
        return ExitCode::SUCCESS;
    }
    let looker = match options.check {
        true => Looker::Somebody,
        false => Looker::Server,
    };
    let config = match Config::load(&options.config) {
        Ok(config) => config,
        Err(error) => {
            let code = fail::tell(&error, options.json);
            let is_unread = matches!(error.downcast_ref(), Some(Refused::Unread(_)));
            // It may be on a disk that is mounted later.
            return match looker == Looker::Server && is_unread {
                true => ExitCode::FAILURE,
                false => code,
            };
        }
    };
    let found = check::look(&config, looker);
    // Whoever reads the lines of a server as JSON reads these as well.
    let is_json = if options.check {
        options.json
    } else {
        config.log.json
    };
    let problems = Problems::collect(found.problems);
    if let Some(problems) = &problems {
        if problems.has_errors() {
            let code = fail::tell(&Refused::Mistaken(problems.clone()).into(), is_json);
            return match looker == Looker::Server && !found.is_lasting {
                true => ExitCode::FAILURE,
                false => code,
            };
        }
        if !is_json {
            let _ = write!(std::io::stderr(), "{problems}");
        }
    }
    if options.check {
        let (handlers, schedules) = (config.handlers.len(), config.schedules.len());
        let checked = Checked {
            handlers,
            schedules,
            warnings: problems.as_ref().map(mistakes).unwrap_or_default(),
        };
        Printer::new(options.json).print(&checked, || {
            let well = "the configuration can be served here";
            format!("{well}: handlers {handlers}, schedules {schedules}")
        });
        return ExitCode::SUCCESS;
    }
    let _flushed = log::as_told(&config.log);
    for warning in problems.iter().flat_map(Problems::iter).filter(|_| is_json) {
        tracing::warn!(
            target: "steadfast::serve",
            file = warning.file(),
            line = warning.place().line,
            fix = warning.fix(),
            "{}",
            warning.message()
        );
    }
    // Each is told as an event: no second copy that nothing parses.
    panic::install_quiet();
    let program = Program::new().limits(limits(&config));
    program.run(async move |shutdown| serve::run(config, shutdown).await)
}

/// Gives jobs their time, then the slowest handler the time that it has to end, and the whole the sum.
///
/// Runs are told to end when their time is up, which is when the drain of the core begins. It waits for all that this program
/// does; what comes after it drops that, and with it the programs that still end.
fn limits(config: &Config) -> Limits {
    let limits = Limits::default();
    let ending = config.handlers.values().map(serve::ending_of).max();
    let drain_core = limits.drain_core.saturating_add(ending.unwrap_or_default());
    let parts = [
        config.not_ready,
        limits.stop_accepting,
        config.drain,
        drain_core,
        limits.cancel,
        limits.cleanup,
    ];
    let sum = parts.iter().fold(Duration::from_secs(5), |sum, part| {
        sum.saturating_add(*part)
    });
    Limits {
        not_ready: config.not_ready,
        drain_lower: config.drain,
        drain_core,
        hard: sum,
        ..limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_program_has_its_time_to_end_before_anything_is_dropped() {
        let dir = std::env::temp_dir().join(format!("steadfast-limits-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("steadfast.toml");
        let of = |name: &str, stop_within: &str| {
            format!("[handlers.{name}]\nexec = [\"true\"]\nstop_within = \"{stop_within}\"\n")
        };
        std::fs::write(&file, of("a", "1s") + &of("b", "60s")).unwrap();
        let config = Config::load(&[file]).unwrap();
        std::fs::remove_dir_all(dir).unwrap();

        let limits = limits(&config);

        // To end, to be killed, and to be handed back.
        let slowest = serve::ending_of(&config.handlers["b"]) + Duration::from_secs(10);
        assert_eq!(limits.drain_core, slowest);
        assert_eq!(limits.cancel, Limits::default().cancel);
        let all = config.not_ready
            + limits.stop_accepting
            + config.drain
            + limits.drain_core
            + limits.cancel
            + limits.cleanup;
        assert_eq!(limits.hard, all + Duration::from_secs(5));
    }
}
