//! How a call of a client has ended: whether it may be repeated, and whether it speaks against the
//! dependency.
//!
//! # The problem
//! A retry must know whether the order was placed, a breaker whether the dependency is ill. Both
//! see a status, or an error of a type that belongs to somebody else.
//!
//! # Why the usual answer fails
//! For tower a `500` is an `Ok`, so a breaker that looks at results never trips. One that counts
//! every status from 400 on trips because of one customer who asks for what is not there. And one
//! that counts what an inner layer has rejected trips because of itself: a limit that is reached
//! says nothing about the dependency.
//!
//! # The tool
//! A [`CallEnd`] says one of three things: [success](CallEnd::is_success), the dependency has done
//! its part; [failure](CallEnd::is_failure), it has not, and perhaps it is proven that it
//! [has not begun](Failure::Unsent); [rejection](CallEnd::rejection), one of our own layers said
//! no. [`Standard`] judges by HTTP and gRPC:
//!
//! | what came | is |
//! |---|---|
//! | a status below 500 | success: it is the request that is wrong |
//! | 408, 429, 502, 503, 504 | a failure that [may have taken effect](Failure::Unknown) |
//! | 425 | a failure that is [unsent](Failure::Unsent), by RFC 8470 |
//! | any other from 500 on | a failure that [would come again](Failure::Permanent): a bug, a panic |
//! | `x-steadfast-rejected` | a failure that is unsent, by the word of a [service of ours](crate::reject) |
//! | `grpc-status` 4, 8, 14 | a failure that may have taken effect |
//! | `grpc-status` 2, 12, 13, 15, and what is none | a failure that would come again |
//! | any other `grpc-status` | success: it is the request that is wrong, or its caller |
//! | an error with a [`Rejection`](crate::Rejection) among its sources | a rejection; if it [timed out](crate::Reason::TimedOut), a failure that may have taken effect, but for one whose caller was in a hurry |
//! | an error with [`ConnectionRefused`](std::io::ErrorKind::ConnectionRefused) among its sources | a failure that is unsent |
//! | any other error | a failure that may have taken effect |
//!
//! `Retry-After`, in seconds or as a date, and `grpc-retry-pushback-ms` come with the judgement.
//!
//! It is made when the head of the response is there. A call of gRPC tells its status there only
//! if it has no message; otherwise the status comes in the trailers, after the body. To a retry
//! such a call is a success, since its messages are on their way; whoever sees the trailers, as a
//! [breaker](crate::breaker) does, judges them with [`CallEnd::of_grpc`].
//!
//! Anything else is said by a closure, or a [`Classify`] of your own. When it panics, the panic is
//! reported and the call is a failure that is not repeated.
//!
//! # Examples
//! ```
//! use http::response::Parts;
//! use steadfast_core::decide::budget::Failure;
//! use steadfast_tower::classify::{CallEnd, Classify, Standard};
//!
//! // This dependency answers 404 while its cache is being filled.
//! let cold = |answer: Result<&Parts, &std::io::Error>| match answer {
//!     Ok(head) if head.status == 404 => CallEnd::failed(Failure::Unknown),
//!     other => Standard.classify(other),
//! };
//!
//! let (head, ()) = http::Response::builder().status(404).body(()).unwrap().into_parts();
//! assert!(cold.classify(Ok(&head)).is_failure());
//! assert!(CallEnd::of_response(&head).is_success());
//! ```

mod end;
mod error;
mod response;
mod retry_after;

pub use end::CallEnd;
pub use steadfast_core::decide::budget::Failure;

use std::error::Error;
use std::sync::Arc;

use http::StatusCode;
use http::response::Parts;
use steadfast_core::{BoxError, recover};

use crate::CallError;
use crate::answer::Protocol;

/// Judges how a call ended; see the [module](self).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not judge errors of type `{E}`",
    note = "`Standard` judges types that implement `Error`; for boxed errors there is `StandardBoxed`"
)]
pub trait Classify<E> {
    /// Judges by the head of the response, or by the error.
    fn classify(&self, answer: Result<&Parts, &E>) -> CallEnd;
}

impl<E, F> Classify<E> for F
where
    F: Fn(Result<&Parts, &E>) -> CallEnd,
{
    fn classify(&self, answer: Result<&Parts, &E>) -> CallEnd {
        self(answer)
    }
}

/// Judges by the words of HTTP and gRPC, and by the sources of an error; see the [module](self).
#[derive(Debug, Clone, Copy, Default)]
pub struct Standard;

impl<E: Error + 'static> Classify<E> for Standard {
    fn classify(&self, answer: Result<&Parts, &E>) -> CallEnd {
        match answer {
            Ok(head) => CallEnd::of_response(head),
            Err(error) => CallEnd::of_error(error),
        }
    }
}

/// Judges what a layer of ours around a client gives: its rejections, and what is inside of it by
/// another classifier.
///
/// [`Standard`] does without it, since it looks through the sources of an error. It is for others:
/// `Through::new(StandardBoxed)` judges a service with boxed errors from outside of one layer.
#[derive(Debug)]
pub struct Through<C>(Arc<C>);

impl<C> Through<C> {
    /// Judges what is inside by `classifier`.
    pub fn new(classifier: C) -> Self {
        Self::of(Arc::new(classifier))
    }

    pub(crate) fn of(classifier: Arc<C>) -> Self {
        Self(classifier)
    }
}

impl<C> Clone for Through<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E, C: Classify<E>> Classify<CallError<E>> for Through<C> {
    fn classify(&self, answer: Result<&Parts, &CallError<E>>) -> CallEnd {
        match answer {
            Ok(head) => self.0.classify(Ok(head)),
            Err(CallError::Inner(error)) => self.0.classify(Err(error)),
            Err(CallError::Rejected(rejection)) => CallEnd::rejected(rejection),
        }
    }
}

/// Judges like [`Standard`], for services whose errors are boxed.
#[derive(Debug, Clone, Copy, Default)]
pub struct StandardBoxed;

impl Classify<BoxError> for StandardBoxed {
    fn classify(&self, answer: Result<&Parts, &BoxError>) -> CallEnd {
        match answer {
            Ok(head) => CallEnd::of_response(head),
            Err(error) => CallEnd::of_error(&**error),
        }
    }
}

/// Tells whether the status of a call is still to come: one of gRPC that has messages.
pub(crate) fn is_told_by_trailers(head: &Parts) -> bool {
    let grpc = head.status == StatusCode::OK && Protocol::of(&head.headers) == Protocol::Grpc;
    grpc && !head.headers.contains_key(response::GRPC_STATUS)
}

/// Judges; one that panics has seen a failure that is best not repeated.
pub(crate) fn contained<E>(classifier: &impl Classify<E>, answer: Result<&Parts, &E>) -> CallEnd {
    recover(|| classifier.classify(answer)).unwrap_or_else(|_| CallEnd::failed(Failure::Permanent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_classifier_that_panics_has_seen_a_failure_that_is_not_repeated() {
        let broken = |_: Result<&Parts, &std::fmt::Error>| -> CallEnd { panic!("classify-a") };

        let end = contained(&broken, Err(&std::fmt::Error));

        assert_eq!(end, CallEnd::failed(Failure::Permanent));
    }

    #[test]
    fn boxed_errors_are_judged_like_the_others() {
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);

        let plain = Standard.classify(Err(&refused()));
        let boxed = StandardBoxed.classify(Err(&BoxError::from(refused())));

        assert_eq!(plain, CallEnd::failed(Failure::Unsent));
        assert_eq!(boxed, plain);
    }
}
