//! Jobs and their queues.

use axum::Json;
use axum::extract::{Request, State};
use steadfast::jobs::{Cancelled, Cursor, Filter, JobId, JobInfo, State as JobState};

use super::*;

pub(super) async fn list(State(api): State<Api>, Asked(asked): Asked) -> Answer<types::JobPage> {
    let names = ["cursor", "limit", "state", "kind", "queue", "limit_key"];
    known(&asked, &names)?;
    let limit = limit(&asked, "limit", PAGE, PAGE_MAX)?;
    let mut filter = match asked.get("state") {
        None => Filter::live(),
        Some(text) => Filter::state(state(text)?),
    };
    if let Some(kind) = asked.get("kind") {
        filter = filter.kind(kind);
    }
    if let Some(queue) = asked.get("queue") {
        filter = filter.queue(queue);
    }
    if let Some(key) = asked.get("limit_key") {
        filter = filter.limit_key(key);
    }
    if let Some(cursor) = cursor::<Cursor>(&asked)? {
        filter = filter.after(cursor);
    }
    let page = api.0.jobs.list(&filter, limit).await?;
    Ok(Json(types::JobPage {
        items: page.jobs.into_iter().map(job).collect(),
        next: page.next.map(|next| next.to_string()),
    }))
}

pub(super) async fn find(State(api): State<Api>, Path(id): Path<u64>) -> Answer<types::JobDetail> {
    let id = job_id(id)?;
    let found = api.0.jobs.find(id).await?.ok_or_else(|| unknown(id))?;
    let of = api.0.schedules.occurrence_of(id).await?;
    Ok(Json(types::JobDetail {
        payload: types::Given::of(&found.payload),
        progress: api.0.progress(id, found.info.term),
        result: found.result.as_deref().map(types::Given::of),
        schedule: of.as_ref().map(|of| of.schedule.clone()),
        occurrence: of.map(|of| time::text(of.nominal)),
        job: job(found.info),
    }))
}

pub(super) async fn enqueue(State(api): State<Api>, request: Request) -> Answer<types::Done> {
    let actor = actor(&request)?;
    let (new, detail): (types::NewJob, _) = body(request).await?;
    let mut options = api
        .0
        .options(&new.kind)
        .priority(new.priority.unwrap_or_default());
    if let Some(queue) = new.queue.clone() {
        options = options.queue(queue);
    }
    if let Some(attempts) = new.max_attempts {
        options = options.max_attempts(attempts);
    }
    if let Some(delay) = &new.delay {
        options = options.delay(length(delay)?);
    }
    if let Some(key) = new.unique {
        options = options.unique(key);
    }
    let payload = payload(new.payload);
    let kind = new.kind;
    let entry = Entry {
        actor: actor.name,
        action: "jobs.enqueue",
        subject: format!("kind {kind}"),
        reason: new.reason,
        detail,
    };
    let strange = api.0.warning_of(&kind);
    let jobs = api.0.jobs.clone();
    let enqueued = async move { Ok(jobs.enqueue_kind_or_find(kind, payload, options).await?) };
    let enqueued = api.change(entry, enqueued).await?;
    let outcome = match enqueued.is_new {
        true => "enqueued",
        false => "kept-out",
    };
    let Json(done) = done(outcome, Some(enqueued.id.get()));
    let unserved = match &new.queue {
        Some(queue) => queues::unserved(&api, queue).await,
        None => None,
    };
    let warnings: Vec<String> = strange.into_iter().chain(unserved).collect();
    let warning = Some(warnings.join("; ")).filter(|warning| !warning.is_empty());
    Ok(Json(types::Done { warning, ..done }))
}

pub(super) async fn run(
    State(api): State<Api>,
    Path(id): Path<u64>,
    request: Request,
) -> Answer<types::Done> {
    act(api, id, "jobs.run", request, |api, id| async move {
        match api.0.jobs.run_now(id).await? {
            true => Ok("due now"),
            false => Err(state_of(&api, id).await?),
        }
    })
    .await
}

