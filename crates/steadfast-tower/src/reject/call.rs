use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use steadfast_core::BoxError;

use super::Rejection;

/// Why a call of a client has no answer: a layer rejected it, or the inner service failed, whose
/// error stays what it is.
///
/// Either is the [source](std::error::Error::source) of this one, so that whoever goes through the
/// sources finds it with its own type.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError<E> {
    /// A layer did not let it pass. Whether it makes sense to try again, [`Rejection::reason`]
    /// and [`Rejection::retry_after`] say.
    #[error("the call was rejected")]
    Rejected(#[source] Rejection),
    /// As the inner service says.
    #[error("the call failed")]
    Inner(#[source] E),
}

impl<E> CallError<E> {
    /// Gives the rejection, if it is one.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Inner(_) => None,
        }
    }

    /// Gives the error of the inner service, if it is one.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Rejected(_) => None,
            Self::Inner(error) => Some(error),
        }
    }
}

impl CallError<BoxError> {
    /// Gives what is in it, boxed: for clients whose errors are.
    pub fn into_boxed(self) -> BoxError {
        match self {
            Self::Rejected(rejection) => rejection.into(),
            Self::Inner(error) => error,
        }
    }
}

pin_project! {
    /// The future of a layer that lets a call pass, or rejects it with an error.
    #[derive(Debug)]
    pub struct CallFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum Kind<F> {
        Passed { #[pin] future: F },
        // Until it is given.
        Rejected { rejection: Option<Rejection> },
    }
}

impl<F> CallFuture<F> {
    pub(crate) fn passed(future: F) -> Self {
        let kind = Kind::Passed { future };
        Self { kind }
    }

    /// Counts the rejection and tells it, too.
    pub(crate) fn rejected(rejection: Rejection) -> Self {
        rejection.count();
        let rejection = Some(rejection);
        let kind = Kind::Rejected { rejection };
        Self { kind }
    }
}

impl<F, T, E> Future for CallFuture<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, CallError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            Projected::Passed { future } => future.poll(cx).map_err(CallError::Inner),
            Projected::Rejected { rejection } => {
                let rejection = rejection.take().expect("not polled after its end");
                Poll::Ready(Err(CallError::Rejected(rejection)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::io;

    use super::*;
    use crate::Reason;

    #[test]
    fn both_are_found_with_their_own_types_among_the_sources() {
        type Call = CallError<CallError<io::Error>>;
        let rejection = Rejection::new(Reason::Overloaded, "p");

        let rejected = Call::Inner(CallError::Rejected(rejection));
        let failed = Call::Inner(CallError::Inner(io::Error::other("broken")));

        let found = |error: Call| {
            let source = error.source().unwrap().source().unwrap();
            (source.is::<Rejection>(), source.is::<io::Error>())
        };
        assert_eq!(found(rejected), (true, false));
        assert_eq!(found(failed), (false, true));
    }
}
