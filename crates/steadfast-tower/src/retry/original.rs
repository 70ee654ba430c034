use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body::Body;
use steadfast_core::BoxError;
use steadfast_core::decide::budget::AttemptMark;

use super::RetryBody;
use super::recording::{Gone, Recording};
use super::tally::Stop;
use crate::attempt::{self, ATTEMPT};
use crate::breaker::Breakers;

/// What the request of every attempt is made of.
pub(super) struct Original<In> {
    head: Parts,
    /// Absent where there is no body.
    body: Option<Arc<Recording<In>>>,
}

impl<In> Original<In>
where
    In: Body<Data = Bytes>,
    In::Error: Into<BoxError>,
{
    pub(super) fn new(head: Parts, body: In) -> Self {
        let body = (!body.is_end_stream()).then(|| Arc::new(Recording::new(body)));
        Self { head, body }
    }

    /// The request of a call that has one attempt.
    pub(super) fn once(head: Parts, body: In, mark: Option<AttemptMark>) -> Request<RetryBody<In>> {
        marked(head, RetryBody::once(body), mark)
    }

    pub(super) fn request(&self, mark: Option<AttemptMark>, attempt: u8) -> Request<RetryBody<In>> {
        let body = match &self.body {
            Some(recording) => RetryBody::recorded(recording.clone(), attempt),
            None => RetryBody::empty(),
        };
        marked(self.head.clone(), body, mark)
    }

    /// Says why there can be no other attempt, if so.
    pub(super) fn hinders(&self, breakers: Option<&Breakers>) -> Option<Stop> {
        match self.body.as_ref().and_then(|body| body.gone()) {
            Some(Gone::TooLong) => return Some(Stop::BodyTooLong),
            Some(Gone::Broken) => return Some(Stop::BodyBroken),
            None => {}
        }
        let unwelcome = breakers.is_some_and(|breakers| !breakers.welcomes(&self.head));
        unwelcome.then_some(Stop::BreakerNotClosed)
    }

    /// The attempt before is given up for this one.
    pub(super) fn rewind(&self, attempt: u8) {
        if let Some(body) = &self.body {
            body.rewind(attempt);
        }
    }

    /// No other attempt follows.
    pub(super) fn settle(&self) {
        if let Some(body) = &self.body {
            body.settle();
        }
    }
}

fn marked<B>(head: Parts, body: B, mark: Option<AttemptMark>) -> Request<B> {
    let mut request = Request::from_parts(head, body);
    if let Some(mark) = mark {
        request.headers_mut().insert(ATTEMPT, attempt::value(mark));
    }
    request
}
