//! A store that is there for the jobs, and not yet for the API.

use std::io;
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::spawn;

use steadfast::store::Config;
use steadfast::store::testing::Cluster;

use super::*;

/// Stands before PostgreSQL, and turns connections of the API away until it is open.
struct Door {
    address: String,
    is_open: Arc<AtomicBool>,
}

impl Door {
    fn before(database: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let is_open = Arc::new(AtomicBool::new(false));
        let open = is_open.clone();
        spawn(move || {
            for client in listener.incoming() {
                let (database, open) = (database.clone(), open.clone());
                // Whoever is cut off sees it.
                spawn(move || admit(client?, &database, &open));
            }
        });
        Self { address, is_open }
    }
}

fn admit(mut client: TcpStream, database: &str, open: &AtomicBool) -> io::Result<()> {
    let mut length = [0; 4];
    client.read_exact(&mut length)?;
    let mut first = vec![0; u32::from_be_bytes(length) as usize - 4];
    client.read_exact(&mut first)?;
    let is_of_api = first.windows(5).any(|part| part == b" api\0");
    if is_of_api && !open.load(Ordering::Relaxed) {
        return Ok(());
    }
    let mut server = TcpStream::connect(database)?;
    server.write_all(&[&length[..], &first].concat())?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Both)
    });
    let _ = io::copy(&mut client, &mut server);
    server.shutdown(Shutdown::Both)
}

/// A server whose store lets the jobs in, and the API by a door.
struct Late {
    /// One of its own, which listens on TCP.
    cluster: Cluster,
    folder: Folder,
    door: Door,
}

impl Late {
    fn new(name: &str) -> Self {
        let cluster = Cluster::start();
        let url = cluster.url("postgres");
        let (front, _) = url.rsplit_once('/').unwrap();
        let (_, host) = front.rsplit_once('@').unwrap();
        let door = Door::before(host.to_owned());
        Self {
            cluster,
            folder: Folder::new(name),
            door,
        }
    }

    /// Starts the server, with its API at an address.
    fn start(&self, api: &str) -> Server {
        let url = self.cluster.url("postgres");
        let (front, name) = url.rsplit_once('/').unwrap();
        let (user, _) = front.rsplit_once('@').unwrap();
        let url = format!("{user}@{}/{name}?sslmode=disable", self.door.address);
        let config = self
            .folder
            .configure_at(&url, &shell("nothing", "true", ""));
        let text = std::fs::read_to_string(&config).unwrap();
        let listen = |address: &str| format!("[api]\nlisten = \"{address}\"");
        std::fs::write(&config, text.replace(&listen(ANY), &listen(api))).unwrap();
        Server::start(&config)
    }

    async fn store(&self) -> Store {
        let config = Config::postgres(self.cluster.url("postgres"));
        Store::open(config).await.unwrap()
    }

    async fn run_a_job(&self) {
        let jobs = Jobs::open(&self.store().await).await.unwrap();
        let id = enqueue(&jobs, "nothing", "null", 1).await;
        until_state(&jobs, id, State::Completed).await;
    }

    /// Makes sure that the server ends since it cannot listen, and leaves nobody behind who is taken to be alive.
    async fn ends_for_its_address(&self, server: &mut Server) {
        let (code, rest) = server.ended();
        assert_eq!(code, Some(1), "{rest}");
        assert!(rest.contains("the API cannot be served"), "{rest}");
        assert!(rest.contains("cannot listen on"), "{rest}");
        let nodes = self.store().await.nodes(None, 1).await.unwrap();
        assert!(nodes[0].ended.is_some(), "{nodes:?}");
    }
}

const ANY: &str = "127.0.0.1:0";
const AWAY: &str = "the API cannot be served; it is tried again";

#[tokio::test]
async fn jobs_are_run_while_the_store_is_away_for_the_api_which_comes_later() {
    let late = Late::new("late-api");
    let mut server = late.start(ANY);
    server.line_with(AWAY);

    late.run_a_job().await;
    let ready = server.get("/readyz");
    assert!(ready.contains(r#"{"reason":"api","#), "{ready}");
    assert!(ready.contains("SF-1101"), "{ready}");
    late.door.is_open.store(true, Ordering::Relaxed);

    let told = server.line_with("the API is served");
    let address = told.split("address=").nth(1).unwrap();
    let mut stream = TcpStream::connect(address.split_whitespace().next().unwrap()).unwrap();
    let request = "GET /api/v1/status HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let is_ready = async || server.get("/readyz").contains("\"ready\":true");
    wait_until("it is ready", is_ready).await;
    server.stop();
}

#[tokio::test]
async fn a_server_that_waits_for_its_api_ends_when_it_is_told_to() {
    let late = Late::new("no-api");
    let mut server = late.start(ANY);
    server.line_with(AWAY);
    server.line_with(AWAY);

    server.stop();
}

#[tokio::test]
async fn a_server_whose_api_can_never_be_served_leaves_before_it_ends() {
    let late = Late::new("taken-api");
    let taken = TcpListener::bind(ANY).unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let mut at_once = late.start(&address);
    late.ends_for_its_address(&mut at_once).await;

    // Somebody else takes the address while it is waited for the store.
    drop(taken);
    let mut server = late.start(&address);
    server.line_with(AWAY);
    late.run_a_job().await;
    let mut taken = None;
    let between_two_tries = async || {
        taken = TcpListener::bind(&address).ok();
        taken.is_some()
    };
    wait_until("the address is free", between_two_tries).await;
    late.ends_for_its_address(&mut server).await;
}
