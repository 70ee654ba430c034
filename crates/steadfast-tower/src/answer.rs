use std::fmt::Display;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use steadfast_core::context::{self, TraceId};

/// What a request speaks, and so how it is answered when the handler does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    /// The status of the call is a header; the one of HTTP is always 200.
    Grpc,
}

impl Protocol {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let grpc = headers.get(CONTENT_TYPE).is_some_and(|kind| {
            let kind = kind.as_bytes();
            // With or without `+proto` and the like, but not `grpc-web`, which is a body.
            kind.strip_prefix(b"application/grpc")
                .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
        });
        if grpc { Self::Grpc } else { Self::Http }
    }
}

/// An answer that no handler gave, to be told in the words of the client's protocol.
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// A code of gRPC: <https://grpc.io/docs/guides/status-codes/>.
    pub(crate) grpc: u8,
    /// Part of the type, which clients may compare.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) trace_id: Option<TraceId>,
}

impl Problem {
    /// Makes the response; `more` adds members to the document.
    pub(crate) fn answer<B>(
        &self,
        protocol: Protocol,
        more: impl FnOnce(&mut Document),
    ) -> Response<AnswerBody<B>> {
        match protocol {
            Protocol::Http => self.document(more),
            Protocol::Grpc => self.trailers_only(),
        }
    }

    fn document<B>(&self, more: impl FnOnce(&mut Document)) -> Response<AnswerBody<B>> {
        let mut document = Document::new();
        document
            .text("type", format_args!("urn:steadfast:problem:{}", self.name))
            .text("title", self.title)
            .number("status", f64::from(self.status.as_u16()));
        more(&mut document);
        if let Some(id) = self.trace_id {
            document.text("trace_id", id);
        }
        let mut response = Response::new(AnswerBody::whole(document.finish()));
        *response.status_mut() = self.status;
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    fn trailers_only<B>(&self) -> Response<AnswerBody<B>> {
        let mut response = Response::new(AnswerBody::whole(Bytes::new()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(u16::from(self.grpc)));
        headers.insert("grpc-message", HeaderValue::from_static(self.title));
        response
    }
}

/// Gives the answer to a request whose handler panicked: an id to ask with, and nothing of the
/// inside.
pub(crate) fn panicked<B>(protocol: Protocol) -> Response<AnswerBody<B>> {
    let problem = Problem {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        grpc: 13,
        name: "internal",
        title: "internal error",
        trace_id: context::current().trace_id(),
    };
    problem.answer(protocol, |_| {})
}

/// A JSON object on its way.
pub(crate) struct Document(Vec<u8>);

impl Document {
    /// Most documents fit, so that they are allocated once.
    const CAPACITY: usize = 320;

    fn new() -> Self {
        let mut text = Vec::with_capacity(Self::CAPACITY);
        text.push(b'{');
        Self(text)
    }

    pub(crate) fn text(&mut self, key: &str, value: impl Display) -> &mut Self {
        self.key(key);
        self.0.push(b'"');
        // Names come from policies and may hold what JSON has to escape.
        write!(Escaped(&mut self.0), "{value}").expect("a vector takes all");
        self.0.push(b'"');
        self
    }

    /// Adds a number; one that JSON cannot tell becomes `null`.
    pub(crate) fn number(&mut self, key: &str, value: f64) -> &mut Self {
        self.key(key);
        let written = if value.is_finite() {
            write!(self.0, "{value}")
        } else {
            self.0.write_all(b"null")
        };
        written.expect("a vector takes all");
        self
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        write!(self.0, "\"{key}\":").expect("a vector takes all");
    }

    fn finish(mut self) -> Bytes {
        self.0.push(b'}');
        self.0.into()
    }
}

/// Writes text as the inside of a JSON string.
struct Escaped<'a>(&'a mut Vec<u8>);

impl Write for Escaped<'_> {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        for &byte in text {
            match byte {
                b'"' | b'\\' => self.0.extend([b'\\', byte]),
                0..0x20 => write!(self.0, "\\u{byte:04x}")?,
                _ => self.0.push(byte),
            }
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pin_project! {
    /// The body of the inner service's response, or of one that a layer gave in its place.
    #[derive(Debug)]
    pub struct AnswerBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum Kind<B> {
        Inner { #[pin] body: B },
        // All of it, until it is sent.
        Own { body: Option<Bytes> },
    }
}

impl<B> AnswerBody<B> {
    /// Wraps the body of an inner service.
    pub fn inner(body: B) -> Self {
        let kind = Kind::Inner { body };
        Self { kind }
    }

    /// Makes a body that is there as a whole.
    pub fn whole(body: Bytes) -> Self {
        let body = Some(body).filter(|body| !body.is_empty());
        let kind = Kind::Own { body };
        Self { kind }
    }
}

impl<B: Body<Data = Bytes>> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            Projected::Inner { body } => body.poll_frame(cx),
            Projected::Own { body } => Poll::Ready(body.take().map(Frame::data).map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Own { body } => body.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Own { body } => {
                SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))])
    }

    #[test]
    fn only_grpc_itself_is_answered_by_trailers() {
        for (value, protocol) in [
            ("application/grpc", Protocol::Grpc),
            ("application/grpc+proto", Protocol::Grpc),
            ("application/grpc;charset=utf-8", Protocol::Grpc),
            ("application/grpc-web", Protocol::Http),
            ("application/grpcish", Protocol::Http),
            ("application/json", Protocol::Http),
        ] {
            assert_eq!(Protocol::of(&kind(value)), protocol, "{value}");
        }
        assert_eq!(Protocol::of(&HeaderMap::new()), Protocol::Http);
    }

    #[test]
    fn a_document_is_json_whatever_its_names_hold() {
        let mut document = Document::new();
        document
            .text("policy", "a \"b\"\\\n\u{1}é")
            .number("limit", 2.5)
            .number("observed", f64::INFINITY);

        let read: serde_json::Value = serde_json::from_slice(&document.finish()).unwrap();

        assert_eq!(read["policy"], "a \"b\"\\\n\u{1}é");
        assert_eq!(read["limit"], 2.5);
        assert!(read["observed"].is_null());
    }

    #[test]
    fn a_whole_body_tells_its_size_and_ends_once_sent() {
        let mut body: AnswerBody<http_body_util::Empty<Bytes>> = AnswerBody::whole("abc".into());
        assert_eq!(body.size_hint().exact(), Some(3));

        let mut cx = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) else {
            panic!("it is there");
        };

        assert_eq!(frame.into_data().unwrap(), "abc");
        assert!(body.is_end_stream());
    }
}
