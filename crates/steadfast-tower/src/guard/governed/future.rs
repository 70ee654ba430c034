use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use steadfast_core::clock::{self, Instant};
use steadfast_core::context;
use tower_service::Service;

use super::{GovernedBody, Held, State};
use crate::timeout::{CallEnded, Timed, poll_call};
use crate::{AnswerBody, admission};

pin_project! {
    /// The future of a request between the recovery of its panics and its handler.
    pub struct GovernedFuture<S, In, Out>
    where
        S: Service<Request<In>>,
    {
        #[pin]
        stage: Stage<S, In, Out>,
        // Absent once the body has it.
        state: Option<Box<State>>,
    }

    impl<S, In, Out> PinnedDrop for GovernedFuture<S, In, Out>
    where
        S: Service<Request<In>>,
    {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Some(state) = this.state {
                state.abandon(|| this.stage.set(Stage::Over));
            }
        }
    }
}

pin_project! {
    /// How far a request has come.
    #[project = Projected]
    pub(super) enum Stage<S, In, Out>
    where
        S: Service<Request<In>>,
    {
        // Boxed, because only those wait for whom there is no place. Absent once it is over.
        Waiting { waiting: Option<Box<Waiting<S, In>>> },
        // Absent once it has ended.
        Called { #[pin] served: Option<Timed<S, Request<In>>> },
        // By one of us, until it is given.
        Answered { answer: Option<Response<AnswerBody<Out>>> },
        Over,
    }
}

/// A request for which there is no place yet.
pub(super) struct Waiting<S, In> {
    pub(super) turn: admission::Waiting,
    pub(super) service: S,
    pub(super) request: Request<In>,
}

impl<S: Service<Request<In>>, In, Out> Stage<S, In, Out> {
    pub(super) fn answered(answer: Response<AnswerBody<Out>>) -> Self {
        let answer = Some(answer);
        Self::Answered { answer }
    }
}

impl<S: Service<Request<In>>, In, Out> GovernedFuture<S, In, Out> {
    pub(super) fn new(stage: Stage<S, In, Out>, state: Box<State>) -> Self {
        let state = Some(state);
        Self { stage, state }
    }
}

impl<S, In, Out> Future for GovernedFuture<S, In, Out>
where
    S: Service<Request<In>, Response = Response<Out>>,
    Out: Body<Data = Bytes>,
{
    type Output = Result<Response<GovernedBody<Out>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let state = this.state.as_mut().expect(OVER);
        let (answer, now) = ready!(state.work(|state| poll_stage(this.stage, state, cx)));
        let mut state = this.state.take().expect(OVER);
        Poll::Ready(match answer {
            Ok(answer) => Ok(state.finish(answer, now)),
            Err(error) => {
                // Whoever is told of the end finds the places free.
                state.held = Held::default();
                state.sending.record.failed();
                Err(error)
            }
        })
    }
}

/// An answer, and when it was there.
type Answered<Out, E> = (Result<Response<AnswerBody<Out>>, E>, Instant);

fn poll_stage<S, In, Out>(
    mut stage: Pin<&mut Stage<S, In, Out>>,
    state: &mut State,
    cx: &mut Context<'_>,
) -> Poll<Answered<Out, S::Error>>
where
    S: Service<Request<In>, Response = Response<Out>>,
{
    loop {
        let answer = match stage.as_mut().project() {
            Projected::Called { served } => {
                let call = state.held.call.as_mut().expect("it has begun");
                match ready!(poll_call(served, call, cx)) {
                    CallEnded::Answered(answer, now) => {
                        let answer = answer.map(|response| response.map(AnswerBody::inner));
                        return Poll::Ready((answer, now));
                    }
                    CallEnded::Cut(rejection) => state.rules.reject(&rejection, clock::nanos()),
                }
            }
            Projected::Waiting { waiting } => {
                let turn = ready!(waiting.as_mut().expect(OVER).turn.poll(cx));
                // What nobody will serve is not kept while it is told so.
                let waiting = *waiting.take().expect(OVER);
                match turn {
                    Ok(admitted) => {
                        state.held.admitted = Some(admitted);
                        let (context, now) = (context::current(), clock::now());
                        let next = state.call(waiting.service, waiting.request, context, now);
                        stage.set(next);
                        continue;
                    }
                    Err(rejection) => {
                        drop(waiting);
                        state.rules.reject(&rejection, clock::nanos())
                    }
                }
            }
            Projected::Answered { answer } => answer.take().expect(OVER),
            Projected::Over => panic!("{OVER}"),
        };
        return Poll::Ready((Ok(answer), clock::now()));
    }
}

const OVER: &str = "not polled after its end";
