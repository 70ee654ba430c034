//! How a command says that it has failed: a code, the cause, the fix, and an exit code.
//!
//! The exit codes are in `EXITS`, which `docs/reference/cli.md` is made of.

use std::io::Write;
use std::process::ExitCode;

use steadfast::settings::Problems;

use crate::api::client::{Refused, Unreachable};
use crate::api::routes::policy::mistakes;
use crate::api::types::Mistake;
use crate::cli::ask::print::lines;

/// Every exit code, and when.
#[cfg(test)]
pub(super) const EXITS: &[(u8, &str)] = &[
    (0, "done"),
    (1, "failed"),
    (2, "the command was not understood"),
    (3, "`steadfast drill` has seen a criterion missed"),
    (4, "there is no such thing"),
    (5, "the token is not known, or may not do it"),
    (6, "it is not in the state for it, or was changed meanwhile"),
    (7, "the server cannot be reached, or its store"),
    (
        8,
        "lines of a crontab could not be taken over, and the rest was",
    ),
    (9, "`steadfast doctor` has found something that fails"),
    (78, "the configuration, or a policy, is refused"),
];

/// Every code of the program itself: the cause, and what to do about it.
#[cfg(test)]
pub(super) const CODES: &[(&str, &str, &str)] = &[
    (
        "SF-2101",
        "the store cannot be used by `serve`",
        "do what its message says; `steadfast db status` tells how the tables are",
    ),
    (
        "SF-2201",
        "the request makes no sense",
        "correct what the message names",
    ),
    (
        "SF-2202",
        "nobody is known by this token",
        "make one with `steadfast admin token create`, and say it as `authorization: Bearer …`",
    ),
    (
        "SF-2203",
        "the token may not do this",
        "use a token that may",
    ),
    (
        "SF-2204",
        "the API takes no changes",
        "set `read_only = false` in `[api]`, or ask another",
    ),
    ("SF-2205", "there is no such thing", "list what there is"),
    (
        "SF-2206",
        "it is not in a state in which that can be done",
        "look at its state; what is in use has to be stopped first",
    ),
    (
        "SF-2207",
        "it was changed since it was looked at",
        "look at it again, and decide anew",
    ),
    (
        "SF-2208",
        "a change does not say what was seen",
        "send `If-Match` with the ETag, or `If-None-Match: *` for what is new",
    ),
    (
        "SF-2209",
        "the store does not answer, or refuses",
        "do what the message says, and try again",
    ),
    (
        "SF-2210",
        "a mistake of the program",
        "report it with the trace id and the lines of the log",
    ),
    (
        "SF-2211",
        "a policy has mistakes",
        "each is told with its line and what to write instead",
    ),
    (
        "SF-2212",
        "a policy cannot be put in force in this process, although it has no mistake",
        "make it fit the routes and clients of the service, or start that with it",
    ),
    (
        "SF-2213",
        "the endpoint has other methods",
        "ask it by one of those that `Allow` names, or that the document of the API has",
    ),
    (
        "SF-2214",
        "the store takes no writes at the moment: it is a standby, a file without the right, or its disk is full",
        "changes are taken again by themselves once the store takes writes; `Retry-After` says when it is looked again",
    ),
    (
        "SF-2215",
        "as many changes are under way as are made at once",
        "try again once some have ended; where none does, see why the store is slow",
    ),
    ("SF-2300", "a command has failed", "do what its cause says"),
    (
        "SF-2301",
        "the server cannot be reached",
        "start `steadfast serve`, or say where it is with `--server`",
    ),
    (
        "SF-2302",
        "the token would cross the network in clear",
        "ask by `https://`, or through a tunnel to 127.0.0.1; say `--in-clear` where nobody else is on the way",
    ),
];

