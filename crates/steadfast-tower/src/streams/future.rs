use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;

use super::budget::{Budget, Connection, Slot};
use super::{StreamsBody, is_stream};
use crate::answer::Protocol;
use crate::reject::REJECTED;
use crate::{AnswerFuture, Rejection};

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
pub(super) enum Held {
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
        let (slot, connection) = match std::mem::replace(this.held, Held::Nothing) {
            Held::Nothing => (None, None),
            Held::Slot(slot, connection) => (Some(slot), connection),
            Held::Perhaps(budget, connection) if is_stream(&response) => {
                budget.detect();
                match budget.open() {
                    Ok(slot) => (slot, connection),
                    Err(rejection) => {
                        let mut answer = answer(&rejection, *this.protocol);
                        // It would prove that nothing was done, and the handler has answered.
                        answer.headers_mut().remove(REJECTED);
                        return Poll::Ready(Ok(answer));
                    }
                }
            }
            Held::Perhaps(..) => (None, None),
        };
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let slot = match (slot, connection) {
            (Some(slot), Some(connection)) if upgraded => {
                connection.keep(slot);
                None
            }
            (slot, _) => slot,
        };
        Poll::Ready(Ok(response.map(|body| StreamsBody::new(body, slot))))
    }
}

fn answer<B>(rejection: &Rejection, protocol: Protocol) -> Response<StreamsBody<B>> {
    let answer = rejection.answer_in(protocol);
    answer.map(|body| StreamsBody::new(body, None))
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
