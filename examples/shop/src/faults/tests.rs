//! Each fault as a client meets it, in a router of two routes.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::routing::get;
use steadfast::{clock, recover_async};
use tower::ServiceExt;

use super::{Fault, Injection, around, force, inject};

static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// One at a time, since a process has one set of faults; and without those of the one before, which ended by a clock of its own.
async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    let one = ONE.lock().await;
    force::end_all();
    one
}

fn hurt(at: &str, fault: Fault, share: f64, lasts_ms: u64) {
    force::arm(true);
    let at = at.to_owned();
    inject(Injection {
        at,
        fault,
        share,
        lasts_ms,
    })
    .unwrap();
}

async fn ask(path: &'static str) -> axum::response::Response {
    let routes = Router::new()
        .route("/tea/{n}", get(async || "tea"))
        .route("/calm", get(async || "calm"));
    let request = Request::get(path).body(Body::empty()).unwrap();
    around(routes).oneshot(request).await.unwrap()
}

async fn body(answer: axum::response::Response) -> Result<String, axum::Error> {
    let bytes = to_bytes(answer.into_body(), 1 << 16).await?;
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn each_fault_meets_its_route_alone_and_ends_by_itself() {
    let _one = alone().await;
    hurt("GET /tea/{n}", Fault::Error, 1.0, 1_000);

    let (hurt, calm) = (ask("/tea/1").await, ask("/calm").await);
    clock::sleep(Duration::from_millis(1_001)).await;
    let after = ask("/tea/1").await;

    assert_eq!(hurt.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(calm.status(), StatusCode::OK);
    assert_eq!(after.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_goes_on_when_the_fault_ends_and_latency_stays_within_its_jitter() {
    let _one = alone().await;
    let took = async || {
        let begun = clock::now();
        assert_eq!(ask("/tea/1").await.status(), StatusCode::OK);
        (clock::now() - begun).as_millis()
    };

    hurt("GET /tea/{n}", Fault::Hang, 1.0, 5_000);
    let hung = took().await;
    let latency = Fault::Latency {
        ms: 300,
        jitter_ms: 100,
    };
    hurt("*", latency, 1.0, 60_000);
    let mut held_up = Vec::new();
    for _ in 0..20 {
        held_up.push(took().await);
    }

    assert!((5_000..5_010).contains(&hung), "{hung}");
    assert!(
        held_up.iter().all(|ms| (200..=402).contains(ms)),
        "{held_up:?}"
    );
    assert!(held_up.iter().any(|ms| *ms != held_up[0]), "{held_up:?}");
}

#[tokio::test]
async fn panics_and_broken_bodies_come_where_they_are_said_to() {
    let _one = alone().await;

    hurt("GET /tea/{n}", Fault::PanicHandler, 1.0, 60_000);
    let handler = recover_async(ask("/tea/1")).await;
    hurt("GET /tea/{n}", Fault::PanicBody, 1.0, 60_000);
    let answer = ask("/tea/1").await;
    let status = answer.status();
    let within = recover_async(body(answer)).await;
    hurt("GET /tea/{n}", Fault::Drop, 1.0, 60_000);
    let dropped = body(ask("/tea/1").await).await;
    hurt("GET /tea/{n}", Fault::PanicTask, 1.0, 60_000);
    let beside = body(ask("/tea/1").await).await;

    let handler = handler.map(|answer| answer.status());
    assert_eq!(
        handler.unwrap_err().message(),
        "a fault: the handler panics"
    );
    assert_eq!(status, StatusCode::OK);
    assert_eq!(within.unwrap_err().message(), "a fault: the body panics");
    assert!(dropped.is_err());
    assert_eq!(beside.unwrap(), "tea");
}

#[tokio::test(start_paused = true)]
async fn a_place_in_the_middle_of_work_holds_up_for_as_long_as_the_fault_lasts() {
    let _one = alone().await;
    hurt("settlement", Fault::Hang, 1.0, 2_000);

    let begun = clock::now();
    super::reach("elsewhere").await;
    let elsewhere = clock::now() - begun;
    super::reach("settlement").await;
    let there = clock::now() - begun;

    assert_eq!(elsewhere, Duration::ZERO);
    assert!(there >= Duration::from_millis(2_000), "{there:?}");
}

#[test]
fn a_process_that_no_drill_has_started_cannot_be_armed() {
    // The parent of a test does not say that it is a drill; what an armed one does is tried in `drill`.
    assert!(super::arm(true).is_err());
}
