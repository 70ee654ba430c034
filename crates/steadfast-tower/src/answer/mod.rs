//! Answers of our own: what is sent when the handler has not answered.

mod body;
mod document;
mod future;

pub use body::AnswerBody;
pub use future::AnswerFuture;

use std::fmt;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use steadfast_core::context::{self, TraceId};

pub(crate) use document::{Key, key};

use document::Document;

const GRPC: &[u8] = b"application/grpc";

/// What a request speaks, and so how it is answered when the handler does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http,
    /// The status of the call is a header; the one of HTTP is always 200.
    Grpc,
}

impl Protocol {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let grpc = headers.get(CONTENT_TYPE).is_some_and(|kind| {
            // Media types are the same in any case.
            let (kind, rest) = kind
                .as_bytes()
                .split_at_checked(GRPC.len())
                .unwrap_or_default();
            // With or without `+proto` and the like, but not `grpc-web`, which is a body.
            kind.eq_ignore_ascii_case(GRPC)
                && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
        });
        if grpc { Self::Grpc } else { Self::Http }
    }
}

/// An answer that no handler gave, to be told in the words of the client's protocol.
pub(crate) struct Problem<'a> {
    pub(crate) status: StatusCode,
    /// A code of gRPC: <https://grpc.io/docs/guides/status-codes/>.
    pub(crate) grpc: u8,
    /// Part of the type, which clients may compare.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// All of it in one line, for protocols that have no document.
    pub(crate) line: &'a dyn fmt::Display,
    pub(crate) trace_id: Option<TraceId>,
}

impl Problem<'_> {
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
            .plain(key!("type"), &["urn:steadfast:problem:", self.name])
            .plain(key!("title"), &[self.title])
            .number(key!("status"), f64::from(self.status.as_u16()));
        more(&mut document);
        if let Some(id) = self.trace_id {
            let digits = id.digits();
            let digits = std::str::from_utf8(&digits).expect("digits only");
            document.plain(key!("trace_id"), &[digits]);
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
        let message = HeaderValue::try_from(percent(&self.line.to_string()));
        headers.insert("grpc-message", message.expect("visible characters only"));
        response
    }
}

/// Writes a message as gRPC does: what is not visible ASCII as `%XX`, so that any name may stand in it.
fn percent(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            _ => {
                let hex = |digit: u8| char::from(b"0123456789ABCDEF"[usize::from(digit)]);
                text.extend(['%', hex(byte >> 4), hex(byte & 15)]);
            }
        }
    }
    text
}

/// Gives the answer to a request whose handler panicked: an id to ask with, and nothing of the
/// inside.
pub(crate) fn panicked<B>(protocol: Protocol) -> Response<AnswerBody<B>> {
    let problem = Problem {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        grpc: 13,
        name: "internal",
        title: "internal error",
        line: &"internal error",
        trace_id: context::current().trace_id(),
    };
    problem.answer(protocol, |_| {})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_message_of_any_characters_makes_a_header() {
        assert_eq!(percent("50 % of é\n"), "50 %25 of %C3%A9%0A");
    }

    #[test]
    fn only_grpc_itself_is_answered_by_trailers() {
        for (value, protocol) in [
            ("application/grpc", Protocol::Grpc),
            ("application/grpc+proto", Protocol::Grpc),
            ("application/grpc;charset=utf-8", Protocol::Grpc),
            ("Application/GRPC+Proto", Protocol::Grpc),
            ("application/grpc-web", Protocol::Http),
            ("application/grp", Protocol::Http),
            ("application/grpcish", Protocol::Http),
            ("application/json", Protocol::Http),
        ] {
            assert_eq!(Protocol::of(&kind(value)), protocol, "{value}");
        }
        assert_eq!(Protocol::of(&HeaderMap::new()), Protocol::Http);
    }
}
