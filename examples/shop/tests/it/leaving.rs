//! Customers who leave in the middle of a payment: the money that was put aside for them is released.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::Method;
use axum::middleware::{Next, from_fn};
use serde_json::Value;
use steadfast::decide::breaker::Override;
use steadfast::jobs::{Filter, Options, Worker};
use steadfast::shutdown::Limits;
use steadfast::testing::fault::{Ended, Fault, Run, sweep};
use steadfast::tower::policy::Signed;
use steadfast::{Shutdown, clock};
use steadfast_shop::gateway;
use steadfast_shop::work::inventory::CountShelves;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// The real gateway, which takes its time to be told that money is paid.
struct Gateway {
    address: SocketAddr,
    /// One permit for each time that it was asked to pay.
    asked: Arc<Semaphore>,
    /// One permit for each payment that may go on.
    go_on: Arc<Semaphore>,
}

impl Gateway {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Semaphore::new(0));
        let go_on = Arc::new(Semaphore::new(0));
        let (told, waits) = (asked.clone(), go_on.clone());
        let slow = from_fn(move |request: Request, next: Next| {
            let (told, waits) = (told.clone(), waits.clone());
            async move {
                if request.method() == Method::POST {
                    told.add_permits(1);
                    waits.acquire().await.unwrap().forget();
                }
                next.run(request).await
            }
        });
        let routes = gateway::router().layer(slow);
        steadfast::spawn("gateway", async { axum::serve(listener, routes).await });
        Self {
            address,
            asked,
            go_on,
        }
    }

    /// What its books say.
    async fn books(&self) -> Value {
        let told = self.send("GET /holds").await;
        let (_, body) = told.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    async fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let ask = format!(
            "{request} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).await.unwrap();
        told
    }

    /// Waits until nothing is put aside, and gives how many holds were released and paid.
    async fn balanced(&self) -> (u64, usize) {
        let since = clock::now();
        loop {
            let books = self.books().await;
            if books["open"] == 0 {
                let paid = books["paid"].as_array().unwrap().len();
                return (books["released"].as_u64().unwrap(), paid);
            }
            assert!(
                clock::now() - since < PATIENCE,
                "money stays aside: {books}"
            );
            clock::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn open(gateway: &Gateway, folder: &Folder) -> Shop {
    let shop = steadfast_shop::open(gateway.address, &folder.0).await;
    shop.unwrap()
}

/// Has a worker of the shop at work until the end of the test.
fn work(worker: Worker) {
    let shutdown = Shutdown::new(Limits::default());
    steadfast::spawn("worker", async move {
        worker.run(&shutdown).await;
    });
}

async fn pay(shop: &Shop) -> StatusCode {
    let request = Request::post("/payments").body(Body::empty()).unwrap();
    let answer = shop.routes.clone().oneshot(request).await;
    answer.unwrap().status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_in_the_middle_of_a_payment_leaves_no_money_aside() {
    let _one = ONE.lock().await;
    let folder = Folder::make();
    let gateway = Gateway::open().await;
    let shop = open(&gateway, &folder).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (guard, routes) = (shop.guard, shop.routes);
    steadfast::spawn("shop", async move { guard.serve(listener, routes).await });
    work(shop.worker);

    let mut client = TcpStream::connect(address).await.unwrap();
    let request = "POST /payments HTTP/1.1\r\nhost: shop\r\ncontent-length: 0\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let asked = steadfast::clock::timeout(PATIENCE, gateway.asked.acquire()).await;
    asked.unwrap().unwrap().forget();
    assert_eq!(
        gateway.books().await["open"],
        1,
        "put aside, and not paid yet"
    );
    drop(client);

    assert_eq!(gateway.balanced().await, (1, 0));
}

#[tokio::test]
async fn nothing_that_ends_a_payment_anywhere_in_it_leaves_money_aside() {
    let _one = ONE.lock().await;
    let folder = Folder::make();
    let gateway = Gateway::open().await;
    gateway.go_on.add_permits(10_000);
    let shop = open(&gateway, &folder).await;
    work(open(&gateway, &folder).await.worker);

    for fault in [Fault::Drop, Fault::Panic] {
        let before = gateway.balanced().await;
        let mut created = 0;
        let swept = sweep(
            fault,
            async || pay(&shop).await,
            |run: Run<_>| {
                assert!(run.leaks.is_empty(), "{run:?}");
                created += usize::from(matches!(run.ended, Ended::Returned(StatusCode::CREATED)));
            },
        )
        .await;

        // The database is waited for, and the gateway twice.
        assert!(swept.points.len() >= 3, "{swept:?}");
        let (released, paid) = gateway.balanced().await;
        assert!(
            released > before.0,
            "{fault:?} came while money was put aside"
        );
        assert!(paid - before.1 >= created && created >= 1, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_that_a_gateway_in_trouble_does_not_give_back_is_released_once_it_is_well_again() {
    let _one = ONE.lock().await;
    let folder = Folder::make();
    let gateway = Gateway::open().await;
    let shop = open(&gateway, &folder).await;
    let routes = shop.routes.clone();
    let paying = steadfast::spawn("customer", async move {
        let request = Request::post("/payments").body(Body::empty()).unwrap();
        routes.oneshot(request).await.unwrap().status()
    });
    gateway.asked.acquire().await.unwrap().forget();
    // What was put aside is there, and from here on nothing goes any more.
    assert!(gateway.send("PUT /mood/failing").await.contains(" 200 "));
    gateway.go_on.add_permits(10_000);
    assert_eq!(paying.await.unwrap(), StatusCode::BAD_GATEWAY);
    let jobs = shop.books.jobs().clone();
    let of_kind = async |kind: &str| {
        let filter = Filter::live().kind(kind);
        let page = jobs.list(&filter, 10).await.unwrap();
        page.jobs.into_iter().next()
    };
    until("somebody is to release it", async || {
        of_kind("release_hold").await.is_some()
    })
    .await;
    drop(shop);

    // Of the next one the gateway is left alone, and no attempt is spent on it.
    let next = open(&gateway, &folder).await;
    let breakers = next.guard.breakers("payments").unwrap();
    let ann = Signed::new("ann", "they asked us to stop").unwrap();
    assert_eq!(pay(&next).await, StatusCode::BAD_GATEWAY);
    breakers
        .force(Override::Open, 10 * PATIENCE, ann.clone())
        .unwrap();
    let count = CountShelves {
        room: "a".into(),
        shelves: 0,
    };
    jobs.enqueue(&count, Options::new()).await.unwrap();
    work(next.worker);
    until("the worker is at work", async || {
        of_kind("count_shelves").await.is_none()
    })
    .await;
    let waits = of_kind("release_hold").await.unwrap();
    assert_eq!((waits.state, waits.attempt), (State::Pending, 0));
    assert!(gateway.send("PUT /mood/well").await.contains(" 200 "));
    assert!(breakers.release(&ann));

    assert_eq!(gateway.balanced().await.0, 2);
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let since = clock::now();
    while !is_so().await {
        assert!(clock::now() - since < PATIENCE, "not in time: {what}");
        clock::sleep(Duration::from_millis(10)).await;
    }
}
