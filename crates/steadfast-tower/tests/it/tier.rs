use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use steadfast_core::context::{self, Context, Tier};
use steadfast_tower::tier::TIER;
use steadfast_tower::{PropagateTierLayer, RouteLayer, TierLayer, TraceIdLayer, Trust};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Lines, get, keeps_the_contract};

fn by_route(trust: Trust) -> TierLayer {
    TierLayer::by_route(
        trust,
        [
            ("/orders", Tier::CORE),
            ("/recommendations", Tier::new(5).unwrap()),
        ],
    )
}

/// Gives the number of the tier in a task of the handler, and the headers that the handler saw.
async fn judged(trust: Trust, path: &str, said: &[&str]) -> (u8, HeaderMap) {
    let mut request = get(path);
    for value in said {
        request.headers_mut().append(TIER, value.parse().unwrap());
    }
    let service = ServiceBuilder::new()
        .layer(RouteLayer::new(|request| Some(request.uri.path().into())))
        .layer(by_route(trust))
        .service(service_fn(async |request: Request<Full<Bytes>>| {
            let task = steadfast_core::spawn("aside", async { context::current().tier().number() });
            let mut response = Response::new(Full::<Bytes>::default());
            *response.headers_mut() = request.headers().clone();
            response.extensions_mut().insert(task.await.unwrap());
            Ok::<_, Infallible>(response)
        }));

    let response = service.oneshot(request).await.unwrap();

    let tier = *response.extensions().get::<u8>().unwrap();
    (tier, response.headers().clone())
}

#[tokio::test]
async fn the_route_gives_the_tier_and_other_routes_have_the_default() {
    for (path, tier) in [("/orders", 0), ("/recommendations", 5), ("/other", 1)] {
        assert_eq!(judged(Trust::Edge, path, &[]).await.0, tier, "{path}");
    }
    assert_eq!(context::current().tier(), Tier::DEFAULT);
}

#[tokio::test]
async fn at_the_edge_nobody_makes_itself_more_important() {
    let (tier, seen) = judged(Trust::Edge, "/recommendations", &["0"]).await;

    assert_eq!(tier, 5);
    assert!(!seen.contains_key(TIER), "nobody behind may believe it");
}

#[tokio::test]
async fn inside_the_caller_knows_better_if_it_says_it_well() {
    for (said, tier) in [
        (&["7"][..], 7),
        (&["1"], 1),
        (&["8"], 0),
        (&["07"], 0),
        (&["-1"], 0),
        (&["core"], 0),
        (&[""], 0),
        (&["7", "7"], 0),
    ] {
        let judged = judged(Trust::Inside, "/orders", said).await;

        assert_eq!(judged.0, tier, "{said:?}");
    }
}

#[tokio::test]
async fn a_judge_of_ones_own_sees_the_request_and_may_panic() {
    let layer = TierLayer::new(Trust::Edge, |request| {
        let paid = request.headers.get("x-paid")?;
        assert_eq!(paid, "1", "tower-tier: judge");
        Some(Tier::CORE)
    });
    let service = layer.layer(service_fn(async |_: Request<Full<Bytes>>| {
        let tier = context::current().tier().to_string();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(tier)))
    }));

    for (paid, tier) in [(Some("1"), "core"), (None, "tier 1"), (Some("2"), "tier 1")] {
        let mut request = get("/");
        if let Some(paid) = paid {
            let paid = paid.parse().unwrap();
            request.headers_mut().insert("x-paid", paid);
        }
        let response = service.clone().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();

        assert_eq!(body, tier);
    }
}

#[tokio::test]
async fn the_span_of_the_request_has_the_tier() {
    let lines = Lines::default();
    let listening = lines.listen();
    let service = ServiceBuilder::new()
        .layer(TraceIdLayer::new(Trust::Edge))
        .layer(RouteLayer::new(|request| Some(request.uri.path().into())))
        .layer(by_route(Trust::Edge))
        .service(service_fn(async |_: Request<Full<Bytes>>| {
            tracing::info!("in the handler");
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }));

    service.oneshot(get("/orders")).await.unwrap();
    drop(listening);

    let [line] = &lines.with("in the handler")[..] else {
        panic!("{}", lines.text());
    };
    assert!(line.contains("tier=0"), "{line}");
}

/// Gives what a service is told that is called from a request of this tier.
async fn told(trust: Trust, tier: Tier, copied: &str) -> Vec<String> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = seen.clone();
    let client =
        PropagateTierLayer::new(trust).layer(service_fn(move |request: Request<Full<Bytes>>| {
            let values = request.headers().get_all(TIER).iter();
            *see.lock().unwrap() = values
                .map(|value| value.to_str().unwrap().to_owned())
                .collect();
            async { Ok::<_, Infallible>(()) }
        }));
    let mut request = get("/");
    request.headers_mut().append(TIER, copied.parse().unwrap());

    let call = Context::new().with_tier(tier).wrap(client.oneshot(request));
    call.await.unwrap();

    seen.lock().unwrap().clone()
}

#[tokio::test]
async fn our_own_services_are_told_the_tier_and_others_are_not() {
    assert_eq!(told(Trust::Inside, Tier::CORE, "7").await, ["0"]);
    assert_eq!(told(Trust::Inside, Tier::DEFAULT, "7").await, ["1"]);
    assert!(told(Trust::Edge, Tier::CORE, "7").await.is_empty());
}

#[tokio::test]
async fn it_keeps_the_contract_of_tower() {
    keeps_the_contract(by_route(Trust::Edge)).await;
    keeps_the_contract(TierLayer::new(Trust::Edge, |_| Some(Tier::CORE))).await;
    keeps_the_contract(PropagateTierLayer::new(Trust::Inside)).await;
}
