//! Processes that stand still, or seem to: what they say afterwards does not count.

use std::process::Command;
use std::time::Duration;

use steadfast_core::clock;
use steadfast_jobs::{JobId, State};
use steadfast_store::Place;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use super::arena::touch;
use super::process::Process;
use super::role::{Deed, Did, Role};
use super::{Arena, BOTH, POSTGRES, scenarios};

scenarios! {
    for_longer_than_its_lease on BOTH;
    by_its_own_handlers_on_all_threads on BOTH;
    with_a_clock_that_jumps_by_an_hour on BOTH;
    by_a_cut_between_it_and_the_database on POSTGRES;
}

/// Gives the rows of jobs as they are now.
async fn rows(arena: &Arena, ids: &[JobId]) -> Vec<String> {
    let mut rows = Vec::new();
    for id in ids {
        let found = arena.find(*id).await;
        rows.push(format!("{:?} {:?}", found.info, found.result));
    }
    rows
}

async fn for_longer_than_its_lease(arena: Arena) -> String {
    let file = arena.file();
    let mut process = arena.start(&arena.role());
    let mut ids = Vec::new();
    for deed in [
        Deed::Wait(file.clone()),
        Deed::WaitThenSnooze(file.clone()),
        Deed::WaitThenFail(file.clone()),
    ] {
        ids.push(arena.enqueue(&deed).await);
    }
    process.says("started", 3).await;

    arena.stop(&mut process).await;
    let running = arena.work().await;
    arena.until_all(&ids, State::Completed).await;
    let before = rows(&arena, &ids).await;
    // Now its handlers would complete, snooze and fail.
    touch(&file);
    process.signal("CONT");
    process.says("lease_lost", 3).await;

    assert_eq!(rows(&arena, &ids).await, before);
    // It is a node again, of a new life.
    running.stop(super::PATIENCE).await;
    let after = arena.enqueue(&Deed::Quick).await;
    let found = arena.until(after, State::Completed).await;
    let did: Did = found.result().unwrap().unwrap();
    assert_eq!(did.process, process.id());
    arena.ends().await;
    "completion, snooze and failure of the old life rejected".into()
}

async fn by_its_own_handlers_on_all_threads(arena: Arena) -> String {
    let file = arena.file();
    let mut process = arena.start(&arena.role());
    process.says("working", 1).await;
    // More than it has threads: none is left for anything else.
    let ids = arena
        .enqueue_many(&Deed::Block(file.clone()), Default::default(), 8)
        .await;
    process.says("blocking", 2).await;

    let running = arena.work().await;
    arena.until_all(&ids, State::Completed).await;

    let before = rows(&arena, &ids).await;
    touch(&file);
    process.says("lease_lost", 2).await;
    assert_eq!(rows(&arena, &ids).await, before);
    running.stop(super::PATIENCE).await;
    arena.ends().await;
    "its beats were held back, others had the jobs".into()
}

async fn with_a_clock_that_jumps_by_an_hour(arena: Arena) -> String {
    let shown = arena.file();
    let show = |time: &str| {
        // Replaced in one step: the clock may be read at any time.
        let next = shown.with_extension("next");
        std::fs::write(&next, time).unwrap();
        std::fs::rename(next, &shown).unwrap();
    };
    let preload = Command::new("faketime")
        .args(["-f", "+0", "printenv", "LD_PRELOAD"])
        .output();
    let preload = preload
        .expect("this test needs faketime: apt-get install faketime")
        .stdout;
    show("+0");
    // Nobody is to lose a lease by the load of this machine.
    let role = Role {
        lease: Duration::from_secs(60),
        ..arena.role()
    };
    let env = [
        (
            "LD_PRELOAD",
            String::from_utf8(preload).unwrap().trim().to_owned(),
        ),
        ("FAKETIME_TIMESTAMP_FILE", shown.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        // The monotonic clock is that of the machine; both names, for older and newer versions.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let mut process = arena.start_with(&role, &env);
    process.says("working", 1).await;
    let file = arena.file();
    let long = arena.enqueue(&Deed::Wait(file.clone())).await;
    process.says("started", 1).await;

    let mut ids = Vec::new();
    for time in ["+1h", "-1h", "+0"] {
        show(time);
        let quick = arena.enqueue(&Deed::Quick).await;
        arena.until(quick, State::Completed).await;
        ids.push(quick);
    }
    touch(&file);
    ids.push(long);
    arena.until_all(&ids, State::Completed).await;

    for id in ids {
        let info = arena.find(id).await.info;
        assert_eq!(
            (info.term, info.attempt, info.crashes),
            (1, 1, 0),
            "job {id}"
        );
    }
    assert!(process.said("lease_lost").is_empty());
    arena.ends().await;
    "an hour ahead, two back, one ahead: nothing changed".into()
}

/// A way to the server that can be cut: what is on it stays open, and nothing passes any more.
struct Way {
    address: String,
    cut: watch::Sender<bool>,
}

impl Way {
    async fn to(server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cut = watch::Sender::new(false);
        let cuts = cut.clone();
        steadfast_core::spawn("way", async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (server, cut) = (server.clone(), cuts.subscribe());
                steadfast_core::spawn("relay", relay(socket, server, cut));
            }
        });
        Self { address, cut }
    }
}

