//! The way to targets, behind the guard: each has a timeout for the answer and a breaker, and is told
//! the trace.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use steadfast::BoxError;
use steadfast::tower::guard::ClientBody;
use steadfast::tower::{CallError, Guard};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

use crate::tls;

/// How long to wait after a call that was held back, if nobody says: 5 s, the shortest time that a
/// breaker is open.
const HELD_BACK: Duration = Duration::from_secs(5);

/// The longest wait after such a call: 5 min.
const HELD_BACK_MAX: Duration = Duration::from_secs(300);

type Inner = BoxCloneSyncService<Request<Body>, Response<Body>, CallError<legacy::Error>>;

/// The way to one target.
#[derive(Clone)]
pub(crate) struct Client(Inner);

/// Why there is no answer.
pub(super) enum Failed {
    /// The call was not made.
    NotSent { why: String, after: Duration },
    /// It may have arrived.
    Lost(BoxError),
}

/// What connects, for all targets that trust the same certificates.
#[derive(Clone)]
pub(crate) struct Transport(legacy::Client<HttpsConnector<HttpConnector>, ClientBody<Body>>);

impl Transport {
    /// Makes it, trusting the certificates in a file, or without one the roots of the public web.
    pub(crate) fn new(ca: Option<&Path>) -> anyhow::Result<Self> {
        let connector = tls::connector(ca)?;
        let client = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self(client))
    }
}

impl Client {
    /// Makes the way to a target that the policy of the guard knows as a dependency.
    pub(crate) fn new(
        guard: &Guard,
        dependency: &str,
        transport: &Transport,
    ) -> anyhow::Result<Self> {
        let client = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(Body::new))
            .layer(guard.client(dependency)?)
            .service(transport.0.clone());
        Ok(Self(BoxCloneSyncService::new(client)))
    }

    pub(super) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Failed> {
        let error = match self.0.clone().oneshot(request).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        match &error {
            CallError::Rejected(rejection) if rejection.reason().is_unsent() => {
                let after = rejection.retry_after().unwrap_or(HELD_BACK);
                Err(Failed::NotSent {
                    why: rejection.to_string(),
                    after: after.clamp(Duration::from_secs(1), HELD_BACK_MAX),
                })
            }
            CallError::Rejected(rejection) => Err(Failed::Lost(rejection.to_string().into())),
            CallError::Inner(error) => Err(Failed::Lost(told(error).into())),
        }
    }
}

/// With what is behind it: "client error" alone says nothing.
fn told(error: &legacy::Error) -> String {
    let mut text = String::from("the target cannot be reached, or broke off");
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
