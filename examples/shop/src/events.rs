//! An answer that does not end by itself: how an order gets on, told as it happens.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use steadfast::clock::{self, Alarm};

const STEPS: [&str; 4] = ["taken", "paid", "packed", "on its way"];

/// `GET /orders/{order}/events`: a step every two seconds. The guard gives such answers a budget of
/// connections of their own, and no timeout.
pub async fn follow(Path(order): Path<u64>) -> Response {
    let events = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
    ];
    let steps = Steps {
        order,
        told: 0,
        next: Alarm::new(clock::now()),
    };
    (events, Body::new(steps)).into_response()
}

struct Steps {
    order: u64,
    told: usize,
    next: Alarm,
}

impl HttpBody for Steps {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(step) = STEPS.get(self.told) else {
            return Poll::Ready(None);
        };
        ready!(self.next.poll_over(cx));
        self.told += 1;
        self.next.set(clock::now() + Duration::from_secs(2));
        let event = format!("data: order {} is {step}\n\n", self.order);
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}
