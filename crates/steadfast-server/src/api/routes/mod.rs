//! What the endpoints do.

mod bulk;
mod guard;
mod jobs;
mod others;
pub(super) mod panics;
pub(crate) mod policy;
mod queues;
mod schedules;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{Response, Uri};
use axum::response::IntoResponse;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use steadfast::Timestamp;
use steadfast::jobs::{COUNT_CAP, State as JobState};

use super::audit::{Entry, check_reason};
use super::auth::Actor;
use super::problem::Problem;
use super::server::{Api, READ_ONLY};
use super::{document, live, types};
use crate::time;
use crate::unhandled::{unhandled, unserved};

/// The largest body of a request: 1.5 MiB, a payload with what stands around it.
const BODY_BYTES_MAX: usize = 3 << 19;

/// How many items a page has unless somebody says so: 50; and at most: 500.
const PAGE: usize = 50;
const PAGE_MAX: usize = 500;

/// How long a rescue is taken to last in a service that has not said so: 30 s, the usual lease of nodes.
const LEASE: Duration = Duration::from_secs(30);

/// What one can ask for behind a `?`; parameters that no endpoint knows are refused, and those that are said twice.
#[derive(Default)]
struct Asked(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(said) = read.map_err(|error| Problem::refused(error.body_text()))?;
        let mut asked = BTreeMap::new();
        for (name, value) in said {
            if asked.contains_key(&name) {
                let title = format!("the parameter {name:?} is said more than once");
                return Err(Problem::refused(title).with_fix("say it once"));
            }
            asked.insert(name, value);
        }
        Ok(Self(asked))
    }
}

/// What a path names; what cannot be a name is told as everything else that is wrong.
struct Path<T>(T);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(named)| Self(named))
            .map_err(|error| Problem::refused(error.body_text()))
    }
}

/// What is answered where nothing is.
pub(super) async fn nowhere(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
        .with_fix("/api/v1/openapi.json says what there is")
}

type Answer<T> = Result<Json<T>, Problem>;

/// What everybody may read.
pub(super) fn public(prefix: &str) -> Router {
    let document = document::document(prefix);
    Router::new().route(
        "/api/v1/openapi.json",
        get(async move || Json(document.clone())),
    )
}

pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/api/v1/status", get(own_status))
        .route(
            "/api/v1/events",
            get(
                async |State(api): State<Api>, Asked(asked): Asked, request: Request| {
                    known(&asked, &["of"])?;
                    live::tell(api, actor(&request)?, asked.get("of").map(String::as_str))
                },
            ),
        )
        .route("/api/v1/jobs", get(jobs::list).post(jobs::enqueue))
        .route("/api/v1/jobs/redrive", post(bulk::redrive))
        .route("/api/v1/jobs/cancel", post(bulk::cancel))
        .route("/api/v1/jobs/{id}", get(jobs::find))
        .route("/api/v1/jobs/{id}/run", post(jobs::run))
        .route("/api/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/api/v1/jobs/{id}/retry", post(jobs::retry))
        .route("/api/v1/queues", get(queues::list))
        .route("/api/v1/queues/{name}/pause", post(queues::pause))
        .route("/api/v1/queues/{name}/resume", post(queues::resume))
        .route("/api/v1/schedules", get(schedules::list))
        .route(
            "/api/v1/schedules/{name}",
            get(schedules::find)
                .put(schedules::put)
                .delete(schedules::delete),
        )
        .route("/api/v1/schedules/{name}/next", get(schedules::next))
        .route("/api/v1/schedules/{name}/run", post(schedules::run))
        .route("/api/v1/schedules/{name}/pause", post(schedules::pause))
        .route("/api/v1/schedules/{name}/resume", post(schedules::resume))
        .route(
            "/api/v1/schedules/{name}/backfill",
            post(schedules::backfill),
        )
        .route("/api/v1/nodes", get(others::nodes))
        .route("/api/v1/panics", get(panics::list))
        .route("/api/v1/panics/{id}", get(panics::find))
        .route("/api/v1/routes", get(guard::list))
        .route(
            "/api/v1/breakers/{name}",
            post(guard::force).delete(guard::release),
        )
        .route("/api/v1/policy", get(policy::show).put(policy::apply))
        .route("/api/v1/policy/diff", post(policy::diff))
        .route("/api/v1/policy/explain", get(policy::explain))
        .route("/api/v1/policy/revisions", get(policy::revisions))
        .route("/api/v1/policy/revisions/{id}", get(policy::revision))
        .route(
            "/api/v1/policy/overrides",
            post(policy::hold).delete(policy::end_hold),
        )
        .route("/api/v1/audit", get(others::audit))
        .route(
            "/api/v1/tokens",
            get(others::tokens).post(others::make_token),
        )
        .route("/api/v1/tokens/{id}", delete(others::revoke_token))
        .with_state(api)
}

