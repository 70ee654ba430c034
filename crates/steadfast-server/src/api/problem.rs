//! Why something was not done, in the form of RFC 9457.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use steadfast::settings::Problems;
use steadfast::{context, jobs, store};

use super::routes::policy::mistakes;
use super::types;
use crate::writes::{self, is_about_writes};

/// A refusal with its status and a stable code.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: String,
    fix: Option<String>,
    /// The methods that there are.
    allow: Option<String>,
    /// What is wrong with a document: as a compiler tells it, and one by one.
    mistakes: Option<Box<(String, Vec<types::Mistake>)>>,
    /// Why the store takes no writes.
    no_writes: Option<NoWrites>,
}

/// Stands beside an answer that was refused by a store that takes no writes.
#[derive(Debug, Clone)]
pub(super) struct NoWrites(pub(super) store::Error);

macro_rules! problems {
    ($($(#[doc = $about:literal])+ $name:ident, $status:ident, $code:literal;)*) => {
        impl Problem {
            $($(#[doc = $about])+ pub(crate) fn $name(title: impl Into<String>) -> Self {
                Self {
                    status: StatusCode::$status,
                    code: $code,
                    title: title.into(),
                    fix: None,
                    allow: None,
                    mistakes: None,
                    no_writes: None,
                }
            })*
        }
    };
}

problems! {
    /// The request makes no sense.
    refused, BAD_REQUEST, "SF-2201";
    /// The request is larger than one may be.
    too_large, PAYLOAD_TOO_LARGE, "SF-2201";
    /// Nobody is known by this token.
    unknown_token, UNAUTHORIZED, "SF-2202";
    /// The token may not do this.
    forbidden, FORBIDDEN, "SF-2203";
    /// The API takes no changes.
    read_only, FORBIDDEN, "SF-2204";
    /// There is no such thing.
    not_found, NOT_FOUND, "SF-2205";
    /// The endpoint has other methods.
    method, METHOD_NOT_ALLOWED, "SF-2213";
    /// It is not in a state in which that can be done.
    conflict, CONFLICT, "SF-2206";
    /// It was changed since it was looked at.
    changed, PRECONDITION_FAILED, "SF-2207";
    /// A change has to say what it was that was seen.
    no_precondition, PRECONDITION_REQUIRED, "SF-2208";
    /// The store does not answer, or refuses.
    store, SERVICE_UNAVAILABLE, "SF-2209";
    /// The store takes no writes at the moment.
    no_writes, SERVICE_UNAVAILABLE, "SF-2214";
    /// As much is under way as may be at once.
    busy, SERVICE_UNAVAILABLE, "SF-2215";
    /// A document has mistakes.
    mistaken, UNPROCESSABLE_ENTITY, "SF-2211";
    /// A document cannot be put in force here, although it has no mistake.
    unfit, UNPROCESSABLE_ENTITY, "SF-2212";
    /// A mistake of the program.
    internal, INTERNAL_SERVER_ERROR, "SF-2210";
}

impl Problem {
    pub(crate) fn with_fix(self, fix: impl Into<String>) -> Self {
        Self {
            fix: Some(fix.into()),
            ..self
        }
    }

    /// Says which methods there are.
    pub(crate) fn with_allowed(self, methods: &str) -> Self {
        Self {
            allow: Some(methods.to_owned()),
            ..self
        }
    }

    pub(crate) fn with_mistakes(self, problems: &Problems) -> Self {
        Self {
            mistakes: Some(Box::new((problems.to_string(), mistakes(problems)))),
            ..self
        }
    }

    /// As it is told to whoever has asked.
    pub(crate) fn told(&self) -> types::Problem {
        let mistakes = self.mistakes.as_deref();
        types::Problem {
            r#type: format!("urn:steadfast:problem:{}", self.code),
            title: self.title.clone(),
            status: self.status.as_u16(),
            code: self.code.to_owned(),
            fix: self.fix.clone(),
            detail: mistakes.map(|(text, _)| text.clone()),
            mistakes: mistakes.map(|(_, list)| list.clone()),
            trace_id: context::current().trace_id().map(|id| id.to_string()),
        }
    }

    /// In a line, for the audit.
    pub(crate) fn line(&self) -> String {
        format!("{}: {}", self.code, self.title)
    }
}

impl From<jobs::Error> for Problem {
    fn from(error: jobs::Error) -> Self {
        if let Some(store) = error.store() {
            return store.clone().into();
        }
        // With the code of the answer alone.
        let said = error.to_string();
        let code = format!(" ({})", error.code());
        let said = said.strip_suffix(&code).unwrap_or(&said);
        if error.is_unknown_schedule() {
            return Self::not_found(said);
        }
        if error.is_changed() {
            return Self::changed(said).with_fix(error.fix());
        }
        if error.is_refused() {
            return Self::refused(said);
        }
        if error.is_retryable() {
            return Self::conflict(said).with_fix("try again");
        }
        Self::internal(said)
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        let title = error.to_string();
        if is_about_writes(&error) {
            let title = format!("no change can be made at the moment: {title}");
            return Self {
                no_writes: Some(NoWrites(error.clone())),
                ..Self::no_writes(title).with_fix(error.fix())
            };
        }
        Self::store(title).with_fix(error.fix())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let json = serde_json::to_string(&self.told()).unwrap_or_default();
        let mut response = (self.status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            axum::http::HeaderValue::from_static("application/problem+json"),
        );
        if let Some(Ok(allow)) = self.allow.map(|methods| methods.parse()) {
            headers.insert(ALLOW, allow);
        }
        if self.no_writes.is_some() {
            headers.insert(RETRY_AFTER, writes::LOOK_EVERY.as_secs().into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                WWW_AUTHENTICATE,
                axum::http::HeaderValue::from_static("Bearer"),
            );
        }
        if let Some(no_writes) = self.no_writes {
            response.extensions_mut().insert(no_writes);
        }
        response
    }
}
