//! A job as a call: a signed request to a service, which answers when the work is done, or tells it
//! later.

mod answer;
pub(crate) mod calls;
pub(crate) mod client;
pub(crate) mod signature;
pub(crate) mod waiting;

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, Request};
use http_body::Frame;
use http_body_util::BodyExt;
use serde::Serialize;
use serde_json::value::RawValue;
use steadfast::jobs::{Run, end};
use steadfast::{BoxError, clock};

use super::{About, RESULT_BYTES_MAX};
use crate::config::Http;
use answer::Verdict;
use client::{Client, Failed};
use signature::{SIGNATURE, Signed, TIMESTAMP, sign};
use waiting::{Told, Waiting};

/// How much of an answer is read: 40 KiB. What is longer is cut there, and of a job that is done that is no failure: a
/// larger answer would be kept by nobody, and the work would be done again for it.
const ANSWER_BYTES_MAX: usize = 40 * 1024;

/// What calls need beside the payload.
pub(super) struct Target {
    pub(super) name: String,
    pub(super) http: Http,
    pub(super) secret: String,
    pub(super) client: Client,
    pub(super) waiting: Waiting,
    /// Where the end of long work is told.
    pub(super) calls_url: Option<String>,
}

/// Calls the target of a job, and waits for the end of its work.
pub(super) async fn run(
    target: Arc<Target>,
    about: About,
    run: Run,
    payload: String,
) -> Result<Option<String>, BoxError> {
    let (place, told) = target.waiting.begin(&target.name, &run);
    let request = target.request(&about, &run, payload)?;
    let response = match target.client.call(request).await {
        Ok(response) => response,
        // Nothing was attempted: none of the attempts is spent.
        Err(Failed::NotSent { why, after }) => {
            tracing::info!(target: "steadfast::serve", handler = target.name, why, "a call was held back");
            return Err(end::snooze_because(after, format!("held back: {why}")));
        }
        Err(Failed::Lost(error)) => return Err(error),
    };
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER);
    let retry_after = retry_after
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let verdict = answer::judge(status, retry_after.as_deref(), now_s());
    if verdict == Verdict::Accepted {
        if target.calls_url.is_none() {
            let why = "it answered 202, and there is no [calls] where it could tell the end";
            return Err(end::discard(why));
        }
        drop(response);
        let ended = ended(told.await.map_err(|_| "the end cannot be told any more")?);
        drop(place);
        return ended;
    }
    let answer = Read::of(response.into_body()).await;
    if let (Some(error), Verdict::Done) = (&answer.broke, verdict) {
        // The status alone is no answer: the work may have broken off with it.
        return Err(format!("it answered {status}, and its answer broke off: {error}").into());
    }
    let text = String::from_utf8_lossy(&answer.bytes);
    let said = || {
        let line: String = text
            .chars()
            .filter(|char| !char.is_control())
            .take(500)
            .collect();
        match line.is_empty() {
            true => format!("it answered {status}"),
            false => format!("it answered {status}: {line}"),
        }
    };
    match verdict {
        Verdict::Done => Ok(Some(kept(status, &text, answer.is_cut)?)),
        Verdict::Again(Some(after)) => Err(end::retry_after(after, said())),
        Verdict::Again(None) => Err(said().into()),
        Verdict::Never | Verdict::Accepted => Err(end::discard(said())),
    }
}

/// What was read of an answer.
struct Read {
    bytes: Vec<u8>,
    /// There is more of it than is read.
    is_cut: bool,
    /// Why it ended before its end.
    broke: Option<axum::Error>,
}

impl Read {
    async fn of(mut body: Body) -> Self {
        let mut read = Self {
            bytes: Vec::new(),
            is_cut: false,
            broke: None,
        };
        while let Some(frame) = body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => {
                    let room = ANSWER_BYTES_MAX - read.bytes.len();
                    read.is_cut = data.len() > room;
                    read.bytes.extend_from_slice(&data[..room.min(data.len())]);
                }
                // Trailers.
                Ok(Err(_)) => {}
                Err(error) => read.broke = Some(error),
            }
            if read.is_cut || read.broke.is_some() {
                break;
            }
        }
        read
    }
}

impl Target {
    fn request(
        &self,
        about: &About,
        run: &Run,
        payload: String,
    ) -> Result<Request<Body>, BoxError> {
        let at_s = now_s();
        let signed = Signed {
            at_s,
            job: run.id().get(),
            term: run.term(),
            wanted: "run",
        };
        let signature = sign(&self.secret, &signed, payload.as_bytes());
        let mut headers = HeaderMap::new();
        let mut say = |name: &'static str, value: String| -> Result<(), BoxError> {
            headers.insert(name, HeaderValue::from_bytes(value.as_bytes())?);
            Ok(())
        };
        say("steadfast-kind", about.kind.clone())?;
        say("steadfast-job", run.id().to_string())?;
        say("steadfast-term", run.term().to_string())?;
        say("steadfast-attempt", run.attempt().to_string())?;
        say("steadfast-max-attempts", run.max_attempts().to_string())?;
        say("steadfast-trace-id", about.trace_id.to_string())?;
        say("idempotency-key", format!("steadfast-job-{}", run.id()))?;
        say(TIMESTAMP, at_s.to_string())?;
        say(SIGNATURE, signature)?;
        if let Some((schedule, nominal)) = &about.occurrence {
            say("steadfast-schedule", schedule.clone())?;
            say("steadfast-occurrence", nominal.clone())?;
        }
        if let Some(url) = &self.calls_url {
            say(
                "steadfast-calls",
                format!("{url}/v1/runs/{}/{}", run.id(), run.term()),
            )?;
        }
        let mut request = Request::new(Body::from(payload));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.http.url.parse()?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.headers_mut() = headers;
        Ok(request)
    }
}

fn ended(told: Told) -> Result<Option<String>, BoxError> {
    match told {
        Told::Complete(Some(json)) => Ok(Some(kept(202, &json, false)?)),
        Told::Complete(None) => Ok(Some(kept(202, "", false)?)),
        Told::Fail {
            error,
            discard: true,
            ..
        } => Err(end::discard(error)),
        Told::Fail {
            error,
            retry_after: Some(after),
            ..
        } => Err(end::retry_after(after, error)),
        Told::Fail { error, .. } => Err(error.into()),
    }
}

/// What is kept of a run that was done.
#[derive(Serialize)]
struct Kept<'a> {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Answer<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    answer_cut: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

/// Gives the answer as it is where that is JSON, and as a text otherwise: as much of it as fits once it is written as JSON.
fn kept(status: u16, text: &str, is_cut: bool) -> Result<String, serde_json::Error> {
    if let Ok(json) = serde_json::from_str(text)
        && !is_cut
    {
        let (answer, answer_cut) = (Some(Answer::Json(json)), false);
        return serde_json::to_string(&Kept {
            status,
            answer,
            answer_cut,
        });
    }
    let mut room = text.len();
    loop {
        let begin = &text[..text.floor_char_boundary(room)];
        let result = serde_json::to_string(&Kept {
            status,
            answer: Some(Answer::Text(begin)).filter(|_| !begin.trim().is_empty()),
            answer_cut: is_cut || begin.len() < text.len(),
        })?;
        if result.len() <= RESULT_BYTES_MAX {
            return Ok(result);
        }
        room /= 2;
    }
}

pub(super) fn now_s() -> i64 {
    clock::timestamp().unix_millis().div_euclid(1_000)
}
