//! Copies of a file of SQLite: taken while it is in use, and put back when it is not.
//!
//! A file that is copied by the means of the system while somebody writes it is no copy: half of a
//! transaction may be in it, and what stands in the `-wal` file beside it is missing. And one that is
//! replaced while a program has it open splits the world: the program goes on with the old one, and
//! what it writes there is lost.
//!
//! [`back_up`] has the database itself write the copy, as of one moment. [`restore`] first makes sure
//! that nobody has the file open, and that the copy is whole and of a schema that this program knows;
//! then it is replaced in one step, and the old one is kept beside it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};
use steadfast_core::clock;

use super::{holder, trouble};
use crate::error::Trouble;
use crate::migrate::{Applied, Step, next};
use crate::{Error, Migration, Package};

/// How often it is looked how far a copy has come: every 100 ms.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How much is copied at a time: 1 MiB.
const CHUNK: usize = 1 << 20;

/// What was put back.
#[derive(Debug)]
#[non_exhaustive]
pub struct Restored {
    /// How large it is, in bytes.
    pub bytes: u64,
    /// Where the file is that was there before.
    pub kept: Option<PathBuf>,
}

/// Writes a copy of a file that may be in use, as of one moment, and gives its size in bytes.
///
/// Whoever reads or writes the file goes on meanwhile. The copy is on the disk when this returns, and
/// has its name only when it is whole. Nobody but this user can read it. `progress` is told how many bytes of about how many are written.
///
/// # Errors
/// When there is something at `to` already, or it cannot be written (SF-1126); when `from` cannot be
/// read.
///
/// # Cancel safety
/// Dropped half-way, a file with the ending `.part` may stay.
pub async fn back_up(
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<u64, Error> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(file("write", to, io::ErrorKind::AlreadyExists.into()));
    }
    let part = with_ending(to, ".part");
    remove(&part)?;
    let mut conn = connect(from).await?;
    // Made by us, and so by nobody else in the same moment; SQLite fills one that is empty.
    made(&part)?;
    let pages = number(&mut conn, "PRAGMA page_count").await?;
    let about = pages.saturating_mul(number(&mut conn, "PRAGMA page_size").await?);
    let text = part.to_str().ok_or_else(|| {
        let problem = io::Error::new(io::ErrorKind::InvalidInput, "its name is no text");
        file("write", to, problem)
    })?;
    let copied = async {
        sqlx::query("VACUUM INTO ?1")
            .bind(text)
            .execute(&mut conn)
            .await
    };
    let looked = async {
        loop {
            clock::sleep(LOOK_EVERY).await;
            progress(fs::metadata(&part).map_or(0, |part| part.len()), about);
        }
    };
    let copied = tokio::select! {
        copied = copied => copied,
        () = looked => unreachable!("it is looked until the copy is there"),
    };
    if let Err(error) = copied {
        let _ = remove(&part);
        return Err(trouble::classify(error));
    }
    drop(conn.close().await);
    let bytes = named(&part, to)?;
    progress(bytes, bytes);
    Ok(bytes)
}

/// Makes sure that a file is whole, and of a schema that this program knows. It must not be in use.
///
/// # Errors
/// When it is damaged (SF-1125), no store, newer than this program (SF-1104), or has a migration that
/// was edited (SF-1105).
///
/// # Cancel safety
/// Nothing is lost.
pub async fn verify(path: &Path, packages: &[&Package]) -> Result<(), Error> {
    examine(path, path, packages).await
}

/// Makes sure of what is at `path`, and tells of it by the name that its user knows.
async fn examine(path: &Path, name: &Path, packages: &[&Package]) -> Result<(), Error> {
    let unfit = |problem: String| Trouble::Unfit {
        path: name.display().to_string(),
        problem,
    };
    let looked = look(path, packages, &unfit).await;
    looked.map_err(|error| match error.trouble() {
        Trouble::Damaged(_) => unfit("it is damaged, or no database of SQLite".to_owned()).into(),
        _ => error,
    })
}

async fn look(
    path: &Path,
    packages: &[&Package],
    unfit: &impl Fn(String) -> Trouble,
) -> Result<(), Error> {
    let mut conn = connect(path).await?;
    let checked = sqlx::query("PRAGMA integrity_check(1)").fetch_one(&mut conn);
    let checked = checked.await.map_err(trouble::classify)?;
    let says: String = checked.try_get(0).map_err(trouble::classify)?;
    if says != "ok" {
        return Err(unfit(format!("it is damaged: {says}")).into());
    }
    let found = "SELECT count(*) FROM sqlite_schema WHERE name = 'steadfast_migration'";
    if number(&mut conn, found).await? == 0 {
        return Err(unfit("it is no store of steadfast".to_owned()).into());
    }
    for package in packages {
        fits(&mut conn, package).await?;
    }
    drop(conn.close().await);
    Ok(())
}

