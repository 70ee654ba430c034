//! The service of ids and its client, without a network between.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use serde_json::{Value, json};
use steadfast_core::decide::backoff::Backoff;
use steadfast_core::{Timestamp, clock};
use steadfast_ids::http::{COUNT_MAX, Client, ClientConfig, IdService};
use steadfast_ids::prefetch::PrefetchConfig;
use steadfast_ids::segment::SegmentsConfig;
use steadfast_ids::snowflake::LayoutConfig;
use steadfast_ids::{DenseConfig, Generator, Id, Ids, Layout, LeaseConfig};
use steadfast_store::testing::{Database, Kind};
use steadfast_store::{Config, Fault, Faults};
use tower::{Service, service_fn};

use super::support::{restless, until};

struct Answer {
    status: StatusCode,
    retry_after: Option<String>,
    kind: String,
    body: Value,
}

async fn send(service: &IdService, method: Method, uri: &str) -> Answer {
    let request = Request::builder().method(method).uri(uri).body(()).unwrap();
    let (head, body) = service.clone().call(request).await.unwrap().into_parts();
    let text = |name: &str| {
        let value = head.headers.get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(text("cache-control").unwrap(), "no-store");
    Answer {
        status: head.status,
        retry_after: text("retry-after"),
        kind: text("content-type").unwrap(),
        body: serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap(),
    }
}

async fn post(service: &IdService, uri: &str) -> Answer {
    send(service, Method::POST, uri).await
}

fn service() -> IdService {
    IdService::builder()
        .generator("order", Generator::builder(3).build().unwrap())
        .build()
        .unwrap()
}

#[tokio::test]
async fn one_or_many_are_handed_out_as_text() {
    let service = service();
    let mut last = Id::new(0);
    for uri in ["/order", "order/", "/order?", "/order?a=b"] {
        let answer = post(
            &service,
            &format!("http://ids/{}", uri.trim_start_matches('/')),
        )
        .await;
        let id: Id = answer.body["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(
            (answer.status, answer.kind.as_str()),
            (StatusCode::OK, "application/json")
        );
        assert!(id > last);
        last = id;
    }

    let answer = post(&service, "http://ids/order?count=500").await;

    let ids: Vec<Id> = serde_json::from_value(answer.body["ids"].clone()).unwrap();
    assert_eq!(ids.len(), 500);
    assert!(ids[0] > last && ids.is_sorted());
    assert_eq!(Layout::DEFAULT.decode(ids[0]).unwrap().worker, 3);
}

#[tokio::test]
async fn what_is_wrong_is_a_problem_with_a_type() {
    let service = service();
    let check = async |method: Method, uri: &str, status: u16, name: &str| {
        let answer = send(&service, method, &format!("http://ids{uri}")).await;
        assert_eq!(answer.status.as_u16(), status, "{uri}");
        assert_eq!(answer.kind, "application/problem+json");
        assert_eq!(answer.body["type"], format!("urn:steadfast:problem:{name}"));
        assert_eq!(
            (&answer.body["status"], answer.retry_after),
            (&json!(status), None)
        );
    };

    check(Method::POST, "/", 404, "ids-name").await;
    check(Method::POST, "/order/1", 404, "ids-name").await;
    check(
        Method::POST,
        &format!("/{}", "x".repeat(10_000)),
        404,
        "ids-name",
    )
    .await;
    check(Method::GET, "/order", 405, "ids-method").await;
    check(Method::HEAD, "/order", 405, "ids-method").await;
    for count in [
        "",
        "0",
        "-1",
        "+1",
        "1.5",
        "10001",
        "99999999999999999999",
        "%31",
        "1&count=0",
    ] {
        check(
            Method::POST,
            &format!("/order?count={count}"),
            400,
            "ids-count",
        )
        .await;
    }
    let most = post(&service, &format!("http://ids/order?count={COUNT_MAX}")).await;
    assert!(!most.body["ids"].as_array().unwrap().is_empty());
    for name in ["", "Order", "a/b", &"x".repeat(65), "ä"] {
        let ids = Generator::builder(1).build().unwrap();
        assert!(
            IdService::builder().generator(name, ids).build().is_err(),
            "{name}"
        );
    }
}

steadfast_store::on_every_store! {
    async fn who_is_fenced_or_used_up_says_when_to_come_back(database) {
        let faults = Faults::new();
        let store = database.open_with(Config { faults: faults.clone(), ..database.config() }).await;
        let ids = Ids::open(&store).await.unwrap();
        let lease = LeaseConfig { lease: Duration::from_millis(300), ..restless() };
        let held = ids.lease(lease).await.unwrap();
        let segments = SegmentsConfig { step_max: 100, ..SegmentsConfig::default() };
        let dense = ids.segments("invoice", DenseConfig { segments, ..DenseConfig::default() }).await.unwrap();
        let service = IdService::builder().generator("order", held.clone()).segments("invoice", dense).build().unwrap();

        for name in ["worker_renew", "worker_take", "segment_take"] {
            faults.on_name(name, Fault::Before);
        }
        for (name, problem) in [("order", "ids-fenced"), ("invoice", "ids-used-up")] {
            for count in ["", "?count=10"] {
                let answer = until(async || {
                    let answer = post(&service, &format!("http://ids/{name}{count}")).await;
                    (answer.status != StatusCode::OK).then_some(answer)
                })
                .await;
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
                assert_eq!(answer.body["type"], format!("urn:steadfast:problem:{problem}"));
                assert!(answer.retry_after.unwrap().parse::<u64>().unwrap() >= 1);
                assert!(answer.body["retry_after"].as_f64().unwrap() > 0.0);
            }
        }
        // And then there are some again.
        faults.clear();
        for name in ["order", "invoice"] {
            until(async || (post(&service, &format!("http://ids/{name}")).await.status == StatusCode::OK).then_some(())).await;
        }
        // One that has given its worker id back is about to go: others are there.
        held.release().await;
        let going = post(&service, "http://ids/order").await;
        assert_eq!(going.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(going.retry_after.as_deref(), Some("1"));
    }
}

const TIMEOUT: Duration = Duration::from_secs(30);

fn config(prefetch: PrefetchConfig) -> ClientConfig {
    ClientConfig {
        prefetch,
        ..ClientConfig::new("http://ids/order".parse().unwrap(), TIMEOUT)
    }
}

fn quick() -> PrefetchConfig {
    PrefetchConfig {
        backoff: Backoff::new(Duration::from_millis(1), Duration::from_millis(10)).unwrap(),
        ..PrefetchConfig::default()
    }
}

#[tokio::test]
async fn a_client_asks_seldom_and_gives_rising_ids() {
    let (service, asked) = (service(), Arc::new(AtomicU64::new(0)));
    let transport = {
        let asked = asked.clone();
        service_fn(move |request: Request<Empty<Bytes>>| {
            asked.fetch_add(1, Ordering::Relaxed);
            service.clone().call(request)
        })
    };
    let ids = Client::new(transport, config(quick())).unwrap();

    let mut taken = Vec::new();
    for _ in 0..10_000 {
        taken.push(ids.next().await.unwrap());
    }

    assert!(taken.is_sorted_by(|one, next| one < next));
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked < 500, "{asked} requests");
}

#[tokio::test]
async fn while_the_service_is_away_the_stock_is_served_and_then_there_is_an_error_at_once() {
    let away = Arc::new(AtomicU64::new(0));
    let (service, seen) = (service(), away.clone());
    let transport = service_fn(move |request: Request<Empty<Bytes>>| {
        let (mut service, away) = (service.clone(), seen.load(Ordering::Relaxed));
        async move {
            match away {
                0 => Ok(service.call(request).await.unwrap()),
                1 => Err(std::io::Error::other("nobody is there")),
                _ => {
                    let mut answer = Response::new(Full::new(Bytes::from_static(
                        b"{\"type\":\"urn:steadfast:problem:ids-fenced\",\"detail\":\"the lease is over\"}",
                    )));
                    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    answer.headers_mut().insert("retry-after", 7.into());
                    Ok(answer)
                }
            }
        }
    });
    let ids = Client::new(transport, config(quick())).unwrap();
    let mut made = HashSet::from([ids.next().await.unwrap()]);

    away.store(1, Ordering::Relaxed);
    let error = loop {
        match ids.next().await {
            Ok(id) => assert!(made.insert(id)),
            Err(error) => break error,
        }
    };
    assert_eq!(ids.stock(), 0, "to the last id");
    assert_eq!(error.to_string(), "the service of ids cannot be reached");
    assert!(error.retry_after().unwrap() <= Duration::from_millis(10));

    // It says when to come back, and is asked then.
    away.store(2, Ordering::Relaxed);
    let error = until(async || {
        ids.next()
            .await
            .err()
            .filter(|error| error.status().is_some())
    })
    .await;
    assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert!(error.to_string().contains("the lease is over"), "{error}");
    assert!(error.retry_after().unwrap() > Duration::from_secs(1) && !error.is_end_of_life());
}

#[tokio::test]
async fn answers_that_are_none_are_errors_and_no_ids() {
    let long = format!("{{\"ids\":[\"{}\"]}}", "1".repeat(2 << 20));
    let many: Vec<String> = (0..11).map(|id| format!("\"{id}\"")).collect();
    let many = format!("{{\"ids\":[{}]}}", many.join(","));
    for (body, part) in [
        ("", "EOF"),
        ("{}", "missing field"),
        ("{\"ids\":[]}", "0 ids, and 10 were wanted"),
        ("{\"ids\":[-1]}", "not negative"),
        ("{\"ids\":[\"x\"]}", "decimal digits"),
        ("[[[[[[", "invalid"),
        ("{\"ids\":[\"1\",\"1\"]}", "its ids do not rise"),
        (&many, "11 ids, and 10 were wanted"),
        (&long, "cannot be reached"),
    ] {
        let body = body.to_owned();
        let transport = service_fn(move |_: Request<Empty<Bytes>>| {
            let answer = Response::new(Full::new(Bytes::from(body.clone())));
            async move { Ok::<_, Infallible>(answer) }
        });
        let ids = Client::new(transport, config(quick())).unwrap();

        let error = ids.next().await.unwrap_err();

        assert!(error.to_string().contains(part), "{part}: {error}");
        assert!(error.retry_after().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_is_waited_for_no_longer_than_was_said() {
    let transport = service_fn(|_: Request<Empty<Bytes>>| async {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>().await
    });
    let ids = Client::new(transport, config(quick())).unwrap();
    let start = clock::now();

    let error = ids.next().await.unwrap_err();

    assert_eq!(
        error.to_string(),
        "the service of ids has not answered within 30s"
    );
    assert!(clock::now() - start < TIMEOUT * 2);
    assert!(error.retry_after().is_some(), "it passes");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_says_to_come_back_in_years_is_asked_again_within_a_minute() {
    let (service, asked) = (service(), Arc::new(AtomicU64::new(0)));
    let transport = service_fn(move |request: Request<Empty<Bytes>>| {
        let (mut service, first) = (service.clone(), asked.fetch_add(1, Ordering::Relaxed) == 0);
        async move {
            if !first {
                return service.call(request).await;
            }
            let mut answer = Response::new(Full::new(Bytes::from_static(
                b"{\"detail\":\"over\\nand \\u001b[2Jout\"}",
            )));
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            answer.headers_mut().insert("retry-after", u64::MAX.into());
            Ok(answer)
        }
    });
    let ids = Client::new(transport, config(quick())).unwrap();

    let error = ids.next().await.unwrap_err();

    let wait = error.retry_after().unwrap();
    assert!(wait <= Duration::from_secs(60), "{wait:?}");
    assert!(error.to_string().ends_with(": over and  [2Jout"), "{error}");
    clock::sleep(wait).await;
    until(async || ids.next().await.ok()).await;
}

#[tokio::test]
async fn an_address_with_a_query_keeps_it() {
    let service = service();
    let transport = service_fn(move |request: Request<Empty<Bytes>>| {
        assert_eq!(request.uri().query(), Some("tenant=7&count=10"));
        service.clone().call(request)
    });
    let uri = "http://ids/order?tenant=7".parse().unwrap();
    let ids = Client::new(
        transport,
        ClientConfig {
            uri,
            ..config(quick())
        },
    )
    .unwrap();

    assert!(ids.next().await.is_ok());
}

#[tokio::test]
async fn what_is_handed_out_is_what_the_lease_makes() {
    let database = Database::make(Kind::Sqlite).await;
    let ids = Ids::open(&database.open().await).await.unwrap();
    let held = ids.lease(restless()).await.unwrap();
    let service = IdService::builder()
        .generator("order", held.clone())
        .build()
        .unwrap();

    let answer = until(async || {
        let answer = post(&service, "http://ids/order").await;
        (answer.status == StatusCode::OK).then_some(answer)
    })
    .await;

    let id: Id = answer.body["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(Layout::DEFAULT.decode(id).unwrap().worker, held.worker());
}

#[tokio::test]
async fn the_end_of_a_layout_is_gone_and_not_to_be_asked_for_again() {
    let layout = Layout::new(LayoutConfig {
        time_bits: 20,
        worker_bits: 21,
        sequence_bits: 22,
        epoch: Timestamp::from_unix_millis(clock::timestamp().unix_millis() - (1 << 20) + 300),
        ..LayoutConfig::default()
    })
    .unwrap();
    // A moment is left; a machine that takes longer is told so at the start.
    let Ok(ids) = Generator::builder(1).layout(layout).build() else {
        return;
    };
    let service = IdService::builder()
        .generator("order", ids)
        .build()
        .unwrap();

    let gone = until(async || {
        let answer = post(&service, "http://ids/order").await;
        (answer.status != StatusCode::OK).then_some(answer)
    })
    .await;

    assert_eq!((gone.status, gone.retry_after), (StatusCode::GONE, None));
    assert_eq!(gone.body["type"], "urn:steadfast:problem:ids-end-of-life");
}

#[tokio::test]
async fn the_end_of_a_tag_is_gone_and_not_to_be_asked_for_again() {
    let database = Database::make(Kind::Sqlite).await;
    let ids = Ids::open(&database.open().await).await.unwrap();
    let config = DenseConfig {
        first: i64::MAX as u64 - 150,
        ..DenseConfig::default()
    };
    let dense = ids.segments("invoice", config).await.unwrap();
    let service = IdService::builder()
        .segments("invoice", dense)
        .build()
        .unwrap();

    let gone = until(async || {
        let answer = post(&service, "http://ids/invoice?count=100").await;
        (answer.status != StatusCode::OK).then_some(answer)
    })
    .await;

    assert_eq!((gone.status, gone.retry_after), (StatusCode::GONE, None));
    assert_eq!(gone.body["type"], "urn:steadfast:problem:ids-end-of-life");
}
