use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use steadfast_core::context::{self, Context, TraceId};
use steadfast_tower::{PropagateLayer, TraceIdLayer, Trust};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Lines, get};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn request(headers: &[(&'static str, &str)]) -> Request<Full<Bytes>> {
    let mut request = get("/orders");
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

/// Serves a request with a handler that calls another service; gives the headers that one saw,
/// and those of the answer.
async fn passed_on(trust: Trust, request: Request<Full<Bytes>>) -> (HeaderMap, HeaderMap) {
    let seen = Arc::new(Mutex::new(HeaderMap::new()));
    let see = seen.clone();
    let client = PropagateLayer::new(trust).layer(service_fn(move |request: Request<()>| {
        let headers = request.headers().clone();
        let see = see.clone();
        async move {
            *see.lock().unwrap() = headers;
            // Inside of the call, the context is that of the call.
            let own = context::current().span_id().unwrap().to_string();
            let said = see.lock().unwrap()["traceparent"]
                .to_str()
                .unwrap()
                .to_owned();
            assert!(said.contains(&own), "{said} is sent by {own}");
            Ok::<_, Infallible>(())
        }
    }));
    let server = TraceIdLayer::new(trust).layer(service_fn(move |_: Request<Full<Bytes>>| {
        let client = client.clone();
        async move {
            // From a task of the request: what is spawned belongs to it.
            let call = steadfast_core::spawn("call", client.oneshot(Request::new(())));
            call.await.unwrap().unwrap();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    }));

    let response = server.oneshot(request).await.unwrap();

    let seen = seen.lock().unwrap().clone();
    (seen, response.headers().clone())
}

#[tokio::test]
async fn a_trace_is_taken_up_and_sent_on_with_a_span_of_its_own() {
    let came = format!("00-{TRACE}-{PARENT}-00");
    let headers = [
        ("traceparent", &*came),
        ("tracestate", "a=1, b=2"),
        ("tracestate", "c=3"),
        ("baggage", "shop=berlin"),
    ];

    let (sent, answered) = passed_on(Trust::Inside, request(&headers)).await;

    let parts: Vec<_> = sent["traceparent"].to_str().unwrap().split('-').collect();
    assert_eq!([parts[0], parts[1], parts[3]], ["00", TRACE, "00"]);
    assert_ne!(parts[2], PARENT);
    assert_eq!(sent["tracestate"], "a=1,b=2,c=3");
    assert_eq!(sent["baggage"], "shop=berlin");
    assert_eq!(answered["x-request-id"], TRACE);
}

#[tokio::test]
async fn at_the_edge_baggage_is_ignored_and_the_trace_is_kept() {
    let came = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("traceparent", &*came), ("baggage", "admin=true")];

    let (sent, _) = passed_on(Trust::Edge, request(&headers)).await;

    assert!(sent["traceparent"].to_str().unwrap().contains(TRACE));
    assert!(!sent.contains_key("baggage"));
}

#[tokio::test]
async fn which_attempt_of_a_caller_a_request_is_goes_on_to_what_it_calls() {
    let check = async |trust, value: &str, sent_on: Option<&str>| {
        let (sent, _) = passed_on(trust, request(&[("x-steadfast-attempt", value)])).await;
        let said = sent.get("x-steadfast-attempt");
        assert_eq!(said.map(|value| value.to_str().unwrap()), sent_on);
    };

    check(Trust::Inside, "2/3", Some("2/3")).await;
    check(Trust::Inside, "1/1", None).await;
    check(Trust::Inside, "3/2", None).await;
    check(Trust::Edge, "2/3", None).await;
}

#[tokio::test]
async fn a_mark_of_a_caller_that_is_not_trusted_is_removed() {
    let service = service_fn(async |request: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(
            request
                .headers()
                .contains_key("x-steadfast-attempt")
                .to_string(),
        )))
    });
    for (trust, kept) in [(Trust::Edge, "false"), (Trust::Inside, "true")] {
        let service = TraceIdLayer::new(trust).layer(service);

        let response = service
            .oneshot(request(&[("x-steadfast-attempt", "1/3")]))
            .await
            .unwrap();

        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            kept
        );
    }
}

