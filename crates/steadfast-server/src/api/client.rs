//! Asking the API of a server.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use axum::http::uri::Scheme;
use axum::http::{HeaderName, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use steadfast::clock;
use tokio_rustls::rustls;

use super::types::Problem;
use crate::tls;

/// How long an answer may take: 30 s, longer than the server takes at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The largest answer: 64 MiB, a page of the largest jobs.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Asks one server, as whoever a token belongs to.
pub(crate) struct Client {
    base: String,
    token: String,
    inner: Plain,
}

/// The server has said no.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Problem);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.title)
    }
}

impl std::error::Error for Refused {}

/// The server cannot be asked.
#[derive(Debug)]
pub(crate) struct Unreachable {
    base: String,
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot reach a server at {}", self.base)
    }
}

impl std::error::Error for Unreachable {}

/// Somebody else is there.
#[derive(Debug)]
pub(crate) struct NotTheApi {
    base: String,
    status: u16,
}

impl std::fmt::Display for NotTheApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { base, status } = self;
        write!(
            f,
            "what is at {base} is not the API of steadfast: it has answered {status}"
        )
    }
}

impl std::error::Error for NotTheApi {}

/// A proxy has answered in place of the server.
#[derive(Debug)]
pub(crate) struct AnsweredByProxy {
    base: String,
    status: u16,
}

impl std::fmt::Display for AnsweredByProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { base, status } = self;
        write!(f, "a proxy answered for the API at {base}: {status}")
    }
}

impl std::error::Error for AnsweredByProxy {}

/// Nobody can be asked like this, or whoever is there is not trusted.
#[derive(Debug)]
pub(crate) enum Barred {
    /// What was said is not the address of a server.
    NoAddress(String),
    /// What was said cannot stand in a header.
    NoToken,
    /// The certificate of the server is not one that is trusted here.
    Untrusted(String),
    /// It was asked by https, and does not speak TLS.
    NoTls(String),
    /// It was asked by http, and speaks something else.
    NoHttp(String),
}

impl Barred {
    /// Gives what bars the way to a server, if it is neither away nor slow.
    fn of(error: &anyhow::Error, base: &str) -> Option<Self> {
        let (mut tls, mut http) = (None, None);
        for cause in error.chain() {
            tls = tls.or(tls_error(cause));
            http = http.or(cause.downcast_ref::<hyper::Error>());
        }
        let base = base.to_owned();
        match tls {
            Some(rustls::Error::InvalidCertificate(_)) => Some(Self::Untrusted(base)),
            Some(rustls::Error::InvalidMessage(_)) => Some(Self::NoTls(base)),
            _ if http.is_some_and(hyper::Error::is_parse) => Some(Self::NoHttp(base)),
            _ => None,
        }
    }

    /// Its code, which stays as it is.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoAddress(_) => "SF-2305",
            Self::NoToken => "SF-2306",
            Self::Untrusted(_) => "SF-2307",
            Self::NoTls(_) | Self::NoHttp(_) => "SF-2308",
        }
    }

    pub(crate) fn fix(&self) -> &'static str {
        match self {
            Self::NoAddress(_) => "write http://HOST:PORT, or https://HOST:PORT",
            Self::NoToken => {
                "give the token as `steadfast admin token create` has printed it: one word, alone in its file"
            }
            Self::Untrusted(_) => {
                "name the certificates by which it is to be trusted with --ca, and ask it by a name that its own is for"
            }
            Self::NoTls(_) => "ask it by http://, or see that the port is that of the API",
            Self::NoHttp(_) => "ask it by https://, or see that the port is that of the API",
        }
    }
}

impl std::fmt::Display for Barred {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoAddress(base) => write!(f, "{base:?} is not the address of a server"),
            Self::NoToken => f.write_str("what is given as the token is none"),
            Self::Untrusted(base) => write!(f, "the certificate of {base} is not trusted"),
            Self::NoTls(base) => write!(f, "what is at {base} does not speak TLS"),
            Self::NoHttp(base) => write!(f, "what is at {base} does not speak HTTP without TLS"),
        }
    }
}

impl std::error::Error for Barred {}

/// Finds an error of TLS, also within one of I/O, which does not name it as its source.
fn tls_error<'e>(mut error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    while let Some(inner) = error.downcast_ref::<io::Error>() {
        error = inner.get_ref()?;
    }
    error.downcast_ref()
}

/// A request that was not sent yet.
pub(crate) struct Asking<'c> {
    client: &'c Client,
    method: &'static str,
    path: String,
    body: Option<String>,
    header: Option<(HeaderName, String)>,
}

/// Sends requests by http and https.
pub(crate) type Plain = legacy::Client<hyper_rustls::HttpsConnector<HttpConnector>, Body>;

/// Makes one that trusts the certificates in a file, or without it the roots of the public web.
pub(crate) fn plain(ca: Option<&Path>) -> anyhow::Result<Plain> {
    let connector = tls::connector(ca)?;
    Ok(legacy::Client::builder(TokioExecutor::new()).build(connector))
}

