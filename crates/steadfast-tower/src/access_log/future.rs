use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use steadfast_core::clock;

use super::AccessLogBody;
use super::body::Asked;
use super::record::Record;

pin_project! {
    /// The future of [`AccessLog`](super::AccessLog).
    #[derive(Debug)]
    pub struct AccessLogFuture<F> {
        #[pin]
        inner: Option<F>,
        // Absent once the body has it.
        record: Option<Record>,
        asked: Asked,
    }

    impl<F> PinnedDrop for AccessLogFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Some(record) = this.record
                && this.inner.is_some()
            {
                record.abandon(|| this.inner.set(None));
            }
        }
    }
}

impl<F> AccessLogFuture<F> {
    pub(super) fn new(inner: F, record: Record, asked: Asked) -> Self {
        Self {
            inner: Some(inner),
            record: Some(record),
            asked,
        }
    }
}

impl<F, B, E> Future for AccessLogFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<AccessLogBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let running = this.record.as_mut().expect("not polled after its end");
        let answer = ready!(running.work(|| {
            let inner = this.inner.as_mut().as_pin_mut();
            let answer = ready!(inner.expect("there until it ends").poll(cx));
            this.inner.set(None);
            Poll::Ready(answer)
        }));
        let mut record = this.record.take().expect("it was there just now");
        Poll::Ready(match answer {
            Ok(response) => {
                let now = clock::now();
                Ok(AccessLogBody::of(response, record, *this.asked, now))
            }
            Err(error) => {
                record.failed();
                Err(error)
            }
        })
    }
}
