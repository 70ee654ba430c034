//! What is done to all jobs that match: counted first, agreed to, and then done part by part. Nothing is done to a
//! job that came after the count, nor to more than were counted. Where it breaks off, it can be run again: what is
//! done already does not match any more.

use anyhow::Context;
use serde::Serialize;

use super::Why;
use super::print::{Printer, agreed, are};
use crate::api::client::Client;
use crate::api::types::{DoneAll, Many};
use crate::cli::progress::Progress;

/// How many jobs a call is about: 500, what the API takes at most.
const BATCH: u32 = 500;

/// Which jobs.
#[derive(Debug, clap::Args)]
pub(crate) struct All {
    /// All that match, in place of one. They are counted first, and the number has to be typed.
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// Only those in this state. Unless said, those that are discarded to retry, and all that are live to cancel.
    #[arg(long, value_name = "STATE", conflicts_with = "id")]
    state: Option<String>,
    /// Only those of this kind.
    #[arg(long, value_name = "KIND", conflicts_with = "id")]
    kind: Option<String>,
    /// Only those of this queue.
    #[arg(long, value_name = "QUEUE", conflicts_with = "id")]
    queue: Option<String>,
    /// Only those with this key of a limit.
    #[arg(long, value_name = "KEY", conflicts_with = "id")]
    limit_key: Option<String>,
    /// Only tells how many they would be.
    #[arg(long, conflicts_with = "id")]
    dry_run: bool,
    /// How many are expected, in place of typing it.
    #[arg(long, value_name = "NUMBER", conflicts_with = "id")]
    yes: Option<usize>,
}

/// What is done to them.
#[derive(Clone, Copy)]
pub(crate) enum Bulk {
    Retry,
    Cancel,
}

impl Bulk {
    fn path(self) -> &'static str {
        match self {
            Self::Retry => "/api/v1/jobs/redrive",
            Self::Cancel => "/api/v1/jobs/cancel",
        }
    }

    /// What they are afterwards.
    fn word(self) -> &'static str {
        match self {
            Self::Retry => "put back to work",
            Self::Cancel => "cancelled",
        }
    }
}

/// What has become of them.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Told {
    /// How many matched when they were counted.
    found: usize,
    /// To how many it was done.
    done: usize,
    /// How many of these run, and are told to stop.
    running: usize,
    /// How many were left as they are.
    left: usize,
    dry_run: bool,
}

pub(crate) async fn run(
    client: &Client,
    printer: &Printer,
    bulk: Bulk,
    all: All,
    why: Why,
) -> anyhow::Result<()> {
    let mut which = Many {
        state: all.state,
        kind: all.kind,
        queue: all.queue,
        limit_key: all.limit_key,
        limit: BATCH,
        cursor: None,
        dry_run: true,
        reason: why.reason,
    };
    let send = async |which: &Many| -> anyhow::Result<DoneAll> {
        client.change("POST", bulk.path(), which).send().await
    };
    let jobs = |count: u64| format!("{count} jobs");
    let mut told = Told {
        dry_run: all.dry_run,
        ..Told::default()
    };

    let mut first = None;
    let mut progress = Progress::new("found", jobs);
    loop {
        let found = send(&which).await?;
        told.found += found.jobs.len();
        progress.count(told.found as u64);
        first = first.or(found.first);
        which.cursor = found.next;
        if which.cursor.is_none() {
            break;
        }
    }
    progress.end();
    if !all.dry_run && told.found > 0 {
        agreed(all.yes, told.found, "jobs")?;
        which.dry_run = false;
        which.cursor = first;
        let mut progress = Progress::new(bulk.word(), jobs);
        while told.done + told.left < told.found {
            let seen = told.done + told.left;
            which.limit = BATCH.min((told.found - seen) as u32);
            let part = send(&which).await;
            if part.is_err() {
                progress.end();
            }
            let part = part.with_context(|| {
                format!(
                    "broken off after {seen} of {} jobs; the same command goes on with the rest",
                    told.found
                )
            })?;
            told.done += part.jobs.len();
            told.running += part.running.len();
            told.left += part.refused.len();
            progress.tell((told.done + told.left) as u64, told.found as u64);
            which.cursor = part.next;
            if which.cursor.is_none() {
                break;
            }
        }
        progress.end();
        // What has ended by itself meanwhile.
        told.left = told.found - told.done;
    }
    printer.print(&told, || shown(bulk, &told));
    Ok(())
}

/// How what a dry run has told is done.
pub(super) fn how(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!("; the same command with --yes {count} in place of --dry-run does it"),
    }
}

fn shown(bulk: Bulk, told: &Told) -> String {
    let word = bulk.word();
    if told.dry_run {
        return format!("{} jobs would be {word}{}", told.found, how(told.found));
    }
    let mut line = format!("{} {word}", are(told.done - told.running, "job"));
    if told.running > 0 {
        line.push_str(&format!(", {} run and are told to stop", told.running));
    }
    if told.left > 0 {
        let why = match bulk {
            Bulk::Retry => "other jobs have their unique keys, or they went back meanwhile",
            Bulk::Cancel => "they ended meanwhile, or are about to",
        };
        line.push_str(&format!("\n{} are left: {why}", told.left));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_become_of_them_is_told_with_what_was_left() {
        let told = Told {
            found: 9,
            done: 7,
            running: 3,
            left: 2,
            dry_run: false,
        };
        assert_eq!(
            shown(Bulk::Cancel, &told),
            "4 jobs are cancelled, 3 run and are told to stop\n2 are left: they ended meanwhile, or are about to"
        );
        let none = Told::default();
        assert_eq!(shown(Bulk::Retry, &none), "0 jobs are put back to work");
    }
}
