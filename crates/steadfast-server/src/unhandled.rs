//! Work that nobody does: kinds that no handler here has, although schedules make jobs of them or jobs of them wait.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast::clock;
use steadfast::jobs::schedule::Schedules;
use steadfast::jobs::{self, Filter, Jobs, PAGE_MAX, State};

/// How long a job is due before it is taken to wait for a handler while other nodes are alive, of which it is not known
/// what they handle: a minute.
const WAITS: Duration = Duration::from_secs(60);

/// A kind without a handler.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unhandled {
    /// The schedules that go on making jobs of it.
    pub(crate) schedules: Vec<String>,
    /// How many of its jobs wait, among the newest that do.
    pub(crate) jobs: usize,
}

impl Unhandled {
    /// Says what becomes of it.
    pub(crate) fn says(&self, kind: &str) -> String {
        let makes = match &self.schedules[..] {
            [] => String::new(),
            names => format!(", and more are made by the schedule {}", names.join(", ")),
        };
        let jobs = match self.jobs {
            1 => "1 job".to_owned(),
            jobs => format!("{jobs} jobs"),
        };
        format!("no handler here has the kind {kind}: {jobs} of it wait{makes}")
    }

    /// Says what to do about it.
    pub(crate) fn fix(&self, kind: &str) -> String {
        let schedules = self.schedules.iter();
        let delete: String = schedules
            .map(|name| format!(", or `steadfast schedules delete {name} --reason WHY`"))
            .collect();
        let cancel = match self.jobs {
            0 => String::new(),
            _ => format!(
                ", and `steadfast jobs cancel --all --state pending --kind {kind} --reason WHY` for those that wait"
            ),
        };
        format!("add [handlers.{kind}]{delete}{cancel}; all is well if another node has it")
    }
}

/// Finds kinds that wait without a handler, by their names. While other nodes are alive, only those count of which a job
/// has waited for a minute.
///
/// Looks at a page of schedules and one of the newest jobs.
pub(crate) async fn unhandled(
    jobs: &Jobs,
    is_handled: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Unhandled>, jobs::Error> {
    let nodes = jobs.store().nodes(None, PAGE_MAX).await?;
    let is_alone = nodes.iter().filter(|node| node.ended.is_none()).count() <= 1;
    let mut found: BTreeMap<String, Unhandled> = BTreeMap::new();
    for view in Schedules::new(jobs).list("", PAGE_MAX).await? {
        let (kind, name) = (view.schedule.kind(), view.schedule.name());
        if view.paused.is_none() && !is_handled(kind) {
            let of_kind = found.entry(kind.to_owned()).or_default();
            of_kind.schedules.push(name.to_owned());
        }
    }
    let page = jobs.list(&Filter::state(State::Pending), PAGE_MAX).await?;
    let now_ms = clock::timestamp().unix_millis();
    for job in page.jobs {
        let due_ms = now_ms.saturating_sub(job.due.unix_millis());
        let waits = match is_alone {
            true => due_ms >= 0,
            false => due_ms >= WAITS.as_millis() as i64,
        };
        if waits && !is_handled(&job.kind) {
            found.entry(job.kind).or_default().jobs += 1;
        }
    }
    found.retain(|_, of_kind| is_alone || of_kind.jobs > 0);
    Ok(found)
}
