use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use steadfast_core::clock::Instant;

use super::record::{Ended, Record};

pin_project! {
    /// A response body that knows how its request ends.
    #[derive(Debug)]
    pub struct AccessLogBody<B> {
        #[pin]
        body: Option<B>,
        sending: Sending,
    }

    impl<B> PinnedDrop for AccessLogBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.sending.record.abandon(|| this.body.set(None));
        }
    }
}

/// The record of a request whose body is on its way.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) record: Record,
    /// How much is to come, where it was said before: then the server need not ask again.
    left: Option<u64>,
}

/// Whether the client has asked for a body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked {
    Whole,
    Head,
    Connect,
}

impl Asked {
    pub(crate) fn of(method: &Method) -> Self {
        match *method {
            Method::HEAD => Self::Head,
            Method::CONNECT => Self::Connect,
            _ => Self::Whole,
        }
    }

    /// Tells whether the server does not send the body of such an answer, and so never asks for it.
    fn has_none(self, status: StatusCode) -> bool {
        let none = match self {
            Self::Whole => false,
            Self::Head => true,
            Self::Connect => status.is_success(),
        };
        let without = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
        none || status.is_informational() || without.contains(&status)
    }
}

impl Sending {
    /// Of a request that is not answered yet.
    pub(crate) fn new(record: Record) -> Self {
        Self { record, left: None }
    }

    /// Begins to send an answer with that status and these headers, which is there `now`.
    pub(crate) fn begin<B: Body>(
        &mut self,
        asked: Asked,
        (status, headers): (StatusCode, &HeaderMap),
        body: &B,
        now: Instant,
    ) {
        let record = &mut self.record;
        let (at_end, hint) = record.work(|| (body.is_end_stream(), body.size_hint()));
        let said = || headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        self.left = hint.exact().or_else(said);
        // Not before: if the body panics at these questions, nobody sees its head.
        record.answered(status, now);
        record.whole = asked.has_none(status) || at_end || self.left == Some(0);
    }

    /// Takes notice of what a poll of the body has given.
    pub(crate) fn polled<D: Buf, E>(&mut self, polled: &Option<Result<Frame<D>, E>>, at_end: bool) {
        match polled {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Buf::remaining);
                self.record.sent(bytes);
                self.left = self.left.map(|left| left.saturating_sub(bytes as u64));
                // After the trailers nothing is asked for, either.
                self.record.whole |= at_end || frame.is_trailers() || self.left == Some(0);
            }
            Some(Err(_)) => self.record.end(Ended::BODY_BROKE),
            None => self.record.end(Ended::SERVED),
        }
    }
}

impl<B: Body> AccessLogBody<B> {
    pub(super) fn of(
        response: Response<B>,
        record: Record,
        asked: Asked,
        now: Instant,
    ) -> Response<Self> {
        let (head, body) = response.into_parts();
        let mut sending = Sending::new(record);
        sending.begin(asked, (head.status, &head.headers), &body, now);
        let body = Self {
            body: Some(body),
            sending,
        };
        Response::from_parts(head, body)
    }
}

impl<B: Body> Body for AccessLogBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let (polled, at_end) = ready!(this.sending.record.work(|| {
            let mut body = this
                .body
                .as_mut()
                .as_pin_mut()
                .expect("there until the drop");
            let polled = ready!(body.as_mut().poll_frame(cx));
            Poll::Ready((polled, body.is_end_stream()))
        }));
        this.sending.polled(&polled, at_end);
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, B::size_hint)
    }
}
