//! `steadfast db`: the tables of the store, and copies of it.

mod postgres;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde::Serialize;
use steadfast::store::{Config, Dialect, Package, Place, Store, copy};
use steadfast::{clock, ids, jobs, store};

use super::ask::print::{Printer, table};
use super::progress::{self, Progress};
use super::{OfServer, fail};
use crate::config;
use crate::{sql, time};
use postgres::Postgres;

/// Everything of ours that is in the store of a server with this configuration.
fn packages(config: &config::Config) -> Vec<&'static Package> {
    let mut packages = vec![&store::PACKAGE, &jobs::PACKAGE, &sql::PACKAGE];
    packages.extend(config.ids.as_ref().map(|_| &ids::PACKAGE));
    packages
}

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    server: OfServer,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Brings the tables up to date; servers go on meanwhile.
    Migrate {
        /// Only tells which steps are missing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Tells which steps of the tables there are, here and in the store; changes nothing.
    Status,
    /// Writes a copy of the store, as of one moment; servers go on meanwhile.
    Backup {
        /// The file of the copy, which must not be there.
        #[arg(value_name = "FILE")]
        to: PathBuf,
    },
    /// Puts a copy in place of the store, once no process uses that; what was there is kept on SQLite.
    Restore {
        /// The copy.
        #[arg(value_name = "FILE")]
        from: PathBuf,
        /// Goes on without asking.
        #[arg(long)]
        yes: bool,
        /// Only tells what it would replace, if no process uses that.
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
    },
}

pub(crate) fn run(options: Options) -> ExitCode {
    let printer = Printer::new(options.server.json);
    let work = || -> anyhow::Result<()> {
        let config = config::Config::load(std::slice::from_ref(&options.server.config))?;
        let place = config.store.config("steadfast db")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let packages = packages(&config);
        runtime.block_on(act(place, &packages, options.command, &printer))
    };
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail::tell(&error, options.server.json),
    }
}

