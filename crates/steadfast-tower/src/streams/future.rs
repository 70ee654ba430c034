use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Extensions, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;

use super::budget::{Budget, Connection, Slot};
use super::{StreamsBody, is_stream};
use crate::answer::Protocol;
use crate::reject::REJECTED;
use crate::{AnswerBody, AnswerFuture, Rejection};

pin_project! {
    /// The future of [`Streams`](super::Streams).
    #[derive(Debug)]
    pub struct StreamsFuture<F, B> {
        #[pin]
        answer: AnswerFuture<F, B>,
        held: Held,
        protocol: Protocol,
    }
}

/// What a request holds of a budget.
#[derive(Default)]
pub(crate) enum Held {
    #[default]
    Nothing,
    /// Until the end of its body, or of what its connection becomes.
    Slot(Slot, Option<Connection>),
    /// One as soon as the answer is a stream.
    Perhaps(Arc<Budget>, Option<Connection>),
}

impl<F, B> StreamsFuture<F, B> {
    pub(super) fn new(answer: AnswerFuture<F, B>, held: Held, protocol: Protocol) -> Self {
        Self {
            answer,
            held,
            protocol,
        }
    }
}

impl<F, B, E> Future for StreamsFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<StreamsBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.answer.poll(cx))?;
        let held = std::mem::take(this.held);
        let (response, slot) = match held.answered(&response) {
            Ok(slot) => (response, slot),
            Err(rejection) => (no_room(&rejection, *this.protocol), None),
        };
        Poll::Ready(Ok(response.map(|body| StreamsBody::new(body, slot))))
    }
}

impl Held {
    /// Takes what a request has to hold, or says why it cannot; with `all`, its answer will be a stream.
    pub(crate) fn take(
        budget: &Arc<Budget>,
        all: bool,
        request: &Extensions,
    ) -> Result<Self, Rejection> {
        let connection = || request.get::<Connection>().cloned();
        if !all {
            return Ok(Self::Perhaps(budget.clone(), connection()));
        }
        Ok(match budget.open()? {
            Some(slot) => Self::Slot(slot, connection()),
            None => Self::Nothing,
        })
    }

    /// Gives what the body of an answer holds, or why there is no room for it.
    pub(crate) fn answered<B>(self, response: &Response<B>) -> Result<Option<Slot>, Rejection> {
        let (slot, connection) = match self {
            Self::Slot(slot, connection) => (Some(slot), connection),
            Self::Perhaps(budget, connection) if is_stream(response) => {
                budget.detect();
                (budget.open()?, connection)
            }
            Self::Nothing | Self::Perhaps(..) => (None, None),
        };
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        Ok(match (slot, connection) {
            (Some(slot), Some(connection)) if upgraded => {
                connection.keep(slot);
                None
            }
            (slot, _) => slot,
        })
    }
}

/// Makes what a client is told in place of a stream for which there is no room.
pub(crate) fn no_room<B>(rejection: &Rejection, protocol: Protocol) -> Response<AnswerBody<B>> {
    let mut answer = rejection.answer_in(protocol);
    // It would prove that nothing was done, and the handler has answered.
    answer.headers_mut().remove(REJECTED);
    answer
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Slot(..) => "Slot",
            Self::Perhaps(..) => "Perhaps",
        })
    }
}
