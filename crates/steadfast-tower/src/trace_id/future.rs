use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderName, HeaderValue, Response};
use pin_project_lite::pin_project;

use crate::placed::Placed;
use crate::{PlacedBody, PlacedFuture};

pin_project! {
    /// The future of [`TraceId`](super::TraceId).
    #[derive(Debug)]
    pub struct TraceIdFuture<F> {
        #[pin]
        placed: PlacedFuture<F>,
        header: Option<(HeaderName, HeaderValue)>,
    }
}

impl<F> TraceIdFuture<F> {
    pub(super) fn new(inner: F, placed: Placed, header: (HeaderName, HeaderValue)) -> Self {
        Self {
            placed: PlacedFuture::new(inner, placed),
            header: Some(header),
        }
    }
}

impl<F, B, E> Future for TraceIdFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<PlacedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.placed.poll(cx))?;
        if let Some((name, value)) = this.header.take() {
            response.headers_mut().insert(name, value);
        }
        Poll::Ready(Ok(response))
    }
}
