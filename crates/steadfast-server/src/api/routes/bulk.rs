//! What is done to many jobs at once: a bounded part of them in each call, and where the next one goes on.

use std::collections::HashSet;

use axum::Json;
use axum::extract::{Request, State};
use steadfast::jobs::{Cursor, Filter, JobId, Jobs, State as JobState};

use super::jobs::state;
use super::*;

/// How many jobs the audit names: 200, which leave room for what was asked for.
const NOTED_MAX: usize = 200;

/// How many windows of rows a call looks through: 10, of 10,000 each. A page of rare jobs may be short and go on.
const WINDOWS: usize = 10;

pub(super) async fn redrive(State(api): State<Api>, request: Request) -> Answer<types::DoneAll> {
    let (actor, which, detail) = asked(request).await?;
    let state = which
        .state
        .as_deref()
        .map_or(Ok(JobState::Discarded), state)?;
    if !state.is_terminal() || state == JobState::Completed {
        return Err(Problem::refused(
            "only discarded, quarantined and cancelled jobs are put back to work",
        ));
    }
    let found = Found::look(&api, &which, Filter::state(state)).await?;
    found
        .act(
            &api,
            "jobs.redrive",
            actor,
            which,
            detail,
            |jobs, ids, _| async move {
                let redriven = jobs.redrive(&ids).await?;
                Ok((redriven.jobs, Vec::new()))
            },
        )
        .await
}

pub(super) async fn cancel(State(api): State<Api>, request: Request) -> Answer<types::DoneAll> {
    let (actor, which, detail) = asked(request).await?;
    let filter = match which.state.as_deref().map(state).transpose()? {
        None => Filter::live(),
        Some(state) if !state.is_terminal() => Filter::state(state),
        Some(_) => {
            return Err(Problem::refused(
                "only pending, running and waiting jobs are cancelled",
            ));
        }
    };
    let found = Found::look(&api, &which, filter).await?;
    found
        .act(
            &api,
            "jobs.cancel",
            actor,
            which,
            detail,
            |jobs, ids, reason| async move {
                let cancelled = jobs.cancel_all(&ids, &reason).await?;
                Ok((cancelled.now, cancelled.asked))
            },
        )
        .await
}

async fn asked(request: Request) -> Result<(Actor, types::Many, String), Problem> {
    let actor = actor(&request)?;
    let (which, detail): (types::Many, _) = body(request).await?;
    check_reason(&which.reason)?;
    if !(1..=PAGE_MAX as u32).contains(&which.limit) {
        return Err(Problem::refused(format!(
            "limit is not from 1 to {PAGE_MAX}"
        )));
    }
    Ok((actor, which, detail))
}

/// What the audit keeps: to which jobs it is done, those that fit, and what was asked for.
fn noted(ids: &[JobId], asked: &str) -> String {
    let named: Vec<u64> = ids.iter().take(NOTED_MAX).map(|id| id.get()).collect();
    let more = ids.len() - named.len();
    serde_json::json!({ "jobs": named, "more": more, "asked": types::Given::of(asked) }).to_string()
}

/// A part of the jobs that match.
struct Found {
    ids: Vec<JobId>,
    first: Option<Cursor>,
    next: Option<Cursor>,
}

impl Found {
    async fn look(api: &Api, which: &types::Many, mut filter: Filter) -> Result<Self, Problem> {
        if let Some(kind) = &which.kind {
            filter = filter.kind(kind);
        }
        if let Some(queue) = &which.queue {
            filter = filter.queue(queue);
        }
        if let Some(key) = &which.limit_key {
            filter = filter.limit_key(key);
        }
        let mut found = Self {
            ids: Vec::new(),
            first: None,
            next: which.cursor.as_deref().map(parsed).transpose()?,
        };
        for _ in 0..WINDOWS {
            let filter = match found.next {
                Some(next) => filter.clone().after(next),
                None => filter.clone(),
            };
            let wanted = which.limit as usize - found.ids.len();
            let page = api.0.jobs.list(&filter, wanted).await?;
            found.ids.extend(page.jobs.iter().map(|job| job.id));
            found.first = found.first.or(page.first);
            found.next = page.next;
            if found.next.is_none() || found.ids.len() == which.limit as usize {
                break;
            }
        }
        Ok(found)
    }

    /// Does something to them, unless it is a dry run: gives to which it was done, and which of them are told to stop.
    async fn act<W>(
        self,
        api: &Api,
        action: &'static str,
        actor: Actor,
        which: types::Many,
        detail: String,
        work: impl FnOnce(Jobs, Vec<JobId>, String) -> W,
    ) -> Answer<types::DoneAll>
    where
        W: Future<Output = Result<(Vec<JobId>, Vec<JobId>), Problem>> + Send + 'static,
    {
        let numbers = |ids: &[JobId]| ids.iter().map(|id| id.get()).collect();
        let mut told = types::DoneAll {
            jobs: numbers(&self.ids),
            running: Vec::new(),
            refused: Vec::new(),
            first: self.first.map(|first| first.to_string()),
            next: self.next.map(|next| next.to_string()),
            dry_run: which.dry_run,
        };
        // Where there are none, there is nothing to be noted.
        if which.dry_run || self.ids.is_empty() {
            return Ok(Json(told));
        }
        let entry = Entry {
            actor: actor.name,
            action,
            subject: format!("{} jobs", self.ids.len()),
            reason: which.reason.clone(),
            detail: noted(&self.ids, &detail),
        };
        let work = work(api.0.jobs.clone(), self.ids.clone(), which.reason);
        let (now, asked) = api.change(entry, work).await?;
        let done: HashSet<JobId> = now.into_iter().chain(asked.iter().copied()).collect();
        let (jobs, refused): (Vec<_>, Vec<_>) = self.ids.iter().partition(|id| done.contains(id));
        told.jobs = numbers(&jobs);
        told.refused = numbers(&refused);
        told.running = numbers(&asked);
        Ok(Json(told))
    }
}
