//! What is said of work that nobody does.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast::jobs::{self, Jobs, Unhandled};

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
    format!("no node has a handler of the kind {kind}: {jobs}{makes}")
}

/// Says what to do about it.
pub(crate) fn fix(kind: &str, of_kind: &Unhandled) -> String {
    let schedules = of_kind.schedules.iter();
    let delete: String = schedules
        .map(|name| format!(", or `steadfast schedules delete {name} --reason WHY`"))
        .collect();
    let cancel = match of_kind.jobs {
        0 => String::new(),
        _ => format!(
            ", and `steadfast jobs cancel --all --state pending --kind {kind} --reason WHY` for those that wait"
        ),
    };
    format!("start the node that has it, or add [handlers.{kind}]{delete}{cancel}")
}
