//! `steadfast schedules`: when jobs are due.

use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Subcommand};

use super::super::{Cli, fail, import};
use super::print::{Printer, agreed, are, table};
use super::{Why, done, more, query};
use crate::api::client::{Client, Refused, part};
use crate::api::problem::Problem;
use crate::api::types::{
    Backfill, Backfilled, Done, NewSchedule, Reason, Schedule, SchedulePage, UpcomingList,
};

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
    /// Adds a schedule.
    Add {
        /// The name of the schedule.
        name: String,
        /// When it is due: `30 2 * * *`, `every 15m`, `@daily`.
        #[arg(long, value_name = "RULE", allow_hyphen_values = true)]
        rule: String,
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        how: How,
    },
    /// Changes what is said of a schedule, and leaves the rest.
    Set {
        /// The name of the schedule.
        name: String,
        /// When it is due: `30 2 * * *`, `every 15m`, `@daily`.
        #[arg(long, value_name = "RULE", allow_hyphen_values = true)]
        rule: Option<String>,
        #[command(flatten)]
        said: Said,
        /// Only if it was not changed since it had this revision, as `list --json` tells it.
        #[arg(long, value_name = "NUMBER")]
        revision: Option<u64>,
        #[command(flatten)]
        how: How,
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

/// What can be said of a schedule beside its rule.
#[derive(Debug, clap::Args)]
pub(crate) struct Said {
    /// In which time zone: UTC unless said.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// What becomes of missed occurrences: `skip`, `run_once` or `run_all(24h)`.
    #[arg(long, value_name = "WHAT")]
    missed: Option<String>,
    /// What becomes of one while a run has not ended: `allow`, `skip`, `queue_one` or `cancel_other`.
    #[arg(long, value_name = "WHAT")]
    overlap: Option<String>,
    /// By how much a start is put off at most: 5m.
    #[arg(long, value_name = "TIME")]
    jitter: Option<String>,
    /// How long after its planned start a run may still begin; empty for without end.
    #[arg(long, value_name = "TIME")]
    start_deadline: Option<String>,
    /// The handler of its jobs: of the name of the schedule unless said.
    #[arg(long, value_name = "HANDLER")]
    handler: Option<String>,
    /// Their queue.
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// What they are about, as JSON.
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// How many attempts they have.
    #[arg(long, value_name = "NUMBER")]
    max_attempts: Option<u32>,
    /// Who goes sooner: -100 to 100.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    priority: Option<i16>,
    /// The key of the limit that they count against; empty for none.
    #[arg(long, value_name = "KEY")]
    limit_key: Option<String>,
    /// The oldest version of a node that may run them.
    #[arg(long, value_name = "NUMBER")]
    min_version: Option<u32>,
}

/// Whether a change is made, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct How {
    /// Only tells what it would change.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    why: Why,
}

