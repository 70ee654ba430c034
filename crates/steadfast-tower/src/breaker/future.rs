use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;
use steadfast_core::clock;
use tower_service::Service;

use super::BreakerBody;
use super::pass::Pass;
use crate::classify::Classify;
use crate::ready::WhenReady;
use crate::{CallError, Rejection};

pin_project! {
    /// The future of [`Breaker`](super::Breaker).
    pub struct BreakerFuture<S, R, C>
    where
        S: Service<R>,
    {
        // Absent for a call that was rejected.
        #[pin]
        served: Option<WhenReady<S, R>>,
        // Absent where nothing is counted.
        pass: Option<Pass>,
        rejection: Option<Rejection>,
        classifier: Arc<C>,
    }
}

impl<S: Service<R>, R, C> BreakerFuture<S, R, C> {
    pub(super) fn passed(served: WhenReady<S, R>, pass: Option<Pass>, classifier: Arc<C>) -> Self {
        Self {
            served: Some(served),
            pass,
            rejection: None,
            classifier,
        }
    }

    /// Counts the rejection of `now` and tells it, too.
    pub(super) fn rejected(rejection: Rejection, classifier: Arc<C>, now: u64) -> Self {
        rejection.count_at(now);
        Self {
            served: None,
            pass: None,
            rejection: Some(rejection),
            classifier,
        }
    }
}

impl<S, R, C, Out> Future for BreakerFuture<S, R, C>
where
    S: Service<R, Response = Response<Out>>,
    C: Classify<S::Error>,
{
    type Output = Result<Response<BreakerBody<Out>>, CallError<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(served) = this.served.as_mut().as_pin_mut() else {
            let rejection = this.rejection.take().expect("not polled after its end");
            return Poll::Ready(Err(CallError::Rejected(rejection)));
        };
        let answer = ready!(served.poll(cx));
        this.served.set(None);
        let pass = this.pass.take();
        let classifier = &**this.classifier;
        let now = clock::nanos();
        Poll::Ready(match answer {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let telling = pass.and_then(|pass| pass.judged(&head, classifier, now));
                Ok(Response::from_parts(head, BreakerBody::new(body, telling)))
            }
            Err(error) => {
                if let Some(pass) = pass {
                    pass.failed(&error, classifier, now);
                }
                Err(CallError::Inner(error))
            }
        })
    }
}

impl<S: Service<R>, R, C> fmt::Debug for BreakerFuture<S, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerFuture")
            .field("pass", &self.pass)
            .field("rejection", &self.rejection)
            .finish_non_exhaustive()
    }
}
