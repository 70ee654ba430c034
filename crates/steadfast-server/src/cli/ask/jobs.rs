//! `steadfast jobs`: looking at jobs, and changing what becomes of them.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::value::RawValue;

use super::bulk::{self, All, Bulk, how};
use super::print::{agreed, are, counted, plain, table};
use super::{Why, done, more, query};
use crate::api::client::part;
use crate::api::types::{
    Done, DoneAll, Given, Job, JobDetail, JobPage, Many, NewJob, QueuePage, Reason,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists jobs, the latest first: live ones, or those in a state.
    List {
        /// Only those in this state.
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// Only those of this kind.
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        /// Only those of this queue.
        #[arg(long, value_name = "QUEUE")]
        queue: Option<String>,
        /// Only those with this key of a limit.
        #[arg(long, value_name = "KEY")]
        limit_key: Option<String>,
        /// At most so many, up to 500.
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        limit: u32,
        /// Goes on where a page has ended.
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
    /// Shows a job with its payload, its result, and why it failed.
    Show {
        /// The number of the job.
        id: u64,
    },
    /// Enqueues a job of a handler, or makes a waiting job due now.
    Run {
        /// The name of the handler, or the number of a waiting job.
        what: String,
        #[command(flatten)]
        new: New,
        #[command(flatten)]
        why: Why,
    },
    /// Puts a job that was discarded, cancelled or quarantined back to work, or all such jobs.
    Retry {
        /// The number of the job.
        #[arg(required_unless_present = "all")]
        id: Option<u64>,
        #[command(flatten)]
        all: All,
        #[command(flatten)]
        why: Why,
    },
    /// Cancels a job, or all such jobs; those that run are told to stop.
    Cancel {
        /// The number of the job.
        #[arg(required_unless_present = "all")]
        id: Option<u64>,
        #[command(flatten)]
        all: All,
        #[command(flatten)]
        why: Why,
    },
    /// Lists queues: those that are paused or limited, or have jobs that are due or run.
    Queues {
        /// At most so many, up to 500.
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        limit: u32,
        /// Goes on where a page has ended.
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
    /// Has no node claim from a queue; what runs goes on.
    Pause {
        /// The queue.
        queue: String,
        #[command(flatten)]
        why: Why,
    },
    /// Has nodes claim from a queue again.
    Resume {
        /// The queue.
        queue: String,
        #[command(flatten)]
        why: Why,
    },
    /// Puts some ended jobs back to work, the latest first, and tells which.
    Redrive {
        /// The state they are in: discarded, quarantined or cancelled.
        #[arg(long, value_name = "STATE", default_value = "discarded")]
        state: String,
        /// Only those of this kind.
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        /// Only those of this queue.
        #[arg(long, value_name = "QUEUE")]
        queue: Option<String>,
        /// At most so many, up to 500.
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: u32,
        /// Only tells which they would be.
        #[arg(long)]
        dry_run: bool,
        /// How many are expected, in place of typing it.
        #[arg(long, value_name = "NUMBER")]
        yes: Option<usize>,
        #[command(flatten)]
        why: Why,
    },
}

/// What is said of a new job; one that waits keeps what it has.
#[derive(Debug, Default, PartialEq, clap::Args)]
pub(crate) struct New {
    /// What the work is about, as JSON; null unless said.
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// The queue of the new job; that of its handler unless said.
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// How long it waits before it is due: 10m.
    #[arg(long, value_name = "TIME")]
    delay: Option<String>,
    /// Who goes sooner: -100 to 100, 0 unless said.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    priority: Option<i16>,
    /// How many attempts it has, the first one included; as many as its handler says unless said.
    #[arg(long, value_name = "NUMBER")]
    max_attempts: Option<u32>,
    /// Keeps others with this key out while the job is live.
    #[arg(long, value_name = "KEY")]
    unique: Option<String>,
}

pub(crate) fn run(options: &super::Options, command: Command) -> ExitCode {
    super::run(options, async |client, printer| {
        match command {
            Command::List {
                state,
                kind,
                queue,
                limit_key,
                limit,
                cursor,
            } => {
                let asked = [
                    ("state", state),
                    ("kind", kind),
                    ("queue", queue),
                    ("limit_key", limit_key),
                    ("limit", Some(limit.to_string())),
                    ("cursor", cursor),
                ];
                let page: JobPage = client.get(query("/api/v1/jobs", &asked)).send().await?;
                printer.print(&page, || listed(&page.items));
                more(printer, page.next.as_ref());
            }
            Command::Queues { limit, cursor } => {
                let asked = [("limit", Some(limit.to_string())), ("cursor", cursor)];
                let path = query("/api/v1/queues", &asked);
                let page: QueuePage = client.get(path).send().await?;
                printer.print(&page, || queues(&page));
                more(printer, page.next.as_ref());
            }
            Command::Show { id } => {
                let job: JobDetail = client.get(format!("/api/v1/jobs/{id}")).send().await?;
                printer.print(&job, || shown(&job));
            }
            Command::Run { what, new, why } => {
                let made: Done = match what.parse::<u64>() {
                    Ok(id) => {
                        anyhow::ensure!(
                            new == New::default(),
                            "job {id} keeps what it was enqueued with; only a new one, of a handler, is told more"
                        );
                        let reason = Reason { reason: why.reason };
                        client
                            .change("POST", format!("/api/v1/jobs/{id}/run"), &reason)
                            .send()
                            .await?
                    }
                    Err(_) => {
                        let payload = new.payload.as_deref().unwrap_or("null");
                        let payload = serde_json::from_str(payload)
                            .map_err(|error| anyhow::anyhow!("--payload is no JSON: {error}"))?;
                        let new = NewJob {
                            kind: what,
                            payload: Some(payload),
                            queue: new.queue,
                            priority: new.priority,
                            max_attempts: new.max_attempts,
                            delay: new.delay,
                            unique: new.unique,
                            reason: why.reason,
                        };
                        client.change("POST", "/api/v1/jobs", &new).send().await?
                    }
                };
                let job = made.job.unwrap_or_default();
                if let Some(warning) = &made.warning {
                    printer.talk(&format!("warning: {warning}"));
                }
                let line = match &*made.outcome {
                    "kept-out" => format!("job {job} has this key, and keeps another one out"),
                    outcome => format!("job {job} is {outcome}"),
                };
                done(printer, &made, &line);
            }
            Command::Retry { id, all, why } => match id {
                Some(id) => act(client, printer, id, "retry", why).await?,
                None => bulk::run(client, printer, Bulk::Retry, all, why).await?,
            },
            Command::Cancel { id, all, why } => match id {
                Some(id) => act(client, printer, id, "cancel", why).await?,
                None => bulk::run(client, printer, Bulk::Cancel, all, why).await?,
            },
            Command::Pause { queue, why } => {
                queue_act(client, printer, &queue, "pause", why).await?
            }
            Command::Resume { queue, why } => {
                queue_act(client, printer, &queue, "resume", why).await?
            }
            Command::Redrive {
                state,
                kind,
                queue,
                limit,
                dry_run,
                yes,
                why,
            } => {
                let mut which = Many {
                    state: Some(state),
                    kind,
                    queue,
                    limit_key: None,
                    limit,
                    cursor: None,
                    dry_run: true,
                    reason: why.reason,
                };
                let send = async |which: &Many| {
                    let asked = client.change("POST", "/api/v1/jobs/redrive", which);
                    asked.send::<DoneAll>().await
                };
                let found = send(&which).await?;
                if !dry_run && !found.jobs.is_empty() {
                    agreed(yes, found.jobs.len(), "jobs")?;
                    which.cursor = found.first.clone();
                    which.dry_run = false;
                }
                let redriven = if which.dry_run {
                    found
                } else {
                    send(&which).await?
                };
                let ids: Vec<String> = redriven.jobs.iter().map(ToString::to_string).collect();
                let count = ids.len();
                let mut line = match redriven.dry_run {
                    true => format!("{count} jobs would be put back to work{}", how(count)),
                    false => format!("{} put back to work", are(count as usize, "job")),
                };
                line.push_str(&format!("\n{}", ids.join(" ")));
                if !redriven.refused.is_empty() {
                    let left = redriven.refused.len();
                    line.push_str(&format!(
                        "\n{left} are left: other jobs have their unique keys"
                    ));
                }
                done(printer, &redriven, &line);
            }
        }
        Ok(())
    })
}

async fn act(
    client: &crate::api::client::Client,
    printer: &super::Printer,
    id: u64,
    action: &str,
    why: Why,
) -> anyhow::Result<()> {
    let reason = Reason { reason: why.reason };
    let path = format!("/api/v1/jobs/{id}/{action}");
    let answer: Done = client.change("POST", path, &reason).send().await?;
    done(printer, &answer, &format!("job {id} is {}", answer.outcome));
    Ok(())
}

async fn queue_act(
    client: &crate::api::client::Client,
    printer: &super::Printer,
    queue: &str,
    action: &str,
    why: Why,
) -> anyhow::Result<()> {
    let reason = Reason { reason: why.reason };
    let path = format!("/api/v1/queues/{}/{action}", part(queue));
    let answer: Done = client.change("POST", path, &reason).send().await?;
    let word = if action == "pause" {
        "is paused"
    } else {
        "goes on"
    };
    if let Some(warning) = &answer.warning {
        printer.talk(&format!("warning: {}", plain(warning)));
    }
    done(printer, &answer, &format!("queue {} {word}", plain(queue)));
    Ok(())
}

fn queues(page: &QueuePage) -> String {
    if page.items.is_empty() {
        return "no queues".into();
    }
    let rows = page.items.iter().map(|queue| {
        let limits = [
            queue.max_running.map(|most| most.to_string()),
            queue
                .max_running_per_key
                .map(|most| format!("{most} a key")),
        ];
        let state = match (&queue.paused, &queue.paused_because) {
            (Some(since), Some(why)) => format!("paused since {since}: {why}"),
            (Some(since), None) => format!("paused since {since}"),
            (None, _) => String::new(),
        };
        [
            queue.name.clone(),
            counted(queue.pending, page.counts_up_to),
            counted(queue.running, page.counts_up_to),
            limits.into_iter().flatten().collect::<Vec<_>>().join(", "),
            state,
        ]
    });
    let rows: Vec<_> = rows.collect();
    table(["QUEUE", "PENDING", "RUNNING", "LIMIT", "STATE"], &rows)
}

fn listed(jobs: &[Job]) -> String {
    if jobs.is_empty() {
        return "no jobs".into();
    }
    let rows: Vec<_> = jobs
        .iter()
        .map(|job| {
            [
                job.id.to_string(),
                job.kind.clone(),
                job.queue.clone(),
                job.state.clone(),
                format!("{}/{}", job.attempt, job.max_attempts),
                job.due.clone(),
                job.error.as_deref().map(short).unwrap_or_default(),
            ]
        })
        .collect();
    table(
        ["ID", "KIND", "QUEUE", "STATE", "ATTEMPTS", "DUE", "ERROR"],
        &rows,
    )
}

/// How much of an error is in a list: 100 characters.
const SHORT_MAX: usize = 100;

/// Writes the beginning of an error in one line.
fn short(error: &str) -> String {
    let lines: Vec<&str> = error.lines().map(str::trim).collect();
    let line = lines.join(" | ");
    match line.char_indices().nth(SHORT_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn shown(detail: &JobDetail) -> String {
    let job = &detail.job;
    let mut lines = vec![
        format!("job {} of kind {} is {}", job.id, job.kind, job.state),
        format!("queue      {}, priority {}", job.queue, job.priority),
        format!(
            "attempts   {} of {}, crashes {}, term {}",
            job.attempt, job.max_attempts, job.crashes, job.term
        ),
        format!("created    {}", job.created),
        format!("due        {}", job.due),
    ];
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            lines.push(format!("{name:10} {value}"));
        }
    };
    line("claimed", job.claimed.clone());
    line("finished", job.finished.clone());
    line("node", job.node.map(|node| node.to_string()));
    line("trace", job.trace_id.clone());
    line("schedule", detail.schedule.clone());
    line("occurrence", detail.occurrence.clone());
    line(
        "progress",
        detail
            .progress
            .as_ref()
            .map(|progress| format!("{} % {}", progress.percent, plain(&progress.text))),
    );
    line("payload", Some(plain(detail.payload.text())));
    line("error", job.error.clone());
    let given = detail.result.as_ref().map(Given::text);
    let (rest, output) = match given.and_then(apart) {
        Some((rest, output)) => (Some(rest), output),
        None => (given.map(str::to_owned), String::new()),
    };
    line("result", rest.map(|rest| plain(&rest)));
    if !output.is_empty() {
        lines.push("output".to_owned());
        lines.extend(output.lines().map(|line| format!("    {}", plain(line))));
    }
    lines.join("\n")
}

/// Takes what a program has written out of what is kept of its run, which is read line by line.
fn apart(result: &str) -> Option<(String, String)> {
    let mut kept: BTreeMap<String, Box<RawValue>> = serde_json::from_str(result).ok()?;
    let output = serde_json::from_str(kept.remove("output")?.get()).ok()?;
    Some((serde_json::to_string(&kept).ok()?, output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_in_one_line_of_a_list_with_its_beginning() {
        let error = "ended with exit code 1; what it wrote:\n    disk full";
        assert_eq!(
            short(error),
            "ended with exit code 1; what it wrote: | disk full"
        );
        assert_eq!(short(&"ü".repeat(101)), "ü".repeat(100) + "…");
    }
}
