//! Policies that only look on.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get as route;
use http::Request;
use steadfast_core::report::{self, Value};
use steadfast_core::{WaitGroup, clock, context};
use steadfast_tower::policy::Signed;
use steadfast_tower::{Guard, PolicyDocument};
use tower::ServiceExt;

use crate::support::Lines;

const MS: Duration = Duration::from_millis(1);

/// How often a policy has rejected, or would have.
fn counted(metric: &str, policy: &str, reason: &str) -> u64 {
    let snapshot = report::snapshot();
    let found = snapshot.metrics().filter(|counter| {
        let of = |label: &str, value: &str| {
            let found = counter.labels.iter().find(|(name, _)| *name == label);
            found.is_some_and(|(_, found)| found.as_str() == value)
        };
        counter.name == metric && of("policy", policy) && of("reason", reason)
    });
    let counts = found.map(|counter| match &counter.value {
        Value::Counter(count) => *count,
        other => panic!("{other:?}"),
    });
    counts.sum()
}

fn shadow(policy: &str, reason: &str) -> u64 {
    counted("steadfast_shadow_rejections_total", policy, reason)
}

fn enforced(policy: &str, reason: &str) -> u64 {
    counted("steadfast_rejections_total", policy, reason)
}

fn document(text: &str) -> PolicyDocument {
    PolicyDocument::new("policy.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

async fn guarded(policy: &str, work: Duration) -> (Guard, Router) {
    let guard = Guard::new(document(policy)).unwrap();
    let handler = route(async move || {
        clock::sleep(work).await;
        let left = context::current().time_left();
        format!("{}", left.is_some())
    });
    let app = guard.protect(Router::new().route("/page", handler)).await;
    (guard, app.unwrap())
}

async fn ask(app: &Router) -> Response {
    let request = Request::get("/page").body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_rate_in_shadow_mode_counts_and_tells_and_lets_everybody_pass() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let policy = r#"
        [timeouts.page]
        timeout = "1s"
        [rates.shadowed]
        requests = 1
        period = "1m"
        burst = 1
        shadow = true
        [routes."/page"]
        timeout = "page"
        quota = "shadowed"
    "#;
    let (guard, app) = guarded(policy, MS).await;

    for _ in 0..3 {
        let response = ask(&app).await;
        assert_eq!(response.status(), 200);
        assert!(
            !response.headers().contains_key("ratelimit"),
            "clients would obey it"
        );
    }

    assert_eq!(shadow("shadowed", "rate-limited"), 2);
    assert_eq!(enforced("shadowed", "rate-limited"), 0);
    let told = lines.with("would have rejected: ");
    assert_eq!(
        told.len(),
        1,
        "the first at once, then one a second: {told:?}"
    );
    assert!(
        told[0].contains("shadow=true") && told[0].contains("steadfast::reject"),
        "{told:?}"
    );
    let armed = guard.armed();
    assert_eq!(armed.shadowed, ["rates.shadowed"]);
    assert!(armed.to_string().contains("in shadow mode"), "{armed}");
    let explained = guard.in_force().explain_route("/page").unwrap().to_string();
    assert!(
        explained.contains("shadow") && explained.contains("true"),
        "{explained}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rejection_is_counted_for_the_tier_of_its_request() {
    let policy = r#"
        [timeouts.page]
        timeout = "1s"
        [rates.by_tier]
        requests = 1
        period = "1m"
        burst = 1
        [trust]
        clients = "inside"
        [routes."/page"]
        timeout = "page"
        quota = "by_tier"
    "#;
    let (_, app) = guarded(policy, MS).await;
    assert_eq!(ask(&app).await.status(), 200);

    for tier in ["0", "3", "3"] {
        let request = Request::get("/page").header("x-steadfast-tier", tier);
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap());
        assert_eq!(response.await.unwrap().status(), 429);
    }

    let snapshot = report::snapshot();
    let mut counts: Vec<_> = snapshot
        .metrics()
        .filter(|metric| metric.name == "steadfast_rejections_total")
        .filter(|metric| metric.labels.iter().any(|(_, of)| of.as_str() == "by_tier"))
        .map(|metric| {
            let tier = metric.labels.iter().find(|(name, _)| *name == "tier");
            (tier.unwrap().1.as_str().to_owned(), metric.value.clone())
        })
        .collect();
    counts.sort_by(|one, other| one.0.cmp(&other.0));
    let count = |tier: &str, count| (tier.to_owned(), Value::Counter(count));
    assert_eq!(counts, [count("0", 1), count("3", 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_in_shadow_mode_cuts_nothing_off_and_sets_no_deadline() {
    let policy = r#"
        [timeouts.shadowed]
        timeout = "50ms"
        body_idle = "10ms"
        shadow = true
        [routes."/page"]
        timeout = "shadowed"
    "#;
    let (_, app) = guarded(policy, 100 * MS).await;

    let response = ask(&app).await;

    assert_eq!(response.status(), 200);
    let body = axum::body::to_bytes(response.into_body(), 100)
        .await
        .unwrap();
    assert_eq!(body, "false");
    assert_eq!(shadow("/page", "timed-out"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_client_holds_also_where_the_timeout_looks_on() {
    let policy = r#"
        [timeouts.lenient]
        timeout = "1s"
        shadow = true
        [routes."/page"]
        timeout = "lenient"
    "#;
    let (_, app) = guarded(policy, 100 * MS).await;
    let request = Request::get("/page").header("x-steadfast-timeout-ms", "20");

    let response = app
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();

    assert_eq!(response.status(), 504);
}

const ADMISSION: &str = r#"
    [timeouts.page]
    timeout = "10s"
    [admissions.NAME]
    permits = 2
    queue = 2
    queue_wait = "150ms"
    shadow = SHADOW
    [routes."/page"]
    timeout = "page"
    admission = "NAME"
"#;

/// Sends so many requests at once, each of 100 ms; gives how many were served, and how long it took.
async fn storm(name: &str, shadow: bool, requests: usize) -> (usize, Duration) {
    let policy = ADMISSION
        .replace("NAME", name)
        .replace("SHADOW", &shadow.to_string());
    let (_, app) = guarded(&policy, 100 * MS).await;
    let (began, clients) = (clock::now(), WaitGroup::new());
    let served = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for _ in 0..requests {
        let (app, served) = (app.clone(), served.clone());
        clients.spawn("client", async move {
            let response = ask(&app).await;
            let ok = usize::from(response.status() == 200);
            let _ = axum::body::to_bytes(response.into_body(), 1_000).await;
            served.fetch_add(ok, std::sync::atomic::Ordering::SeqCst);
        });
    }
    clients.wait().await;
    let took = clock::now() - began;
    // Their shadows take as long as they would have.
    clock::sleep(Duration::from_secs(2)).await;
    (served.load(std::sync::atomic::Ordering::SeqCst), took)
}

#[tokio::test(start_paused = true)]
async fn an_admission_in_shadow_mode_counts_what_it_would_have_rejected_in_force() {
    let reasons = [
        "overloaded",
        "waited-too-long",
        "displaced",
        "cannot-finish",
    ];

    let (in_shadow, took) = storm("looks-on", true, 20).await;
    let (in_force, _) = storm("acts", false, 20).await;

    assert_eq!(in_shadow, 20, "everybody is served");
    assert!(took < 110 * MS, "and at once: {took:?}");
    assert_eq!(in_force, 4, "two at once, and two after them");
    for reason in reasons {
        assert_eq!(
            shadow("looks-on", reason),
            enforced("acts", reason),
            "{reason}"
        );
        assert_eq!(enforced("looks-on", reason), 0);
    }
    let all: u64 = reasons
        .iter()
        .map(|reason| shadow("looks-on", reason))
        .sum();
    assert_eq!(all, 16);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_takes_its_shadow_along() {
    let policy = ADMISSION.replace("NAME", "left").replace("SHADOW", "true");
    let (_, app) = guarded(&policy, 100 * MS).await;
    {
        let mut asked: Vec<_> = (0..4).map(|_| Box::pin(ask(&app))).collect();
        for one in &mut asked {
            assert!(crate::support::poll_once(one.as_mut()).await.is_none());
        }
        clock::sleep(MS).await;
    }
    clock::sleep(MS).await;

    for _ in 0..2 {
        assert_eq!(ask(&app).await.status(), 200);
    }

    assert_eq!(
        shadow("left", "overloaded") + shadow("left", "waited-too-long"),
        0
    );
}

#[tokio::test(start_paused = true)]
async fn a_shadow_is_put_in_force_by_a_change_and_knows_what_it_has_seen() {
    let policy = r#"
        [timeouts.page]
        timeout = "1s"
        [rates.growing]
        requests = 1
        period = "1m"
        burst = 2
        shadow = true
        [routes."/page"]
        timeout = "page"
        quota = "growing"
    "#;
    let (guard, app) = guarded(policy, MS).await;
    for _ in 0..3 {
        assert_eq!(ask(&app).await.status(), 200);
    }

    let acts = document(&policy.replace("shadow = true", "shadow = false"));
    guard
        .apply(acts, Signed::new("ann", "what it counts is right").unwrap())
        .unwrap();

    assert_eq!(
        ask(&app).await.status(),
        429,
        "the quota was used up while it looked on"
    );
    assert!(guard.armed().shadowed.is_empty());
}
