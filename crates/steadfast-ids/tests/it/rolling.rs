//! All servers of ids are restarted, one after the other, while clients want ids.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use hyper_util::client::legacy::Client as Sender;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use steadfast_core::cancel::{Cancel, Cause};
use steadfast_core::{BoxError, clock, spawn};
use steadfast_ids::http::{Client, ClientConfig, IdService};
use steadfast_ids::{Generator, Ids};
use steadfast_store::testing::Database;
use tokio::net::TcpListener;
use tower::service_fn;

use super::support::{Union, lasting, long, until};

/// A server of ids: a lease, a socket, and a way to its end.
struct Server {
    address: SocketAddr,
    held: Generator,
    stop: Cancel,
    stopped: steadfast_core::Task<()>,
}

impl Server {
    async fn start(database: &Database) -> Self {
        let ids = Ids::open(&database.open().await).await.unwrap();
        let held = until(async || ids.lease(lasting()).await.ok()).await;
        let service = IdService::builder()
            .generator("order", held.clone())
            .build()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), Cancel::new());
        let stopped = spawn("server", serve(listener, service, stop.clone()));
        Self {
            address,
            held,
            stop,
            stopped,
        }
    }

    /// Takes no connection any more, answers what is under way, and then gives its worker id back.
    async fn end(self) {
        self.stop.cancel(Cause::Shutdown);
        self.stopped.await.unwrap();
        self.held.release().await;
    }
}

async fn serve(listener: TcpListener, service: IdService, stop: Cancel) {
    let mut connections = Vec::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = stop.cancelled() => break,
        };
        let (service, stop) = (TowerToHyperService::new(service.clone()), stop.clone());
        connections.push(spawn("connection", async move {
            let server =
                hyper_util::server::conn::auto::Builder::new(TokioExecutor::new()).http1_only();
            let connection = server.serve_connection(TokioIo::new(accepted), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                // A client that leaves is nobody's trouble.
                _ = connection.as_mut() => {}
                _ = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        }));
    }
    drop(listener);
    for connection in connections {
        connection.await.unwrap();
    }
}

steadfast_store::on_every_store! {
    async fn a_rolling_restart_of_all_servers_fails_no_request_and_makes_no_id_twice(database) {
        let mut servers = Vec::new();
        for _ in 0..3 {
            servers.push(Server::start(database).await);
        }
        let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
        let known = Arc::new(Mutex::new(addresses));
        let done = Arc::new(AtomicBool::new(false));
        let made = Arc::new(AtomicU64::new(0));
        let refused = Arc::new(AtomicU64::new(0));
        let clients: Vec<_> = (0..4)
            .map(|number| {
                let ids = client(known.clone(), number, refused.clone());
                let (done, made) = (done.clone(), made.clone());
                spawn("client", async move {
                    let mut taken = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        taken.push(ids.next().await.expect("no request fails"));
                        made.fetch_add(1, Ordering::Relaxed);
                        if taken.len() % 50 == 0 {
                            clock::sleep(Duration::from_millis(1)).await;
                        }
                    }
                    taken
                })
            })
            .collect();

        // Each in turn: the new one is there before the old one goes.
        for _ in 0..if long() { 300 } else { 9 } {
            let before = made.load(Ordering::Relaxed);
            let next = Server::start(database).await;
            known.lock().unwrap().push(next.address);
            servers.push(next);
            let old = servers.remove(0);
            known.lock().unwrap().retain(|address| *address != old.address);
            old.end().await;
            until(async || (made.load(Ordering::Relaxed) > before + 500).then_some(())).await;
        }

        done.store(true, Ordering::Relaxed);
        let mut union = Union::default();
        for client in clients {
            union.add(client.await.unwrap());
        }
        assert_eq!(union.len() as u64, made.load(Ordering::Relaxed));
        assert_eq!(refused.load(Ordering::Relaxed), 0, "whoever goes answers what it has taken");
        for server in servers {
            server.end().await;
        }
    }
}

/// A client that goes to one server after the other, and to the next when one is gone; it counts the answers that are none.
fn client(known: Arc<Mutex<Vec<SocketAddr>>>, first: usize, refused: Arc<AtomicU64>) -> Client {
    let sender: Sender<_, Empty<Bytes>> = Sender::builder(TokioExecutor::new()).build_http();
    let turn = Arc::new(AtomicU64::new(first as u64));
    let transport = service_fn(move |request: Request<Empty<Bytes>>| {
        let (known, sender, turn) = (known.clone(), sender.clone(), turn.clone());
        let refused = refused.clone();
        async move {
            let mut last: BoxError = "nobody is there".into();
            for _ in 0..5 {
                let address = {
                    let known = known.lock().unwrap();
                    known[turn.fetch_add(1, Ordering::Relaxed) as usize % known.len()]
                };
                let path = request.uri().path_and_query().unwrap();
                let uri: Uri = format!("http://{address}{path}").parse().unwrap();
                let answer = sender
                    .request(Request::post(uri).body(Empty::new()).unwrap())
                    .await;
                match answer {
                    // Who has taken the request answers it, also when it is about to go.
                    Ok(answer) => {
                        refused
                            .fetch_add(u64::from(!answer.status().is_success()), Ordering::Relaxed);
                        return Ok::<Response<_>, BoxError>(answer);
                    }
                    Err(error) => last = error.into(),
                }
            }
            Err(last)
        }
    });
    let config = ClientConfig::new("http://ids/order".parse().unwrap(), Duration::from_secs(60));
    Client::new(transport, config).unwrap()
}
