//! How a command says that it has failed: a code, the cause, the fix, and an exit code.
//!
//! The exit codes are in `EXITS`, which `docs/reference/cli.md` is made of.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use steadfast::settings::Problems;
use steadfast::store::Place;

use crate::api::client::{AnsweredByProxy, Barred, NotTheApi, Refused, Unreachable};
use crate::api::routes::policy::mistakes;
use crate::api::types::Mistake;
use crate::cli::ask::print::lines;
use crate::config;

/// Every exit code, and when.
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
    (10, "the API takes no changes: it was started so"),
    (
        78,
        "the configuration, or a policy, is refused, or the program was built with `panic = \"abort\"`: it does not get \
         better by itself",
    ),
    (101, "the program has panicked"),
    (
        124,
        "what runs until it is ended has not ended within the time that its end may take, and was cut off",
    ),
    (130, "a second signal has cut its end off"),
];

/// What `steadfast exec` ends with.
pub(super) const EXITS_OF_EXEC: &str = "`steadfast exec` ends as its program has: with the exit code of that, or with 128 and \
     the number of the signal that has ended it, 137 for one that was killed since it hung or did not end in time; with 0 where it was \
     told to end and the signal that told it has ended the program; with 127 when there is no such program, and with 126 when it cannot be started.";

/// Every code of the program itself: the cause, and what to do about it where nobody knows better.
pub(super) const CODES: &[(&str, &str, &str)] = &[
    (
        "SF-2101",
        "the store cannot be used by `serve`",
        "do what its message says; `steadfast db status` tells how the tables are",
    ),
    (
        "SF-2102",
        "the configuration is refused, or this machine does not have what it names",
        "each mistake is told with its line and what to write instead; `steadfast serve --check` tells the same",
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
    (
        "SF-2303",
        "somebody else is where the API should be",
        "say with `--server` where `[api]` of the server listens, and below which path it is mounted; 4010 is that of health",
    ),
    (
        "SF-2304",
        "a proxy answered in place of the API: 502, 503 or 504",
        "see that `steadfast serve` runs behind it, and that it sends to where `[api]` listens",
    ),
    (
        "SF-2305",
        "what `--server` says is not the address of a server",
        "write `http://HOST:PORT`, or `https://HOST:PORT`",
    ),
    (
        "SF-2306",
        "what is given as the token is none: several words, or characters that none has",
        "give it as `steadfast admin token create` has printed it: one word, alone in its file",
    ),
    (
        "SF-2307",
        "the certificate of the server is not trusted",
        "name the certificates by which it is to be trusted with `--ca`, and ask it by a name that its own is for",
    ),
    (
        "SF-2308",
        "what is at that address speaks TLS and was asked without it, or the other way round, or something else altogether",
        "ask it by `https://`, or by `http://`; see that the port is that of the API",
    ),
    (
        "SF-2309",
        "nobody can listen on an address",
        "choose another address, or see with `ss -ltnp` who has it",
    ),
    (
        "SF-2310",
        "the command line is not understood",
        "see `--help` of the command",
    ),
];

/// The code of what has no other.
const FAILED: &str = "SF-2300";

/// The code of a command line that is not understood.
const MISUNDERSTOOD: &str = "SF-2310";

/// Tells an error, and gives the exit code.
pub(crate) fn tell(error: &anyhow::Error, json: bool) -> ExitCode {
    let (code, exit, fix) = judge(error);
    // Errors of the store have their code in their text, for logs.
    let title = error.to_string();
    let title = title.strip_suffix(&format!(" ({code})")).unwrap_or(&title);
    let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    let mistakes = Mistakes::of(error);
    // Each mistake has its own, and a failure of no kind says what to do, or its cause does.
    let is_told = mistakes.is_some() || (code == FAILED && causes.is_empty());
    let known = CODES.iter().find(|(known, ..)| *known == code && !is_told);
    let fix = fix.or_else(|| known.map(|(.., fix)| (*fix).to_owned()));
    let text = match json {
        true => serde_json::json!({
            "version": 1,
            "error": {
                "code": code, "title": title, "causes": causes, "fix": fix,
                "mistakes": mistakes.map(|mistakes| mistakes.list),
            },
        })
        .to_string(),
        false => {
            let mut text = format!("error[{code}]: {title}\n");
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

/// Tells that a command line is not understood, or the help that it asks for, and gives the exit code.
pub(crate) fn misunderstood(error: &clap::Error) -> ExitCode {
    let told = error.render().to_string();
    let Some(told) = told.strip_prefix("error: ") else {
        error.exit();
    };
    let (title, more) = told.split_once('\n').unwrap_or((told, ""));
    let source = std::error::Error::source(error);
    let fix = match source {
        Some(source) if source.is::<std::num::ParseIntError>() => "write a whole number",
        Some(source) if source.is::<jiff::Error>() => {
            "write a point in time with its zone: 2026-12-01T00:00:00Z"
        }
        _ => "see `--help` of the command",
    };
    let text = match std::env::args_os().any(|arg| arg == "--json") {
        true => serde_json::json!({
            "version": 1,
            "error": { "code": MISUNDERSTOOD, "title": title, "causes": [], "fix": fix, "mistakes": null },
        })
        .to_string(),
        false => match source {
            Some(_) => format!("error[{MISUNDERSTOOD}]: {title}\n  fix: {fix}\n{more}"),
            // What was meant, and how it is called, is told there.
            None => format!("error[{MISUNDERSTOOD}]: {title}\n{more}"),
        },
    };
    let _ = writeln!(std::io::stderr(), "{}", lines(text.trim_end()));
    ExitCode::from(2)
}

/// What is wrong with a document, as a compiler tells it and one by one.
struct Mistakes {
    told: String,
    list: Vec<Mistake>,
}

impl Mistakes {
    fn of(error: &anyhow::Error) -> Option<Self> {
        let policy = error.downcast_ref().map(|Mistaken(problems)| problems);
        let config = error.downcast_ref().and_then(|refused| match refused {
            config::Refused::Mistaken(problems) => Some(problems),
            config::Refused::Unread(_) => None,
        });
        if let Some(problems) = policy.or(config) {
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

/// There is no store where the configuration says; a look, or a token, makes none.
#[derive(Debug)]
pub(crate) struct NoStore(PathBuf);

impl NoStore {
    /// Refuses a file of SQLite that is not there.
    pub(crate) fn check(place: &steadfast::store::Config) -> anyhow::Result<()> {
        match &place.place {
            Place::Sqlite(path) => match std::fs::metadata(path) {
                Ok(_) => Ok(()),
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                {
                    Err(anyhow::Error::new(error).context(Self(path.clone())))
                }
                // It may be there.
                Err(error) => Err(anyhow::Error::new(error)
                    .context(format!("cannot look at the store at {}", path.display()))),
            },
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for NoStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "there is no store at {}", self.0.display())
    }
}

impl std::error::Error for NoStore {}

/// A policy that was looked at here has mistakes.
#[derive(Debug)]
pub(crate) struct Mistaken(pub(crate) Problems);

impl std::fmt::Display for Mistaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the policy has mistakes")
    }
}

impl std::error::Error for Mistaken {}

/// Nobody has said a token.
#[derive(Debug)]
pub(crate) struct NoToken;

impl std::fmt::Display for NoToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no token")
    }
}

impl std::error::Error for NoToken {}

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
            _ if problem.code == "SF-2204" => 10,
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
    if error.downcast_ref::<config::Refused>().is_some() {
        return ("SF-2102".into(), 78, None);
    }
    if error.downcast_ref::<NoStore>().is_some() {
        let fix = "name the configuration of the server with --config; its first start makes the store, or `steadfast db \
                   migrate`";
        return ("SF-2205".into(), 4, Some(fix.into()));
    }
    if error.downcast_ref::<NotInState>().is_some() {
        return ("SF-2206".into(), 6, None);
    }
    if error.downcast_ref::<Unreachable>().is_some() {
        let fix = "start `steadfast serve`, or say where it is with --server";
        return ("SF-2301".into(), 7, Some(fix.into()));
    }
    if let Some(barred) = error.downcast_ref::<Barred>() {
        let exit = match barred {
            Barred::NoAddress(_) => 2,
            Barred::NoToken => 5,
            _ => 7,
        };
        return (barred.code().into(), exit, Some(barred.fix().into()));
    }
    if error.downcast_ref::<AnsweredByProxy>().is_some() {
        let fix =
            "see that `steadfast serve` runs behind it, and that it sends to where [api] listens";
        return ("SF-2304".into(), 7, Some(fix.into()));
    }
    if error.downcast_ref::<NotTheApi>().is_some() {
        let fix = "say with --server where [api] of the server listens, and below which path it is mounted";
        return ("SF-2303".into(), 7, Some(fix.into()));
    }
    if error.downcast_ref::<NoToken>().is_some() {
        let fix = "set STEADFAST_TOKEN or --token-file; `steadfast admin token create`, where the store is, makes one";
        return ("SF-2202".into(), 5, Some(fix.into()));
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
    let io = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<std::io::Error>());
    let fix = io.and_then(|io| match io.kind() {
        ErrorKind::NotFound => {
            Some("see that the path is right; a relative one begins where the command is given")
        }
        ErrorKind::PermissionDenied => {
            Some("give the command as the user of the server, or change who may read it")
        }
        ErrorKind::AlreadyExists => Some("name a file that is not there, or move that one away"),
        ErrorKind::StorageFull => Some("make room, and give the command again"),
        _ => None,
    });
    (FAILED.into(), 1, fix.map(Into::into))
}
