//! What has panicked in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::State;
use steadfast::panic::{self, Group, Location, Observer, Report};

use super::*;

/// How much of a backtrace is kept: 16 KiB, some hundred frames.
const BACKTRACE_BYTES_MAX: usize = 16 * 1024;

pub(super) async fn list() -> Answer<types::PanicList> {
    let groups = panic::groups();
    Ok(Json(types::PanicList {
        items: groups.iter().map(shown).collect(),
    }))
}

pub(super) async fn find(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Answer<types::PanicDetail> {
    let groups = panic::groups();
    let found = groups.iter().find(|group| name(group) == id);
    let group = found.ok_or_else(|| {
        Problem::not_found(format!("there is no group of panics {id:?}"))
            .with_fix("`steadfast panics list` has those of this process")
    })?;
    Ok(Json(types::PanicDetail {
        sample: api.0.panics.of(group.location.as_ref()),
        group: shown(group),
    }))
}

fn shown(group: &Group) -> types::PanicGroup {
    types::PanicGroup {
        id: name(group),
        place: place(group.location.as_ref()),
        kind: group.kind.to_string(),
        message: group.message.clone(),
        count: group.count,
        contained: group.contained,
        first: time::text(group.first),
        last: time::text(group.last),
    }
}

fn name(group: &Group) -> String {
    format!("{:016x}", group.fingerprint)
}

fn place(location: Option<&Location>) -> String {
    location.map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

/// The latest panic of each place that was told by itself: as many as there are groups, at most
/// [`panic::GROUPS_MAX`].
pub(in crate::api) struct Samples {
    by_place: Arc<Mutex<BTreeMap<String, types::PanicSample>>>,
    _observer: Option<Observer>,
}

impl Samples {
    /// Keeps them from now on.
    pub(in crate::api) fn keep() -> Self {
        let by_place: Arc<Mutex<BTreeMap<String, types::PanicSample>>> = Arc::default();
        let kept = by_place.clone();
        let observer = panic::observe(move |report| {
            let place = place(report.location().as_ref());
            let mut kept = lock(&kept);
            let has_room = kept.len() < panic::GROUPS_MAX || kept.contains_key(&place);
            // Repeats are told as a number, without what each was.
            if report.count() <= 1 && has_room {
                let mut sample = sample(report);
                // Only some have one: the one that was written down last is as good.
                let earlier = kept.get_mut(&place).and_then(|kept| kept.backtrace.take());
                sample.backtrace = sample.backtrace.or(earlier);
                kept.insert(place, sample);
            }
        });
        Self {
            by_place,
            _observer: observer,
        }
    }

    fn of(&self, location: Option<&Location>) -> Option<types::PanicSample> {
        lock(&self.by_place).get(&place(location)).cloned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sample(report: &Report) -> types::PanicSample {
    let context = report.context();
    let job = context.job().map(|job| match context.attempt() {
        0 => job.to_string(),
        attempt => format!("{job}, attempt {attempt}"),
    });
    let mut backtrace = report.backtrace().map(ToOwned::to_owned);
    if let Some(text) = &mut backtrace {
        let cut = (0..=BACKTRACE_BYTES_MAX.min(text.len())).rev();
        let cut = cut.into_iter().find(|at| text.is_char_boundary(*at));
        text.truncate(cut.unwrap_or(0));
    }
    types::PanicSample {
        at: time::text(report.at()),
        message: report.message().to_owned(),
        thread: report.thread().to_owned(),
        scopes: report.scope_path().to_string(),
        route: context.route().map(|route| route.to_string()),
        job,
        trace_id: context.trace_id().map(|id| id.to_string()),
        backtrace,
    }
}