/// Puts a copy in place of a file, which is kept beside it.
///
/// What is verified is a copy of `from` beside the file, and that very copy is put in place, in one
/// step, with the owner and the rights of the file before; where there was none, nobody but this user can read it. `kept` is the ending of the name under which the old file stays, or what is left beside one
/// that is gone. The thread is blocked while it copies: this is for programs that do nothing else.
/// `progress` is told how many bytes of how many are copied.
///
/// # Errors
/// When somebody has the file open (SF-1124); as [`verify`]; when a file cannot be read or written
/// (SF-1126). All is as it was then.
///
/// # Cancel safety
/// Dropped half-way, all is as it was; a file with the ending `.restoring` may stay.
pub async fn restore(
    from: &Path,
    to: &Path,
    packages: &[&Package],
    kept: &str,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, Error> {
    let beside = with_ending(from, "-wal");
    if fs::metadata(&beside).is_ok_and(|wal| wal.len() > 0) {
        let problem = "there is a -wal file beside it, so it is in use or was copied while it was; \
                       take a copy with `steadfast db backup`";
        return Err(Trouble::Unfit {
            path: from.display().to_string(),
            problem: problem.to_owned(),
        }
        .into());
    }
    let part = with_ending(to, ".restoring");
    remove(&part)?;
    let prepared = async {
        let bytes = copy(from, &part, progress)?;
        examine(&part, from, packages).await?;
        given(&part, to)?;
        Ok(bytes)
    };
    let bytes = match prepared.await {
        Ok(bytes) => bytes,
        Err(error) => {
            let _ = remove(&part);
            return Err(error);
        }
    };
    let replaced = replace(&part, to, kept).await;
    if replaced.is_err() {
        let _ = remove(&part);
    }
    Ok(Restored {
        bytes,
        kept: replaced?,
    })
}

/// Puts `part` in place of `to`, while nobody else can open that.
async fn replace(part: &Path, to: &Path, kept: &str) -> Result<Option<PathBuf>, Error> {
    if fs::symlink_metadata(to).is_err() {
        set_aside(to, kept)?;
        named(part, to)?;
        return Ok(None);
    }
    let mut alone = alone(to).await?;
    let kept = with_ending(to, kept);
    fs::hard_link(to, &kept).map_err(|error| file("keep the old file as", &kept, error))?;
    let named = named(part, to);
    if named.is_err() {
        let _ = remove(&kept);
    }
    named?;
    // Only now may others open what is there.
    let _ = sqlx::query("ROLLBACK").execute(&mut alone).await;
    drop(alone.close().await);
    Ok(Some(kept))
}

/// Takes away what is left beside a file that is gone: SQLite would take it for a part of the next one of that name.
fn set_aside(gone: &Path, kept: &str) -> Result<(), Error> {
    let holders = holder::users(gone);
    if !holders.is_empty() {
        let path = gone.display().to_string();
        return Err(Trouble::InUse { path, holders }.into());
    }
    for ending in ["-wal", "-journal"] {
        let left = with_ending(gone, ending);
        let aside = with_ending(&left, kept);
        match fs::rename(&left, &aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file("keep what is left as", &aside, error));
            }
            _ => {}
        }
    }
    remove(&with_ending(gone, "-shm"))
}

/// Opens a file that nobody else has open, and keeps it so; what stood beside it is in it then.
async fn alone(path: &Path) -> Result<SqliteConnection, Error> {
    let in_use = || Trouble::InUse {
        path: path.display().to_string(),
        holders: holder::users(path),
    };
    let busy = |error: sqlx::Error| match trouble::is_busy(&error) {
        true => in_use().into(),
        false => trouble::classify(error),
    };
    let mut conn = connect(path).await?;
    // Whoever has it open in WAL mode has a lock for reading, which this one does not get along with.
    let asked = sqlx::query("PRAGMA locking_mode = EXCLUSIVE");
    asked.fetch_one(&mut conn).await.map_err(busy)?;
    let asked = sqlx::query("PRAGMA journal_mode = DELETE");
    let mode = asked.fetch_one(&mut conn).await.map_err(busy)?;
    let mode: String = mode.try_get(0).map_err(trouble::classify)?;
    if mode != "delete" {
        return Err(in_use().into());
    }
    let begun = sqlx::query("BEGIN EXCLUSIVE").execute(&mut conn);
    begun.await.map_err(busy)?;
    Ok(conn)
}

