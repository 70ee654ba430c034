//! `steadfast status`: how all of it is, at a glance.

use std::process::ExitCode;
use std::time::Duration;

use steadfast::clock;

use super::print::{counted, lines, plain};
use crate::api::client::{Refused, Unreachable};
use crate::api::types::Status;
use crate::cli::fail;
use crate::cli::screen::Screen;

/// How often it is looked at again: every 2 s.
const WATCH_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct Watching {
    #[command(flatten)]
    pub(crate) ask: super::Options,

    /// Looks again every two seconds: on a terminal in place, and elsewhere it prints how it is whenever that has
    /// changed. An answer that is lost is told, and does not end it.
    #[arg(long)]
    watch: bool,
}

pub(crate) fn run(options: &Watching) -> ExitCode {
    let (screen, _flushed) = Screen::of_this_process();
    let stays = options.watch && !options.ask.json && screen.is_terminal();
    super::run(&options.ask, async |client, printer| {
        let mut last = None;
        let mut is_lost = false;
        loop {
            let status: Status = match client.get("/api/v1/status").send().await {
                Ok(status) => status,
                // The first answer says whether there is such a server at all.
                Err(error) if last.is_some() && passes(&error) => {
                    if !is_lost {
                        match stays {
                            true => screen.show(&lines(&format!("{error:#}; it is asked again"))),
                            false => {
                                fail::tell(&error, options.ask.json);
                            }
                        }
                    }
                    is_lost = true;
                    clock::sleep(WATCH_EVERY).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let was_lost = std::mem::take(&mut is_lost);
            if was_lost || last.as_ref() != Some(&status) {
                match stays {
                    true => screen.draw(lines(&shown(&status))),
                    false => printer.print(&status, || shown(&status)),
                }
            }
            if !options.watch {
                return Ok(());
            }
            last = Some(status);
            clock::sleep(WATCH_EVERY).await;
        }
    })
}

/// Tells whether an answer is lost that may come again: the server is away, its store, or it sheds.
fn passes(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Refused>();
    error.is::<Unreachable>()
        || refused.is_some_and(|Refused(problem)| matches!(problem.status, 503 | 504))
}

/// In one line, whatever is in them.
fn names(names: &[String]) -> String {
    plain(&names.join(", "))
}

fn shown(status: &Status) -> String {
    let number = |count: u64| counted(count, status.counts_up_to);
    let count = |state: &str| number(status.jobs.get(state).copied().unwrap_or_default());
    let overdue = match status.schedules_overdue.is_empty() {
        true => "none overdue".to_owned(),
        false => format!("OVERDUE: {}", names(&status.schedules_overdue)),
    };
    let paused = match &status.queues_paused[..] {
        [] => String::new(),
        queues => format!("queues     PAUSED: {}\n", names(queues)),
    };
    let unhandled = match &status.unhandled[..] {
        [] => String::new(),
        kinds => format!("handlers   NONE for {}\n", names(kinds)),
    };
    let unserved = match &status.queues_unserved[..] {
        [] => String::new(),
        queues => format!("nodes      NONE CLAIMS FROM {}\n", names(queues)),
    };
    let changes = match &status.read_only_because {
        Some(why) => format!("changes    REFUSED: {why}\n"),
        None => String::new(),
    };
    format!(
        "steadfast {}\nstore      {}: {}\n{changes}nodes      {} alive\n{unserved}schedules  {overdue}\n{paused}{unhandled}jobs       {} pending, {} running, {} waiting\nended      {} completed, {} discarded, {} cancelled, {} quarantined",
        status.version,
        status.store,
        status.store_detail,
        number(status.nodes_alive),
        count("pending"),
        count("running"),
        count("waiting"),
        count("completed"),
        count("discarded"),
        count("cancelled"),
        count("quarantined"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Problem;

    #[test]
    fn a_server_whose_store_is_away_is_watched_on_and_one_that_refuses_is_not() {
        let check = |status: u16, expect| {
            let problem = serde_json::json!({
                "type": "", "title": "", "status": status, "code": "SF-2209",
            });
            let problem: Problem = serde_json::from_value(problem).unwrap();
            let error = anyhow::Error::new(Refused(problem));
            assert_eq!(passes(&error), expect, "{status}");
        };

        check(503, true);
        check(504, true);
        check(401, false);
        check(404, false);
    }

    #[test]
    fn a_count_that_has_stopped_says_that_there_may_be_more() {
        let jobs = [("pending", 1_000), ("running", 999)];
        let status = Status {
            version: "0.1.0".into(),
            store: "sqlite".into(),
            store_up: true,
            store_detail: "up".into(),
            read_only: false,
            read_only_because: None,
            jobs: jobs.map(|(state, count)| (state.into(), count)).into(),
            nodes_alive: 1_000,
            counts_up_to: 1_000,
            schedules_overdue: Vec::new(),
            queues_paused: vec!["mail".into(), "web".into()],
            unhandled: vec!["back\nup".into()],
            queues_unserved: vec!["nope".into()],
        };

        let shown = shown(&status);

        let nodes = "nodes      1000+ alive\nnodes      NONE CLAIMS FROM nope\n";
        assert!(shown.contains(nodes), "{shown}");
        assert!(
            shown.contains(
                "none overdue\nqueues     PAUSED: mail, web\nhandlers   NONE for back up\njobs "
            ),
            "{shown}"
        );
        assert!(
            shown.contains("1000+ pending, 999 running, 0 waiting"),
            "{shown}"
        );
    }
}
