//! `steadfast panics`: what has panicked in the server that is asked.

use std::process::ExitCode;

use clap::Subcommand;

use super::print::{plain, table};
use crate::api::client::part;
use crate::api::types::{PanicDetail, PanicList};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists panics by the place they came from.
    List,
    /// Shows the panics of one place, with one of them.
    Show {
        /// The ID of the list.
        id: String,
    },
}

pub(crate) fn run(options: &super::Options, command: Command) -> ExitCode {
    super::run(options, async |client, printer| {
        let id = match command {
            Command::Show { id } => id,
            Command::List => {
                let list: PanicList = client.get("/api/v1/panics").send().await?;
                printer.print(&list, || listed(&list));
                return Ok(());
            }
        };
        let path = format!("/api/v1/panics/{}", part(&id));
        let detail: PanicDetail = client.get(path).send().await?;
        printer.print(&detail, || shown(&detail));
        Ok(())
    })
}

fn listed(list: &PanicList) -> String {
    if list.items.is_empty() {
        return "no panics".to_owned();
    }
    let rows = list.items.iter().map(|group| {
        [
            group.id.clone(),
            group.count.to_string(),
            group.last.clone(),
            group.place.clone(),
            group.message.clone(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    table(["ID", "COUNT", "LAST", "PLACE", "MESSAGE"], &rows)
}

fn shown(detail: &PanicDetail) -> String {
    let group = &detail.group;
    let mut lines = vec![
        format!("{} at {}", group.kind, group.place),
        format!("message    {}", plain(&group.message)),
        format!(
            "count      {}, {} of them contained",
            group.count, group.contained
        ),
        format!("first      {}", group.first),
        format!("last       {}", group.last),
    ];
    let Some(sample) = &detail.sample else {
        lines.push("sample     none was told by itself since the API has started".to_owned());
        return lines.join("\n");
    };
    let mut line = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            lines.push(format!("{name:10} {}", plain(value)));
        }
    };
    line("sample", Some(&sample.at));
    line("said", Some(&sample.message));
    line("thread", Some(&sample.thread));
    line("scopes", Some(&sample.scopes));
    line("route", sample.route.as_deref());
    line("job", sample.job.as_deref());
    line("trace", sample.trace_id.as_deref());
    if let Some(backtrace) = &sample.backtrace {
        lines.extend(backtrace.lines().map(plain));
    }
    lines.join("\n")
}
