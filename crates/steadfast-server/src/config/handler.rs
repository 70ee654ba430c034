//! What does the work of a job.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use steadfast::decide::backoff::Backoff;
use steadfast::settings::{Table, Wrong};

use super::DEFAULT_QUEUE;
use super::keys::*;
use super::place::{self, Secret};

/// A handler, as it was said.
#[derive(Debug, Clone)]
pub(crate) struct Handler {
    pub(crate) queue: String,
    pub(crate) attempts: u32,
    pub(crate) timeout: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) beat_every: Option<Duration>,
    pub(crate) work: Work,
}

/// How the work is done.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Exec(Exec),
    Http(Http),
}

/// A service that is called for each job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Http {
    pub(crate) url: String,
    pub(crate) secret: Secret,
    /// Whom to trust, if not the roots of the public web.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) answer_within: Duration,
    /// After how many failures in a row it is left alone.
    pub(crate) breaker: u32,
}

/// A program that is run for each job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exec {
    /// The program and its arguments: at least the first.
    pub(crate) command: Vec<String>,
    pub(crate) stop_within: Duration,
    pub(crate) output_bytes: usize,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) pass_env: Vec<String>,
    /// In place of the payload.
    pub(crate) stdin: Option<String>,
    pub(crate) discard_on: Vec<i64>,
    pub(crate) snooze_on: Vec<i64>,
    pub(crate) snooze_for: Duration,
}

pub(super) fn ask(name: &str, table: &mut Table<'_, '_>, queues: &[String]) -> Option<Handler> {
    let (has_exec, has_http) = (table.has(HANDLER_EXEC.name), table.has(HTTP_URL.name));
    // What belongs to the other one is unknown here, and told so.
    let work = match (has_exec, has_http) {
        (true, true) => {
            HANDLER_EXEC.texts(table);
            HTTP_URL.text(table);
            let wrong = Wrong::new("the work is done by a program or by a call, not by both");
            table.refuse(HTTP_URL.name, wrong.with_fix("make two handlers of it"));
            None
        }
        (false, true) => ask_http(table).map(Work::Http),
        _ => ask_exec(table).map(Work::Exec),
    };
    if !has_exec && !has_http {
        table.missing(
            HANDLER_EXEC.name,
            "add exec = [\"PROGRAM\", \"ARGUMENT\"], or http = \"https://…\"",
        );
    }
    let queue = HANDLER_QUEUE.text_as(table, |queue| {
        if queue == DEFAULT_QUEUE || queues.iter().any(|known| known == queue) {
            return Ok(queue.to_owned());
        }
        let known: Vec<&str> = queues.iter().map(String::as_str).collect();
        Err(Wrong::new(format!(
            "there is no queue {queue:?}, so nobody would run its jobs"
        ))
        .with_fix(format!(
            "add [queues.{queue}], or write one of default {}",
            known.join(" ")
        )))
    });
    let attempts = HANDLER_ATTEMPTS
        .number(table)
        .unwrap_or(HANDLER_ATTEMPTS.default_number());
    let timeout = HANDLER_TIMEOUT
        .time(table)
        .unwrap_or(HANDLER_TIMEOUT.default_time());
    let first = HANDLER_BACKOFF
        .time(table)
        .unwrap_or(HANDLER_BACKOFF.default_time());
    let longest = HANDLER_BACKOFF_MAX
        .time(table)
        .unwrap_or(HANDLER_BACKOFF_MAX.default_time());
    let backoff = match Backoff::new(first, longest) {
        Ok(backoff) => Some(backoff),
        Err(_) => {
            let wrong = Wrong::new("the first wait is longer than the longest");
            table.refuse(HANDLER_BACKOFF.name, wrong.with_fix("raise backoff_max"));
            None
        }
    };
    let beat_every = HANDLER_BEAT_EVERY.time(table);
    if beat_every.is_some_and(|every| every >= timeout) {
        let wrong = Wrong::new(format!("{name} would have timed out before it is stuck"));
        table.refuse(
            HANDLER_BEAT_EVERY.name,
            wrong.with_fix("write less than the timeout"),
        );
    }
    Some(Handler {
        queue: queue.unwrap_or_else(|| DEFAULT_QUEUE.into()),
        attempts: u32::try_from(attempts).unwrap_or(1),
        timeout,
        backoff: backoff?,
        beat_every,
        work: work?,
    })
}

