//! `steadfast schedules`: when jobs are due.

use std::process::ExitCode;

use clap::Subcommand;

use super::super::import;
use super::print::table;
use super::{Why, done, more, query};
use crate::api::client::part;
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
    /// Makes the jobs of occurrences that have none.
    Backfill {
        /// The name of the schedule.
        name: String,
        /// The first point in time: 2026-12-01T00:00:00Z.
        #[arg(long, value_name = "TIME")]
        from: String,
        /// The end, which is not part of it.
        #[arg(long, value_name = "TIME")]
        to: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Changed {
    /// The name of the schedule.
    name: String,
    #[command(flatten)]
    why: Why,
}

pub(crate) fn run(options: &super::Options, command: Command) -> ExitCode {
    if let Command::Import(what) = &command {
        return import::run(what, options.json);
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
            Command::Backfill {
                name,
                from,
                to,
                why,
            } => {
                let asked = Backfill {
                    from,
                    to,
                    reason: why.reason,
                };
                let path = format!("/api/v1/schedules/{}/backfill", part(&name));
                let filled: Backfilled = client.change("POST", path, &asked).send().await?;
                let rest = filled
                    .rest
                    .as_ref()
                    .map(|rest| format!("; go on with --from {rest}"));
                let line = format!(
                    "{} jobs are made, {} occurrences had one{}",
                    filled.made,
                    filled.had,
                    rest.unwrap_or_default()
                );
                done(printer, &filled, &line);
                return Ok(());
            }
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
        let answer: Done = client.change(method, path, &reason).send().await?;
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
