//! How connections to the file are made.

use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use super::run;
use super::trouble;
use crate::error::Trouble;
use crate::{Config, Error};

/// How many statements stay prepared: 512, more than all our packages have together.
const STATEMENTS_MAX: usize = 512;

/// How many rows are fetched ahead of their reader: 64, since everything is read anyway.
const ROWS_AHEAD: usize = 64;

/// How long SQLite itself waits for a lock before we look who has it: 50 ms.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(50);

/// How many instructions run between two looks at [`Stop`]: 10,000, about a tenth of a millisecond.
const INSTRUCTIONS: i32 = 10_000;

/// The oldest SQLite that is used: before it a checkpoint could lose pages that another process
/// wrote at the same time.
const VERSION_LEAST: (u32, u32, u32) = (3, 51, 3);
const VERSION_LEAST_TEXT: &str = "3.51.3";

/// Stops the statement that a connection runs.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    #[cfg(all(test, feature = "test-util"))]
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

pub(super) async fn writer(
    path: &Path,
    config: &Config,
) -> Result<(SqliteConnection, Stop), Error> {
    let synchronous = if config.synchronous_full {
        SqliteSynchronous::Full
    } else {
        SqliteSynchronous::Normal
    };
    let options = options(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous);
    #[cfg(feature = "test-util")]
    let options = match config.page_count_max {
        Some(pages) => options.pragma("max_page_count", pages.to_string()),
        None => options,
    };
    check_link(path)?;
    make_private(path);
    let (mut conn, stop) = open(options, path).await?;
    check_version(&mut conn).await?;
    check_mode(&mut conn).await?;
    Ok((conn, stop))
}

/// Refuses a link to a file that is not there: SQLite would make an empty one, where a disk is not mounted.
fn check_link(path: &Path) -> Result<(), Error> {
    let Ok(target) = std::fs::read_link(path) else {
        return Ok(());
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(crate::config::config(
            "place",
            format!(
                "{} is a link to {}, and there is no file: put it there, or remove the link",
                path.display(),
                target.display()
            ),
        )),
        _ => Ok(()),
    }
}

/// Makes a file that is not there yet, so that not every user of the machine can read it: all payloads are in it, and what
/// stands beside it has its rights. What is in the way of it is told when it is opened.
fn make_private(path: &Path) {
    let _ = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o660)
        .open(path);
}

pub(super) async fn reader(path: &Path, _: &Config) -> Result<(SqliteConnection, Stop), Error> {
    // Not opened read-only: the last one to close a file in WAL mode must be able to clean up.
    let options = options(path).create_if_missing(false);
    open(options.pragma("query_only", "1"), path).await
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS_MAX)
        .row_buffer_size(ROWS_AHEAD)
        .foreign_keys(true)
        .disable_statement_logging()
}

async fn open(
    options: SqliteConnectOptions,
    path: &Path,
) -> Result<(SqliteConnection, Stop), Error> {
    let stop = Stop::default();
    let opened = async {
        let mut conn = SqliteConnection::connect_with(&options).await?;
        let stop = stop.clone();
        conn.lock_handle()
            .await?
            .set_progress_handler(INSTRUCTIONS, move || !stop.0.load(Ordering::Relaxed));
        Ok(conn)
    };
    match opened.await {
        Ok(conn) => Ok((conn, stop)),
        Err(error) => {
            let error = trouble::classify(error);
            Err(match error.trouble() {
                Trouble::Unreachable { .. } => match on_read_only_disk(path) {
                    Some(source) => Trouble::ReadOnly(source.into()).into(),
                    None => Trouble::Unreachable {
                        is_file: true,
                        place: path.display().to_string(),
                        source: Some(error.clone().into()),
                    }
                    .into(),
                },
                _ => error,
            })
        }
    }
}

async fn check_version(conn: &mut SqliteConnection) -> Result<(), Error> {
    let found = text(conn, "SELECT sqlite_version()").await?;
    if version(&found) >= VERSION_LEAST {
        return Ok(());
    }
    Err(Trouble::WrongVersion {
        what: "SQLite",
        found,
        least: VERSION_LEAST_TEXT,
    }
    .into())
}

fn version(text: &str) -> (u32, u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

/// Where WAL is not possible (a file in memory, a network file system) SQLite keeps another mode
/// without an error.
async fn check_mode(conn: &mut SqliteConnection) -> Result<(), Error> {
    let mode = text(conn, "PRAGMA journal_mode").await?;
    if mode == "wal" {
        return Ok(());
    }
    Err(crate::config::config(
        "place",
        format!("SQLite cannot use WAL there (it keeps `{mode}`): give a file on a local disk"),
    ))
}

async fn text(conn: &mut SqliteConnection, sql: &'static str) -> Result<String, Error> {
    let ask = run::SqliteRun::bare(sql);
    let rows = run::run(conn, &ask).await.map_err(trouble::classify)?;
    rows.one()?.get(0)
}

/// Tells whether a file is on a disk that takes no writes: SQLite only says that it could not open one of those that
/// it needs beside it.
fn on_read_only_disk(path: &Path) -> Option<std::io::Error> {
    let opened = std::fs::File::options().append(true).open(path);
    opened
        .err()
        .filter(|error| error.kind() == ErrorKind::ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_parts() {
        for (text, old) in [
            ("3.51.2", true),
            ("3.9.9", true),
            ("3.51.3", false),
            ("3.100.0", false),
            ("4.0", false),
        ] {
            assert_eq!(version(text) < VERSION_LEAST, old, "{text}");
        }
    }
}
