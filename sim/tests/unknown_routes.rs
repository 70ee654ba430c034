//! A million requests to a million paths that no route has, as scanners send them: what is kept of them is bounded.
//!
//! In a process of its own, whose memory is looked at; and in this package, which is built for speed.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::Full;
use steadfast::report;
use steadfast::tower::{Guard, PolicyDocument};
use tower::{Layer, ServiceExt, service_fn};

/// How many paths there are, a third of them asked for in each of three ways.
const PATHS: usize = 1_000_000;

/// So long that keeping them all would be seen: 256 bytes each, 256 MB.
const PATH_BYTES: usize = 256;

/// How much the process may grow: an eighth of that, and several times what the counts need.
const GROWTH_BYTES_MAX: usize = 32 << 20;

/// How many names there may be of routes: those of the policy, one for what no route has, one for those that are too
/// many, and the 4,096 that are kept of names made at run time.
const NAMES_MAX: usize = 4_096 + 8;

const POLICY: &str = r#"
[admissions.http]
permits = 10
queue = 10
queue_wait = "1s"

[rates.polite]
requests = 1
period = "1h"
burst = 1
per_client = true

[timeouts.page]
timeout = "learn"
timeout_floor = "10ms"
timeout_ceiling = "1s"

[routes."/page"]
timeout = "page"

[routes.unmatched]
timeout = "page"
admission = "http"
quota = "polite"
"#;

/// The memory of this process, in bytes.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let resident = pages.split(' ').nth(1).expect("the second number");
    resident.parse::<usize>().expect("a number") * 4096
}

fn path(number: usize) -> String {
    format!("/wp-{number:0>width$}", width = PATH_BYTES - 4)
}

/// Asks for each path once, and counts the answers with this status.
async fn ask(
    guard: &Guard,
    paths: std::ops::Range<usize>,
    template: fn(&Parts) -> Option<&str>,
    status: u16,
) -> usize {
    let layer = guard.layer(template);
    let service = layer.layer(service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let mut answered = 0;
    for number in paths {
        let request = Request::get(path(number)).body(Full::default()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        answered += usize::from(response.status() == status);
    }
    answered
}

#[tokio::test]
async fn a_million_unknown_routes_are_served_in_bounded_memory() {
    let guard = |policy| Guard::new(PolicyDocument::new("policy.toml", policy).unwrap()).unwrap();
    let (governed, bare) = (guard(POLICY), guard(""));
    fn by_path(request: &Parts) -> Option<&str> {
        Some(request.uri.path())
    }
    // What is made once is there.
    for guard in [&governed, &bare] {
        ask(guard, 0..1_000, |_| None, 200).await;
        ask(guard, 0..1_000, by_path, 200).await;
    }
    let before = resident();

    let (one, two) = (PATHS / 3, PATHS * 2 / 3);
    // Each a client that nobody knows: one of them gets what the quota gives to all, and that is gone.
    assert_eq!(ask(&governed, 0..one, |_| None, 429).await, one);
    assert_eq!(ask(&bare, one..two, |_| None, 200).await, two - one);
    // Whoever names routes by their paths has given the names away.
    assert_eq!(ask(&bare, two..PATHS, by_path, 200).await, PATHS - two);

    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "{grown} bytes");
    let snapshot = report::snapshot();
    let routes: BTreeSet<_> = snapshot
        .metrics()
        .flat_map(|metric| metric.labels.iter())
        .filter(|(name, _)| matches!(*name, "http_route" | "route"))
        .map(|(_, route)| route.as_str().to_owned())
        .collect();
    assert!(routes.len() <= NAMES_MAX, "{} names", routes.len());
    assert!(routes.contains("unmatched"));
    let armed = bare.armed();
    assert_eq!(armed.requests, (PATHS - one + 2_000) as u64);
    assert!(armed.ungoverned.len() <= 64, "{}", armed.ungoverned.len());
}
