//! A client: sends, waits for as long as it has patience, and notes what it got.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use steadfast::clock::{self, Instant};

use super::Class;
use crate::drill::judge::{Outcome, Sample};

/// The largest answer that is read: 1 MiB, more than the shop gives.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// How long a client waits before it tries again; each time once more as long.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Where a service says why it rejected a request.
const REASON: &str = "x-steadfast-rejected";

/// All clients: they share connections, as behind a proxy.
#[derive(Clone)]
pub(super) struct Client {
    target: SocketAddr,
    inner: legacy::Client<HttpConnector, Full<Bytes>>,
}

impl Client {
    pub(super) fn new(target: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let inner = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Self { target, inner }
    }

    /// Asks once, or again where the client does so.
    pub(super) async fn ask(&self, class: &Class, start: Instant, due: Duration) -> Sample {
        let left = (start + due + class.patience).saturating_duration_since(clock::now());
        let mut attempts = 0;
        let asked = clock::timeout(left, async {
            loop {
                attempts += 1;
                let outcome = self.attempt(class).await;
                let again = match &outcome {
                    Outcome::Answered { status, .. } => *status >= 500,
                    Outcome::CutOff { .. } | Outcome::Broken | Outcome::Refused => true,
                    Outcome::GaveUp => false,
                };
                if !again || attempts >= class.attempts {
                    return outcome;
                }
                clock::sleep(AGAIN_AFTER * attempts).await;
            }
        });
        let outcome = asked.await.unwrap_or(Outcome::GaveUp);
        Sample {
            class: class.name,
            core: class.core,
            due,
            latency: clock::now() - (start + due),
            outcome,
        }
    }

    async fn attempt(&self, class: &Class) -> Outcome {
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.target.to_string())
            .path_and_query(class.path);
        let request = Request::builder()
            .method(class.method)
            .uri(uri.build().expect("an address and a path of ours"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(class.body));
        let request = request.expect("a request of ours");
        match self.inner.request(request).await {
            Ok(response) => read(response).await,
            Err(error) if error.is_connect() => Outcome::Refused,
            Err(_) => Outcome::Broken,
        }
    }
}

async fn read<B: http_body::Body>(response: Response<B>) -> Outcome
where
    B::Error: Into<steadfast::BoxError>,
{
    let (head, body) = response.into_parts();
    let text = |name: &str| {
        let value = head.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let id = text("x-request-id");
    match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
        Ok(_) => Outcome::Answered {
            status: head.status.as_u16(),
            id,
            reason: text(REASON),
            retry_after: head.headers.contains_key(header::RETRY_AFTER),
        },
        Err(_) => Outcome::CutOff { id },
    }
}