fn ask_http(table: &mut Table<'_, '_>) -> Option<Http> {
    let url = HTTP_URL.text_as(table, place::url);
    let secret = HTTP_SECRET.text_as(table, place::secret);
    let ca = HTTP_CA.text(table).map(PathBuf::from);
    let answer_within = HTTP_ANSWER_WITHIN.time(table);
    let breaker = HTTP_FAILURES.number(table);
    let breaker = breaker.unwrap_or(HTTP_FAILURES.default_number());
    Some(Http {
        url: url?,
        secret: secret?,
        ca,
        answer_within: answer_within.unwrap_or(HTTP_ANSWER_WITHIN.default_time()),
        breaker: u32::try_from(breaker).unwrap_or(u32::MAX),
    })
}

fn ask_exec(table: &mut Table<'_, '_>) -> Option<Exec> {
    let command = HANDLER_EXEC.texts(table);
    if command
        .as_ref()
        .is_some_and(|command| command.first().is_none_or(|program| program.is_empty()))
    {
        let wrong = Wrong::new("there is no program in it");
        table.refuse(
            HANDLER_EXEC.name,
            wrong.with_fix("write [\"PROGRAM\", \"ARGUMENT\"]"),
        );
    }
    let stop_within = EXEC_STOP_WITHIN.time(table);
    let output = EXEC_OUTPUT
        .number(table)
        .unwrap_or(EXEC_OUTPUT.default_number());
    let dir = EXEC_DIR.text(table).map(PathBuf::from);
    let user = EXEC_USER.text(table);
    let mut env = BTreeMap::new();
    for pair in EXEC_ENV.texts(table).unwrap_or_default() {
        match pair.split_once('=') {
            Some((name, value)) => match variable(name) {
                Err(wrong) => table.refuse(EXEC_ENV.name, wrong),
                Ok(()) if env.contains_key(name) => {
                    let wrong = Wrong::new(format!("{name} has two values"));
                    table.refuse(EXEC_ENV.name, wrong.with_fix("leave one of them"));
                }
                Ok(()) => {
                    env.insert(name.to_owned(), value.to_owned());
                }
            },
            None => {
                let wrong = Wrong::new(format!("{pair:?} says no value"));
                table.refuse(EXEC_ENV.name, wrong.with_fix("write NAME=VALUE"));
            }
        }
    }
    let pass_env = EXEC_PASS_ENV.texts(table).unwrap_or_default();
    if let Some(wrong) = pass_env.iter().find_map(|name| variable(name).err()) {
        table.refuse(EXEC_PASS_ENV.name, wrong);
    }
    let stdin = EXEC_STDIN.text(table);
    let discard_on = EXEC_DISCARD.numbers(table);
    let snooze_on = EXEC_SNOOZE.numbers(table);
    if let Some(both) = discard_on.iter().find(|code| snooze_on.contains(code)) {
        let wrong = Wrong::new(format!("exit code {both} says two things"));
        table.refuse(
            EXEC_SNOOZE.name,
            wrong.with_fix("take it out of one of the lists"),
        );
    }
    let snooze_for = EXEC_SNOOZE_FOR.time(table);
    Some(Exec {
        command: command?,
        stop_within: stop_within.unwrap_or(EXEC_STOP_WITHIN.default_time()),
        output_bytes: usize::try_from(output).unwrap_or(0),
        dir,
        user,
        env,
        pass_env,
        stdin,
        discard_on,
        snooze_on,
        snooze_for: snooze_for.unwrap_or(EXEC_SNOOZE_FOR.default_time()),
    })
}

/// Takes what shells and programs take as a name, but for those that say what steadfast says of a run.
fn variable(name: &str) -> Result<(), Wrong> {
    if name.starts_with("STEADFAST_") {
        return Err(Wrong::new(format!(
            "{name:?} is not handed on: names that begin with STEADFAST_ are kept for what is said of a run"
        ))
        .with_fix("give it another name"));
    }
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_name = name.bytes().next().is_some_and(letter)
        && name
            .bytes()
            .all(|byte| letter(byte) || byte.is_ascii_digit());
    match is_name {
        true => Ok(()),
        false => Err(Wrong::new(format!("{name:?} is no name of a variable"))),
    }
}
