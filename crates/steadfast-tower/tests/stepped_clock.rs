//! A guarded service in a process whose wall clock is stepped while it serves, by Debian's `faketime`: nothing of what
//! the guard decides changes.
//!
//! The test starts itself with the clock in its hands: the child writes the steps into the file that the faked clock is
//! read from, and asks its service before and after.
#![cfg(feature = "axum")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get as route;
use steadfast_core::report::{self, Value};
use steadfast_core::{Task, clock, spawn};
use steadfast_tower::policy::Signed;
use steadfast_tower::{Guard, PolicyDocument};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

const FILE: &str = "FAKETIME_TIMESTAMP_FILE";

/// What the clock shows, one after the other, each time standing still: back by 2 s and by an hour, two hours ahead, a
/// day ahead, and back to where it was.
const SHOWN: [&str; 6] = [
    "2030-01-01 12:00:00",
    "2030-01-01 11:59:58",
    "2030-01-01 11:00:00",
    "2030-01-01 13:00:00",
    "2030-01-02 13:00:00",
    "2030-01-01 12:00:00",
];

/// Every time in it is one that the steps are longer than, and that the test is far from taking.
const POLICY: &str = r#"
[admissions.http]
permits = 1
queue = 5
queue_wait = "5m"

[rates.hourly]
requests = 2
period = "1h"
burst = 2

[timeouts.page]
timeout = "20m"

[routes."/wait"]
timeout = "page"
admission = "http"
deadline = "20m"

[routes."/limited"]
timeout = "page"
quota = "hourly"

[drain]
lower = "20m"
core = "20m"
hard = "50m"
"#;

/// Where Debian's package `faketime` has what is loaded into a process: the loader fills `$LIB` in. Its program would say
/// so, too, but fails for a process id that was that of a killed process.
const FAKETIME: &str = "/usr/$LIB/faketime/libfaketime.so.1";

#[test]
fn whatever_the_clock_on_the_wall_does_the_guard_decides_the_same() {
    let name = format!("guard_{:x}", steadfast_core::rng::bits());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("time");
    step(&file, SHOWN[0]);

    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env("LD_PRELOAD", FAKETIME)
        .env(FILE, &file)
        .env("TZ", "UTC")
        .env("FAKETIME_NO_CACHE", "1")
        // The monotonic clock is that of the machine; both names, for older and newer versions.
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();

    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&child.stderr)
    );
    assert!(
        said.contains("all steps"),
        "the child did what it is for: {said}"
    );
}

/// What the child does: nothing, when this runs as a test of its own.
#[tokio::test]
async fn child() {
    let Ok(file) = std::env::var(FILE) else {
        return;
    };
    let file = PathBuf::from(file);
    let policy = PolicyDocument::new("policy.toml", POLICY).unwrap_or_else(|why| panic!("{why}"));
    let guard = Guard::new(policy).unwrap();
    let go_on = Arc::new(Semaphore::new(0));
    let waited = go_on.clone();
    let wait = route(async move || {
        waited.acquire().await.unwrap().forget();
        "waited"
    });
    let routes = Router::new()
        .route("/wait", wait)
        .route("/limited", route(async || "limited"));
    let app = guard.protect(routes).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = guard.serve(listener, app);
    let served = spawn("server", async move { serve.await });
    let ask = |path: &'static str| -> Task<String> {
        spawn("client", async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
            socket.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.unwrap();
            answer
        })
    };

    // The quota is spent, a value is held, one request has the permit, and one waits for it.
    for status in ["200", "200", "429"] {
        assert!(ask("/limited").await.unwrap().contains(status));
    }
    let quarter = Duration::from_secs(15 * 60);
    let path = r#"routes."/limited".tier"#.parse().unwrap();
    let signed = Signed::new("ann", "INC-7").unwrap();
    guard.hold(path, "tier7", quarter, signed).unwrap();
    let (running, waiting) = (ask("/wait"), ask("/wait"));
    until(|| gauge("steadfast_admission_waiting") == 1.0).await;
    let mut shown = Vec::new();

    for time in SHOWN {
        step(&file, time);
        shown.push(clock::timestamp().unix_millis());
        let limited = ask("/limited").await.unwrap();
        assert!(limited.contains("429"), "{time}: {limited}");
        // One that is held now looks at the clock, and leaves those alone that were held before.
        let path = r#"routes."/wait".tier"#.parse().unwrap();
        let signed = Signed::new("ben", "INC-8").unwrap();
        let held = guard.hold(path, "tier3", quarter, signed).unwrap();
        assert_eq!(held.overrides().len(), 2, "{time}");
        assert_eq!(guard.in_force().overrides().len(), 2, "{time}");
        assert!(!running.is_finished() && !waiting.is_finished(), "{time}");
        assert_eq!(gauge("steadfast_admission_waiting"), 1.0, "{time}");
    }

    go_on.add_permits(2);
    for task in [running, waiting] {
        let answer = task.await.unwrap();
        assert!(answer.ends_with("waited"), "{answer}");
    }
    let took = durations();
    assert!((0.0..600.0).contains(&took), "no step is in it: {took} s");
    guard.drain().start();
    step(&file, SHOWN[4]);
    let served = served.await.unwrap();
    assert!(served.drained.is_clean() && served.cut == 0, "{served:?}");
    let steps = shown.windows(2).map(|pair| (pair[1] - pair[0]) / 1000);
    assert_eq!(
        steps.collect::<Vec<_>>(),
        [-2, -3_598, 7_200, 86_400, -90_000],
        "the clock was stepped"
    );
    #[allow(
        clippy::print_stdout,
        reason = "the test that started it looks for this"
    )]
    {
        println!("all steps");
    }
}

fn step(file: &Path, time: &str) {
    std::fs::write(file, time).unwrap();
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

/// The sum of a gauge over all its labels.
fn gauge(name: &str) -> f64 {
    let snapshot = report::snapshot();
    let of = snapshot.metrics().filter(|metric| metric.name == name);
    let values = of.map(|metric| match metric.value {
        Value::Gauge(value) => value,
        _ => f64::NAN,
    });
    values.sum()
}

/// How long all requests took, in seconds, as the metrics have it.
fn durations() -> f64 {
    let snapshot = report::snapshot();
    let name = "http_server_request_duration_seconds";
    let of = snapshot.metrics().filter(|metric| metric.name == name);
    let sums = of.map(|metric| match &metric.value {
        Value::Histogram(buckets) => buckets.sum(),
        _ => f64::NAN,
    });
    sums.sum()
}
