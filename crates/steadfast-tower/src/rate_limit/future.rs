use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::buckets::Standing;
use crate::ready::WhenReady;
use crate::{AnswerBody, AnswerFuture};

pin_project! {
    /// The future of [`RateLimit`](super::RateLimit).
    pub struct RateLimitFuture<S, R, B>
    where
        S: Service<R>,
    {
        #[pin]
        answer: AnswerFuture<WhenReady<S, R>, B>,
        standing: Option<Standing>,
    }
}

impl<S: Service<R>, R, B> RateLimitFuture<S, R, B> {
    pub(super) fn passed(passed: WhenReady<S, R>, standing: Option<Standing>) -> Self {
        Self {
            answer: AnswerFuture::inner(passed),
            standing,
        }
    }

    pub(super) fn rejected(answer: Response<AnswerBody<B>>, standing: Standing) -> Self {
        Self {
            answer: AnswerFuture::own(answer),
            standing: Some(standing),
        }
    }
}

impl<S, R, B> Future for RateLimitFuture<S, R, B>
where
    S: Service<R, Response = Response<B>>,
{
    type Output = Result<Response<AnswerBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.answer.poll(cx))?;
        if let Some(standing) = this.standing.take() {
            standing.tell(response.headers_mut());
        }
        Poll::Ready(Ok(response))
    }
}