/// Where a server listens.
#[derive(Clone)]
enum Server {
    Tcp(String),
    Unix(String),
}

impl Server {
    /// Reads a URL of the tests; gives the rest of it, from the database on, as well.
    fn of(url: &str) -> (Self, String) {
        let (_, rest) = url.split_once('@').expect("it names a user");
        let (host, database) = rest.split_once('/').expect("it names a database");
        let server = match host.strip_prefix("%2F") {
            Some(_) => {
                let (folder, port) = host.split_once(':').unwrap_or((host, "5432"));
                Self::Unix(format!("{}/.s.PGSQL.{port}", folder.replace("%2F", "/")))
            }
            None => Self::Tcp(host.to_owned()),
        };
        (server, database.to_owned())
    }
}

async fn relay(mut socket: TcpStream, server: Server, mut cut: watch::Receiver<bool>) {
    let both = async {
        match server {
            Server::Tcp(address) => {
                let mut server = TcpStream::connect(address).await?;
                copy_bidirectional(&mut socket, &mut server).await
            }
            Server::Unix(path) => {
                let mut server = UnixStream::connect(path).await?;
                copy_bidirectional(&mut socket, &mut server).await
            }
        }
    };
    tokio::select! {
        _ = both => return,
        _ = cut.wait_for(|cut| *cut) => {}
    }
    // The server has seen the last of it; the other end waits for an answer until it is healed.
    let _ = cut.wait_for(|cut| !*cut).await;
}

async fn by_a_cut_between_it_and_the_database(arena: Arena) -> String {
    let Place::Postgres(url) = &arena.config.place else {
        unreachable!("it is played on PostgreSQL alone");
    };
    let (server, database) = Server::of(url);
    let user = url
        .split("://")
        .nth(1)
        .and_then(|rest| rest.split('@').next())
        .unwrap();
    let way = Way::to(server).await;
    let role = Role {
        place: format!("postgres://{user}@{}/{database}", way.address),
        ..arena.role()
    };
    let mut process: Process = arena.start(&role);
    process.says("working", 1).await;
    let held = arena.enqueue(&Deed::Wait(arena.file())).await;
    process.says("started", 1).await;

    way.cut.send_replace(true);
    process.says("lease_lost", 1).await;
    let started = process.said("started").len();
    let running = arena.work().await;
    let others = arena
        .enqueue_many(&Deed::Quick, Default::default(), 20)
        .await;
    arena.until(held, State::Completed).await;
    arena.until_all(&others, State::Completed).await;
    assert_eq!(
        process.said("started").len(),
        started,
        "it starts nothing new"
    );
    running.stop(super::PATIENCE).await;

    way.cut.send_replace(false);
    let healed = clock::now();
    let after = arena.enqueue(&Deed::Quick).await;
    arena.until(after, State::Completed).await;
    arena.ends().await;
    format!(
        "told of its lost lease, and at work {} after it was healed",
        super::arena::seconds(healed)
    )
}
