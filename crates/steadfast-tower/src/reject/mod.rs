//! Why a request was not served: the answer, the count, the line in the log.
//!
//! A client that is told `503` and nothing else tries again at once, and whoever is on call
//! cannot tell a breaker from a full queue. Here every rejection says which policy it comes from,
//! the limit that was reached, the value that was seen, when to come back, and the trace id:
//!
//! ```json
//! {"type":"urn:steadfast:problem:rate-limited","title":"too many requests from one client",
//!  "status":429,"policy":"search","limit":20,"observed":21,"unit":"requests",
//!  "retry_after":0.05,"trace_id":"0af7651916cd43dd8448eb211c80319c"}
//! ```
//!
//! A client of gRPC is answered in its own protocol, by trailers with `grpc-status`; policy, limit
//! and what was seen stand in `grpc-message`, and when to come back in `grpc-retry-pushback-ms`.
//!
//! In either protocol the header `x-steadfast-rejected` says the reason, which proves to a
//! retry of the caller that [nothing was done](Reason::is_unsent). A gateway that
//! has only passed the request on may pass the header back; a handler that has done something of
//! its own must not copy it into its answer.
//!
//! Every rejection is counted, by route, policy and reason, in
//! `steadfast_rejections_total` of [`report`](steadfast_core::report). A storm of them must not
//! become a storm of log lines: of each route, policy and reason the first is told at once, under
//! the target `steadfast::reject`, and after that one a second, with the number of those since.
//!
//! A policy in shadow mode rejects nothing: what it would have rejected is counted in
//! `steadfast_shadow_rejections_total`, and told in the same way, with `shadow=true`.

mod call;
mod reason;
mod tally;

use tally::Acts;

pub use call::{CallError, CallFuture};
pub use reason::Reason;
pub(crate) use tally::{EVENTS, METRICS};

use std::fmt;
use std::time::Duration;

use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use steadfast_core::context::{self, Name, TraceId};
use steadfast_core::{clock, rng};

use crate::AnswerBody;
use crate::answer::{Problem, Protocol, key};

/// Says the [`Reason`] of a rejection by its name.
pub(crate) const REJECTED: HeaderName = HeaderName::from_static("x-steadfast-rejected");

/// After how many milliseconds another attempt makes sense, to clients of gRPC.
pub(crate) const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// A request that was not served, and why. As an error, it is what a client's layer gives.
#[derive(Debug, Clone)]
pub struct Rejection {
    reason: Reason,
    policy: Name,
    bound: Option<Bound>,
    retry_after: Option<Duration>,
    trace_id: Option<TraceId>,
    /// It timed out because its caller gave it too little time.
    hurried: bool,
}

/// What was reached.
#[derive(Debug, Clone, Copy)]
struct Bound {
    limit: f64,
    observed: f64,
    unit: &'static str,
}

impl Rejection {
    /// Makes a rejection by `policy`, for the request at hand.
    pub fn new(reason: Reason, policy: impl Into<Name>) -> Self {
        Self {
            reason,
            policy: policy.into(),
            bound: None,
            retry_after: None,
            trace_id: context::current().trace_id(),
            hurried: false,
        }
    }

    /// Says that it timed out because its caller gave it too little time.
    pub(crate) fn hurried(mut self) -> Self {
        self.hurried = true;
        self
    }

    pub(crate) fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// Adds the limit that was reached, what was seen, and the unit of both.
    pub fn with_bound(mut self, limit: f64, observed: f64, unit: &'static str) -> Self {
        self.bound = Some(Bound {
            limit,
            observed,
            unit,
        });
        self
    }

    /// Adds after which time another attempt makes sense.
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Gives the reason.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Gives the name of the policy that rejected.
    pub fn policy(&self) -> Name {
        self.policy
    }

    /// Gives the limit that was reached.
    pub fn limit(&self) -> Option<f64> {
        self.bound.map(|bound| bound.limit)
    }

    /// Gives what was seen, in the unit of the limit.
    pub fn observed(&self) -> Option<f64> {
        self.bound.map(|bound| bound.observed)
    }

