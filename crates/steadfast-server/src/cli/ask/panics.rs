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
        /// Shows frames of libraries and of the runtime, too.
        #[arg(long)]
        full: bool,
    },
}

pub(crate) fn run(options: &super::Options, command: Command) -> ExitCode {
    super::run(options, async |client, printer| {
        let (id, full) = match command {
            Command::Show { id, full } => (id, full),
            Command::List => {
                let list: PanicList = client.get("/api/v1/panics").send().await?;
                printer.print(&list, || listed(&list));
                return Ok(());
            }
        };
        let path = format!("/api/v1/panics/{}", part(&id));
        let detail: PanicDetail = client.get(path).send().await?;
        printer.print(&detail, || shown(&detail, full));
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

fn shown(detail: &PanicDetail, full: bool) -> String {
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
        match full {
            true => lines.extend(backtrace.lines().map(plain)),
            false => lines.extend(folded(backtrace).iter().map(|line| plain(line))),
        }
    }
    lines.join("\n")
}

/// Leaves out the frames whose place is in a library, or in none, and says how many.
fn folded(backtrace: &str) -> Vec<String> {
    let mut frames: Vec<Vec<&str>> = Vec::new();
    for line in backtrace.lines() {
        match frames.last_mut() {
            // A place stands below what is called there.
            Some(frame) if line.trim_start().starts_with("at ") => frame.push(line),
            _ => frames.push(vec![line]),
        }
    }
    let (mut lines, mut left) = (Vec::new(), 0);
    for frame in frames {
        match frame.get(1).is_some_and(|place| is_own(place)) {
            true => lines.extend(frame.into_iter().map(str::to_owned)),
            false => left += 1,
        }
    }
    if left > 0 {
        lines.push(format!(
            "({left} frames of libraries are left out; --full shows them)"
        ));
    }
    lines
}

/// Whether a place is neither in a crate of a registry or a repository, nor in the standard library.
fn is_own(place: &str) -> bool {
    let others = ["/.cargo/registry/", "/.cargo/git/", "/rustc/", "/rustlib/"];
    !others.iter().any(|other| place.contains(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_libraries_are_left_out_and_counted() {
        let backtrace = "   0: shop::pay\n             at /srv/shop/src/pay.rs:7:9\n   \
            1: core::ops::call\n             at /rustc/abc/library/core/src/ops.rs:250:5\n   \
            2: axum::handler\n             at /srv/.cargo/registry/src/index-1/axum-0.8.9/src/handler.rs:1:1\n   \
            3: __libc_start_main\n   \
            4: shop::main\n             at /srv/shop/src/main.rs:3:5";

        assert_eq!(
            folded(backtrace),
            [
                "   0: shop::pay",
                "             at /srv/shop/src/pay.rs:7:9",
                "   4: shop::main",
                "             at /srv/shop/src/main.rs:3:5",
                "(3 frames of libraries are left out; --full shows them)",
            ]
        );
    }
}
