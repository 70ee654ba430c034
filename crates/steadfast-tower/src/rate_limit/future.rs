use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderName, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::buckets::Standing;
use crate::ready::WhenReady;
use crate::{AnswerBody, AnswerFuture};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

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
    pub(super) fn passed(passed: WhenReady<S, R>, standing: Standing) -> Self {
        Self {
            answer: AnswerFuture::inner(passed),
            standing: Some(standing),
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
            // Appended: of several limits each says its own.
            response
                .headers_mut()
                .append(RATE_LIMIT, standing.rate_limit);
            response
                .headers_mut()
                .append(RATE_LIMIT_POLICY, standing.policy);
        }
        Poll::Ready(Ok(response))
    }
}
