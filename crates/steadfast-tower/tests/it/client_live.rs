//! A policy that changes while calls are made, and what operators hold against it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use steadfast_core::clock;
use steadfast_core::decide::breaker::BreakerState;
use steadfast_tower::guard::{ClientBody, GuardedClient};
use steadfast_tower::policy::Signed;
use steadfast_tower::{CallError, Guard, PolicyDocument, Reason};
use tower::{Layer, Service, ServiceExt, service_fn};

const MILLI: Duration = Duration::from_millis(1);

const POLICY: &str = r#"
[timeouts.quick]
timeout = "500ms"

[breakers.careful]
consecutive = 3
open = "5s"

[retries.once_more]
attempts = 2
budget = "100 %"
first_wait = "10ms"

[hedges.late]
delay = "100ms"
budget = "20 %"

[dependencies.stock]
methods = ["GET"]
timeout = "quick"
breaker = "careful"
retry = "once_more"
hedge = "late"
"#;

fn document(policy: &str) -> PolicyDocument {
    let document = PolicyDocument::new("policy.toml", policy);
    document.unwrap_or_else(|problems| panic!("{problems}"))
}

fn signed() -> Signed {
    Signed::new("ann", "INC-7").unwrap()
}

type Sent = Request<ClientBody<Full<Bytes>>>;

/// Answers with a status, or never.
#[derive(Clone, Default)]
struct Target {
    status: Arc<AtomicU16>,
    calls: Arc<AtomicUsize>,
}

const HANGS: u16 = 0;

impl Target {
    fn that_gives(status: u16) -> Self {
        let target = Self::default();
        target.will_give(status);
        target
    }

    fn will_give(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// How many calls came since the last question.
    fn calls(&self) -> usize {
        self.calls.swap(0, Ordering::Relaxed)
    }

    fn behind(
        &self,
        guard: &Guard,
    ) -> GuardedClient<
        impl Service<Sent, Response = Response<Full<Bytes>>, Error = io::Error, Future: Send>
        + Clone
        + use<>,
    > {
        let target = self.clone();
        let http = service_fn(move |_: Sent| {
            let target = target.clone();
            async move {
                target.calls.fetch_add(1, Ordering::Relaxed);
                match target.status.load(Ordering::Relaxed) {
                    HANGS => std::future::pending().await,
                    status => {
                        let response = Response::builder().status(status);
                        Ok(response.body(Full::default()).unwrap())
                    }
                }
            }
        });
        guard.client("stock").unwrap().layer(http)
    }
}

/// Makes a call; gives its status or why it was rejected, and how long it took.
async fn ask<S, B>(client: &S) -> (Result<u16, Reason>, Duration)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = CallError<io::Error>> + Clone,
{
    let begun = clock::now();
    let request = Request::get("http://stock.example/tea");
    let call = client
        .clone()
        .oneshot(request.body(Full::default()).unwrap());
    let answer = match call.await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) => Err(error.rejection().expect("rejected").reason()),
    };
    (answer, clock::now() - begun)
}

