//! `steadfast panics`: what has panicked in the server that is asked.

use std::process::ExitCode;

use clap::Subcommand;

use super::print::table;
use crate::api::types::PanicList;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists panics by the place they came from.
    List,
}

pub(crate) fn run(options: &super::Options, command: Command) -> ExitCode {
    super::run(options, async |client, printer| {
        let Command::List = command;
        let list: PanicList = client.get("/api/v1/panics").send().await?;
        let rows = list.items.iter().map(|group| {
            [
                group.count.to_string(),
                group.place.clone(),
                group.message.clone(),
            ]
        });
        let rows: Vec<_> = rows.collect();
        printer.print(&list, || match rows.is_empty() {
            true => "no panics".to_owned(),
            false => table(["COUNT", "PLACE", "MESSAGE"], &rows),
        });
        Ok(())
    })
}
