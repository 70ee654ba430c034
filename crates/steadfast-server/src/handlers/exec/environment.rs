//! What a program finds in its environment: what it needs, and nothing that is ours.

use std::collections::BTreeMap;
use std::ffi::OsString;

use steadfast::jobs::Run;

use super::super::About;
use super::user::User;
use crate::config::Exec;

/// What is handed on without being asked for.
const USUAL: [&str; 3] = ["HOME", "LANG", "TZ"];

/// Where programs are looked for if this process does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Says where a program is looked for.
pub(super) fn path(exec: &Exec) -> OsString {
    match exec.env.get("PATH") {
        Some(path) => path.into(),
        None => std::env::var_os("PATH").unwrap_or_else(|| PATH.into()),
    }
}

pub(super) fn of(
    exec: &Exec,
    user: Option<&User>,
    about: &About,
    run: &Run,
) -> BTreeMap<OsString, OsString> {
    let mut environment = BTreeMap::new();
    let passed = USUAL
        .iter()
        .copied()
        .chain(exec.pass_env.iter().map(String::as_str));
    for name in passed {
        if let Some(value) = std::env::var_os(name) {
            environment.insert(name.into(), value);
        }
    }
    if let Some(user) = user {
        environment.insert("HOME".into(), user.home.clone().into());
        environment.insert("USER".into(), user.name.clone().into());
        environment.insert("LOGNAME".into(), user.name.clone().into());
    }
    for (name, value) in &exec.env {
        environment.insert(name.into(), value.into());
    }
    environment.insert("PATH".into(), path(exec));
    let ours = [
        ("STEADFAST_KIND", about.kind.clone()),
        ("STEADFAST_JOB", run.id().to_string()),
        ("STEADFAST_TERM", run.term().to_string()),
        ("STEADFAST_ATTEMPT", run.attempt().to_string()),
        ("STEADFAST_MAX_ATTEMPTS", run.max_attempts().to_string()),
        ("STEADFAST_TRACE_ID", about.trace_id.to_string()),
    ];
    for (name, value) in ours {
        environment.insert(name.into(), value.into());
    }
    if let Some((schedule, nominal)) = &about.occurrence {
        environment.insert("STEADFAST_SCHEDULE".into(), schedule.into());
        environment.insert("STEADFAST_OCCURRENCE".into(), nominal.into());
    }
    environment
}
