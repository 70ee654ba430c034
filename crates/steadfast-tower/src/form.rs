use http::Response;

use crate::answer::Protocol;
use crate::{AnswerBody, CallError, Rejection};

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
