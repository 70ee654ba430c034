use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::AdmissionBody;
use super::permit::Permit;
use super::place::Place;
use super::shared::{Shared, Turn};
use crate::Rejection;
use crate::answer::Protocol;
use crate::ready::WhenReady;

pin_project! {
    /// The future of [`Admission`](super::Admission).
    pub struct AdmissionFuture<S, R>
    where
        S: Service<R>,
    {
        // Absent for a request that was rejected at once.
        #[pin]
        served: Option<WhenReady<S, R>>,
        state: State,
    }
}

enum State {
    /// Boxed, because only who waits needs a timer and a place.
    Waiting {
        turn: Pin<Box<dyn Future<Output = Turn> + Send>>,
        shared: Arc<Shared>,
        protocol: Protocol,
    },
    Admitted(Permit),
    Rejected(Rejection, Protocol),
    Over,
}

impl<S: Service<R>, R> AdmissionFuture<S, R> {
    pub(super) fn admitted(served: WhenReady<S, R>, permit: Permit) -> Self {
        Self {
            served: Some(served),
            state: State::Admitted(permit),
        }
    }

    pub(super) fn waiting(
        served: WhenReady<S, R>,
        place: Place,
        shared: Arc<Shared>,
        protocol: Protocol,
    ) -> Self {
        Self {
            served: Some(served),
            state: State::Waiting {
                turn: Box::pin(place.wait()),
                shared,
                protocol,
            },
        }
    }

    pub(super) fn rejected(rejection: Rejection, protocol: Protocol) -> Self {
        Self {
            served: None,
            state: State::Rejected(rejection, protocol),
        }
    }
}

impl<S, R, Out> Future for AdmissionFuture<S, R>
where
    S: Service<R, Response = Response<Out>>,
{
    type Output = Result<Response<AdmissionBody<Out>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state {
                State::Waiting {
                    turn,
                    shared,
                    protocol,
                } => {
                    *this.state = match ready!(turn.as_mut().poll(cx)) {
                        Ok(permit) => State::Admitted(permit),
                        Err(refusal) => State::Rejected(refusal.tell(shared), *protocol),
                    }
                }
                State::Admitted(_) => {
                    let served = this.served.as_mut().as_pin_mut().expect("admitted");
                    let response = ready!(served.poll(cx));
                    let State::Admitted(mut permit) = std::mem::replace(this.state, State::Over)
                    else {
                        unreachable!("just looked at")
                    };
                    let response = response?;
                    permit.answered(response.status());
                    return Poll::Ready(
                        Ok(response.map(|body| AdmissionBody::inner(body, permit))),
                    );
                }
                State::Rejected(rejection, protocol) => {
                    let response = rejection.answer_in(*protocol).map(AdmissionBody::own);
                    *this.state = State::Over;
                    this.served.set(None);
                    return Poll::Ready(Ok(response));
                }
                State::Over => panic!("not polled after its end"),
            }
        }
    }
}

impl<S: Service<R>, R> fmt::Debug for AdmissionFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Waiting { .. } => "AdmissionFuture(waiting)",
            State::Admitted(_) => "AdmissionFuture(admitted)",
            State::Rejected(..) => "AdmissionFuture(rejected)",
            State::Over => "AdmissionFuture(over)",
        })
    }
}
