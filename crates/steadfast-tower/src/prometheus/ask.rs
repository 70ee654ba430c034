use std::fmt;
use std::fmt::Write;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::Buf;
use http::header::ACCEPT;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body::Body;
use steadfast_core::{BoxError, clock, recover_async};
use tower_service::Service;

use super::answer;
use super::error::{AskError, InvalidAddress, Why};

/// How long one question may take: 2 s. Somebody waits for the start, and a Prometheus that takes
/// longer for a quantile has other worries.
pub const ASK_TIME: Duration = Duration::from_secs(2);

/// The longest answer, in bytes: 64 KiB. One number takes some hundred.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Asks a Prometheus through a client that is a tower service.
#[derive(Clone)]
pub struct Prometheus<S> {
    client: S,
    scheme: Scheme,
    authority: Authority,
    prefix: String,
}

impl<S> Prometheus<S> {
    /// Takes a client and the address of the Prometheus, `http://127.0.0.1:9090`, with the path
    /// under which it is served if there is one.
    ///
    /// # Errors
    /// [`InvalidAddress`] unless the address has a scheme and a host, and no query.
    pub fn new(client: S, address: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress {
            address: address.chars().take(200).collect(),
        };
        let uri: Uri = address.parse().map_err(|_| invalid())?;
        let parts = uri.into_parts();
        let path = parts.path_and_query.as_ref();
        match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority)) if path.is_none_or(|path| path.query().is_none()) => {
                let prefix = path.map_or("", |path| path.path()).trim_end_matches('/');
                Ok(Self {
                    client,
                    scheme,
                    authority,
                    prefix: prefix.to_owned(),
                })
            }
            _ => Err(invalid()),
        }
    }

    /// Asks for the present value of a query, which must be one number.
    ///
    /// # Errors
    /// [`AskError`] says why there is none; whether another attempt may help is
    /// [told](AskError::is_retryable).
    ///
    /// # Cancel safety
    /// Nothing is lost but the answer.
    pub async fn value<B, Out>(&mut self, query: &str) -> Result<f64, AskError>
    where
        S: Service<Request<B>, Response = Response<Out>>,
        S::Error: Into<BoxError>,
        B: Default,
        Out: Body,
        Out::Error: Into<BoxError>,
    {
        self.value_within(query, ASK_TIME).await
    }

    /// Asks for the present values of a query that gives any number of them, each with what one of its
    /// labels says: the buckets of a histogram by `le`. What Prometheus does not know is left out; of
    /// nothing, there are none.
    ///
    /// # Errors
    /// As [`value`](Self::value), but for the number of them; also when one has no such label.
    ///
    /// # Cancel safety
    /// Nothing is lost but the answer.
    pub async fn values<B, Out>(
        &mut self,
        query: &str,
        label: &str,
    ) -> Result<Vec<(String, f64)>, AskError>
    where
        S: Service<Request<B>, Response = Response<Out>>,
        S::Error: Into<BoxError>,
        B: Default,
        Out: Body,
        Out::Error: Into<BoxError>,
    {
        answer::numbers(&self.answer_within(query, ASK_TIME).await?, label)
    }

    pub(super) async fn value_within<B, Out>(
        &mut self,
        query: &str,
        time: Duration,
    ) -> Result<f64, AskError>
    where
        S: Service<Request<B>, Response = Response<Out>>,
        S::Error: Into<BoxError>,
        B: Default,
        Out: Body,
        Out::Error: Into<BoxError>,
    {
        answer::number(&self.answer_within(query, time).await?)
    }

    async fn answer_within<B, Out>(
        &mut self,
        query: &str,
        time: Duration,
    ) -> Result<Vec<u8>, AskError>
    where
        S: Service<Request<B>, Response = Response<Out>>,
        S::Error: Into<BoxError>,
        B: Default,
        Out: Body,
        Out::Error: Into<BoxError>,
    {
        let asked = recover_async(self.ask(query));
        match clock::timeout(time, asked).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) => Err(Why::Panicked.into()),
            Err(_) => Err(Why::TooSlow.into()),
        }
    }

    async fn ask<B, Out>(&mut self, query: &str) -> Result<Vec<u8>, AskError>
    where
        S: Service<Request<B>, Response = Response<Out>>,
        S::Error: Into<BoxError>,
        B: Default,
        Out: Body,
        Out::Error: Into<BoxError>,
    {
        let request = self.request(query);
        let unreachable = |error: S::Error| Why::Unreachable(error.into());
        let ready = poll_fn(|cx| self.client.poll_ready(cx)).await;
        ready.map_err(unreachable)?;
        let response = self.client.call(request).await.map_err(unreachable)?;
        let status = response.status();
        let body = read(response.into_body()).await?;
        // A query that cannot be answered has a status of its own, and a document that says why.
        let says_why = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY];
        let is_document = says_why.contains(&status) && body.starts_with(b"{");
        if status.is_success() || is_document {
            Ok(body)
        } else {
            Err(Why::Status(status).into())
        }
    }

    fn request<B: Default>(&self, query: &str) -> Request<B> {
        let mut path = format!("{}/api/v1/query?query=", self.prefix);
        for byte in query.trim().bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    path.push(char::from(byte));
                }
                other => {
                    let _ = write!(path, "%{other:02X}");
                }
            }
        }
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path);
        let mut request = Request::new(B::default());
        *request.uri_mut() = uri.build().expect("a path of escaped characters is one");
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(ACCEPT, json);
        request
    }
}

/// Reads a body that may be endless.
async fn read<Out>(body: Out) -> Result<Vec<u8>, AskError>
where
    Out: Body,
    Out::Error: Into<BoxError>,
{
    if body.size_hint().lower() > ANSWER_BYTES_MAX as u64 {
        return Err(Why::TooLong.into());
    }
    let mut body = pin!(body);
    let mut read = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|error| Why::Unreachable(error.into()))?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if read.len() + data.remaining() > ANSWER_BYTES_MAX {
            return Err(Why::TooLong.into());
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            read.extend_from_slice(chunk);
            let len = chunk.len();
            data.advance(len);
        }
    }
    Ok(read)
}

impl<S> fmt::Debug for Prometheus<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus")
            .field("authority", &self.authority.host())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_asked_under_the_path_and_escaped() {
        for (address, expected) in [
            (
                "http://127.0.0.1:9090",
                "http://127.0.0.1:9090/api/v1/query?query=a%7Bb%3D%22%2Fc%20%C3%A9%22%7D",
            ),
            (
                "https://metrics.example/prom/",
                "https://metrics.example/prom/api/v1/query?query=a%7Bb%3D%22%2Fc%20%C3%A9%22%7D",
            ),
        ] {
            let prometheus = Prometheus::new((), address).unwrap();
            let request: Request<()> = prometheus.request(" a{b=\"/c é\"}\n");
            assert_eq!(request.uri().to_string(), expected);
        }
    }

    #[test]
    fn an_address_without_scheme_or_host_is_refused() {
        for address in [
            "",
            "/metrics",
            "127.0.0.1:9090",
            "http://a/?b=c",
            "not an address",
        ] {
            let refused = Prometheus::new((), address).unwrap_err().to_string();
            assert!(refused.contains("write \"http://HOST:PORT\""), "{refused}");
        }
    }
}
