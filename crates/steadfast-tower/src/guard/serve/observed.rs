use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use steadfast_core::{RecoverAsync, context, recover, recover_async};
use tower_service::Service;
use tracing::Span;

use super::Shared;
use super::body::{CaughtBody, ServeBody};
use crate::answer::{self, Protocol};
use crate::guard::Peer;
use crate::guard::seen::{Line, Open};
use crate::placed::Placed;
use crate::ready::WhenReady;
use crate::recover::{Recover, RecoverBody};
use crate::streams::Connection;
use crate::{HeldBody, PlacedFuture, trace_id};

/// Outside of everything: knows which answers have passed the guard, and what is still served, and
/// answers what has panicked in a layer around the guard.
pub(super) struct Observed<S> {
    pub(super) app: Recover<S>,
    pub(super) shared: Arc<Shared>,
    pub(super) line: Arc<Line>,
    pub(super) peer: Peer,
    pub(super) held: Connection,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Observed<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
    B: Body<Data = Bytes>,
{
    type Response = Response<ServeBody<B>>;
    type Error = S::Error;
    type Future = PlacedFuture<ObservedFuture<S>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let asked = Asked::of(&request);
        let open = Open::begin(&self.line, asked.trace_id);
        if request.version() >= Version::HTTP_2 || request.method() == Method::CONNECT {
            self.line.set_framed();
        }
        let extensions = request.extensions_mut();
        extensions.insert(self.peer);
        extensions.insert(open.seen());
        extensions.insert(self.held.clone());
        // What panics in here is told with the trace that its answer names.
        let context = context::current().with_trace_id(asked.trace_id);
        let mut placed = Placed::new(context.captured(), Span::none());
        let called = placed.enter(|| {
            let app = self.app.cloned()?;
            recover(|| WhenReady::now(app, request)).ok()
        });
        let observed = ObservedFuture {
            called: called.map(recover_async),
            open: Some(open),
            asked,
            shared: self.shared.clone(),
        };
        PlacedFuture::new(observed, placed)
    }
}

/// What a request was, for whoever tells of it.
struct Asked {
    method: Method,
    uri: Uri,
    protocol: Protocol,
    trace_id: context::TraceId,
    request_id: Option<HeaderValue>,
}

impl Asked {
    fn of(request: &Request<Incoming>) -> Self {
        let headers = request.headers();
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            protocol: Protocol::of(headers),
            trace_id: trace_id::of(headers),
            request_id: trace_id::request_id(headers),
        }
    }

    fn panicked<B>(&self) -> Response<RecoverBody<B>> {
        let mut answer = answer::panicked(self.protocol).map(RecoverBody::own);
        let id = self.request_id.clone();
        let id = id.unwrap_or_else(|| trace_id::echo(self.trace_id));
        answer.headers_mut().insert(trace_id::REQUEST_ID, id);
        answer
    }
}

pin_project! {
    pub(super) struct ObservedFuture<S>
    where
        S: Service<Request<Incoming>>,
    {
        // Absent if the call has panicked.
        #[pin]
        called: Option<RecoverAsync<WhenReady<S, Request<Incoming>>>>,
        open: Option<Open>,
        asked: Asked,
        shared: Arc<Shared>,
    }
}

impl<S, B> Future for ObservedFuture<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<HeldBody<CaughtBody<B>, Open>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = match this.called.as_pin_mut() {
            Some(called) => ready!(called.poll(cx)).ok(),
            None => None,
        };
        let open = this.open.take().expect("not polled after its end");
        let Asked { method, uri, .. } = this.asked;
        let response = match answer {
            Some(answer) => {
                if !open.has_passed() {
                    this.shared.guard.inner.watch.past(method, uri.path());
                }
                answer?.map(RecoverBody::inner)
            }
            None => {
                let trace_id = this.asked.trace_id;
                this.shared.panics.tell(method, uri.path(), trace_id);
                this.asked.panicked()
            }
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            open.line().set_framed();
        }
        Poll::Ready(Ok(
            response.map(|body| HeldBody::new(CaughtBody::new(body), Some(open)))
        ))
    }
}
