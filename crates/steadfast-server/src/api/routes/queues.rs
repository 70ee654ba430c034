//! Queues.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Request, State};
use steadfast::clock;
use steadfast::decide::policy::nearest_name;
use steadfast::jobs::{self, Filter, QueueInfo, State as JobState};

use super::*;

/// How long it is looked whether a queue is anybody's: 1 s, of which nobody waits long for an answer that is there.
const WARNED_WITHIN: Duration = Duration::from_secs(1);

pub(super) async fn list(State(api): State<Api>, Asked(asked): Asked) -> Answer<types::QueuePage> {
    known(&asked, &["cursor", "limit"])?;
    let limit = limit(&asked, "limit", PAGE, PAGE_MAX)?;
    let after = asked.get("cursor").map_or("", String::as_str);
    let queues = api.0.jobs.queues(after, limit).await?;
    let next = queues.last().filter(|_| queues.len() == limit);
    Ok(Json(types::QueuePage {
        next: next.map(|queue| queue.name.clone()),
        counts_up_to: COUNT_CAP,
        items: queues.into_iter().map(shown).collect(),
    }))
}

fn shown(queue: QueueInfo) -> types::Queue {
    let (since, why) = queue.paused.unzip();
    types::Queue {
        name: queue.name,
        paused: since.map(time::text),
        paused_because: why,
        max_running: queue.max_running,
        max_running_per_key: queue.max_running_per_key,
        pending: queue.pending,
        running: queue.running,
    }
}

pub(super) async fn pause(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Answer<types::Done> {
    let (actor, reason, detail) = reason(request).await?;
    let entry = queue_entry(&actor, &name, &reason.reason, detail, "queues.pause");
    let (jobs, queue) = (api.0.jobs.clone(), name.clone());
    let paused = async move { Ok(jobs.pause(&queue, &reason.reason).await?) };
    api.change(entry, paused).await?;
    Ok(of_queue(&api, &name, "paused").await)
}

pub(super) async fn resume(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Answer<types::Done> {
    let (actor, reason, detail) = reason(request).await?;
    let entry = queue_entry(&actor, &name, &reason.reason, detail, "queues.resume");
    let (jobs, queue) = (api.0.jobs.clone(), name.clone());
    let resumed = async move { Ok(jobs.resume(&queue).await?) };
    api.change(entry, resumed).await?;
    Ok(of_queue(&api, &name, "goes on").await)
}

/// What was done to a queue, with a warning where it seems to be nobody's. It is done by then: whether there is something
/// to warn of may stay unknown.
async fn of_queue(api: &Api, name: &str, outcome: &str) -> Json<types::Done> {
    let looked = clock::timeout(WARNED_WITHIN, warning(api, name)).await;
    let warning = looked.ok().and_then(Result::ok).flatten();
    let Json(done) = done(outcome, None);
    Json(types::Done { warning, ..done })
}

/// Warns of a queue that no node claims from. Its job is there by then: whether there is something to warn of may stay unknown.
pub(super) async fn unserved(api: &Api, queue: &str) -> Option<String> {
    if api.0.claims_from(queue) {
        return None;
    }
    let asked = clock::timeout(WARNED_WITHIN, api.0.jobs.is_served(queue)).await;
    let is_served = asked.ok().and_then(Result::ok).unwrap_or(true);
    (!is_served).then(|| {
        format!("no node claims from the queue {queue:?} now: the job waits until one does")
    })
}

/// Warns of a queue that nobody seems to use: there is one as soon as somebody enqueues to it, so it may be a name that
/// was not meant.
async fn warning(api: &Api, queue: &str) -> Result<Option<String>, jobs::Error> {
    let kinds = api.0.kinds.iter().flat_map(|kinds| &kinds.usual);
    let mut known: BTreeSet<String> = kinds.map(|(_, usual)| usual.queue.clone()).collect();
    let seen = api.0.jobs.queues("", PAGE_MAX).await?;
    known.extend(seen.into_iter().filter(is_used).map(|seen| seen.name));
    let ended = JobState::ALL
        .into_iter()
        .filter(|state| state.is_terminal());
    let all = ended.map(Filter::state).chain([Filter::live()]);
    for filter in all {
        let of_it = api.0.jobs.list(&filter.clone().queue(queue), 1).await?;
        // A page ends before its jobs are found where there are many others.
        if known.contains(queue) || !of_it.jobs.is_empty() || of_it.next.is_some() {
            return Ok(None);
        }
        let some = api.0.jobs.list(&filter, PAGE_MAX).await?;
        known.extend(some.jobs.into_iter().map(|job| job.queue));
    }
    let nearest = nearest_name(queue, known.iter().map(String::as_str));
    let nearest = nearest.map(|nearest| format!("; did you mean {nearest:?}?"));
    Ok(Some(format!(
        "no job of a queue {queue:?} was found{}",
        nearest.unwrap_or_default()
    )))
}

/// Whether more is known of a queue than that somebody has once paused it.
fn is_used(queue: &QueueInfo) -> bool {
    let has_limits = queue.max_running.or(queue.max_running_per_key).is_some();
    has_limits || queue.pending + queue.running > 0
}

fn queue_entry(
    actor: &Actor,
    name: &str,
    reason: &str,
    detail: String,
    action: &'static str,
) -> Entry {
    Entry {
        actor: actor.name.clone(),
        action,
        subject: format!("queue {name}"),
        reason: reason.to_owned(),
        detail,
    }
}
