//! What jobs need is down, and a breaker knows.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::decide::backoff::Backoff;
use steadfast_core::decide::breaker::{Breaker, BreakerConfig, BreakerState, CallEnd};
use steadfast_core::{BoxError, clock, rng, spawn};
use steadfast_jobs::{Job, Kind, Options, Run, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::arena::seconds;
use super::role::{Deed, Did, Role};
use super::{Arena, BOTH, PATIENCE, scenarios};

scenarios! {
    a_breaker_holds_its_kind_while_it_is_down on BOTH;
}

/// Asks a service to be paid.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pay {
    service: SocketAddr,
}

impl Job for Pay {
    const KIND: &'static str = "pay";
    const MAX_ATTEMPTS: u32 = 10;
}

/// As many as there are probes, so that whatever is claimed to find out may do so.
const PERMITS: usize = 10;

/// A kind with a breaker in front of its service, which says when there is no use in starting one.
pub(crate) fn kind() -> Kind {
    let config = BreakerConfig::new()
        .with_consecutive(5)
        .and_then(|config| config.with_probes(PERMITS as u32, Duration::from_secs(10)))
        .and_then(|config| {
            config.with_open_time(Duration::from_millis(200), Duration::from_secs(1))
        })
        .and_then(|config| config.with_ramp(Duration::ZERO));
    let breaker = Breaker::new(config.expect("it is within bounds"), rng::bits());
    let breaker = Arc::new(breaker.expect("it has a reason to trip"));
    let looks = breaker.clone();
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(20));
    Kind::new(move |run: Run, pay: Pay| paid(breaker.clone(), run, pay))
        .backoff(backoff.expect("the shorter comes first"))
        .hold_while(move || {
            let state = looks.status(clock::nanos()).state;
            matches!(state, BreakerState::Open { left } if !left.is_zero())
        })
}

async fn paid(breaker: Arc<Breaker>, run: Run, pay: Pay) -> Result<Did, BoxError> {
    let permit = breaker.ask(clock::nanos()).verdict;
    let permit = permit.map_err(|_| "the breaker is open")?;
    let began = clock::now();
    let called = call(pay.service, run.id().get()).await;
    let took = clock::now() - began;
    let end = match called {
        Ok(_) => CallEnd::succeeded(took),
        Err(_) => CallEnd::failed(took),
    };
    breaker.record(permit, end, clock::nanos());
    called?;
    Ok(Did::in_run(&run))
}

async fn call(service: SocketAddr, job: u64) -> Result<u8, std::io::Error> {
    let mut stream = TcpStream::connect(service).await?;
    stream.write_u64(job).await?;
    stream.read_u8().await
}

/// A service that hangs up while it is down, and writes down who has paid while it is not.
#[derive(Clone)]
struct Service {
    address: SocketAddr,
    is_up: Arc<AtomicBool>,
    books: Arc<Mutex<Books>>,
}

#[derive(Default)]
struct Books {
    refused: usize,
    paid: HashMap<u64, usize>,
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let service = Self {
            address: listener.local_addr().unwrap(),
            is_up: Arc::default(),
            books: Arc::default(),
        };
        let serves = service.clone();
        spawn("service", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serves = serves.clone();
                spawn("call", async move { serves.answer(stream).await });
            }
        });
        service
    }

    async fn answer(&self, mut stream: TcpStream) {
        let Ok(job) = stream.read_u64().await else {
            return;
        };
        if self.is_up.load(Ordering::Relaxed) {
            *self.books().paid.entry(job).or_default() += 1;
            let _ = stream.write_u8(1).await;
        } else {
            self.books().refused += 1;
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has been asked so often in vain.
    async fn refuses(&self, times: usize) {
        let until = clock::now() + PATIENCE;
        while self.books().refused < times {
            let refused = self.books().refused;
            assert!(clock::now() < until, "asked {refused} times of {times}");
            clock::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn a_breaker_holds_its_kind_while_it_is_down(arena: Arena) -> String {
    let (count, rounds) = (arena.form.of(100, 1_000), arena.form.of(6, 40));
    let service = Service::start().await;
    // No lease is lost here: what is counted are attempts alone.
    let role = Role {
        lease: Duration::from_secs(120),
        permits: PERMITS,
        ..arena.role()
    };
    let mut processes = [arena.start(&role), arena.start(&role)];
    for process in &mut processes {
        process.says("working", 1).await;
    }
    let pay = Pay {
        service: service.address,
    };
    let down = clock::now();
    let payments = arena.enqueue_many(&pay, Options::new(), count).await;

    // While they find out that it is down, again and again, jobs of another kind in the same queue go on.
    for round in 1..=rounds {
        service.refuses(round * PERMITS).await;
        let others = arena.enqueue_many(&Deed::Quick, Options::new(), 50).await;
        arena.until_all(&others, State::Completed).await;
    }
    let outage = seconds(down);
    for id in &payments {
        let info = arena.find(*id).await.info;
        assert!(!info.state.is_terminal(), "{info:?}");
    }
    service.is_up.store(true, Ordering::Relaxed);
    arena.until_all(&payments, State::Completed).await;

    let (mut spent, mut most) = (0, 0);
    for id in &payments {
        let attempt = arena.find(*id).await.info.attempt;
        (spent, most) = (spent + attempt - 1, most.max(attempt));
        assert_eq!(service.books().paid.get(&id.get()), Some(&1), "job {id}");
    }
    // On average: which of them find out is left to chance. Without the hold all are near the end of their attempts.
    assert!(spent < 4 * count as u32, "{spent} attempts of {count} jobs");
    arena.ends().await;
    format!(
        "down for {outage}: {spent} attempts of {count} jobs spent on finding out, {most} at most of one; each paid once"
    )
}
