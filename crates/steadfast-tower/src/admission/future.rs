use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::AdmissionBody;
use super::permit::Held;
use super::place::Place;
use super::shared::{Shared, Turn};
use crate::answer::Protocol;
use crate::ready::WhenReady;
use crate::streams::is_stream;
use crate::{Form, Rejection};

pin_project! {
    /// The future of [`Admission`](super::Admission).
    pub struct AdmissionFuture<F, S, R>
    where
        S: Service<R>,
    {
        // Absent for a request that was rejected at once.
        #[pin]
        served: Option<WhenReady<S, R>>,
        state: State,
        until: Until,
        form: PhantomData<fn() -> F>,
    }
}

/// How long a permit is held.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Until {
    /// Until the body has ended.
    #[default]
    Body,
    /// The same, but for streams, which somebody else counts from their head on.
    HeadOfStream,
    /// All answers are such streams.
    Head,
}

enum State {
    /// Boxed, because only who waits needs a timer and a place.
    Waiting {
        turn: Pin<Box<dyn Future<Output = Turn> + Send>>,
        shared: Arc<Shared>,
        protocol: Protocol,
    },
    /// With nothing where everybody gets in.
    Admitted(Option<Held>),
    Rejected(Rejection, Protocol),
    Over,
}

impl<F, S: Service<R>, R> AdmissionFuture<F, S, R> {
    pub(super) fn admitted(served: WhenReady<S, R>, held: Option<Held>, until: Until) -> Self {
        Self {
            served: Some(served),
            state: State::Admitted(held),
            until,
            form: PhantomData,
        }
    }

    pub(super) fn waiting(
        served: WhenReady<S, R>,
        place: Place,
        shared: Arc<Shared>,
        protocol: Protocol,
        until: Until,
    ) -> Self {
        Self {
            served: Some(served),
            state: State::Waiting {
                turn: Box::pin(place.wait()),
                shared,
                protocol,
            },
            until,
            form: PhantomData,
        }
    }

    pub(super) fn rejected(rejection: Rejection, protocol: Protocol) -> Self {
        Self {
            served: None,
            state: State::Rejected(rejection, protocol),
            until: Until::default(),
            form: PhantomData,
        }
    }
}

impl<F, S, R, Out> Future for AdmissionFuture<F, S, R>
where
    F: Form,
    S: Service<R, Response = Response<Out>>,
{
    type Output = Result<Response<AdmissionBody<F::Body<Out>>>, F::Error<S::Error>>;

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
                        Ok(permit) => State::Admitted(Some(Held::Permit(permit))),
                        Err(refusal) => State::Rejected(refusal.tell(shared), *protocol),
                    }
                }
                State::Admitted(_) => {
                    let served = this.served.as_mut().as_pin_mut().expect("admitted");
                    let response = ready!(served.poll(cx));
                    let State::Admitted(mut held) = std::mem::replace(this.state, State::Over)
                    else {
                        unreachable!("just looked at")
                    };
                    if let Ok(response) = &response {
                        let streams = match *this.until {
                            Until::Body => false,
                            Until::HeadOfStream => is_stream(response),
                            Until::Head => true,
                        };
                        if streams {
                            // How long a stream lasts says nothing about load.
                            held = None;
                        } else if let Some(held) = &mut held {
                            held.answered(response.status());
                        }
                    }
                    return Poll::Ready(formed(F::inner(response), held));
                }
                State::Rejected(..) => {
                    let State::Rejected(rejection, protocol) =
                        std::mem::replace(this.state, State::Over)
                    else {
                        unreachable!("just looked at")
                    };
                    this.served.set(None);
                    return Poll::Ready(formed(F::rejected(rejection, protocol), None));
                }
                State::Over => panic!("not polled after its end"),
            }
        }
    }
}

fn formed<B, E>(
    ended: Result<Response<B>, E>,
    held: Option<Held>,
) -> Result<Response<AdmissionBody<B>>, E> {
    ended.map(|response| response.map(|body| AdmissionBody::new(body, held)))
}

impl<F, S: Service<R>, R> fmt::Debug for AdmissionFuture<F, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Waiting { .. } => "AdmissionFuture(waiting)",
            State::Admitted(_) => "AdmissionFuture(admitted)",
            State::Rejected(..) => "AdmissionFuture(rejected)",
            State::Over => "AdmissionFuture(over)",
        })
    }
}
