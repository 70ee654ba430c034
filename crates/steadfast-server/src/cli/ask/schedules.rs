//! `steadfast schedules`: when jobs are due.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Subcommand};

use super::super::{Cli, fail, import};
use super::print::{Printer, agreed, are, table};
use super::{Why, done, more, query};
use crate::api::client::{Client, part};
use crate::api::types::{Backfill, Backfilled, Done, Reason, Schedule, SchedulePage, UpcomingList};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists schedules, with when they are due next.
    List {
        /// At most so many, up to 500.
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        limit: u32,
        /// Goes on where a page has ended.
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
    /// Takes a crontab over, as a file for `steadfast serve`; asks no server.
    Import(import::Options),
    /// Shows the due times to come, also where the clocks are changed.
    Next {
        /// The name of the schedule.
        name: String,
        /// How many, up to 100.
        #[arg(long, value_name = "NUMBER", default_value_t = 10)]
        count: u32,
    },
    /// Makes a job of a schedule now.
    Run(Changed),
    /// Has a schedule make no jobs.
    Pause(Changed),
    /// Goes on with a schedule, from now on.
    Resume(Changed),
    /// Deletes a schedule; what it has made goes on.
    Delete(Changed),
    /// Makes the jobs of occurrences that have none, up to 1,000 at once. They are counted first, and the number has to be
    /// typed.
    Backfill(Gaps),
}

/// What is filled in.
#[derive(Debug, clap::Args)]
pub(crate) struct Gaps {
    /// The name of the schedule.
    name: String,
    /// The first point in time: 2026-12-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: jiff::Timestamp,
    /// The end, which is not part of it.
    #[arg(long, value_name = "TIME")]
    to: jiff::Timestamp,
    /// Only tells how many jobs it would make, and of when.
    #[arg(long)]
    dry_run: bool,
    /// How many are expected, in place of typing it.
    #[arg(long, value_name = "NUMBER")]
    yes: Option<usize>,
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Changed {
    /// The name of the schedule.
    name: String,
    /// Only if it was not changed since it had this revision, as `list --json` tells it.
    #[arg(long, value_name = "NUMBER")]
    revision: Option<u64>,
    #[command(flatten)]
    why: Why,
}

pub(crate) fn run(options: &super::Options, command: Command) -> ExitCode {
    if let Command::Import(what) = &command {
        return import::run(what, options.json);
    }
    if let Command::Backfill(Gaps { from, to, .. }) = &command
        && from >= to
    {
        let wrong = format!("--to {to} is not after --from {from}: there is nothing between them");
        let wrong = Cli::command().error(ErrorKind::ValueValidation, wrong);
        return fail::misunderstood(&wrong);
    }
    super::run(options, async |client, printer| {
        let (method, path, changed) = match command {
            Command::List { limit, cursor } => {
                let asked = [("limit", Some(limit.to_string())), ("cursor", cursor)];
                let page: SchedulePage = client
                    .get(query("/api/v1/schedules", &asked))
                    .send()
                    .await?;
                printer.print(&page, || listed(&page.items));
                more(printer, page.next.as_ref());
                return Ok(());
            }
            Command::Next { name, count } => {
                let path = format!("/api/v1/schedules/{}/next?count={count}", part(&name));
                let next: UpcomingList = client.get(path).send().await?;
                printer.print(&next, || upcoming(&next));
                return Ok(());
            }
            Command::Backfill(gaps) => return backfill(client, printer, gaps).await,
            Command::Import(_) => return Ok(()),
            Command::Run(changed) => ("POST", "/run", changed),
            Command::Pause(changed) => ("POST", "/pause", changed),
            Command::Resume(changed) => ("POST", "/resume", changed),
            Command::Delete(changed) => ("DELETE", "", changed),
        };
        let path = format!("/api/v1/schedules/{}{path}", part(&changed.name));
        let reason = Reason {
            reason: changed.why.reason,
        };
        let mut asking = client.change(method, path, &reason);
        if let Some(revision) = changed.revision {
            asking = asking.over(format!("\"{revision}\""));
        }
        let answer: Done = asking.send().await?;
        let line = match answer.job {
            Some(job) => format!("job {job} is made"),
            None => format!("schedule {}: {}", changed.name, answer.outcome),
        };
        if let Some(warning) = &answer.warning {
            printer.talk(&format!("warning: {warning}"));
        }
        done(printer, &answer, &line);
        Ok(())
    })
}

/// Counts, has it agreed to, and fills in at most as many as were counted, whatever has become of the schedule meanwhile.
async fn backfill(client: &Client, printer: &Printer, gaps: Gaps) -> anyhow::Result<()> {
    let path = format!("/api/v1/schedules/{}/backfill", part(&gaps.name));
    let mut asked = Backfill {
        from: gaps.from.to_string(),
        to: gaps.to.to_string(),
        limit: None,
        dry_run: Some(true),
        reason: gaps.why.reason,
    };
    let mut told: Backfilled = client.change("POST", &path, &asked).send().await?;
    if !gaps.dry_run && told.made > 0 {
        agreed(gaps.yes, told.made as usize, "occurrences")?;
        asked.limit = Some(told.made as u32);
        asked.dry_run = None;
        told = client.change("POST", &path, &asked).send().await?;
    }
    told.dry_run = gaps.dry_run;
    printer.print(&told, || filled(&told));
    Ok(())
}

fn filled(told: &Backfilled) -> String {
    let made = match (told.dry_run, &told.first, &told.last) {
        (false, ..) => format!("{} made", are(told.made as usize, "job")),
        (true, Some(first), Some(last)) => {
            let more = if told.rest.is_some() { "+" } else { "" };
            let made = told.made;
            format!("{made}{more} jobs would be made (--yes {made}), of {first} to {last}")
        }
        _ => "0 jobs would be made".to_owned(),
    };
    let rest = told.rest.as_ref();
    let rest = rest.map(|rest| format!("; go on with --from {rest}"));
    format!(
        "{made}, {} occurrences had one{}",
        told.had,
        rest.unwrap_or_default()
    )
}

fn listed(schedules: &[Schedule]) -> String {
    if schedules.is_empty() {
        return "no schedules".into();
    }
    let rows: Vec<_> = schedules
        .iter()
        .map(|schedule| {
            let next = match (&schedule.paused_because, &schedule.next) {
                (Some(why), _) => format!("paused: {why}"),
                (None, Some(next)) => next.clone(),
                (None, None) => "never".to_owned(),
            };
            [
                schedule.name.clone(),
                schedule.kind.clone(),
                schedule.description.clone(),
                next,
            ]
        })
        .collect();
    table(["NAME", "KIND", "WHEN", "NEXT"], &rows)
}

fn upcoming(next: &UpcomingList) -> String {
    if next.items.is_empty() {
        return "never".into();
    }
    let rows: Vec<_> = next
        .items
        .iter()
        .map(|upcoming| {
            let change = match upcoming.change.as_str() {
                "none" => "",
                "skipped" => "the clocks skip its time; the first instant after",
                "first" => "the clocks show this time twice; the first",
                _ => "the clocks show this time twice; the second",
            };
            [
                upcoming.at.clone(),
                upcoming.reading.clone(),
                change.to_owned(),
            ]
        })
        .collect();
    table(["AT", "CLOCKS SHOW", "CHANGE"], &rows)
}
