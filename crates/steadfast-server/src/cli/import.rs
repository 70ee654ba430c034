//! `steadfast schedules import`: a crontab as handlers and schedules.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;

use super::ask::print::{Printer, are, plain};
use super::fail;
use crate::crontab::{self, Crontab, Entry, Form, Note};

/// The exit code when lines could not be taken over, and the rest was.
const NOT_ALL: u8 = 8;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The crontab; `-` is standard input (`crontab -l | steadfast schedules import -`).
    file: PathBuf,

    /// Its lines say a user before the command, as in /etc/crontab and /etc/cron.d. That is so for files
    /// in /etc without being said.
    #[arg(long)]
    system: bool,

    /// Whom the programs of a user's crontab run as. For a file below /var/spool/cron that is its name,
    /// without being said.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// The time zone of the machine; that which /etc/localtime is a link to, unless said.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,

    /// Where the configuration is written; standard output, `-`, unless said. A file that is there is left
    /// alone.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The largest file that is read: 8 MiB, twice what as many lines have as are taken, each as long as it may be.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// What is printed as JSON.
#[derive(Serialize)]
struct Imported<'a> {
    /// The configuration, unless it was written to a file.
    document: Option<&'a str>,
    zone: &'a str,
    taken: usize,
    lost: usize,
    notes: &'a [crontab::Note],
}

pub(crate) fn run(options: &Options, json: bool) -> ExitCode {
    match import(options, json) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_ALL),
        Err(error) => fail::tell(&error, json),
    }
}

/// Tells whether every line was taken over.
fn import(options: &Options, json: bool) -> anyhow::Result<bool> {
    let name = options.file.display().to_string();
    let text = match name.as_str() {
        "-" => read(std::io::stdin()),
        _ => std::fs::File::open(&options.file).and_then(read),
    };
    let text = text.with_context(|| format!("cannot read {name}"))?;
    anyhow::ensure!(
        text.len() as u64 <= FILE_BYTES_MAX,
        "{name} has more than {FILE_BYTES_MAX} bytes: this is no crontab"
    );
    let form = match options.system || options.file.starts_with("/etc") {
        true => Form::System,
        false => Form::User,
    };
    anyhow::ensure!(
        form == Form::User || options.user.is_none(),
        "--user is for the crontab of a user: each line of this one says whom it runs as"
    );
    let zone = options.zone.clone().unwrap_or_else(own_zone);
    steadfast::jobs::schedule::Zone::new(&zone).context("--zone")?;
    let mut crontab = crontab::read(&text, form);
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let users: BTreeSet<&str> = names(&users).collect();
    let user = match form {
        Form::User => options.user.as_deref().or(owner(&options.file, &users)),
        Form::System => None,
    };
    if form == Form::User {
        crontab.notes.extend(says_users(&crontab, &users));
        crontab.notes.extend(lacks_user(&crontab, user));
    }
    let notes = strange_users(&crontab, user, &users);
    crontab.notes.extend(notes);
    crontab.notes.sort_by_key(|note| note.line);
    let document = crontab::write(&crontab, &name, &zone, user);
    // As for what is read, `-` is what goes through.
    let output = options
        .output
        .as_ref()
        .filter(|path| path.as_os_str() != "-");
    if let Some(path) = output {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path);
        let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
        file.write_all(document.as_bytes())?;
    }
    let lost = crontab.notes.iter().filter(|note| note.lost).count();
    let taken = crontab.entries.len();
    let document = match output {
        None => Some(document.as_str()),
        Some(_) => None,
    };
    if json {
        let imported = Imported {
            document,
            zone: &zone,
            taken,
            lost,
            notes: &crontab.notes,
        };
        Printer::new(json).print(&imported, String::new);
        return Ok(lost == 0);
    }
    write!(std::io::stdout(), "{}", document.unwrap_or_default())?;
    let mut told = std::io::stderr().lock();
    for note in &crontab.notes {
        let what = if note.lost {
            "not taken over"
        } else {
            "different"
        };
        writeln!(told, "line {}, {what}: {}", note.line, plain(&note.text))?;
    }
    writeln!(
        told,
        "{} taken over, in {zone} unless they say another zone; {lost} not",
        are(taken, "line")
    )?;
    Ok(lost == 0)
}

/// The names of the users in `/etc/passwd`.
fn names(known: &str) -> impl Iterator<Item = &str> {
    known.lines().filter_map(|line| line.split(':').next())
}

/// The user whose crontab a file is, by where cron keeps those.
fn owner<'u>(file: &Path, users: &BTreeSet<&'u str>) -> Option<&'u str> {
    let name = file.file_name()?.to_str()?;
    let is_kept = file.starts_with("/var/spool/cron");
    users.get(name).copied().filter(|_| is_kept)
}

/// Notes that nobody says whom the lines run as: cron knows it by whose crontab they are in.
fn lacks_user(crontab: &Crontab, user: Option<&str>) -> Option<Note> {
    let first = crontab.entries.first()?;
    user.is_none().then(|| Note {
        line: first.line,
        text: "it does not say whose it is, so its programs run as whoever `steadfast serve` runs as; say --user NAME"
            .into(),
        lost: false,
    })
}

/// Notes the users that are not in `/etc/passwd`, each once. `all` is whom lines run as that do not say it.
fn strange_users(crontab: &Crontab, all: Option<&str>, users: &BTreeSet<&str>) -> Vec<Note> {
    let mut seen: BTreeSet<&str> = users.clone();
    let lacking = crontab.entries.iter().filter_map(|entry| {
        let user = entry.user.as_deref().or(all);
        let user = user.filter(|user| seen.insert(user))?;
        Some(Note {
            line: entry.line,
            text: format!("there is no user {user} in /etc/passwd of this machine; until there is, its runs are not begun"),
            lost: false,
        })
    });
    lacking.collect()
}

/// Notes that each command of a user's crontab begins with the name of a user: then it is one of the system.
fn says_users(crontab: &Crontab, users: &BTreeSet<&str>) -> Option<Note> {
    let first = crontab.entries.first()?;
    let is_user = |entry: &Entry| {
        let mut words = entry.command.split_whitespace();
        // A program has the name of a user, too; alone it is one.
        words.next().is_some_and(|word| users.contains(word)) && words.next().is_some()
    };
    crontab.entries.iter().all(is_user).then(|| Note {
        line: first.line,
        text: "every command begins with the name of a user of this machine; if this is a crontab of the system, say --system"
            .into(),
        lost: false,
    })
}

/// Reads as much as a crontab may have, and a byte more where there is more.
fn read(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// The zone of this machine, as cron uses it.
fn own_zone() -> String {
    let link = std::fs::read_link(Path::new("/etc/localtime"));
    let name = link.ok().and_then(|path| {
        let path = path.to_str()?.to_owned();
        path.split_once("zoneinfo/")
            .map(|(_, name)| name.to_owned())
    });
    name.unwrap_or_else(|| "UTC".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cron_keeps_is_of_the_user_whose_name_it_has() {
        let users = BTreeSet::from(["root", "ada"]);
        let check =
            |file: &str, expect| assert_eq!(owner(Path::new(file), &users), expect, "{file}");

        check("/var/spool/cron/crontabs/ada", Some("ada"));
        check("/var/spool/cron/tabs/root", Some("root"));
        check("/var/spool/cron/ada", Some("ada"));
        check("/var/spool/cron/crontabs/eve", None);
        check("/var/spool/cronies/ada", None);
        check("ada", None);
        check("-", None);
    }
}