/// Tells an error, and gives the exit code.
pub(crate) fn tell(error: &anyhow::Error, json: bool) -> ExitCode {
    let (code, exit, fix) = judge(error);
    let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    let mistakes = Mistakes::of(error);
    let text = match json {
        true => serde_json::json!({
            "version": 1,
            "error": {
                "code": code, "title": error.to_string(), "causes": causes, "fix": fix,
                "mistakes": mistakes.map(|mistakes| mistakes.list),
            },
        })
        .to_string(),
        false => {
            let mut text = format!("error[{code}]: {error}\n");
            if let Some(mistakes) = mistakes {
                text.push_str(&format!("\n{}", mistakes.told));
            }
            // A server that cannot be reached has causes that say less than the first.
            for cause in causes.iter().take(3) {
                text.push_str(&format!("  because: {cause}\n"));
            }
            if let Some(fix) = &fix {
                text.push_str(&format!("  fix: {fix}\n"));
            }
            text
        }
    };
    let _ = writeln!(std::io::stderr(), "{}", lines(text.trim_end()));
    ExitCode::from(exit)
}

/// What is wrong with a document, as a compiler tells it and one by one.
struct Mistakes {
    told: String,
    list: Vec<Mistake>,
}

impl Mistakes {
    fn of(error: &anyhow::Error) -> Option<Self> {
        if let Some(Mistaken(problems)) = error.downcast_ref() {
            return Some(Self {
                told: problems.to_string(),
                list: mistakes(problems),
            });
        }
        let Refused(problem) = error.downcast_ref()?;
        Some(Self {
            told: problem.detail.clone()?,
            list: problem.mistakes.clone().unwrap_or_default(),
        })
    }
}

/// Something is not in the state in which that can be done.
#[derive(Debug)]
pub(crate) struct NotInState(pub(crate) String);

impl std::fmt::Display for NotInState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotInState {}

/// A policy that was looked at here has mistakes.
#[derive(Debug)]
pub(crate) struct Mistaken(pub(crate) Problems);

impl std::fmt::Display for Mistaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the policy has mistakes")
    }
}

impl std::error::Error for Mistaken {}

/// A token would be told to whoever is on the way to the server.
#[derive(Debug)]
pub(crate) struct InClear;

impl std::fmt::Display for InClear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the token would cross the network in clear")
    }
}

impl std::error::Error for InClear {}

fn judge(error: &anyhow::Error) -> (String, u8, Option<String>) {
    if let Some(Refused(problem)) = error.downcast_ref::<Refused>() {
        let exit = match problem.status {
            404 => 4,
            401 | 403 => 5,
            409 | 412 | 428 => 6,
            422 => 78,
            503 => 7,
            _ => 1,
        };
        return (problem.code.clone(), exit, problem.fix.clone());
    }
    if error.downcast_ref::<Mistaken>().is_some() {
        return ("SF-2211".into(), 78, None);
    }
    if error.downcast_ref::<NotInState>().is_some() {
        return ("SF-2206".into(), 6, None);
    }
    if error.downcast_ref::<Unreachable>().is_some() {
        let fix = "start `steadfast serve`, or say where it is with --server";
        return ("SF-2301".into(), 7, Some(fix.into()));
    }
    if error.downcast_ref::<InClear>().is_some() {
        let fix = "ask by https://, or through a tunnel to 127.0.0.1; say --in-clear where nobody else is on the way";
        return ("SF-2302".into(), 1, Some(fix.into()));
    }
    let store = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<steadfast::store::Error>());
    if let Some(store) = store {
        let exit = match store {
            store if store.is_unreachable() => 7,
            store if store.is_in_use() || store.is_version() => 6,
            _ => 1,
        };
        return (store.code().into(), exit, Some(store.fix().into()));
    }
    let jobs = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<steadfast::jobs::Error>());
    if let Some(jobs) = jobs {
        return (jobs.code().into(), 1, Some(jobs.fix().into()));
    }
    let ids = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<steadfast::ids::Error>());
    if let Some(ids) = ids {
        let is_away = ids.store().is_some_and(|error| error.is_unreachable());
        let exit = if is_away { 7 } else { 1 };
        return (ids.code().into(), exit, Some(ids.fix().into()));
    }
    ("SF-2300".into(), 1, None)
}
