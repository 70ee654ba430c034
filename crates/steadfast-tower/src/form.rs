use http::Response;

use crate::answer::Protocol;
use crate::{AnswerBody, Rejection};

/// How a layer gives a rejection: [`Server`] answers, [`Client`] fails.
pub trait Form: sealed::Form {}

/// In front of handlers: a rejection is a response, and the error of the inner service stays as
/// it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Server;

/// Around a client: a rejection is a [`CallError`], and the response stays as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Client;

impl Form for Server {}
impl Form for Client {}

/// Why a call has no response.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError<E> {
    /// A layer has not let it through, or not waited for its answer.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// As the inner service says.
    #[error(transparent)]
    Inner(E),
}

impl<E> CallError<E> {
    /// Gives why a layer has rejected the call, if one has.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Inner(_) => None,
        }
    }
}

pub(crate) type Formed<F, B, E> =
    Result<Response<<F as sealed::Form>::Body<B>>, <F as sealed::Form>::Error<E>>;

pub(crate) mod sealed {
    use super::*;

    pub trait Form: Send + Sync + 'static {
        type Body<B>;
        type Error<E>;

        fn inner<B, E>(ended: Result<Response<B>, E>) -> Formed<Self, B, E>
        where
            Self: Sized;

        fn rejected<B, E>(rejection: Rejection, protocol: Protocol) -> Formed<Self, B, E>
        where
            Self: Sized;
    }

    impl Form for Server {
        type Body<B> = AnswerBody<B>;
        type Error<E> = E;

        fn inner<B, E>(ended: Result<Response<B>, E>) -> Formed<Self, B, E> {
            ended.map(|response| response.map(AnswerBody::inner))
        }

        fn rejected<B, E>(rejection: Rejection, protocol: Protocol) -> Formed<Self, B, E> {
            Ok(rejection.answer_in(protocol))
        }
    }

    impl Form for Client {
        type Body<B> = B;
        type Error<E> = CallError<E>;

        fn inner<B, E>(ended: Result<Response<B>, E>) -> Formed<Self, B, E> {
            ended.map_err(CallError::Inner)
        }

        fn rejected<B, E>(rejection: Rejection, _: Protocol) -> Formed<Self, B, E> {
            rejection.count();
            Err(CallError::Rejected(rejection))
        }
    }
}
