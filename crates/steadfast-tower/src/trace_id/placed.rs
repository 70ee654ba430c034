use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::{HeaderName, HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use steadfast_core::context::Captured;
use tracing::Span;

/// Where the work on a request happens: in its context, and in its span.
#[derive(Debug)]
pub(super) struct Placed {
    context: Captured,
    span: Span,
}

impl Placed {
    pub(super) fn new(context: Captured, span: Span) -> Self {
        Self { context, span }
    }

    pub(super) fn enter<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let Self { context, span } = self;
        context.enter(|| span.in_scope(f))
    }
}

pin_project! {
    /// The future of [`TraceId`](super::TraceId).
    #[derive(Debug)]
    pub struct TraceIdFuture<F> {
        #[pin]
        inner: Option<F>,
        // Absent once the body has it.
        placed: Option<Placed>,
        header: Option<(HeaderName, HeaderValue)>,
    }

    impl<F> PinnedDrop for TraceIdFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Some(placed) = this.placed {
                placed.enter(|| this.inner.set(None));
            }
        }
    }
}

impl<F> TraceIdFuture<F> {
    pub(super) fn new(inner: F, placed: Placed, header: (HeaderName, HeaderValue)) -> Self {
        Self {
            inner: Some(inner),
            placed: Some(placed),
            header: Some(header),
        }
    }
}

impl<F, B, E> Future for TraceIdFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<TraceIdBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let placed = this.placed.as_mut().expect("not polled after its end");
        let answer = ready!(placed.enter(|| {
            let inner = this.inner.as_mut().as_pin_mut();
            let answer = ready!(inner.expect("there until it ends").poll(cx));
            this.inner.set(None);
            Poll::Ready(answer)
        }));
        let placed = this.placed.take().expect("it was there just now");
        Poll::Ready(answer.map(|mut response| {
            if let Some((name, value)) = this.header.take() {
                response.headers_mut().insert(name, value);
            }
            response.map(|body| TraceIdBody {
                body: Some(body),
                placed,
            })
        }))
    }
}

pin_project! {
    /// A response body whose frames are made where the request was served.
    #[derive(Debug)]
    pub struct TraceIdBody<B> {
        #[pin]
        body: Option<B>,
        placed: Placed,
    }

    impl<B> PinnedDrop for TraceIdBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.placed.enter(|| this.body.set(None));
        }
    }
}

impl<B: Body> Body for TraceIdBody<B>
where
    B::Data: Buf,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let body = this.body.as_pin_mut().expect("there until the drop");
        this.placed.enter(|| body.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, B::size_hint)
    }
}
