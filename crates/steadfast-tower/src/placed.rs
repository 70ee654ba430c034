use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::{Extensions, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use steadfast_core::context::Captured;
use tracing::Span;

use crate::noted::Noted;

/// Where the work on a request happens: in its context, and in its span.
#[derive(Debug)]
pub(crate) struct Placed {
    /// Absent where a layer has nothing to say: then it costs nothing.
    context: Option<Captured>,
    span: Span,
    /// Whoever outside wants to know how the context is left; absent once told.
    noted: Option<Noted>,
}

impl Placed {
    pub(crate) fn new(context: Captured, span: Span) -> Self {
        Self {
            context: Some(context),
            span,
            noted: None,
        }
    }

    /// In this context, and in whichever span there is; for a request with these extensions.
    pub(crate) fn within(context: Option<Captured>, request: &Extensions) -> Self {
        let noted = context.as_ref().and_then(|_| Noted::wanting_left(request));
        Self {
            context,
            span: Span::none(),
            noted,
        }
    }

    pub(crate) fn enter<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let Self { context, span, .. } = self;
        match context {
            Some(context) => context.enter(|| span.in_scope(f)),
            None => f(),
        }
    }

    /// Says that nothing happens here any more.
    fn leave(&mut self) {
        if let (Some(noted), Some(context)) = (self.noted.take(), &self.context) {
            noted.leave(context);
        }
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        self.leave();
    }
}

pin_project! {
    /// The future of a layer that sets what is known about a request: polled, dropped, and its
    /// answer made, where that is known.
    #[derive(Debug)]
    pub struct PlacedFuture<F> {
        #[pin]
        inner: Option<F>,
        // Absent once the body has it.
        placed: Option<Placed>,
    }

    impl<F> PinnedDrop for PlacedFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Some(placed) = this.placed {
                placed.enter(|| this.inner.set(None));
            }
        }
    }
}

impl<F> PlacedFuture<F> {
    pub(crate) fn new(inner: F, placed: Placed) -> Self {
        Self {
            inner: Some(inner),
            placed: Some(placed),
        }
    }
}

impl<F, B, E> Future for PlacedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<PlacedBody<B>>, E>;

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
        Poll::Ready(answer.map(|response| {
            response.map(|body| PlacedBody {
                body: Some(body),
                placed,
            })
        }))
    }
}

pin_project! {
    /// A response body whose frames are made where the request was served.
    #[derive(Debug)]
    pub struct PlacedBody<B> {
        #[pin]
        body: Option<B>,
        placed: Placed,
    }

    impl<B> PinnedDrop for PlacedBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.placed.enter(|| this.body.set(None));
        }
    }
}

impl<B: Body> Body for PlacedBody<B>
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
        let polled = this.placed.enter(|| body.poll_frame(cx));
        if let Poll::Ready(None | Some(Err(_))) = polled {
            this.placed.leave();
        }
        polled
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