impl Said {
    /// Puts what is said in place of what is there.
    fn over(
        self,
        before: Option<&Schedule>,
        rule: String,
        how: How,
    ) -> anyhow::Result<NewSchedule> {
        let payload = match self.payload {
            None => before.map(|before| before.payload.clone()),
            Some(text) => Some(serde_json::from_str(&text).context("--payload is no JSON")?),
        };
        // What is usual is not said: a rule that counts from the end of a run knows neither.
        let usual = |of: fn(&Schedule) -> &String, word: &str| {
            let is = before.map(of).filter(|is| *is != word);
            is.cloned()
        };
        let is_said = |text: &String| !text.is_empty();
        Ok(NewSchedule {
            rule,
            zone: self.zone.or(before.map(|before| before.zone.clone())),
            missed: self.missed.or(usual(|before| &before.missed, "run_once")),
            overlap: self.overlap.or(usual(|before| &before.overlap, "skip")),
            jitter: self.jitter.or(before.map(|before| before.jitter.clone())),
            start_deadline: self
                .start_deadline
                .or(before.and_then(|before| before.start_deadline.clone()))
                .filter(is_said),
            kind: self.handler.or(before.map(|before| before.kind.clone())),
            queue: self.queue.or(before.map(|before| before.queue.clone())),
            payload,
            max_attempts: self
                .max_attempts
                .or(before.map(|before| before.max_attempts)),
            priority: self.priority.or(before.map(|before| before.priority)),
            limit_key: self
                .limit_key
                .or(before.and_then(|before| before.limit_key.clone()))
                .filter(is_said),
            min_version: self.min_version.or(before.map(|before| before.min_version)),
            dry_run: how.dry_run.then_some(true),
            reason: how.why.reason,
        })
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Changed {
    /// The name of the schedule.
    name: String,
    /// Only if it was not changed since it had this revision, as `list --json` tells it.
    #[arg(long, value_name = "NUMBER")]
    revision: Option<u64>,
    #[command(flatten)]
    how: How,
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
            Command::Add {
                name,
                rule,
                said,
                how,
            } => {
                let new = said.over(None, rule, how)?;
                let path = format!("/api/v1/schedules/{}", part(&name));
                let after: Schedule = client.change("PUT", path, &new).if_none().send().await?;
                put(printer, None, &after, new.dry_run.is_some());
                return Ok(());
            }
            Command::Set {
                name,
                rule,
                said,
                revision,
                how,
            } => {
                let path = format!("/api/v1/schedules/{}", part(&name));
                let before: Schedule = client.get(&path).send().await?;
                let rule = rule.unwrap_or_else(|| before.rule.clone());
                let new = said.over(Some(&before), rule, how)?;
                let tag = format!("\"{}\"", revision.unwrap_or(before.revision));
                let after: Schedule = client.change("PUT", path, &new).over(tag).send().await?;
                put(printer, Some(&before), &after, new.dry_run.is_some());
                return Ok(());
            }
            Command::Backfill(gaps) => return backfill(client, printer, gaps).await,
            Command::Import(_) => return Ok(()),
            Command::Run(changed) => ("POST", "/run", changed),
            Command::Pause(changed) => ("POST", "/pause", changed),
            Command::Resume(changed) => ("POST", "/resume", changed),
            Command::Delete(changed) => ("DELETE", "", changed),
        };
        if changed.how.dry_run {
            return would(client, printer, path, &changed).await;
        }
        let path = format!("/api/v1/schedules/{}{path}", part(&changed.name));
        let reason = Reason {
            reason: changed.how.why.reason,
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

/// Tells what an action would be done to, if it is as it was seen.
async fn would(
    client: &Client,
    printer: &Printer,
    action: &str,
    changed: &Changed,
) -> anyhow::Result<()> {
    let path = format!("/api/v1/schedules/{}", part(&changed.name));
    let found: Schedule = client.get(path).send().await?;
    if changed.revision.is_some_and(|seen| seen != found.revision) {
        let title = format!(
            "the schedule {:?} was changed since it was looked at",
            changed.name
        );
        return Err(Refused(Problem::changed(title).told()).into());
    }
    let what = match (action, &*found.overlap) {
        ("/run", "allow") => "would have a job made now",
        ("/run", _) => "would have a job made now, unless an earlier one has not ended",
        ("/pause", _) => "would be paused",
        ("/resume", _) => "would go on",
        _ => "would be deleted",
    };
    printer.print(&found, || {
        format!(
            "schedule {} {what}: {}, {}\nnothing was changed",
            found.name,
            found.description,
            when(&found)
        )
    });
    Ok(())
}

/// Tells what was changed of a schedule, or would be.
fn put(printer: &Printer, before: Option<&Schedule>, after: &Schedule, dry_run: bool) {
    if let Some(warning) = &after.warning {
        printer.talk(&format!("warning: {warning}"));
    }
    printer.print(after, || {
        let told = format!(
            "{}schedule {}: {}, {}",
            differing(before, after),
            after.name,
            after.description,
            when(after)
        );
        let end = if dry_run { "\nnothing was changed" } else { "" };
        told + end
    });
}

/// What is said of a schedule, as far as it differs, in the order of the API.
fn differing(before: Option<&Schedule>, after: &Schedule) -> String {
    let said = |of: &Schedule| {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        [
            ("rule", of.rule.clone()),
            ("zone", of.zone.clone()),
            ("missed", of.missed.clone()),
            ("overlap", of.overlap.clone()),
            ("jitter", of.jitter.clone()),
            ("start_deadline", text(&of.start_deadline)),
            ("handler", of.kind.clone()),
            ("queue", of.queue.clone()),
            ("payload", of.payload.text().to_owned()),
            ("max_attempts", of.max_attempts.to_string()),
            ("priority", of.priority.to_string()),
            ("limit_key", text(&of.limit_key)),
            ("min_version", of.min_version.to_string()),
        ]
    };
    let mut lines = String::new();
    let old = before.map(said);
    for (at, (key, value)) in said(after).into_iter().enumerate() {
        match old.as_ref().map(|old| &old[at].1) {
            Some(old) if *old == value => {}
            Some(old) => lines.push_str(&format!("- {key} = {old}\n+ {key} = {value}\n")),
            None => lines.push_str(&format!("+ {key} = {value}\n")),
        }
    }
    lines
}

/// When a schedule is due next, or why it is not.
fn when(schedule: &Schedule) -> String {
    match (&schedule.paused_because, &schedule.next) {
        (Some(why), _) => format!("paused: {why}"),
        (None, Some(next)) => format!("next {next}"),
        (None, None) => "never".to_owned(),
    }
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