#[tokio::test(start_paused = true)]
async fn a_change_is_in_force_for_the_next_call() {
    let guard = Guard::new(document(POLICY)).unwrap();
    let target = Target::that_gives(HANGS);
    let client = target.behind(&guard);
    let took = async |expect: u64| {
        let (answer, took) = ask(&client).await;
        assert_eq!(answer, Err(Reason::TimedOut));
        let expect = Duration::from_millis(expect);
        assert!(took >= expect && took < expect + 30 * MILLI, "{took:?}");
        target.calls()
    };
    assert_eq!(took(1_000).await, 2, "two attempts");

    let quick = POLICY.replace("500ms", "200ms");
    guard.apply(document(&quick), signed()).unwrap();
    let breakers = guard.breakers("stock").unwrap();
    assert_eq!(breakers.endpoints()[0].breaker.failures_in_a_row, 2);
    // Its second failure trips the breaker, with that there is no other attempt.
    assert_eq!(took(200).await, 1);
    assert_eq!(ask(&client).await.0, Err(Reason::BreakerOpen));

    let without = quick.replace("breaker = \"careful\"\n", "");
    let without = without.replace("[breakers.careful]\nconsecutive = 3\nopen = \"5s\"\n", "");
    let without = without.replace("attempts = 2", "attempts = 1");
    guard.apply(document(&without), signed()).unwrap();
    assert_eq!(took(200).await, 1, "neither breaker nor retry");
    assert!(breakers.endpoints().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_breaker_whose_numbers_change_stays_as_it_is() {
    let guard = Guard::new(document(POLICY)).unwrap();
    let target = Target::that_gives(500);
    let client = target.behind(&guard);
    for _ in 0..3 {
        assert_eq!(ask(&client).await.0, Ok(500));
    }
    assert_eq!(ask(&client).await.0, Err(Reason::BreakerOpen));

    let careless = POLICY.replace("consecutive = 3", "consecutive = 9");
    guard.apply(document(&careless), signed()).unwrap();
    assert_eq!(
        ask(&client).await.0,
        Err(Reason::BreakerOpen),
        "it stays open"
    );

    let shadow = POLICY.replace("consecutive = 3", "consecutive = 3\nshadow = true");
    guard.apply(document(&shadow), signed()).unwrap();
    assert_eq!(ask(&client).await.0, Ok(500), "it only looks on");
    let endpoint = &guard.breakers("stock").unwrap().endpoints()[0];
    assert!(matches!(endpoint.breaker.state, BreakerState::Open { .. }));
    assert!(endpoint.last_trip.is_some());

    guard
        .live()
        .revert(1, signed(), clock::timestamp())
        .unwrap();
    assert_eq!(ask(&client).await.0, Err(Reason::BreakerOpen));
}

#[tokio::test(start_paused = true)]
async fn the_delay_of_a_hedge_changes_and_its_budget_goes_on() {
    let guard = Guard::new(document(POLICY)).unwrap();
    let target = Target::that_gives(200);
    let client = target.behind(&guard);
    for _ in 0..10 {
        assert_eq!(ask(&client).await.0, Ok(200));
    }
    target.will_give(HANGS);
    target.calls();
    assert!(ask(&client).await.0.is_err());
    assert!(target.calls() > 2, "attempts are hedged");

    let later = POLICY.replace("delay = \"100ms\"", "delay = \"50ms\"");
    guard.apply(document(&later), signed()).unwrap();

    assert_eq!(guard.dependencies()[0].hedge_delay, Some(50 * MILLI));
}

#[tokio::test(start_paused = true)]
async fn what_is_held_ends_by_itself_also_where_nothing_but_calls_are_made() {
    let guard = Guard::new(document(POLICY)).unwrap();
    let target = Target::that_gives(HANGS);
    let client = target.behind(&guard);
    let path = "timeouts.quick.timeout".parse().unwrap();
    let minute = Duration::from_secs(60);
    guard.hold(path, "120ms", minute, signed()).unwrap();

    let (answer, took) = ask(&client).await;
    assert_eq!(answer, Err(Reason::TimedOut));
    assert!(took < 300 * MILLI, "two attempts: {took:?}");

    clock::sleep(61 * Duration::from_secs(1)).await;
    let (_, took) = ask(&client).await;
    assert!(took >= 500 * MILLI, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_followed_is_refused_and_all_is_as_it_was() {
    let guard = Guard::new(document(POLICY)).unwrap();
    let target = Target::that_gives(200);
    let client = target.behind(&guard);

    let i = POLICY.find("[dependencies.stock]").unwrap();
    let other = POLICY[i..].replace("dependencies.stock", "dependencies.payments");
    let renamed = format!("{}{other}", &POLICY[..i]);
    let error = guard.apply(document(&renamed), signed()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("dependencies.stock has a client, which would be without a policy"),
        "{error}"
    );
    let many = POLICY.replace("consecutive = 3", "consecutive = 3\nhalf_open = 5000");
    let error = guard.apply(document(&many), signed()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("dependencies.stock: probes 5000"),
        "{error}"
    );
    assert_eq!(guard.armed().revision, 1);

    let more = format!("{POLICY}{other}");
    guard.apply(document(&more), signed()).unwrap();
    assert!(
        guard.client("payments").is_ok(),
        "one that is new can be called"
    );
    assert_eq!(ask(&client).await.0, Ok(200));
}