impl Client {
    pub(crate) fn new(base: &str, token: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        let is_address = base.parse::<Uri>().is_ok_and(|place| {
            let is_known =
                place.scheme() == Some(&Scheme::HTTP) || place.scheme() == Some(&Scheme::HTTPS);
            is_known && place.host().is_some_and(|host| !host.is_empty())
        });
        if !is_address {
            return Err(Barred::NoAddress(base.to_owned()).into());
        }
        if HeaderValue::from_str(token).is_err() {
            return Err(Barred::NoToken.into());
        }
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
            inner: plain(ca)?,
        })
    }

    pub(crate) fn get(&self, path: impl Into<String>) -> Asking<'_> {
        self.asking("GET", path)
    }

    /// A change without a body.
    pub(crate) fn post(&self, path: impl Into<String>) -> Asking<'_> {
        self.asking("POST", path)
    }

    pub(crate) fn change(
        &self,
        method: &'static str,
        path: impl Into<String>,
        body: &impl Serialize,
    ) -> Asking<'_> {
        Asking {
            body: serde_json::to_string(body).ok(),
            ..self.asking(method, path)
        }
    }

    fn asking(&self, method: &'static str, path: impl Into<String>) -> Asking<'_> {
        Asking {
            client: self,
            method,
            path: path.into(),
            body: None,
            header: None,
        }
    }
}

impl Asking<'_> {
    /// Only if what is changed is known by this.
    pub(crate) fn over(self, tag: impl std::fmt::Display) -> Self {
        Self {
            header: Some((IF_MATCH, tag.to_string())),
            ..self
        }
    }

    /// Only if there is none yet.
    pub(crate) fn if_none(self) -> Self {
        Self {
            header: Some((IF_NONE_MATCH, "*".to_owned())),
            ..self
        }
    }

    /// Sends it, and reads the answer.
    pub(crate) async fn send<T: DeserializeOwned>(self) -> anyhow::Result<T> {
        let base = self.client.base.clone();
        let sent = clock::timeout(ANSWER_WITHIN, self.exchange()).await;
        let (status, is_problem, bytes) = sent
            .map_err(|_| anyhow::anyhow!("no answer within {ANSWER_WITHIN:?}"))
            .and_then(|sent| sent)
            .map_err(|error| match Barred::of(&error, &base) {
                Some(barred) => error.context(barred),
                None => error.context(Unreachable { base: base.clone() }),
            })?;
        if (200..=299).contains(&status) {
            if serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_err() {
                return Err(NotTheApi { base, status }.into());
            }
            return serde_json::from_slice(&bytes)
                .context("the answer cannot be read: the server may be of another version");
        }
        // Others answer with JSON as well, and what it says is not about our things.
        let ours = |problem: &Problem| is_problem && problem.code.starts_with("SF-");
        if let Some(problem) = serde_json::from_slice(&bytes).ok().filter(ours) {
            return Err(Refused(problem).into());
        }
        let Some(title) = detail(&bytes).filter(|_| is_problem) else {
            if matches!(status, 502..=504) {
                return Err(AnsweredByProxy { base, status }.into());
            }
            return Err(NotTheApi { base, status }.into());
        };
        let problem = Problem {
            r#type: "about:blank".into(),
            title,
            status,
            code: "SF-2201".into(),
            fix: None,
            detail: None,
            mistakes: None,
            trace_id: None,
        };
        Err(Refused(problem).into())
    }

    /// Gives the status, whether the answer says that it is a problem, and its body.
    async fn exchange(self) -> anyhow::Result<(u16, bool, Bytes)> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(format!("{}{}", self.client.base, self.path))
            .header(AUTHORIZATION, format!("Bearer {}", self.client.token));
        if self.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some((name, value)) = self.header {
            request = request.header(name, value);
        }
        let body = self.body.map_or_else(Body::empty, Body::from);
        let response: Response<_> = self.client.inner.request(request.body(body)?).await?;
        let status = response.status().as_u16();
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_problem = kind.starts_with("application/problem+json");
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        let body = body.map_err(|error| anyhow::anyhow!(error))?;
        Ok((status, is_problem, body.to_bytes()))
    }
}

/// Gives what a problem says that is not of the API: one of the service of ids.
fn detail(bytes: &[u8]) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let is_ours = |kind: &str| kind.starts_with("urn:steadfast:problem:");
    problem.get("type")?.as_str().filter(|kind| is_ours(kind))?;
    Some(problem.get("detail")?.as_str()?.to_owned())
}

/// Whether others can read what is sent there: neither by TLS nor to this machine.
pub(crate) fn is_in_clear(base: &str) -> bool {
    let place = base.parse::<Uri>().unwrap_or_default();
    let is_encrypted = place.scheme() == Some(&Scheme::HTTPS);
    // What is no address is told by whoever asks there.
    !is_encrypted && place.host().is_some_and(|host| !is_here(host))
}

/// Whether a host is this machine.
pub(crate) fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Writes a part of a path or a query, so that it stays one.
pub(crate) fn part(text: &str) -> String {
    let mut part = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                part.push(char::from(byte));
            }
            _ => part.push_str(&format!("%{byte:02X}")),
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_another_machine_without_tls_is_in_clear() {
        for base in [
            "http://10.0.0.1:4011",
            "HTTP://jobs.internal",
            "http://127.0.0.1@jobs.internal:4011",
            "http://127.0.0.1.jobs.internal",
            "http://localhost.jobs.internal",
            "http://[2001:db8::1]:4011/ops",
            "jobs.internal:4011",
        ] {
            assert!(is_in_clear(base), "{base}");
        }
        for base in [
            "https://jobs.internal:4011",
            "http://127.0.0.1:4011",
            "http://127.1.2.3",
            "http://LocalHost:4011/ops",
            "http://[::1]:4011",
            "http://jobs.internal@127.0.0.1",
            "no address",
        ] {
            assert!(!is_in_clear(base), "{base}");
        }
    }
}
