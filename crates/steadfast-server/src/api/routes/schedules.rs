//! Schedules.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue};
use steadfast::clock;
use steadfast::jobs::schedule::{
    BACKFILL_MAX, Change, Plan, RanNow, Rule, Schedule, Schedules, View, Zone,
};

use super::*;

/// The most due times of a preview: 100.
const NEXT_MAX: usize = 100;

pub(super) async fn list(
    State(api): State<Api>,
    Asked(asked): Asked,
) -> Answer<types::SchedulePage> {
    known(&asked, &["cursor", "limit"])?;
    let limit = limit(&asked, "limit", PAGE, PAGE_MAX)?;
    let after = asked.get("cursor").map_or("", String::as_str);
    let views = api.0.schedules.list(after, limit).await?;
    let next = views.last().filter(|_| views.len() == limit);
    Ok(Json(types::SchedulePage {
        next: next.map(|view| view.schedule.name().to_owned()),
        items: views.iter().map(shown).collect(),
    }))
}

pub(super) async fn find(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Response<Body>, Problem> {
    let view = view(&api, &name).await?;
    Ok(with_etag(shown(&view), tag(&view)))
}

pub(super) async fn put(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let actor = actor(&request)?;
    let revision = added_or_seen(request.headers())?;
    let (new, detail): (types::NewSchedule, _) = body(request).await?;
    let (reason, dry_run) = (new.reason.clone(), new.dry_run.unwrap_or_default());
    let schedule = schedule(&api, &name, new)?;
    if dry_run {
        check_reason(&reason)?;
        return would_be(&api, schedule, revision).await;
    }
    let entry = entry(&actor, "schedules.write", &name, &reason, detail);
    let schedules = api.0.schedules.if_at(revision);
    let changed = async move { Ok(schedules.put(&schedule).await?) };
    let (_, view) = api.change(entry, changed).await?;
    let warning = is_of_file(&api, &name).then(|| {
        format!("the configuration of this server has the schedule {name}, and its next start changes it back to that")
    });
    let answer = types::Schedule {
        warning,
        ..shown(&view)
    };
    Ok(with_etag(answer, tag(&view)))
}

/// Tells what a schedule would be, and changes nothing.
async fn would_be(api: &Api, schedule: Schedule, seen: u64) -> Result<Response<Body>, Problem> {
    let before = api.0.schedules.find(schedule.name()).await?;
    if before.as_ref().map_or(0, |view| view.revision) != seen {
        let title = format!(
            "the schedule {:?} was changed since it was looked at",
            schedule.name()
        );
        return Err(Problem::changed(title).with_fix("look at it again, and decide anew"));
    }
    let next = schedule.plan().upcoming(clock::timestamp(), 1);
    let paused = before.and_then(|view| view.paused);
    let view = View {
        next: next
            .first()
            .filter(|_| paused.is_none())
            .map(|next| next.at),
        schedule,
        revision: seen,
        queued: None,
        paused,
        decided: None,
        lengths: None,
        overdue: None,
    };
    Ok(Json(shown(&view)).into_response())
}

/// Whether the configuration of this server has a schedule.
fn is_of_file(api: &Api, name: &str) -> bool {
    let kinds = api.0.kinds.as_ref();
    kinds.is_some_and(|kinds| kinds.schedules.contains(name))
}

pub(super) async fn delete(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Answer<types::Done> {
    let is_of_file = is_of_file(&api, &name);
    act(
        api,
        name,
        "schedules.write",
        request,
        |schedules, name, _| async move {
            match schedules.delete(&name).await? {
                true => {
                    let Json(done) = done("deleted", None);
                    let warning = is_of_file.then(|| {
                        format!("the configuration of this server has the schedule {name}, and its next start adds it again")
                    });
                    Ok(Json(types::Done { warning, ..done }))
                }
                false => Err(unknown(&name)),
            }
        },
    )
    .await
}

pub(super) async fn next(
    State(api): State<Api>,
    Path(name): Path<String>,
    Asked(asked): Asked,
) -> Answer<types::UpcomingList> {
    known(&asked, &["count"])?;
    let count = limit(&asked, "count", 10, NEXT_MAX)?;
    let view = view(&api, &name).await?;
    let upcoming = view.schedule.plan().upcoming(clock::timestamp(), count);
    let items = upcoming.into_iter().map(|upcoming| types::Upcoming {
        at: time::text(upcoming.at),
        reading: upcoming.reading,
        change: match upcoming.change {
            Change::None => "none",
            Change::Skipped => "skipped",
            Change::First => "first",
            Change::Second => "second",
        }
        .to_owned(),
    });
    Ok(Json(types::UpcomingList {
        items: items.collect(),
    }))
}

pub(super) async fn run(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Answer<types::Done> {
    let own = api.clone();
    act(
        api,
        name,
        "schedules.run",
        request,
        |schedules, name, _| async move {
            match schedules.run_now(&name).await? {
                RanNow::Made(id) => {
                    let Json(done) = done("made", Some(id.get()));
                    // The job is there, whether its schedule can be looked at or not.
                    let schedule = schedules.find(&name).await.ok().flatten();
                    let warning = schedule.and_then(|view| own.0.warning_of(view.schedule.kind()));
                    Ok(Json(types::Done { warning, ..done }))
                }
                RanNow::Busy(id) => Err(Problem::conflict(format!(
                    "job {id} of this schedule has not ended"
                ))
                .with_fix("wait for it, cancel it, or let runs overlap")),
            }
        },
    )
    .await
}

pub(super) async fn pause(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Answer<types::Done> {
    act(
        api,
        name,
        "schedules.pause",
        request,
        |schedules, name, reason| async move {
            schedules.pause(&name, &reason).await?;
            Ok(done("paused", None))
        },
    )
    .await
}

pub(super) async fn resume(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Answer<types::Done> {
    act(
        api,
        name,
        "schedules.resume",
        request,
        |schedules, name, _| async move {
            schedules.resume(&name).await?;
            Ok(done("goes on", None))
        },
    )
    .await
}

pub(super) async fn backfill(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Answer<types::Backfilled> {
    let actor = actor(&request)?;
    let schedules = seen(&api, request.headers())?;
    let (asked, detail): (types::Backfill, _) = body(request).await?;
    check_reason(&asked.reason)?;
    let (from, to) = (moment(&asked.from)?, moment(&asked.to)?);
    let most = match asked.limit {
        None => BACKFILL_MAX,
        Some(limit) => Some(limit as usize)
            .filter(|limit| (1..=BACKFILL_MAX).contains(limit))
            .ok_or_else(|| Problem::refused(format!("limit is not from 1 to {BACKFILL_MAX}")))?,
    };
    if asked.dry_run.unwrap_or_default() {
        let missing = schedules.missing(&name, from, to, most).await?;
        return Ok(Json(types::Backfilled {
            made: missing.count as u64,
            had: missing.had as u64,
            first: missing.first.map(time::text),
            last: missing.last.map(time::text),
            rest: missing.rest.map(time::text),
            dry_run: true,
        }));
    }
    let entry = entry(&actor, "schedules.backfill", &name, &asked.reason, detail);
    let filled = async move { Ok(schedules.backfill(&name, from, to, most).await?) };
    let filled = api.change(entry, filled).await?;
    Ok(Json(types::Backfilled {
        made: filled.made as u64,
        had: filled.had as u64,
        first: None,
        last: None,
        rest: filled.rest.map(time::text),
        dry_run: false,
    }))
}

async fn act<W>(
    api: Api,
    name: String,
    action: &'static str,
    request: Request,
    work: impl FnOnce(Schedules, String, String) -> W,
) -> Answer<types::Done>
where
    W: Future<Output = Answer<types::Done>> + Send + 'static,
{
    let schedules = seen(&api, request.headers())?;
    let (actor, reason, detail) = reason(request).await?;
    let entry = entry(&actor, action, &name, &reason.reason, detail);
    let work = work(schedules, name, reason.reason);
    api.change(entry, work).await
}

fn entry(actor: &Actor, action: &'static str, name: &str, reason: &str, detail: String) -> Entry {
    Entry {
        actor: actor.name.clone(),
        action,
        subject: format!("schedule {name}"),
        reason: reason.to_owned(),
        detail,
    }
}

async fn view(api: &Api, name: &str) -> Result<View, Problem> {
    api.0
        .schedules
        .find(name)
        .await?
        .ok_or_else(|| unknown(name))
}

/// The `ETag` of a schedule: its number comes from the store alone.
fn tag(view: &View) -> String {
    format!("\"{}\"", view.revision)
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("there is no schedule {name:?}"))
}

/// The schedules as whoever asks has seen one of them, if that is said.
fn seen(api: &Api, headers: &HeaderMap) -> Result<Schedules, Problem> {
    Ok(match headers.get(IF_MATCH) {
        Some(tag) => api.0.schedules.if_at(revision(tag)?),
        None => api.0.schedules.clone(),
    })
}

/// Which revision is to be changed: 0 for one that is not there.
fn added_or_seen(headers: &HeaderMap) -> Result<u64, Problem> {
    match (headers.get(IF_MATCH), headers.get(IF_NONE_MATCH)) {
        (None, Some(all)) if all == "*" => Ok(0),
        (Some(tag), None) => revision(tag),
        _ => Err(Problem::no_precondition("say what is to be changed")
            .with_fix("send If-Match with the ETag that was seen, or If-None-Match: * for one that is new")),
    }
}

fn revision(tag: &HeaderValue) -> Result<u64, Problem> {
    let text = tag.to_str().unwrap_or_default().trim_matches('"');
    let revision = text.parse().ok().filter(|revision| *revision > 0);
    revision.ok_or_else(|| {
        Problem::changed("the schedule never had this ETag").with_fix("look at it again")
    })
}

fn schedule(api: &Api, name: &str, new: types::NewSchedule) -> Result<Schedule, Problem> {
    let wrong = |wrong: &dyn std::fmt::Display| Problem::refused(wrong.to_string());
    let rule: Rule = new.rule.parse().map_err(|error| wrong(&error))?;
    let mut plan = Plan::builder(rule);
    if let Some(zone) = &new.zone {
        plan = plan.zone(Zone::new(zone).map_err(|error| wrong(&error))?);
    }
    if let Some(missed) = &new.missed {
        plan = plan.missed(missed.parse().map_err(|error| wrong(&error))?);
    }
    if let Some(overlap) = &new.overlap {
        plan = plan.overlap(overlap.parse().map_err(|error| wrong(&error))?);
    }
    if let Some(jitter) = &new.jitter {
        plan = plan.jitter(length(jitter)?);
    }
    if let Some(deadline) = &new.start_deadline {
        plan = plan.start_deadline(length(deadline)?);
    }
    let plan = plan.build().map_err(|error| wrong(&error))?;
    let version = new.min_version.unwrap_or_default();
    if i32::try_from(version).is_err() {
        return Err(Problem::refused(format!(
            "min_version is not from 0 to {}",
            i32::MAX
        )));
    }
    let kind = new.kind.unwrap_or_else(|| name.to_owned());
    let mut options = api
        .0
        .options(&kind)
        .priority(new.priority.unwrap_or_default())
        .min_version(version);
    if let Some(queue) = new.queue {
        options = options.queue(queue);
    }
    if let Some(attempts) = new.max_attempts {
        options = options.max_attempts(attempts);
    }
    if let Some(key) = new.limit_key {
        options = options.limit_key(key);
    }
    let payload = payload(new.payload);
    Ok(Schedule::of_kind(name, plan, kind, payload, options)?)
}

fn shown(view: &View) -> types::Schedule {
    let (schedule, plan) = (&view.schedule, view.schedule.plan());
    types::Schedule {
        name: schedule.name().to_owned(),
        rule: plan.rule().to_string(),
        zone: plan.zone().name().to_owned(),
        description: plan.describe(),
        missed: plan.missed().to_string(),
        overlap: plan.overlap().to_string(),
        jitter: time::length(plan.jitter()),
        start_deadline: plan.start_deadline().map(time::length),
        kind: schedule.kind().to_owned(),
        queue: schedule.queue().to_owned(),
        payload: types::Given::of(schedule.payload()),
        max_attempts: schedule.max_attempts(),
        priority: schedule.priority(),
        limit_key: schedule.limit_key().map(str::to_owned),
        min_version: schedule.min_version(),
        next: view.next.map(time::text),
        paused: view.paused.as_ref().map(|(since, _)| time::text(*since)),
        paused_because: view.paused.as_ref().map(|(_, why)| why.clone()),
        overdue_seconds: view.overdue.map(|over| over.as_secs()),
        revision: view.revision,
        warning: None,
    }
}
