//! Whether the program is alive and ready, and why not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use steadfast::clock::{self, Instant};
use steadfast::report::{self, prometheus};
use steadfast::store::{Node, Store};
use steadfast::tower::{Guard, PolicyDocument};
use steadfast::{BoxError, Cause, Shutdown, jobs, spawn};
use tokio::net::TcpListener;

use super::ids::Handing;
use crate::writes::Writes;

/// How long the store may take to answer before it counts as away: 2 s, below the usual patience of
/// probes.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// For how long an answer of the store is told to others who ask: 1 s, so that probes are no load.
const TOLD_FOR: Duration = Duration::from_secs(1);

/// How the program is. A cheap clone.
#[derive(Clone)]
pub(super) struct Health(Arc<Inner>);

struct Inner {
    shutdown: Shutdown,
    ids: Option<Handing>,
    parts: Mutex<Parts>,
    /// Why the API is not served, which may come later.
    no_api: Mutex<Option<String>>,
    /// What the store said last, and when.
    last: tokio::sync::Mutex<Option<(Instant, Option<Reason>)>>,
}

enum Parts {
    Starting {
        failure: Option<String>,
    },
    Open {
        store: Store,
        node: Node,
        writes: Writes,
    },
}

/// Why it is not ready.
#[derive(Debug, Clone, Serialize)]
struct Reason {
    reason: &'static str,
    detail: String,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    reasons: Vec<Reason>,
}

impl Health {
    pub(super) fn new(shutdown: &Shutdown, ids: Option<Handing>) -> Self {
        Self(Arc::new(Inner {
            shutdown: shutdown.clone(),
            ids,
            parts: Mutex::new(Parts::Starting { failure: None }),
            no_api: Mutex::new(None),
            last: tokio::sync::Mutex::new(None),
        }))
    }

    pub(super) fn opened(&self, store: &Store, node: &Node) {
        let (writes, looks) = Writes::follow(store);
        let over = self.0.shutdown.token();
        spawn("whether the store takes writes, for probes", async move {
            let _: Result<(), Cause> = over.run(looks).await;
        });
        *self.parts() = Parts::Open {
            store: store.clone(),
            node: node.clone(),
            writes,
        };
    }

    pub(super) fn failed(&self, error: &jobs::Error) {
        let failure = error.store().map_or(error.to_string(), ToString::to_string);
        *self.parts() = Parts::Starting {
            failure: Some(failure),
        };
    }

    /// Says how the last try to serve the API went.
    pub(super) fn tried_api(&self, tried: &anyhow::Result<()>) {
        let failure = tried.as_ref().err().map(|error| format!("{error:#}"));
        *self.no_api() = failure;
    }

    /// Serves until it is dropped. Nothing here stands behind limits: it is asked when nothing else
    /// answers.
    pub(super) fn serve(self, listener: TcpListener) -> Result<impl Future<Output = ()>, BoxError> {
        let guard = Guard::new(PolicyDocument::new("health", "")?)?;
        let routes = Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .layer(guard.exempt())
            .with_state(self);
        Ok(async move {
            guard.serve(listener, routes).connections(100).await;
        })
    }

    async fn reasons(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if !self.0.shutdown.is_ready() {
            reasons.push(Reason {
                reason: "draining",
                detail: "the program ends".into(),
            });
        }
        if let Some(detail) = self.0.ids.as_ref().and_then(Handing::trouble) {
            reasons.push(Reason {
                reason: "ids",
                detail,
            });
        }
        if let Some(detail) = self.no_api().clone() {
            reasons.push(Reason {
                reason: "api",
                detail,
            });
        }
        let (store, node, writes) = match &*self.parts() {
            Parts::Starting { failure } => {
                let detail = failure.clone();
                reasons.push(Reason {
                    reason: "starting",
                    detail: detail.unwrap_or_else(|| "the store is being opened".into()),
                });
                return reasons;
            }
            Parts::Open {
                store,
                node,
                writes,
            } => (store.clone(), node.clone(), writes.clone()),
        };
        if node.incarnation().is_none() {
            let failure = node.health().last_failure;
            let why = failure.map_or(String::new(), |(ago, why)| {
                format!(": {why}, {ago:.0?} ago")
            });
            reasons.push(Reason {
                reason: "no-lease",
                detail: format!("this node cannot renew its lease, and runs nothing{why}"),
            });
        }
        if let Some(error) = writes.trouble() {
            reasons.push(Reason {
                reason: "read-only",
                detail: error.to_string(),
            });
        }
        reasons.extend(self.ask(&store).await);
        reasons
    }

    /// Asks the store, or who has asked it just now.
    async fn ask(&self, store: &Store) -> Option<Reason> {
        let mut last = self.0.last.lock().await;
        if let Some((at, reason)) = &*last
            && clock::now().duration_since(*at) < TOLD_FOR
        {
            return reason.clone();
        }
        let trouble = match clock::timeout(ANSWER_WITHIN, store.health()).await {
            Ok(health) => health.answer.err().map(|error| error.to_string()),
            Err(_) => Some(format!("no answer within {ANSWER_WITHIN:?}")),
        };
        let reason = trouble.map(|detail| Reason {
            reason: "store",
            detail,
        });
        *last = Some((clock::now(), reason.clone()));
        reason
    }

    fn no_api(&self) -> MutexGuard<'_, Option<String>> {
        self.0.no_api.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn livez() -> &'static str {
    "alive\n"
}

async fn readyz(State(health): State<Health>) -> Response {
    let reasons = health.reasons().await;
    let status = match reasons.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let ready = reasons.is_empty();
    (status, Json(Ready { ready, reasons })).into_response()
}

async fn metrics() -> impl IntoResponse {
    let text = prometheus::text(&report::snapshot());
    ([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], text)
}
