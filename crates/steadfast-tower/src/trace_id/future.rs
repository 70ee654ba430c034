use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderValue, Response};
use pin_project_lite::pin_project;

use super::received::REQUEST_ID;
use crate::placed::Placed;
use crate::{PlacedBody, PlacedFuture};

pin_project! {
    /// The future of [`TraceId`](super::TraceId).
    #[derive(Debug)]
    pub struct TraceIdFuture<F> {
        #[pin]
        placed: PlacedFuture<F>,
        request_id: Option<HeaderValue>,
    }
}

impl<F> TraceIdFuture<F> {
    /// Without an id, somebody outside says it.
    pub(crate) fn new(inner: F, placed: Placed, request_id: Option<HeaderValue>) -> Self {
        Self {
            placed: PlacedFuture::new(inner, placed),
            request_id,
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
        if let Some(id) = this.request_id.take() {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        Poll::Ready(Ok(response))
    }
}
