//! `steadfast nodes`: which processes share the store.

use std::process::ExitCode;

use clap::Subcommand;

use super::print::table;
use super::{more, query};
use crate::api::types::NodePage;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists lives of processes, the latest first.
    List {
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
        let Command::List { limit, cursor } = command;
        let asked = [("limit", Some(limit.to_string())), ("cursor", cursor)];
        let page: NodePage = client.get(query("/api/v1/nodes", &asked)).send().await?;
        let rows = page.items.iter().map(|node| {
            let state = match &node.ended {
                Some(ended) => format!("ended {ended}"),
                None => format!("alive, last sign {} s ago", node.last_beat_seconds),
            };
            let place = format!("{}:{}", node.host, node.pid);
            [
                node.id.to_string(),
                node.service.clone(),
                node.version.clone(),
                place,
                state,
            ]
        });
        let rows: Vec<_> = rows.collect();
        printer.print(&page, || {
            table(["ID", "SERVICE", "VERSION", "PROCESS", "STATE"], &rows)
        });
        more(printer, page.next.as_ref());
        Ok(())
    })
}