async fn act(
    place: Config,
    packages: &[&'static Package],
    command: Command,
    printer: &Printer,
) -> anyhow::Result<()> {
    match command {
        Command::Migrate { dry_run: true } => missing(place, packages, printer).await,
        Command::Migrate { dry_run: false } => migrate(place, packages, printer).await,
        Command::Status => status(place, packages, printer).await,
        Command::Backup { to } => match &place.place {
            Place::Sqlite(path) => back_up(path, &to, printer).await,
            _ => Postgres::of(&place)?.back_up(&to, printer),
        },
        Command::Restore { from, yes, dry_run } => {
            // A file that is not there is told before anything is asked.
            let found = std::fs::metadata(&from);
            found.with_context(|| format!("cannot read {}", from.display()))?;
            if dry_run {
                return would_restore(place, &from, printer).await;
            }
            match &place.place {
                Place::Sqlite(path) => restore(&from, path, packages, yes, printer).await,
                _ => {
                    let postgres = Postgres::of(&place)?;
                    unused(place).await?;
                    confirm(&postgres.name(), yes)?;
                    postgres.restore(&from, printer)
                }
            }
        }
    }
}

#[derive(Debug, Serialize)]
struct Tables {
    store: &'static str,
    steps: Vec<TablesStep>,
}

#[derive(Debug, Serialize)]
struct TablesStep {
    package: &'static str,
    step: String,
    /// `applied`, `missing`, or `newer` for one that this program does not know.
    state: &'static str,
}

async fn steps(store: &Store, packages: &[&'static Package]) -> anyhow::Result<Tables> {
    let mut steps = Vec::new();
    for package in packages {
        for step in store.migrations(package).await? {
            steps.push(TablesStep {
                package: package.name,
                step: step.name,
                state: match (step.is_applied, step.is_known) {
                    (true, true) => "applied",
                    (true, false) => "newer",
                    (false, _) => "missing",
                },
            });
        }
    }
    let store = match store.dialect() {
        Dialect::Sqlite => "sqlite",
        Dialect::Postgres => "postgres",
    };
    Ok(Tables { store, steps })
}

async fn migrate(
    place: Config,
    packages: &[&'static Package],
    printer: &Printer,
) -> anyhow::Result<()> {
    let place = Config {
        migrate: true,
        ..place
    };
    let store = Store::open(place).await?;
    let done = async {
        for package in packages {
            store.migrate(package).await?;
        }
        steps(&store, packages).await
    };
    let done = done.await;
    store.close().await;
    let tables = done?;
    printer.print(&tables, || {
        format!("all {} steps of the tables are applied", tables.steps.len())
    });
    Ok(())
}

/// Tells which steps are missing; changes nothing, and makes no file.
async fn missing(
    place: Config,
    packages: &[&'static Package],
    printer: &Printer,
) -> anyhow::Result<()> {
    let mut tables = match is_there(&place)? {
        true => {
            let store = Store::open(Config {
                migrate: false,
                ..place
            });
            let store = store.await?;
            let tables = steps(&store, packages).await;
            store.close().await;
            tables?
        }
        false => Tables {
            store: "sqlite",
            steps: all_missing(packages),
        },
    };
    tables.steps.retain(|step| step.state == "missing");
    printer.print(&tables, || {
        let steps = tables.steps.iter();
        let names: Vec<_> = steps
            .map(|step| format!("{} {}", step.package, step.step))
            .collect();
        match names.is_empty() {
            true => "no step is missing".to_owned(),
            false => format!(
                "{} steps would be applied: {}\nnothing was changed",
                names.len(),
                names.join(", ")
            ),
        }
    });
    Ok(())
}

fn all_missing(packages: &[&'static Package]) -> Vec<TablesStep> {
    let steps = packages.iter().flat_map(|package| {
        package.migrations.iter().map(|step| TablesStep {
            package: package.name,
            step: step.name().to_owned(),
            state: "missing",
        })
    });
    steps.collect()
}

/// Whether there is a store; of one on PostgreSQL that is seen when it is opened.
fn is_there(place: &Config) -> anyhow::Result<bool> {
    match fail::NoStore::check(place) {
        Ok(()) => Ok(true),
        Err(error) if error.downcast_ref::<fail::NoStore>().is_some() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Tells what a copy would take the place of, if no process uses that; changes nothing.
async fn would_restore(place: Config, from: &Path, printer: &Printer) -> anyhow::Result<()> {
    let name = match &place.place {
        Place::Sqlite(path) => path.display().to_string(),
        _ => Postgres::of(&place)?.name(),
    };
    if is_there(&place)? {
        unused(place).await?;
    }
    let bytes = std::fs::metadata(from)?.len();
    let told = serde_json::json!({ "replaces": name, "file": from, "bytes": bytes });
    printer.print(&told, || {
        format!(
            "all of {name} would be replaced by {}, which has {}\nnothing was changed",
            from.display(),
            progress::size(bytes)
        )
    });
    Ok(())
}

async fn status(
    place: Config,
    packages: &[&'static Package],
    printer: &Printer,
) -> anyhow::Result<()> {
    // A look makes no file.
    fail::NoStore::check(&place)?;
    let place = Config {
        migrate: false,
        ..place
    };
    let store = Store::open(place).await?;
    let tables = steps(&store, packages).await;
    store.close().await;
    let tables = tables?;
    printer.print(&tables, || {
        let rows = tables.steps.iter().map(|step| {
            [
                step.package.to_owned(),
                step.step.clone(),
                step.state.to_owned(),
            ]
        });
        table(["PACKAGE", "STEP", "STATE"], &rows.collect::<Vec<_>>())
    });
    let missing = tables.steps.iter().filter(|step| step.state == "missing");
    match missing.count() {
        0 => Ok(()),
        missing => Err(fail::NotInState(format!(
            "{missing} steps are missing; `steadfast db migrate` applies them"
        ))
        .into()),
    }
}

async fn back_up(path: &Path, to: &Path, printer: &Printer) -> anyhow::Result<()> {
    let mut progress = Progress::new("copied", progress::size);
    let bytes = copy::back_up(path, to, &mut |done, of| progress.tell(done, of)).await;
    progress.end();
    told(to, bytes?, printer);
    Ok(())
}

fn told(to: &Path, bytes: u64, printer: &Printer) {
    let done = serde_json::json!({ "file": to, "bytes": bytes });
    printer.print(&done, || {
        format!(
            "{} has {} of the store",
            to.display(),
            progress::size(bytes)
        )
    });
}

async fn restore(
    from: &Path,
    to: &Path,
    packages: &[&Package],
    yes: bool,
    printer: &Printer,
) -> anyhow::Result<()> {
    confirm(&to.display().to_string(), yes)?;
    let mut progress = Progress::new("copied", progress::size);
    let at = time::text(clock::timestamp()).replace(':', "");
    let ending = format!(".before-{at}");
    let tell = &mut |done, of| progress.tell(done, of);
    let restored = copy::restore(from, to, packages, &ending, tell).await;
    progress.end();
    let restored = restored?;
    let done = serde_json::json!({
        "file": to, "bytes": restored.bytes, "kept": restored.kept,
    });
    printer.print(&done, || {
        let kept = restored
            .kept
            .as_ref()
            .map(|kept| format!("\nwhat was there is kept as {}", kept.display()));
        format!(
            "{} has {} of {}{}",
            to.display(),
            progress::size(restored.bytes),
            from.display(),
            kept.unwrap_or_default()
        )
    });
    Ok(())
}

/// Makes sure that no node lives in a store that is about to be replaced.
async fn unused(place: Config) -> anyhow::Result<()> {
    let place = Config {
        migrate: false,
        ..place
    };
    let store = match Store::open(place).await {
        Ok(store) => store,
        // Nothing of ours is there, or nothing that works: nobody uses it.
        Err(error) if error.is_version() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let nodes = store.nodes(None, store::NODES_MAX).await;
    store.close().await;
    let alive = nodes?.into_iter().filter(|node| node.ended.is_none());
    let alive: Vec<String> = alive
        .map(|node| format!("{} on {}:{}", node.service, node.host, node.pid))
        .collect();
    if alive.is_empty() {
        return Ok(());
    }
    Err(fail::NotInState(format!(
        "the store is in use by {}; stop them, and try again",
        alive.join(", ")
    ))
    .into())
}

/// Has people type what is to be replaced; without a terminal nobody can.
fn confirm(what: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "this replaces all of {what}: say --yes"
    );
    let _ = write!(
        std::io::stderr(),
        "This replaces all of {what}. Type \"restore\" to go on: "
    );
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed)?;
    anyhow::ensure!(typed.trim() == "restore", "nothing was changed");
    Ok(())
}
