//! Answers that do not end by themselves: views as a server sends them, whenever they have changed.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use axum::response::IntoResponse;
use http_body::Frame;
use steadfast::clock::Instant;
use steadfast::{clock, spawn};
use tokio::sync::{Mutex, mpsc};

use super::auth::{Action, Actor};
use super::problem::Problem;
use super::routes::view;
use super::server::Api;

/// How often it is looked at: every 2 s, once for all who listen.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often something is said when nothing has changed: every 15 s, so that proxies keep the
/// connection, and a client that has gone is noticed.
const WORD_EVERY: Duration = Duration::from_secs(15);

/// What can be watched: what the endpoint of that name gives, and the action that it needs.
const VIEWS: [View; 6] = [
    View("status", Action("status.read")),
    View("jobs", Action("jobs.read")),
    View("schedules", Action("schedules.read")),
    View("nodes", Action("nodes.read")),
    View("panics", Action("panics.read")),
    View("routes", Action("routes.read")),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct View(&'static str, Action);

/// What was seen last of each view.
#[derive(Default)]
pub(super) struct Looks([Mutex<Option<Seen>>; VIEWS.len()]);

/// An event, and when its view was looked at.
type Seen = (Instant, Arc<str>);

impl Looks {
    /// Looks at a view, or takes what another who listens has seen just now; gives the event.
    async fn look(&self, api: &Api, view: View) -> Arc<str> {
        let at = VIEWS.iter().position(|known| *known == view);
        let mut seen = self.0[at.unwrap_or_default()].lock().await;
        // Half of it: looks of several who listen are not at the same moment.
        match &*seen {
            Some((at, event)) if clock::now() - *at < LOOK_EVERY / 2 => return event.clone(),
            _ => {}
        }
        let event: Arc<str> = match self::view(api, view.0).await {
            Ok(data) => event(view.0, &data),
            Err(problem) => told(&problem),
        }
        .into();
        *seen = Some((clock::now(), event.clone()));
        event
    }
}

fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn told(problem: &Problem) -> String {
    let problem = super::types::Problem {
        // Of whoever has looked, and told to others.
        trace_id: None,
        ..problem.told()
    };
    event(
        "problem",
        &serde_json::to_string(&problem).unwrap_or_default(),
    )
}

/// Tells what somebody wants to watch, whenever it has changed, for as long as he may.
pub(super) fn tell(api: Api, actor: Actor, of: Option<&str>) -> Result<Response<Body>, Problem> {
    let views = of.unwrap_or("status").split(',').map(|name| {
        let known = VIEWS.into_iter().find(|view| view.0 == name);
        let known = known.ok_or_else(|| {
            let known = VIEWS.map(|view| view.0).join(", ");
            Problem::refused(format!("{name:?} cannot be watched"))
                .with_fix(format!("say some of {known}, parted by commas"))
        })?;
        match actor.rights.may(known.1) {
            true => Ok(known),
            false => Err(
                Problem::forbidden(format!("your token may not do {}", known.1.0))
                    .with_fix("use a token that may"),
            ),
        }
    });
    let mut views: Vec<View> = views.collect::<Result<_, _>>()?;
    views.sort_unstable_by_key(|view| view.0);
    views.dedup();
    let (event, events) = mpsc::channel(1);
    spawn("live views", async move {
        let mut last = vec![None; views.len()];
        let mut said = clock::now();
        loop {
            // One that was revoked, or whose time is over, opens nothing from then on. A store that is away is no answer.
            if let Ok(actor) = actor.still(&api.0.store).await
                && !actor.is_some_and(|actor| views.iter().all(|view| actor.rights.may(view.1)))
            {
                let problem = Problem::unknown_token("this token does not hold any more");
                let _ = event.send(Bytes::from(told(&problem))).await;
                return;
            }
            for (view, last) in views.iter().zip(&mut last) {
                let word = api.0.looks.look(&api, *view).await;
                if last.as_ref() == Some(&word) {
                    continue;
                }
                // Who has gone is told nothing.
                if event.send(Bytes::from(word.to_string())).await.is_err() {
                    return;
                }
                (*last, said) = (Some(word), clock::now());
            }
            if clock::now() - said >= WORD_EVERY {
                if event.send(Bytes::from_static(b":\n\n")).await.is_err() {
                    return;
                }
                said = clock::now();
            }
            tokio::select! {
                () = clock::sleep(LOOK_EVERY) => {}
                () = event.closed() => return,
            }
        }
    });
    let headers = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
    ];
    Ok((headers, Body::new(Events(events))).into_response())
}

struct Events(mpsc::Receiver<Bytes>);

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(cx)
            .map(|event| event.map(|bytes| Ok(Frame::data(bytes))))
    }
}
