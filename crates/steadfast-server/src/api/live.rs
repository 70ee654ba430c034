//! Answers that do not end by themselves: events as a server sends them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use axum::response::IntoResponse;
use http_body::Frame;
use steadfast::{clock, spawn};
use tokio::sync::mpsc;

use super::routes::status;
use super::server::Api;

/// How often it is looked at: every 2 s, by each who listens; there are at most 64 of them.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often something is said when nothing has changed: every 15 s, so that proxies keep the
/// connection, and a client that has gone is noticed.
const WORD_EVERY: Duration = Duration::from_secs(15);

/// Tells the status whenever it has changed.
pub(super) fn tell(api: Api) -> Response<Body> {
    let (event, events) = mpsc::channel(1);
    spawn("live status", async move {
        let (mut last, mut said) = (None, clock::now());
        loop {
            let text = match status(&api).await {
                Ok(status) => serde_json::to_string(&status).unwrap_or_default(),
                Err(problem) => format!("{{\"problem\":{:?}}}", problem.line()),
            };
            let is_quiet = last.as_ref() == Some(&text);
            let word = match is_quiet {
                false => Some(format!("event: status\ndata: {text}\n\n")),
                true if clock::now() - said >= WORD_EVERY => Some(":\n\n".to_owned()),
                true => None,
            };
            if let Some(word) = word {
                // Who has gone is told nothing.
                if event.send(Bytes::from(word)).await.is_err() {
                    return;
                }
                (last, said) = (Some(text), clock::now());
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
    (headers, Body::new(Events(events))).into_response()
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