async fn fits(conn: &mut SqliteConnection, package: &Package) -> Result<(), Error> {
    let ask = "SELECT number, name, hash, breaking FROM steadfast_migration WHERE package = ?1";
    let rows = sqlx::query(ask).bind(package.name).fetch_all(conn);
    let rows = rows.await.map_err(trouble::classify)?;
    let applied: Result<Vec<_>, sqlx::Error> = rows
        .iter()
        .map(|row| {
            Ok(Applied {
                number: row.try_get(0)?,
                name: row.try_get(1)?,
                hash: row.try_get(2)?,
                breaking: row.try_get::<i64, _>(3)? != 0,
            })
        })
        .collect();
    let applied = applied.map_err(trouble::classify)?;
    let hashes = package.migrations.iter();
    let hashes: Vec<String> = hashes.map(|of| Migration::hash(of.sqlite)).collect();
    let (migrations, package) = (package.migrations, package.name);
    match next(migrations, &hashes, &applied) {
        Step::Done | Step::Apply(_) => Ok(()),
        Step::Edited { name } => Err(Trouble::EditedMigration { package, name }.into()),
        Step::Newer { number, name } => Err(Trouble::NewerSchema {
            package,
            number,
            name,
        }
        .into()),
    }
}

async fn connect(path: &Path) -> Result<SqliteConnection, Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(1))
        .disable_statement_logging();
    let opened = SqliteConnection::connect_with(&options).await;
    opened.map_err(|error| {
        Trouble::Unreachable {
            is_file: true,
            place: path.display().to_string(),
            source: Some(error.into()),
        }
        .into()
    })
}

async fn number(conn: &mut SqliteConnection, ask: &'static str) -> Result<u64, Error> {
    let row = sqlx::query(ask).fetch_one(conn).await;
    let row = row.map_err(trouble::classify)?;
    let number: i64 = row.try_get(0).map_err(trouble::classify)?;
    Ok(u64::try_from(number).unwrap_or_default())
}

fn copy(from: &Path, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<u64, Error> {
    let mut reading = File::open(from).map_err(|error| file("read", from, error))?;
    let total = reading.metadata().map_or(0, |found| found.len());
    let mut writing = made(to)?;
    let (mut chunk, mut done) = (vec![0; CHUNK], 0);
    loop {
        let read = reading.read(&mut chunk);
        let read = read.map_err(|error| file("read", from, error))?;
        if read == 0 {
            break;
        }
        let written = writing.write_all(&chunk[..read]);
        written.map_err(|error| file("write", to, error))?;
        done += read as u64;
        progress(done, total.max(done));
    }
    Ok(done)
}

/// Makes a file that nobody else can read: all payloads are in it.
fn made(path: &Path) -> Result<File, Error> {
    let made = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    made.map_err(|error| file("write", path, error))
}

/// Has whoever could use a file be able to use the one that takes its place: the owner, and the rights.
fn given(part: &Path, like: &Path) -> Result<(), Error> {
    let wrong = |error| file("give to the owner of the one before", part, error);
    let (before, now) = match (fs::metadata(like), fs::metadata(part)) {
        (Ok(before), Ok(now)) => (before, now),
        // There is none.
        _ => return Ok(()),
    };
    let owner = |of: &fs::Metadata| (of.uid(), of.gid());
    if owner(&before) != owner(&now) {
        chown(part, Some(before.uid()), Some(before.gid())).map_err(wrong)?;
    }
    fs::set_permissions(part, before.permissions()).map_err(wrong)
}

/// Gives a file that is whole its name, so that it is there after a power failure too.
fn named(part: &Path, to: &Path) -> Result<u64, Error> {
    let wrong = |error| file("write", to, error);
    let whole = File::open(part).map_err(wrong)?;
    whole.sync_all().map_err(wrong)?;
    let bytes = whole.metadata().map_err(wrong)?.len();
    fs::rename(part, to).map_err(wrong)?;
    let folder = match to.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let folder = File::open(folder).map_err(wrong)?;
    folder.sync_all().map_err(wrong)?;
    Ok(bytes)
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove", path, error)),
        _ => Ok(()),
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn file(what: &'static str, path: &Path, source: io::Error) -> Error {
    Trouble::File {
        what,
        path: path.display().to_string(),
        source,
    }
    .into()
}
