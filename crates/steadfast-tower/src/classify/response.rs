use http::response::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use http_body::Frame;
use steadfast_core::clock;
use steadfast_core::decide::budget::Failure;

use super::CallEnd;
use super::retry_after::{self, Pushback};
use crate::Reason;
use crate::answer::Protocol;
use crate::reject::REJECTED;

pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

impl CallEnd {
    /// Judges the head of a response; see the [module](super).
    pub fn of_response(head: &Parts) -> Self {
        let headers = &head.headers;
        let end = of_rejected(headers).unwrap_or_else(|| {
            // A proxy that fails in front of a service of gRPC answers in HTTP.
            let grpc = head.status == StatusCode::OK && Protocol::of(headers) == Protocol::Grpc;
            let told = grpc.then(|| Self::of_grpc(headers)).flatten();
            told.unwrap_or_else(|| of_status(head.status))
        });
        if end.is_success() || end.retry_after().is_some() {
            return end;
        }
        match retry_after::read(headers, clock::timestamp()) {
            Some(after) => end.with_retry_after(after),
            None => end,
        }
    }

    /// Judges a call of gRPC by a frame of its body, or the end of that; `None` while it goes on.
    pub(crate) fn of_frame<D, E>(frame: Option<&Result<Frame<D>, E>>) -> Option<Self> {
        // Without a status the call has not ended as gRPC wants it.
        let broken = || Self::failed(Failure::Unknown);
        match frame {
            Some(Ok(frame)) => {
                let trailers = frame.trailers_ref()?;
                Some(Self::of_grpc(trailers).unwrap_or_else(broken))
            }
            Some(Err(_)) | None => Some(broken()),
        }
    }

    /// Judges by `grpc-status`, in headers or in trailers; `None` where that is absent.
    pub fn of_grpc(headers: &HeaderMap) -> Option<Self> {
        let status = headers.get(GRPC_STATUS)?;
        let code = status.to_str().ok().and_then(|code| code.parse().ok());
        let failure = match code {
            Some(4 | 8 | 14) => Failure::Unknown,
            Some(0 | 1 | 3 | 5 | 6 | 7 | 9 | 10 | 11 | 16) => return Some(Self::success()),
            // Among them what no version knows, which stands for "unknown".
            Some(_) | None => Failure::Permanent,
        };
        Some(match retry_after::pushback(headers) {
            Pushback::Absent => Self::failed(failure),
            Pushback::Wait(after) => Self::failed(failure).with_retry_after(after),
            Pushback::Never => Self::failed(Failure::Permanent),
        })
    }
}

fn of_rejected(headers: &HeaderMap) -> Option<CallEnd> {
    let reason = Reason::named(headers.get(REJECTED)?.to_str().ok()?)?;
    reason.is_unsent().then(|| CallEnd::failed(Failure::Unsent))
}

fn of_status(status: StatusCode) -> CallEnd {
    match status.as_u16() {
        408 | 429 | 502 | 503 | 504 => CallEnd::failed(Failure::Unknown),
        425 => CallEnd::failed(Failure::Unsent),
        500.. => CallEnd::failed(Failure::Permanent),
        _ => CallEnd::success(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn head(status: u16, headers: &[(&'static str, &str)]) -> Parts {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap().into_parts().0
    }

    fn judged(status: u16, headers: &[(&'static str, &str)]) -> CallEnd {
        CallEnd::of_response(&head(status, headers))
    }

    #[test]
    fn a_status_tells_whose_fault_it_is_and_whether_it_may_be_repeated() {
        for (status, failure) in [
            (200, None),
            (304, None),
            (404, None),
            (409, None),
            (408, Some(Failure::Unknown)),
            (425, Some(Failure::Unsent)),
            (429, Some(Failure::Unknown)),
            (500, Some(Failure::Permanent)),
            (501, Some(Failure::Permanent)),
            (502, Some(Failure::Unknown)),
            (503, Some(Failure::Unknown)),
            (504, Some(Failure::Unknown)),
            (599, Some(Failure::Permanent)),
            (999, Some(Failure::Permanent)),
        ] {
            assert_eq!(judged(status, &[]).failure(), failure, "{status}");
        }
    }

    #[test]
    fn a_rejection_by_a_service_of_ours_is_proof_that_nothing_was_done() {
        for (value, failure) in [
            ("overloaded", Failure::Unsent),
            ("draining", Failure::Unsent),
            ("timed-out", Failure::Unknown),
            ("something-else", Failure::Unknown),
        ] {
            let end = judged(503, &[("x-steadfast-rejected", value)]);

            assert_eq!(end.failure(), Some(failure), "{value}");
            assert!(end.is_failure(), "it is the dependency that said no");
        }
    }

    #[test]
    fn a_call_of_grpc_is_judged_by_its_own_status() {
        let grpc = |status: &str| {
            let kind = ("content-type", "application/grpc+proto");
            judged(200, &[kind, ("grpc-status", status)]).failure()
        };
        for code in 0..=16 {
            let expected = match code {
                4 | 8 | 14 => Some(Failure::Unknown),
                2 | 12 | 13 | 15 => Some(Failure::Permanent),
                _ => None,
            };
            assert_eq!(grpc(&code.to_string()), expected, "{code}");
        }
        for malformed in ["17", "-1", "", "0x0", "99999999999999999999"] {
            assert_eq!(grpc(malformed), Some(Failure::Permanent), "{malformed:?}");
        }
    }

    #[test]
    fn a_status_of_grpc_counts_only_where_grpc_is_spoken() {
        let grpc = ("content-type", "application/grpc");

        assert!(judged(200, &[("grpc-status", "14")]).is_success());
        assert!(
            judged(200, &[grpc]).is_success(),
            "it comes in the trailers"
        );
        let by_proxy = judged(503, &[grpc, ("grpc-status", "0")]);
        assert_eq!(by_proxy.failure(), Some(Failure::Unknown));
    }

    #[test]
    fn a_service_of_grpc_says_when_to_come_back_or_never() {
        let pushed = |value: &str| {
            judged(
                200,
                &[
                    ("content-type", "application/grpc"),
                    ("grpc-status", "14"),
                    ("grpc-retry-pushback-ms", value),
                ],
            )
        };

        let later = pushed("1500");
        assert_eq!(later.retry_after(), Some(Duration::from_millis(1_500)));
        assert_eq!(later.failure(), Some(Failure::Unknown));
        for never in ["-1", "soon", ""] {
            assert_eq!(
                pushed(never).failure(),
                Some(Failure::Permanent),
                "{never:?}"
            );
        }
    }

    #[test]
    fn only_what_has_failed_is_asked_to_come_back() {
        let after = [("retry-after", "7")];

        assert_eq!(
            judged(503, &after).retry_after(),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            judged(429, &after).retry_after(),
            Some(Duration::from_secs(7))
        );
        assert_eq!(judged(200, &after).retry_after(), None);
    }
}
