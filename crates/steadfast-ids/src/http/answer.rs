//! Documents that are answered.

use std::fmt::{Display, Write};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use crate::id::Id;

pub(super) type Answer = Response<Full<Bytes>>;

/// What went wrong.
pub(super) enum Problem {
    Count,
    Name,
    Method,
    EndOfLife(String),
    Fenced(String, Duration),
    #[cfg(feature = "sql")]
    UsedUp(String, Option<Duration>),
}

pub(super) fn one(id: Id) -> Answer {
    let mut text = String::with_capacity(32);
    write!(text, "{{\"id\":\"{id}\"}}").expect("a string takes all");
    document(StatusCode::OK, "application/json", text)
}

pub(super) fn many(ids: impl Iterator<Item = Id>) -> Answer {
    let mut text = String::with_capacity(16 + 23 * ids.size_hint().0);
    text.push_str("{\"ids\":[");
    for (index, id) in ids.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(text, "{comma}\"{id}\"").expect("a string takes all");
    }
    text.push_str("]}");
    document(StatusCode::OK, "application/json", text)
}

fn document(status: StatusCode, kind: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // An id that comes out of a cache is somebody else's.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

impl Problem {
    pub(super) fn answer(self) -> Answer {
        let (status, name, detail, retry_after) = match self {
            Self::Count => (
                400,
                "ids-count",
                "count must be from 1 to 10000".into(),
                None,
            ),
            Self::Name => (
                404,
                "ids-name",
                "there are no ids of this name".into(),
                None,
            ),
            Self::Method => (405, "ids-method", "ids are made by POST".into(), None),
            Self::EndOfLife(detail) => (410, "ids-end-of-life", detail, None),
            Self::Fenced(detail, wait) => (503, "ids-fenced", detail, Some(wait)),
            #[cfg(feature = "sql")]
            Self::UsedUp(detail, wait) => (503, "ids-used-up", detail, wait),
        };
        let mut text = format!(
            "{{\"type\":\"urn:steadfast:problem:{name}\",\"title\":\"no id\",\"status\":{status},\"detail\":\"{}\"",
            Escaped(&detail)
        );
        if let Some(wait) = retry_after {
            write!(text, ",\"retry_after\":{}", wait.as_secs_f64()).expect("a string takes all");
        }
        text.push('}');
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = document(status, "application/problem+json", text);
        if let Some(wait) = retry_after {
            // Whole seconds, and none too early.
            let seconds = wait.as_millis().div_ceil(1_000).max(1) as u64;
            answer.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("POST"));
        }
        answer
    }
}

/// The inside of a JSON string.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if u32::from(c) < 0x20 => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