    /// Gives after which time another attempt makes sense.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Gives the id of the request.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.trace_id
    }

    /// Counts the rejection, tells it, and makes the answer; `request` are the headers of the
    /// request, which tell the protocol.
    pub fn answer<B>(&self, request: &HeaderMap) -> Response<AnswerBody<B>> {
        self.answer_in(Protocol::of(request))
    }

    pub(crate) fn answer_in<B>(&self, protocol: Protocol) -> Response<AnswerBody<B>> {
        self.answer_at(protocol, clock::nanos())
    }

    /// As [`answer_in`](Self::answer_in), for who has just read the clock.
    pub(crate) fn answer_at<B>(&self, protocol: Protocol, now: u64) -> Response<AnswerBody<B>> {
        self.count_at(now);
        let problem = Problem {
            status: self.reason.status(),
            grpc: self.reason.grpc(),
            name: self.reason.as_str(),
            title: self.reason.title(),
            line: self,
            trace_id: self.trace_id,
        };
        let mut response = problem.answer(protocol, |document| {
            document.text(key!("policy"), self.policy.as_str());
            if let Some(bound) = self.bound {
                document
                    .number(key!("limit"), bound.limit)
                    .number(key!("observed"), bound.observed)
                    .text(key!("unit"), bound.unit);
            }
            if let Some(after) = self.retry_after {
                document.seconds(key!("retry_after"), after);
            }
        });
        let reason = HeaderValue::from_static(self.reason.as_str());
        response.headers_mut().insert(REJECTED, reason);
        if let Some(after) = self.retry_after {
            let seconds = number(whole_seconds(after));
            response.headers_mut().insert(RETRY_AFTER, seconds);
            if protocol == Protocol::Grpc {
                // What clients of gRPC obey.
                let millis = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
                let millis = HeaderValue::from(millis);
                response.headers_mut().insert(GRPC_PUSHBACK, millis);
            }
        }
        if self.reason == Reason::Draining && protocol == Protocol::Http {
            // Whoever stays connected would only be rejected again.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response
    }

    /// Counts the rejection and tells it, for layers that give it as an error.
    pub fn count(&self) {
        self.count_at(clock::nanos());
    }

    /// As [`count`](Self::count), for who has just read the clock.
    pub(crate) fn count_at(&self, now: u64) {
        tally::count(self, Acts::Enforced, now);
    }

    /// Counts and tells what would have been rejected if its policy did more than look on.
    pub(crate) fn count_shadow(&self) {
        tally::count(self, Acts::Shadow, clock::nanos());
    }
}

/// When to come back where nobody knows: in a second, as browsers do, and up to another one by
/// chance, so that not all come back at once.
pub(crate) fn soon() -> Duration {
    Duration::from_secs(1) + Duration::from_nanos(rng::bits() % 1_000_000_000)
}

/// Rounds up: a client that comes a moment too early is rejected once more.
fn whole_seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}

/// Writes a number as a header; the usual ones are there already.
fn number(number: u64) -> HeaderValue {
    const DIGITS: &str = "0123456789";
    let digit = usize::try_from(number).ok().filter(|digit| *digit < 10);
    match digit {
        Some(digit) => HeaderValue::from_static(&DIGITS[digit..=digit]),
        None => HeaderValue::from(number),
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (policy {})", self.reason.title(), self.policy)?;
        if let Some(bound) = self.bound {
            write!(
                f,
                ": {} of at most {} {}",
                bound.observed, bound.limit, bound.unit
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Empty};
    use serde_json::{Value, json};

    type Inner = Empty<bytes::Bytes>;

    fn body(response: Response<AnswerBody<Inner>>) -> Value {
        let mut body = std::pin::pin!(response.into_body().collect());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match body.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(Ok(all)) => serde_json::from_slice(&all.to_bytes()).unwrap(),
            _ => panic!("it is there as a whole"),
        }
    }

    #[test]
    fn a_client_is_told_the_reason_the_numbers_and_when_to_come_back() {
        let id: TraceId = "0af7651916cd43dd8448eb211c80319c".parse().unwrap();
        let rejection = context::Context::new().with_trace_id(id).run(|| {
            Rejection::new(Reason::RateLimited, "told")
                .with_bound(20.0, 21.0, "requests")
                .with_retry_after(Duration::from_millis(1_050))
        });

        let response = rejection.answer::<Inner>(&HeaderMap::new());

        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["x-steadfast-rejected"], "rate-limited");
        let expected = json!({
            "type": "urn:steadfast:problem:rate-limited",
            "title": "too many requests from one client",
            "status": 429,
            "policy": "told",
            "limit": 20,
            "observed": 21,
            "unit": "requests",
            "retry_after": 1.05,
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
        });
        assert_eq!(body(response), expected);
    }

    #[test]
    fn a_client_of_grpc_is_told_by_trailers() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        let rejection = Rejection::new(Reason::BreakerOpen, "grpc")
            .with_bound(1.0, 2.0, "calls")
            .with_retry_after(Duration::from_millis(1_500));

        let response = rejection.answer::<Inner>(&headers);

        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "14");
        assert_eq!(
            response.headers()["grpc-message"],
            "the dependency is failing (policy grpc): 2 of at most 1 calls"
        );
        assert_eq!(response.headers()["grpc-retry-pushback-ms"], "1500");
        assert_eq!(response.headers()["x-steadfast-rejected"], "breaker-open");
        assert!(http_body::Body::is_end_stream(response.body()));
    }

    #[test]
    fn a_draining_service_asks_the_client_to_connect_elsewhere() {
        let draining = Rejection::new(Reason::Draining, "drain");

        let response = draining.answer::<Inner>(&HeaderMap::new());

        assert_eq!(response.headers()["connection"], "close");
    }

    #[test]
    fn as_an_error_it_reads_like_one() {
        let rejection =
            Rejection::new(Reason::Overloaded, "orders").with_bound(10.0, 11.0, "in flight");

        assert_eq!(
            rejection.to_string(),
            "more requests than can be served (policy orders): 11 of at most 10 in flight"
        );
    }
}
