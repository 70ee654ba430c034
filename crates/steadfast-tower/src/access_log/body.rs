use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::header::CONTENT_LENGTH;
use http::{Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::record::{Ended, Record};

pin_project! {
    /// A response body that knows how its request ends.
    #[derive(Debug)]
    pub struct AccessLogBody<B> {
        #[pin]
        body: Option<B>,
        record: Record,
        // How much is to come, where it was said before: then the server need not ask again.
        left: Option<u64>,
    }

    impl<B> PinnedDrop for AccessLogBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.record.abandon(|| this.body.set(None));
        }
    }
}

impl<B: Body> AccessLogBody<B> {
    pub(super) fn of(response: Response<B>, mut record: Record, asked: &Method) -> Response<Self> {
        let said = response.headers().get(CONTENT_LENGTH);
        let said = said.and_then(|length| length.to_str().ok()?.parse().ok());
        let none = has_none(asked, response.status());
        response.map(|body| {
            let (at_end, hint) = record.work(|| (body.is_end_stream(), body.size_hint()));
            let left = said.or(hint.exact());
            record.whole = none || at_end || left == Some(0);
            Self {
                body: Some(body),
                record,
                left,
            }
        })
    }
}

/// Tells whether the server does not send the body of such an answer, and so never asks for it.
fn has_none(asked: &Method, status: StatusCode) -> bool {
    let without = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
    asked == Method::HEAD
        || (asked == Method::CONNECT && status.is_success())
        || status.is_informational()
        || without.contains(&status)
}

impl<B: Body> Body for AccessLogBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let record = this.record;
        let (polled, at_end) = ready!(record.work(|| {
            let mut body = this
                .body
                .as_mut()
                .as_pin_mut()
                .expect("there until the drop");
            let polled = ready!(body.as_mut().poll_frame(cx));
            Poll::Ready((polled, body.is_end_stream()))
        }));
        match &polled {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Buf::remaining);
                record.sent(bytes);
                *this.left = this.left.map(|left| left.saturating_sub(bytes as u64));
                // After the trailers nothing is asked for, either.
                record.whole |= at_end || frame.is_trailers() || *this.left == Some(0);
            }
            Some(Err(_)) => record.end(Ended::BODY_BROKE),
            None => record.end(Ended::SERVED),
        }
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
