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
            let code = fail::tell(&error, false);
            let is_unread = matches!(error.downcast_ref(), Some(Refused::Unread(_)));
            // It may be on a disk that is mounted later.
            return match looker == Looker::Server && is_unread {
                true => ExitCode::FAILURE,
                false => code,
            };
        }
    };
    let found = check::look(&config, looker);
    if let Some(problems) = Problems::collect(found.problems) {
        if problems.has_errors() {
            let code = fail::tell(&Refused::Mistaken(problems).into(), false);
            return match looker == Looker::Server && !found.is_lasting {
                true => ExitCode::FAILURE,
                false => code,
            };
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
