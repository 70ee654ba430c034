//! `steadfast drill`: hurts a shop of its own, and tells whether its customers noticed.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use steadfast::shutdown::Phase;

use super::{fail, log};
use crate::drill::print::{self, Report};
use crate::drill::{self, Pace, Plan, Play, Scenario};

/// The exit code when a criterion is missed.
const MISSED: u8 = 3;

/// Hurts a shop of its own on purpose, and tells whether its customers noticed: about a minute
///
/// A shop, its payment gateway and its workers are started as processes of their own, on loopback, with
/// books in a folder that goes away. Customers come by a schedule that waits for nobody, while handlers
/// panic, the gateway hangs, five times the load comes, a worker is killed, and the shop is told to end.
/// What was measured is compared with what is promised. The exit code is 3 when a criterion is missed.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// Plays also what takes longer: two minutes in all.
    #[arg(long, conflicts_with_all = ["only", "short"])]
    all: bool,

    /// Plays these alone, and the usual load before them, which they are compared with.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Scenario>,

    /// Plays a part, in fewer seconds: for tests.
    #[arg(long, conflicts_with = "only")]
    short: bool,

    /// Hurts the same shop without its protections as well, and shows both side by side.
    #[arg(long)]
    compare: bool,

    /// Hurts nothing, and tells what there is, with what is asked for in each.
    #[arg(long, conflicts_with_all = ["all", "only", "short", "compare", "md", "junit", "keep"])]
    list: bool,

    /// Tells it as JSON.
    #[arg(long, conflicts_with = "md")]
    json: bool,

    /// Tells it as a table in Markdown.
    #[arg(long)]
    md: bool,

    /// Writes the criteria as tests into this file, too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Keeps books and logs in this folder, which must not be there yet.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

pub(crate) fn run(options: Options) -> ExitCode {
    if options.list {
        let text = match options.json {
            true => format!("{:#}\n", print::json_list()),
            false => print::list(),
        };
        let _ = std::io::stdout().write_all(text.as_bytes());
        return ExitCode::SUCCESS;
    }
    log::to_stderr("error");
    let json = options.json;
    let done = Arc::new(Mutex::new(None));
    let to = done.clone();
    let ended = steadfast::run(async move |shutdown| {
        let drilled = tokio::select! {
            drilled = drill(&options) => drilled,
            _ = shutdown.reached(Phase::NotReady) => Err(anyhow::anyhow!("the drill was interrupted")),
        };
        *to.lock().expect("nobody panics with it") = Some(drilled);
        Ok::<_, anyhow::Error>(())
    });
    let done = done.lock().expect("nobody panics with it").take();
    match done {
        Some(Ok(true)) => ExitCode::SUCCESS,
        Some(Ok(false)) => ExitCode::from(MISSED),
        Some(Err(error)) => fail::tell(&error, json),
        None => ended,
    }
}

/// Plays it, tells it, and says whether every criterion is met.
async fn drill(options: &Options) -> anyhow::Result<bool> {
    // Told now, and not after a minute.
    if let Some(file) = &options.junit {
        let writable = std::fs::File::create(file);
        writable.with_context(|| format!("cannot write {}", file.display()))?;
    }
    let folder = Folder::make(options.keep.as_deref())?;
    let scenarios = scenarios(options);
    let play = async |protected: bool| -> anyhow::Result<Play> {
        let kept = scenarios.iter().copied();
        let plan = Plan {
            scenarios: kept.filter(|it| protected || it.is_for_both()).collect(),
            pace: if options.short {
                Pace::Short
            } else {
                Pace::Whole
            },
            protected,
            folder: folder.path.join(if protected {
                "protected"
            } else {
                "unprotected"
            }),
        };
        let progress = Progress::new(protected, plan.scenarios.len());
        let played = drill::play(&plan, |scenario| progress.begin(scenario)).await;
        progress.clear();
        played
    };
    let protected = play(true).await?;
    let unprotected = match options.compare {
        true => Some(play(false).await?),
        false => None,
    };
    let report = Report {
        protected,
        unprotected,
    };
    tell(options, &report)?;
    Ok(report.is_met())
}

/// Which are played, in their order.
fn scenarios(options: &Options) -> Vec<Scenario> {
    let mut scenarios = match (options.all, options.short) {
        (true, _) => Scenario::all(),
        (_, true) => Scenario::SHORT.to_vec(),
        _ => Scenario::USUAL.to_vec(),
    };
    if !options.only.is_empty() {
        scenarios = options.only.clone();
        scenarios.push(Scenario::Calm);
        scenarios.sort_unstable();
        scenarios.dedup();
    }
    scenarios
}

fn tell(options: &Options, report: &Report) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    let text = match (options.json, options.md) {
        (true, _) => format!("{:#}\n", print::json(report)),
        (_, true) => print::md(report),
        _ => print::text(report, stdout.is_terminal() && colors()),
    };
    stdout.write_all(text.as_bytes())?;
    if let Some(file) = &options.junit {
        let written = std::fs::write(file, print::junit(report));
        written.with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Whether colors are welcome: `NO_COLOR` set to anything says no.
fn colors() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Where books and logs are.
struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    fn make(kept: Option<&Path>) -> anyhow::Result<Self> {
        let path = kept.map_or_else(
            || {
                std::env::temp_dir()
                    .join(format!("steadfast-drill-{:016x}", steadfast::rng::bits()))
            },
            Path::to_owned,
        );
        // One that is there may be that of a real shop.
        let made = std::fs::create_dir(&path);
        made.with_context(|| format!("cannot make the folder {}", path.display()))?;
        let kept = kept.is_some();
        Ok(Self { path, kept })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// One line that says what is going on, where somebody looks on.
struct Progress {
    shown: bool,
    protected: bool,
    all: usize,
    begun: std::cell::Cell<usize>,
}

impl Progress {
    fn new(protected: bool, all: usize) -> Self {
        let shown = std::io::stderr().is_terminal();
        let begun = std::cell::Cell::new(0);
        Self {
            shown,
            protected,
            all,
            begun,
        }
    }

    fn begin(&self, scenario: Scenario) {
        self.begun.set(self.begun.get() + 1);
        if self.shown {
            let which = if self.protected {
                ""
            } else {
                "without protections: "
            };
            let (at, all, title) = (self.begun.get(), self.all, scenario.title());
            let _ = write!(std::io::stderr(), "\r\x1b[K[{at}/{all}] {which}{title} …");
        }
    }

    fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
