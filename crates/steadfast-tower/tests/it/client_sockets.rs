//! The stack of a client around the client of hyper, over real sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use steadfast_tower::guard::{ClientBody, GuardedClient};
use steadfast_tower::{Guard, PolicyDocument, Reason};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt, service_fn};

const POLICY: &str = r#"
[timeouts.quick]
timeout = "300ms"

[breakers.careful]
consecutive = 4

[retries.once_more]
attempts = 2
budget = "50 %"
first_wait = "1ms"

[hedges.late]
delay = "100ms"
budget = "20 %"

[dependencies.stock]
methods = ["GET", "PUT"]
timeout = "quick"
breaker = "careful"
retry = "once_more"
hedge = "late"
"#;

/// What a server sends: one frame, and trailers.
struct Sent {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.take().map(Frame::data);
        let frame = data.or_else(|| self.trailers.take().map(Frame::trailers));
        task::Poll::Ready(frame.map(Ok))
    }
}

/// A server that speaks both versions: `/echo` gives the body back, `/stopping` is 503 at first,
/// `/hang` never answers, `/slow` not the first time, `/grpc` is unavailable by its trailers.
async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let serve = service_fn(move |request: Request<_>| {
        let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        answer(request, first)
    });
    steadfast_core::spawn("server", async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = TowerToHyperService::new(serve.clone());
            steadfast_core::spawn("connection", async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

async fn answer<B>(request: Request<B>, first: bool) -> Result<Response<Sent>, Infallible>
where
    B: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let path = request.uri().path().to_owned();
    let mut status = 200;
    let mut sent = Sent {
        data: Some(path.clone().into()),
        trailers: None,
    };
    let mut response = Response::builder();
    match path.as_str() {
        "/echo" => {
            let body = request.into_body().collect().await.unwrap();
            sent.data = Some(body.to_bytes());
        }
        "/stopping" if first => status = 503,
        "/slow" if first => std::future::pending().await,
        "/hang" => std::future::pending().await,
        "/grpc" => {
            response = response.header("content-type", "application/grpc");
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "14".parse().unwrap());
            sent.trailers = Some(trailers);
        }
        _ => {}
    }
    Ok(response.status(status).body(sent).unwrap())
}

type Http = Client<HttpConnector, ClientBody<Full<Bytes>>>;

/// A guard, and its client of that version.
fn client(version: Version) -> (Guard, GuardedClient<Http>) {
    let policy = PolicyDocument::new("policy.toml", POLICY).unwrap();
    let guard = Guard::new(policy.policy().clone()).unwrap();
    let http = Client::builder(TokioExecutor::new())
        .http2_only(version == Version::HTTP_2)
        .build_http();
    let client = ServiceBuilder::new()
        .layer(guard.client("stock").unwrap())
        .service(http);
    (guard, client)
}

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

#[tokio::test]
async fn calls_go_through_with_their_bodies_and_are_repeated() {
    for version in VERSIONS {
        let address = serve().await;
        let (_guard, client) = client(version);
        let call = |method: &str, path: &str| {
            let request = Request::builder().method(method);
            let request = request.uri(format!("http://{address}{path}"));
            client
                .clone()
                .oneshot(request.body(Full::from("tea")).unwrap())
        };

        let repeated = call("GET", "/stopping").await.unwrap();
        assert_eq!(repeated.status(), 200, "{version:?}");
        assert_eq!(repeated.version(), version);
        let body = repeated.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "/stopping");

        let echo = call("PUT", "/echo").await.unwrap();
        let echo = echo.into_body().collect().await.unwrap();
        assert_eq!(echo.to_bytes(), "tea", "{version:?}");
    }
}

#[tokio::test]
async fn a_call_that_hangs_is_ended_and_one_that_was_lost_is_sent_again() {
    for version in VERSIONS {
        let (guard, client) = client(version);
        let call = |address: SocketAddr, path: &str| {
            let request = Request::get(format!("http://{address}{path}"));
            client
                .clone()
                .oneshot(request.body(Full::default()).unwrap())
        };
        let healthy = serve().await;
        for _ in 0..10 {
            call(healthy, "/").await.unwrap();
        }

        let lossy = serve().await;
        let hedged = call(lossy, "/slow").await.unwrap();
        assert_eq!(hedged.status(), 200, "{version:?}");

        let hangs = call(lossy, "/hang").await.unwrap_err();
        assert_eq!(hangs.rejection().unwrap().reason(), Reason::TimedOut);
        let status = &guard.dependencies()[0];
        assert_eq!((status.succeeded, status.failed), (11, 1), "{status}");
    }
}

#[tokio::test]
async fn trailers_of_grpc_open_the_breaker_of_their_endpoint() {
    let (address, other) = (serve().await, serve().await);
    let (guard, client) = client(Version::HTTP_2);
    let call = |address: SocketAddr| {
        let request = Request::post(format!("http://{address}/grpc"));
        let request = request.header("content-type", "application/grpc");
        client
            .clone()
            .oneshot(request.body(Full::default()).unwrap())
    };
    for _ in 0..4 {
        let body = call(address).await.unwrap().into_body();
        let trailers = body.collect().await.unwrap();
        assert_eq!(trailers.trailers().unwrap()["grpc-status"], "14");
    }

    let rejected = call(address).await.unwrap_err();

    assert_eq!(rejected.rejection().unwrap().reason(), Reason::BreakerOpen);
    assert!(call(other).await.is_ok());
    assert_eq!(guard.breakers("stock").unwrap().endpoints().len(), 2);
}

#[tokio::test]
async fn an_error_of_hyper_stays_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let (guard, client) = client(Version::HTTP_11);
    let request = Request::get(format!("http://{closed}/"));

    let error = client.oneshot(request.body(Full::default()).unwrap()).await;

    let error = error.unwrap_err().into_inner().unwrap();
    assert!(error.is_connect(), "{error:?}");
    let endpoint = &guard.breakers("stock").unwrap().endpoints()[0];
    assert_eq!(endpoint.breaker.calls.failed, 2, "refused, so tried again");
}