async fn own_status(State(api): State<Api>) -> Answer<types::Status> {
    Ok(Json(status(&api).await?))
}

/// Puts together how all of it is.
async fn status(api: &Api) -> Result<types::Status, Problem> {
    let inner = &api.0;
    let health = inner.store.health().await;
    let counts = inner.jobs.counts().await?;
    let nodes = inner.store.nodes(None, COUNT_CAP as usize).await?;
    let overdue = inner.schedules.overdue().await?;
    let paused = inner.jobs.paused().await?;
    let lease = inner.kinds.as_ref().map_or(LEASE, |kinds| kinds.lease);
    let is_ours = |kind: &str| {
        let kinds = inner.kinds.as_ref();
        kinds.is_some_and(|kinds| kinds.usual.contains_key(kind))
    };
    let unhandled = unhandled(&inner.jobs, lease, is_ours).await;
    // All else that is known is worth more.
    let unhandled = unhandled.unwrap_or_else(|error| {
        tracing::warn!(target: "steadfast::api", %error, "kinds without a handler cannot be looked for");
        BTreeMap::new()
    });
    let unserved = unserved(&inner.jobs, lease, |queue| inner.claims_from(queue)).await;
    let unserved = unserved.unwrap_or_else(|error| {
        tracing::warn!(target: "steadfast::api", %error, "queues that nobody claims from cannot be looked for");
        BTreeMap::new()
    });
    let dialect = match inner.store.dialect() {
        steadfast::store::Dialect::Sqlite => "sqlite",
        steadfast::store::Dialect::Postgres => "postgres",
    };
    let jobs = JobState::ALL.map(|state| (state.as_str().to_owned(), counts.of(state)));
    let read_only_because = match inner.writes.trouble() {
        _ if inner.read_only => Some(READ_ONLY.to_owned()),
        trouble => trouble.map(|error| error.to_string()),
    };
    let alive = nodes.iter().filter(|node| node.ended.is_none()).count();
    Ok(types::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store: dialect.to_owned(),
        store_up: health.is_up(),
        // Without how long the answer took, which is never the same.
        store_detail: match &health.answer {
            Ok(_) => "up".to_owned(),
            Err(error) => format!("down: {error}"),
        },
        read_only: read_only_because.is_some(),
        read_only_because,
        jobs: jobs.into_iter().collect(),
        nodes_alive: alive as u64,
        counts_up_to: COUNT_CAP,
        schedules_overdue: overdue.into_iter().map(|(name, _)| name).collect(),
        queues_paused: paused,
        unhandled: unhandled.into_keys().collect(),
        queues_unserved: unserved.into_keys().collect(),
    })
}

/// Gives what the endpoint of a name gives, in its first page, as JSON.
pub(super) async fn view(api: &Api, name: &str) -> Result<String, Problem> {
    fn text<T: serde::Serialize>(Json(data): Json<T>) -> String {
        serde_json::to_string(&data).unwrap_or_default()
    }
    let (state, asked) = (State(api.clone()), Asked::default());
    Ok(match name {
        "status" => text(own_status(state).await?),
        "jobs" => text(jobs::list(state, asked).await?),
        "schedules" => text(schedules::list(state, asked).await?),
        "nodes" => text(others::nodes(state, asked).await?),
        "panics" => text(panics::list().await?),
        "routes" => text(guard::list(state, asked).await?),
        _ => return Err(Problem::internal("there is no such view")),
    })
}

