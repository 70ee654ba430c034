//! The shop; without a socket of its own, where that is not what it is about.

mod leaving;

use std::path::PathBuf;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::any;
use steadfast::jobs::schedule::Schedules;
use steadfast::jobs::{State, testing};
use steadfast::report::prometheus;
use steadfast::store::{Error, Rows, binds};
use steadfast_shop::Shop;
use tower::ServiceExt;

/// One shop at a time: what a process tells of its guard is one number.
static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A folder for the books of one test.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Self {
        let name = format!("shop-{:016x}", steadfast::rng::bits());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn closed_gateway(folder: &Folder) -> Shop {
    steadfast_shop::open("127.0.0.1:1", &folder.0)
        .await
        .unwrap()
}

/// A gateway that says yes to everything.
async fn open_gateway(folder: &Folder) -> Shop {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let yes = axum::Router::new().fallback(any(async || StatusCode::NO_CONTENT));
    steadfast::spawn("gateway", async { axum::serve(listener, yes).await });
    steadfast_shop::open(address, &folder.0).await.unwrap()
}

async fn order(shop: &Shop, item: &str) -> StatusCode {
    let order = Request::post("/orders").header("content-type", "application/json");
    let order = order.body(Body::from(format!("{{\"item\": \"{item}\"}}")));
    let answer = shop.routes.clone().oneshot(order.unwrap()).await;
    answer.unwrap().status()
}

/// Gives the numbers of a row of the books.
async fn numbers<const N: usize>(shop: &Shop, text: &'static str) -> [i64; N] {
    let rows: Result<Rows, Error> = shop
        .books
        .jobs()
        .store()
        .read(async |mut tx| tx.sql(text, binds![]).await)
        .await;
    let rows = rows.unwrap();
    let row = rows.one().unwrap();
    std::array::from_fn(|at| row.get(at).unwrap())
}

const TEA: &str = "SELECT count FROM stock WHERE item = 'tea'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_from_orders_is_done_once_and_settled_once() {
    let _one = ONE.lock().await;
    let folder = Folder::make();
    let shop = open_gateway(&folder).await;
    let [before] = numbers(&shop, TEA).await;

    for _ in 0..3 {
        assert_eq!(order(&shop, "tea").await, StatusCode::CREATED);
    }
    assert_eq!(order(&shop, "unicorn").await, StatusCode::CONFLICT);
    assert_eq!(order(&shop, "moonlight").await, StatusCode::CONFLICT);
    let schedules = Schedules::new(shop.books.jobs());
    schedules.run_now("settlement").await.unwrap();

    let counts = testing::run_until_empty(shop.worker).await.unwrap();

    let shop = open_gateway(&folder).await;
    // Three jobs of each order and a settlement; an occurrence of its schedule may have come by.
    assert!(counts.of(State::Completed) >= 10, "{counts:?}");
    assert_eq!(counts.of(State::Discarded), 0);
    let shipped = "SELECT count(*), sum(state = 'shipped'), sum(entry IS NOT NULL) FROM orders";
    assert_eq!(numbers(&shop, shipped).await, [3, 3, 3]);
    assert_eq!(
        numbers(&shop, "SELECT sum(cents), count(*) FROM ledger").await,
        [1_350, 1]
    );
    assert_eq!(numbers(&shop, "SELECT count(*) FROM mail").await, [3]);
    assert_eq!(numbers(&shop, TEA).await, [before - 3]);
}

#[tokio::test]
async fn the_policy_has_nothing_doubtful_in_it_and_every_route_is_guarded() {
    let _one = ONE.lock().await;
    let folder = Folder::make();
    let shop = closed_gateway(&folder).await;

    assert_eq!(shop.guard.warnings(), []);
    let armed = shop.guard.armed();
    assert!(armed.is_clean(), "{armed}");
    assert_eq!(armed.routes.len(), 6);
}

#[tokio::test]
async fn what_prometheus_scrapes_is_there_and_past_the_guard() {
    let _one = ONE.lock().await;
    let folder = Folder::make();
    let shop = closed_gateway(&folder).await;
    let request = Request::get("/metrics").body(Body::empty()).unwrap();

    let answer = shop.routes.oneshot(request).await.unwrap();

    assert_eq!(answer.headers()["content-type"], prometheus::CONTENT_TYPE);
    let text = axum::body::to_bytes(answer.into_body(), 1 << 20)
        .await
        .unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    for line in [
        "steadfast_guard_armed 1",
        "steadfast_guard_requests_total 0",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
    }
}