pub(super) async fn cancel(
    State(api): State<Api>,
    Path(id): Path<u64>,
    request: Request,
) -> Answer<types::Done> {
    let actor = actor(&request)?;
    let (reason, detail): (types::Reason, _) = body(request).await?;
    let id = job_id(id)?;
    let entry = entry(&actor, "jobs.cancel", id, &reason.reason, detail);
    let jobs = api.0.jobs.clone();
    let cancelled = async move {
        match jobs.cancel(id, &reason.reason).await? {
            Cancelled::Now => Ok("cancelled"),
            Cancelled::Asked => Ok("told to stop"),
            Cancelled::Ended(state) => Err(ended(id, state)),
            Cancelled::Unknown => Err(unknown(id)),
        }
    };
    let outcome = api.change(entry, cancelled).await?;
    Ok(done(outcome, Some(id.get())))
}

pub(super) async fn retry(
    State(api): State<Api>,
    Path(id): Path<u64>,
    request: Request,
) -> Answer<types::Done> {
    act(api, id, "jobs.redrive", request, |api, id| async move {
        let redriven = api.0.jobs.redrive(&[id]).await?;
        if let Some((_, holder)) = redriven.refused.first() {
            return Err(Problem::conflict(format!(
                "job {holder} has the unique key of job {id} by now"
            )));
        }
        if redriven.jobs.is_empty() {
            return Err(state_of(&api, id).await?);
        }
        Ok("put back to work")
    })
    .await
}

async fn act<W>(
    api: Api,
    id: u64,
    action: &'static str,
    request: Request,
    work: impl FnOnce(Api, JobId) -> W,
) -> Answer<types::Done>
where
    W: Future<Output = Result<&'static str, Problem>> + Send + 'static,
{
    let (actor, reason, detail) = reason(request).await?;
    let id = job_id(id)?;
    let entry = entry(&actor, action, id, &reason.reason, detail);
    let outcome = api.change(entry, work(api.clone(), id)).await?;
    Ok(done(outcome, Some(id.get())))
}

fn entry(actor: &Actor, action: &'static str, id: JobId, reason: &str, detail: String) -> Entry {
    Entry {
        actor: actor.name.clone(),
        action,
        subject: format!("job {id}"),
        reason: reason.to_owned(),
        detail,
    }
}

/// Why nothing was done to a job: it is not there, or not in the state for it.
async fn state_of(api: &Api, id: JobId) -> Result<Problem, Problem> {
    Ok(match api.0.jobs.find(id).await? {
        None => unknown(id),
        Some(found) => ended(id, found.info.state),
    })
}

fn ended(id: JobId, state: JobState) -> Problem {
    Problem::conflict(format!("job {id} is {}", state.as_str()))
}

fn unknown(id: JobId) -> Problem {
    Problem::not_found(format!("there is no job {id}, or not any more"))
}

fn job_id(id: u64) -> Result<JobId, Problem> {
    JobId::new(id).ok_or_else(|| Problem::not_found(format!("no job has the number {id}")))
}

pub(super) fn state(text: &str) -> Result<JobState, Problem> {
    JobState::of(text).ok_or_else(|| {
        let known: Vec<&str> = JobState::ALL.iter().map(|state| state.as_str()).collect();
        Problem::refused(format!("no job is {text:?}"))
            .with_fix(format!("say one of {}", known.join(", ")))
    })
}

fn job(info: JobInfo) -> types::Job {
    types::Job {
        id: info.id.get(),
        kind: info.kind,
        queue: info.queue,
        state: info.state.as_str().to_owned(),
        priority: info.priority,
        due: time::text(info.due),
        attempt: info.attempt,
        max_attempts: info.max_attempts,
        crashes: info.crashes,
        term: info.term,
        node: info.incarnation,
        claimed: info.claimed.map(time::text),
        created: time::text(info.created),
        finished: info.finished.map(time::text),
        trace_id: info.trace_id,
        error: info.error,
    }
}