/// Takes a body as what it should be.
async fn body<T: DeserializeOwned>(request: Request) -> Result<(T, String), Problem> {
    let read = Limited::new(request.into_body(), BODY_BYTES_MAX)
        .collect()
        .await;
    let bytes = read.map(|read| read.to_bytes()).map_err(|error| {
        let title = format!("a body has at most {BODY_BYTES_MAX} bytes, and is sent in whole");
        match error.is::<LengthLimitError>() {
            true => Problem::too_large(title),
            false => Problem::refused(title),
        }
    })?;
    let parsed = serde_json::from_slice(&bytes);
    let parsed =
        parsed.map_err(|error| Problem::refused(format!("the body cannot be read: {error}")))?;
    Ok((parsed, String::from_utf8_lossy(&bytes).into_owned()))
}

/// Whoever asks; put there by whoever has let him through.
fn actor(request: &Request) -> Result<Actor, Problem> {
    let actor = request.extensions().get::<Actor>().cloned();
    actor.ok_or_else(|| Problem::internal("nobody is known to ask"))
}

/// Reads who asks for a change with a reason and nothing else.
async fn reason(request: Request) -> Result<(Actor, types::Reason, String), Problem> {
    let actor = actor(&request)?;
    let (reason, text) = body(request).await?;
    Ok((actor, reason, text))
}

/// Takes what was asked for behind the `?`, and refuses what is not known.
fn known(asked: &BTreeMap<String, String>, names: &[&str]) -> Result<(), Problem> {
    match asked.keys().find(|name| !names.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(
            Problem::refused(format!("the parameter {name:?} is not known"))
                .with_fix(format!("known are {}", names.join(", "))),
        ),
    }
}

fn limit(
    asked: &BTreeMap<String, String>,
    name: &str,
    usual: usize,
    most: usize,
) -> Result<usize, Problem> {
    match asked.get(name) {
        None => Ok(usual),
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=most).contains(limit))
            .ok_or_else(|| Problem::refused(format!("{name} is {text:?}, not from 1 to {most}"))),
    }
}

fn cursor<T: FromStr>(asked: &BTreeMap<String, String>) -> Result<Option<T>, Problem> {
    asked.get("cursor").map(|text| parsed(text)).transpose()
}

fn parsed<T: FromStr>(cursor: &str) -> Result<T, Problem> {
    cursor.parse().map_err(|_| {
        Problem::refused("this is no cursor of such a list")
            .with_fix("take `next` of the page before")
    })
}

fn moment(text: &str) -> Result<Timestamp, Problem> {
    let at: Result<jiff::Timestamp, _> = text.parse();
    at.map(|at| Timestamp::from_unix_millis(at.as_millisecond()))
        .map_err(|_| {
            Problem::refused(format!("{text:?} is no point in time"))
                .with_fix("write it as RFC 3339 says: 2026-12-01T10:00:00Z")
        })
}

fn length(text: &str) -> Result<Duration, Problem> {
    steadfast::settings::duration(text).map_err(|wrong| Problem::refused(wrong.to_string()))
}

/// Gives what a job is about as it is kept: `null` where nothing was said.
fn payload(said: Option<types::Given>) -> String {
    said.map_or_else(|| "null".to_owned(), |said| said.text().to_owned())
}

fn done(outcome: &str, job: Option<u64>) -> Json<types::Done> {
    Json(types::Done {
        outcome: outcome.to_owned(),
        job,
        warning: None,
    })
}

fn with_etag<T: serde::Serialize>(value: T, tag: impl fmt::Display) -> Response<Body> {
    ([("etag", tag.to_string())], Json(value)).into_response()
}