#[tokio::test]
async fn a_malformed_trace_is_left_behind_with_its_state() {
    let came = format!("00-{}-{PARENT}-01", TRACE.to_uppercase());
    let headers = [("traceparent", &*came), ("tracestate", "a=1")];

    let (sent, answered) = passed_on(Trust::Inside, request(&headers)).await;

    let id = answered["x-request-id"].to_str().unwrap();
    assert!(id.parse::<TraceId>().is_ok(), "{id}");
    assert_ne!(id, TRACE);
    assert!(sent["traceparent"].to_str().unwrap().contains(id));
    assert!(!sent.contains_key("tracestate"));
}

#[tokio::test]
async fn a_request_id_is_echoed_if_it_is_harmless() {
    for (id, echoed) in [
        ("order-4711/3", true),
        (&*"x".repeat(64), true),
        (&*"x".repeat(65), false),
        ("a b", false),
        ("<script>", false),
    ] {
        let (_, answered) = passed_on(Trust::Edge, request(&[("x-request-id", id)])).await;

        assert_eq!(answered["x-request-id"] == id, echoed, "{id}");
    }
}

#[tokio::test]
async fn headers_copied_from_another_request_are_replaced() {
    let seen = Arc::new(Mutex::new(HeaderMap::new()));
    let see = seen.clone();
    let client = PropagateLayer::new(Trust::Inside).layer(service_fn(
        move |request: Request<Full<Bytes>>| {
            *see.lock().unwrap() = request.headers().clone();
            async { Ok::<_, Infallible>(()) }
        },
    ));
    let stale = format!("00-{TRACE}-{PARENT}-01");
    let copied = [
        ("traceparent", &*stale),
        ("traceparent", &*stale),
        ("tracestate", "a=1"),
        ("baggage", "b=1"),
    ];
    let own = TraceId::random();

    let call = Context::new()
        .with_trace_id(own)
        .wrap(client.oneshot(request(&copied)));
    call.await.unwrap();

    let seen = seen.lock().unwrap();
    assert_eq!(seen.get_all("traceparent").iter().count(), 1);
    assert!(
        seen["traceparent"]
            .to_str()
            .unwrap()
            .contains(&own.to_string())
    );
    assert!(!seen.contains_key("tracestate") && !seen.contains_key("baggage"));
}

/// Gives, as its one frame, the id of the trace in which it is polled.
struct OwnId(bool);

impl Body for OwnId {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let over = std::mem::replace(&mut self.0, true);
        let id = context::current().trace_id().unwrap().to_string();
        Poll::Ready((!over).then(|| Ok(Frame::data(id.into()))))
    }
}

#[tokio::test]
async fn frames_of_the_body_are_made_in_the_context_of_the_request() {
    let service = ServiceBuilder::new()
        .layer(TraceIdLayer::new(Trust::Edge))
        .service(service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(OwnId(false)))
        }));

    let response = service.oneshot(get("/")).await.unwrap();
    let id = response.headers()["x-request-id"].clone();
    let body = response.into_body().collect().await.unwrap().to_bytes();

    assert_eq!(body, id.as_bytes());
    assert_eq!(
        context::current().trace_id(),
        None,
        "nothing is left behind"
    );
}

#[tokio::test]
async fn every_line_of_the_log_has_the_trace_id_also_those_of_spawned_tasks() {
    let lines = Lines::default();
    let guard = lines.listen();
    let service =
        TraceIdLayer::new(Trust::Edge).layer(service_fn(async |_: Request<Full<Bytes>>| {
            tracing::info!("in the handler");
            let task = steadfast_core::spawn("aside", async { tracing::info!("in a task") });
            task.await.unwrap();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }));

    let came = format!("00-{TRACE}-{PARENT}-01");
    service
        .oneshot(request(&[("traceparent", &came)]))
        .await
        .unwrap();
    drop(guard);

    let text = lines.text();
    for part in ["in the handler", "in a task"] {
        let line = text.lines().find(|line| line.contains(part)).unwrap();
        assert!(line.contains(TRACE), "{line}");
    }
}
