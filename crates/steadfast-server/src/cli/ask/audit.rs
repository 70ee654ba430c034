//! `steadfast audit`: who did what.

use std::process::ExitCode;

use clap::Subcommand;
use steadfast::settings::duration;
use steadfast::{Timestamp, clock};

use super::print::table;
use super::{more, query};
use crate::api::types::{Audit, AuditPage};
use crate::time;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists who did what and why, and what became of it, the latest first.
    List {
        /// Only what this token did, by its name.
        #[arg(long, value_name = "NAME")]
        actor: Option<String>,
        /// Only this action: jobs.cancel.
        #[arg(long, value_name = "ACTION")]
        action: Option<String>,
        /// Only from this point in time on, 2026-12-01T00:00:00Z, or so long ago, 2h.
        #[arg(long, value_name = "TIME", value_parser = since)]
        since: Option<String>,
        /// At most so many, up to 500.
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        limit: u32,
        /// Goes on where a page has ended.
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
}

pub(crate) fn run(options: &super::Options, command: Command) -> ExitCode {
    super::run(options, async |client, printer| {
        let Command::List {
            actor,
            action,
            since,
            limit,
            cursor,
        } = command;
        let asked = [
            ("actor", actor),
            ("action", action),
            ("since", since),
            ("limit", Some(limit.to_string())),
            ("cursor", cursor),
        ];
        let page: AuditPage = client.get(query("/api/v1/audit", &asked)).send().await?;
        printer.print(&page, || listed(&page.items));
        more(printer, page.next.as_ref());
        Ok(())
    })
}

fn listed(entries: &[Audit]) -> String {
    if entries.is_empty() {
        return "nothing was done".into();
    }
    let rows = entries.iter().map(|entry| {
        let outcome = entry.outcome.as_deref().unwrap_or("under way");
        [
            entry.at.clone(),
            entry.actor.clone(),
            entry.action.clone(),
            entry.subject.clone(),
            outcome.to_owned(),
            entry.reason.clone(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    table(["AT", "WHO", "ACTION", "OF", "OUTCOME", "WHY"], &rows)
}

/// Reads a point in time, or how long ago it is; gives it as the API reads it.
fn since(text: &str) -> Result<String, String> {
    if text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(text.to_owned());
    }
    let ago = duration(text).map_err(|_| {
        "write a point in time, 2026-12-01T00:00:00Z, or how long ago it is, 2h".to_owned()
    })?;
    let ago_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    let at_ms = clock::timestamp()
        .unix_millis()
        .saturating_sub(ago_ms)
        .max(0);
    Ok(time::text(Timestamp::from_unix_millis(at_ms)))
}
