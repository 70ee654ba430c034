//! What targets tell about long work: that it gets on, and how it has ended.
//!
//! Each call is signed by the secret of the handler, and carries the term of the run: one that comes
//! after the job has changed hands changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde_json::value::RawValue;
use steadfast::jobs::JobId;
use steadfast::settings::duration;

use super::now_s;
use super::signature::{SIGNATURE, Signed, TIMESTAMP, holds};
use super::waiting::{Told, Unknown, Waiting};
use crate::handlers::{RESULT_BYTES_MAX, WAIT_MAX};
use crate::process::status::harmless;

/// The longest reason: 2 KiB.
const REASON_BYTES_MAX: usize = 2 * 1024;

/// What calls are judged by.
#[derive(Clone)]
pub(crate) struct Calls {
    pub(crate) waiting: Waiting,
    /// The secret of each handler, by its name.
    pub(crate) secrets: Arc<BTreeMap<String, String>>,
}

/// The paths that are served, as the guard has to know them.
pub(crate) const ROUTE: &str = "/v1/runs/{job}/{term}/{word}";

pub(crate) fn router(calls: Calls) -> Router {
    Router::new().route(ROUTE, post(tell)).with_state(calls)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fail {
    error: String,
    retry_after: Option<String>,
    #[serde(default)]
    discard: bool,
}

/// A call that changes nothing, and why.
struct Refused(StatusCode, &'static str, String);

async fn tell(
    State(calls): State<Calls>,
    Path((job, term, word)): Path<(u64, u64, String)>,
    request: Request<Body>,
) -> Result<StatusCode, Refused> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, RESULT_BYTES_MAX).collect().await;
    let body = body.map(|body| body.to_bytes()).map_err(|_| {
        let detail = format!("a body has at most {RESULT_BYTES_MAX} bytes");
        Refused(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    })?;
    let id = JobId::new(job).ok_or_else(|| unknown(Unknown::Job))?;
    // Who has no secret learns nothing of jobs: an unknown one is told as a signature that is wrong.
    let handler = calls.waiting.handler(id, term);
    let name = handler.as_deref().ok();
    calls.check(name, &parts.headers, (job, term, &word), &body)?;
    handler.map_err(unknown)?;
    let told = match word.as_str() {
        "beat" => {
            return calls
                .waiting
                .beat(id, term)
                .map(|()| StatusCode::NO_CONTENT)
                .map_err(unknown);
        }
        "complete" => Told::Complete(result(&body)?),
        "fail" => failure(&body)?,
        _ => {
            return Err(Refused(
                StatusCode::NOT_FOUND,
                "unknown",
                "say beat, complete or fail".into(),
            ));
        }
    };
    calls.waiting.end(id, term, told).map_err(unknown)?;
    Ok(StatusCode::NO_CONTENT)
}

impl Calls {
    /// Makes sure that a call comes from the target of the handler; of any, where the run is not here.
    fn check(
        &self,
        handler: Option<&str>,
        headers: &HeaderMap,
        (job, term, wanted): (u64, u64, &str),
        body: &Bytes,
    ) -> Result<(), Refused> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let at_s = text(TIMESTAMP).and_then(|text| text.parse().ok());
        let holds_by = |secret: &String| {
            let signed = Signed {
                at_s: at_s?,
                job,
                term,
                wanted,
            };
            holds(secret, &signed, body, text(SIGNATURE)?, now_s()).then_some(())
        };
        let held = match handler {
            Some(handler) => self.secrets.get(handler).and_then(holds_by),
            None => self.secrets.values().find_map(holds_by),
        };
        held.ok_or_else(|| {
            let detail = format!("{SIGNATURE} and {TIMESTAMP} do not sign this call, or not now");
            Refused(StatusCode::UNAUTHORIZED, "signature", detail)
        })
    }
}

fn result(body: &Bytes) -> Result<Option<String>, Refused> {
    if body.is_empty() {
        return Ok(None);
    }
    let json: Result<&RawValue, _> = serde_json::from_slice(body);
    match json {
        Ok(json) => Ok(Some(json.get().to_owned())),
        Err(error) => Err(bad(format!("the result is no JSON: {error}"))),
    }
}

fn failure(body: &Bytes) -> Result<Told, Refused> {
    let fail: Fail = serde_json::from_slice(body).map_err(|error| {
        bad(format!(
            "write {{\"error\": \"…\", \"retry_after\": \"30s\", \"discard\": false}}: {error}"
        ))
    })?;
    if fail.error.is_empty() || fail.error.len() > REASON_BYTES_MAX {
        return Err(bad(format!("an error has 1 to {REASON_BYTES_MAX} bytes")));
    }
    let retry_after = fail.retry_after.as_deref().map(duration).transpose();
    let retry_after = retry_after.map_err(|wrong| bad(wrong.to_string()))?;
    // As output of a program: nothing of it moves a cursor, or begins a line of the log.
    let lines: Vec<String> = fail.error.lines().map(harmless).collect();
    Ok(Told::Fail {
        error: lines.join("\n    "),
        retry_after: retry_after.map(|after| after.min(WAIT_MAX)),
        discard: fail.discard,
    })
}

fn bad(detail: String) -> Refused {
    Refused(StatusCode::BAD_REQUEST, "body", detail)
}

fn unknown(unknown: Unknown) -> Refused {
    match unknown {
        Unknown::Job => Refused(
            StatusCode::NOT_FOUND,
            "no-run",
            "no such run is here: it has ended, was cancelled, or went to another node; stop the work".into(),
        ),
        Unknown::Term => Refused(
            StatusCode::CONFLICT,
            "term",
            "the job has changed hands since: stop the work, another run does it".into(),
        ),
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response<Body> {
        let Self(status, kind, detail) = self;
        let problem = serde_json::json!({
            "type": format!("urn:steadfast:problem:calls:{kind}"),
            "title": detail,
            "status": status.as_u16(),
        });
        (
            status,
            [(CONTENT_TYPE, "application/problem+json")],
            problem.to_string(),
        )
            .into_response()
    }
}
