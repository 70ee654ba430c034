//! Each of three services retries, and none has a budget.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use steadfast::decide::backoff::Backoff;
use steadfast::decide::budget::{RetryBudget, RetryRule};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Side, seen};

const MS: Duration = Duration::from_millis(1);

type Answered = Result<Response<Full<Bytes>>, Infallible>;

/// A dependency that is down, and how often it was called.
fn down<B: Send + 'static>(
    calls: &Arc<AtomicUsize>,
) -> impl Service<
    Request<B>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future = std::future::Ready<Answered>,
> + Clone
+ Send
+ 'static {
    let calls = calls.clone();
    service_fn(move |_: Request<B>| {
        calls.fetch_add(1, Ordering::Relaxed);
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        std::future::ready(Ok(answer))
    })
}

fn get() -> Request<Full<Bytes>> {
    Request::get("http://stock.example/items/7")
        .body(Full::default())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_usual_assembly_fails() {
    use tower_resilience::retry::RetryLayer;

    let retry = || -> RetryLayer<Request<Full<Bytes>>, Response<Full<Bytes>>, Infallible> {
        RetryLayer::builder()
            .max_attempts(3)
            .fixed_backoff(MS)
            .retry_on_response(|response: &Response<Full<Bytes>>| {
                response.status().is_server_error()
            })
            .build()
    };
    let calls = Arc::new(AtomicUsize::new(0));
    let one = ServiceBuilder::new().layer(retry()).service(down(&calls));
    let chain = ServiceBuilder::new()
        .layer(retry())
        .layer(retry())
        .layer(retry())
        .service(down(&calls));

    for _ in 0..100 {
        one.clone().oneshot(get()).await.unwrap();
    }
    let of_one = calls.swap(0, Ordering::Relaxed);
    chain.oneshot(get()).await.unwrap();
    let of_chain = calls.swap(0, Ordering::Relaxed);

    assert_eq!((of_one, of_chain), (300, 27));
    seen(
        "t14",
        Side::Usual,
        "100 calls were 300 attempts on what was down; one call through three services was 27",
    );
}

#[tokio::test(start_paused = true)]
async fn ours_holds() {
    use steadfast::tower::RetryLayer;

    let retry = |name: &'static str| {
        RetryLayer::new(
            name,
            RetryRule::new(3).unwrap(),
            Backoff::new(MS, 10 * MS).unwrap(),
            RetryBudget::new(0.1).unwrap(),
        )
    };
    let calls = Arc::new(AtomicUsize::new(0));
    let one = ServiceBuilder::new()
        .layer(retry("t14-one"))
        .service(down(&calls));
    let chain = ServiceBuilder::new()
        .layer(retry("t14-a"))
        .layer(retry("t14-b"))
        .layer(retry("t14-c"))
        .service(down(&calls));

    chain.oneshot(get()).await.unwrap();
    let of_chain = calls.swap(0, Ordering::Relaxed);
    for _ in 0..100 {
        one.clone().oneshot(get()).await.unwrap();
    }
    let of_one = calls.swap(0, Ordering::Relaxed);

    assert_eq!((of_one, of_chain), (101, 2));
    seen(
        "t14",
        Side::Ours,
        "100 calls were 101 attempts on what was down; one call through three services was 2",
    );
}
