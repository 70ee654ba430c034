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
        form: PhantomData<fn() -> F>,
    }
}

/// How long a permit is held.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// Until the body has ended; of streams, which somebody else counts from their head on, until then.
    HeadOfStream,
    /// All answers are such streams.
    Head,
}

impl Until {
    /// Tells whether an answer holds nothing of the admission: how long a stream lasts says nothing about
    /// load.
    pub(crate) fn is_over<B>(self, response: &Response<B>) -> bool {
        match self {
            Self::HeadOfStream => is_stream(response),
            Self::Head => true,
        }
    }
}

/// A request that waits for its turn.
pub(crate) struct Waiting {
    /// Boxed, because only who waits needs a timer and a place.
    turn: Pin<Box<dyn Future<Output = Turn> + Send>>,
    shared: Arc<Shared>,
}

impl Waiting {
    pub(super) fn new(place: Place, shared: Arc<Shared>) -> Self {
        let turn = Box::pin(place.wait());
        Self { turn, shared }
    }

    /// Gives the permit once it is the turn of the request, or why there is none.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Held, Rejection>> {
        let turn = ready!(self.turn.as_mut().poll(cx));
        Poll::Ready(match turn {
            Ok(permit) => Ok(Held::Permit(permit)),
            Err(refusal) => Err(refusal.tell(&self.shared)),
        })
    }
}

enum State {
    Waiting(Waiting, Protocol),
    /// With nothing where everybody gets in.
    Admitted(Option<Held>),
    Rejected(Rejection, Protocol),
    Over,
}

impl<F, S: Service<R>, R> AdmissionFuture<F, S, R> {
    pub(super) fn admitted(served: WhenReady<S, R>, held: Option<Held>) -> Self {
        Self {
            served: Some(served),
            state: State::Admitted(held),
            form: PhantomData,
        }
    }

    pub(super) fn waiting(served: WhenReady<S, R>, waiting: Waiting, protocol: Protocol) -> Self {
        Self {
            served: Some(served),
            state: State::Waiting(waiting, protocol),
            form: PhantomData,
        }
    }

    pub(super) fn rejected(rejection: Rejection, protocol: Protocol) -> Self {
        Self {
            served: None,
            state: State::Rejected(rejection, protocol),
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
                State::Waiting(waiting, protocol) => {
                    *this.state = match ready!(waiting.poll(cx)) {
                        Ok(held) => State::Admitted(Some(held)),
                        Err(rejection) => State::Rejected(rejection, *protocol),
                    }
                }
                State::Admitted(_) => {
                    let served = this.served.as_mut().as_pin_mut().expect("admitted");
                    let response = ready!(served.poll(cx));
                    let State::Admitted(mut held) = std::mem::replace(this.state, State::Over)
                    else {
                        unreachable!("just looked at")
                    };
                    if let (Ok(response), Some(held)) = (&response, &mut held) {
                        held.answered(response.status());
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
            State::Waiting(..) => "AdmissionFuture(waiting)",
            State::Admitted(_) => "AdmissionFuture(admitted)",
            State::Rejected(..) => "AdmissionFuture(rejected)",
            State::Over => "AdmissionFuture(over)",
        })
    }
}
