//! What is tried again, and what is not.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use steadfast_tower::classify::{CallEnd, Failure, StandardBoxed};
use steadfast_tower::retry::RetryBody;
use steadfast_tower::{Reason, Rejection};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use crate::support::{Panics, get};

use super::{
    Answered, Target, answer, layer, layer_of, plenty, refused, request, reset, rule, status,
};

#[tokio::test(start_paused = true)]
async fn a_call_is_repeated_only_if_it_is_safe_or_was_never_sent() {
    let key = [("idempotency-key", "7")];
    let unsent = answer(503, &[("x-steadfast-rejected", "overloaded")]);
    for (method, headers, first, attempts) in [
        ("GET", &[][..], status(503), 2),
        ("PUT", &[][..], status(502), 2),
        ("DELETE", &[][..], reset(), 2),
        ("POST", &[][..], status(503), 1),
        ("POST", &[][..], reset(), 1),
        ("PATCH", &[][..], status(504), 1),
        ("POST", &key[..], status(503), 2),
        ("POST", &[("idempotency-key", "")][..], status(503), 1),
        ("POST", &[][..], refused(), 2),
        ("POST", &[][..], unsent, 2),
        ("POST", &[][..], status(425), 2),
        ("GET", &[][..], status(500), 1),
        ("GET", &[][..], status(404), 1),
    ] {
        let case = format!("{method} {headers:?} {first:?}");
        let target = Target::that_answers([first]);

        let _ = layer(3)
            .layer(target.clone())
            .oneshot(request(method, headers))
            .await;

        assert_eq!(target.attempts(), attempts, "{case}");
        assert!(
            target
                .seen()
                .iter()
                .all(|seen| seen.body.as_deref() == Ok(b"body"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_safe_is_repeated_by_explicit_word() {
    let post = || request("POST", &[("x-kind", "quote")]);
    let by_rule = layer_of("retry", rule(2).with_unsafe_methods(), plenty());
    let by_call = layer(2).repeatable_if(|head| head.headers["x-kind"] == "quote");
    let by_other = layer(2).repeatable_if(|head| head.headers["x-kind"] == "order");
    for (layer, attempts) in [(by_rule, 2), (by_call, 2), (by_other, 1)] {
        let target = Target::that_answers([status(503)]);

        layer.layer(target.clone()).oneshot(post()).await.unwrap();

        assert_eq!(target.attempts(), attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_layer_inside_rejected_was_never_sent() {
    for (reason, attempts) in [(Reason::BreakerOpen, 3), (Reason::TimedOut, 1)] {
        let calls = Arc::new(AtomicU32::new(0));
        let count = calls.clone();
        let rejecting = service_fn(move |_: Request<RetryBody<Full<Bytes>>>| {
            count.fetch_add(1, Ordering::Relaxed);
            async move { Err::<Response<Full<Bytes>>, BoxError>(Rejection::new(reason, "p").into()) }
        });
        let client = layer(3).classify_by(StandardBoxed).layer(rejecting);

        let error = client.oneshot(request("POST", &[])).await.unwrap_err();

        assert_eq!(calls.load(Ordering::Relaxed), attempts, "{reason}");
        assert_eq!(error.downcast_ref::<Rejection>().unwrap().reason(), reason);
    }
}

/// The breaker opens while the caller waits for its next attempt, say: the one before may have done something.
#[tokio::test(start_paused = true)]
async fn a_rejection_does_not_hide_that_an_attempt_before_may_have_been_served() {
    for (reasons, told) in [
        (
            &[Reason::TimedOut, Reason::BreakerOpen][..],
            Reason::TimedOut,
        ),
        (
            &[Reason::Overloaded, Reason::BreakerOpen],
            Reason::BreakerOpen,
        ),
        (
            &[Reason::TimedOut, Reason::Draining, Reason::BreakerOpen],
            Reason::TimedOut,
        ),
    ] {
        let calls = Arc::new(AtomicU32::new(0));
        let count = calls.clone();
        let rejecting = service_fn(move |_: Request<RetryBody<Full<Bytes>>>| {
            let call = count.fetch_add(1, Ordering::Relaxed);
            let reason = reasons[call as usize];
            async move { Err::<Response<Full<Bytes>>, BoxError>(Rejection::new(reason, "p").into()) }
        });
        let layer = layer(reasons.len() as u8).classify_by(StandardBoxed);

        let error = layer.layer(rejecting).oneshot(request("GET", &[])).await;

        let error = error.unwrap_err();
        let rejection = error.downcast_ref::<Rejection>().unwrap();
        assert_eq!(rejection.reason(), told, "{reasons:?}");
        assert_eq!(calls.load(Ordering::Relaxed), reasons.len() as u32);
    }
}

/// Fails to become ready some times; then answers.
#[derive(Clone)]
struct Unready(Arc<AtomicU32>);

impl Service<Request<RetryBody<Full<Bytes>>>> for Unready {
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = std::future::Ready<Answered>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let failed = self.0.fetch_add(1, Ordering::Relaxed) < 2;
        Poll::Ready(if failed {
            Err(io::Error::other("not ready"))
        } else {
            Ok(())
        })
    }

    fn call(&mut self, _: Request<RetryBody<Full<Bytes>>>) -> Self::Future {
        std::future::ready(status(200))
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_did_not_become_ready_was_sent_nothing() {
    let client = layer(3).layer(Unready(Arc::default()));

    let response = client.oneshot(request("POST", &[])).await.unwrap();

    assert_eq!(response.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_is_the_callers_unchanged() {
    let last = answer(503, &[("x-which", "last")]);
    let target = Target::that_answers([status(503), reset(), last, status(200)]);

    let response = layer(3).layer(target.clone()).oneshot(get("/")).await;

    let response = response.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["x-which"], "last");
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "answer"
    );
    assert_eq!(target.attempts(), 3, "the first one is one of the three");

    let target = Target::that_answers([status(503), reset()]);
    let error: io::Error = layer(2).layer(target).oneshot(get("/")).await.unwrap_err();
    assert_eq!(error.to_string(), "reset by the test");
}

#[tokio::test(start_paused = true)]
async fn a_classifier_that_panics_ends_the_call_and_not_the_caller() {
    let panics = Panics::of("retry-a:");
    let target = Target::that_answers([status(503)]);
    let broken = |_: Result<&http::response::Parts, &io::Error>| -> CallEnd {
        panic!("retry-a: classifier")
    };

    let client = layer(3).classify_by(broken).layer(target.clone());
    let response = client.oneshot(get("/")).await.unwrap();

    assert_eq!((response.status().as_u16(), target.attempts()), (503, 1));
    assert_eq!(panics.heard().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn hooks_that_panic_have_said_nothing() {
    let panics = Panics::of("retry-b:");
    let target = Target::that_answers([status(503)]);
    let layer = layer(3)
        .repeatable_if(|_| panic!("retry-b: repeatable"))
        .by_target(|_| -> Option<u8> { panic!("retry-b: target") });

    let response = layer
        .layer(target.clone())
        .oneshot(request("POST", &[]))
        .await;

    assert_eq!(
        (response.unwrap().status().as_u16(), target.attempts()),
        (503, 1)
    );
    assert_eq!(panics.heard().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_failure_is_can_be_said_by_a_closure() {
    let cold = |answer: Result<&http::response::Parts, &io::Error>| match answer {
        Ok(head) if head.status == 404 => CallEnd::failed(Failure::Unknown),
        Ok(head) => CallEnd::of_response(head),
        Err(error) => CallEnd::of_error(error),
    };
    let target = Target::that_answers([status(404)]);

    let client = layer(2).classify_by(cold).layer(target.clone());
    let response = client.oneshot(get("/")).await.unwrap();

    assert_eq!((response.status().as_u16(), target.attempts()), (200, 2));
}
