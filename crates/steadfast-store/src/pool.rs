//! A bounded set of connections that knows who holds them.
//!
//! Compared with the pool of sqlx: a connection whose operation was dropped half-way is thrown
//! away at once, instead of being waited for on a socket that may be dead, which keeps its permit
//! for as long; and whoever waits in vain is told who holds what.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast_core::clock::{self, Instant};
use steadfast_core::context;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;
use crate::error::Trouble;
use crate::health::Usage;

/// How long a connection may have been idle and still be used without asking whether it lives: a
/// second, after which one more round trip does not matter.
const FRESH: Duration = Duration::from_secs(1);

/// How long a connection is used: half an hour, so that servers and balancers that change behind a
/// name are found.
const LIFE: Duration = Duration::from_secs(30 * 60);

/// How long the answer of a connection is waited for when it is asked whether it lives, and for a
/// roll-back that nobody waits for.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// How many holders an error names: 8, the longest ones.
const HOLDERS_MAX: usize = 8;

/// Makes connections, and knows what to do with them.
pub(crate) trait Manage: Send + Sync + 'static {
    type Conn: Send + 'static;

    /// What a waiter waits for, in words.
    const WHAT: &'static str;

    fn connect(&self) -> impl Future<Output = Result<Self::Conn, Error>> + Send;

    /// Tells whether the other end still answers.
    fn is_alive(&self, conn: &mut Self::Conn) -> impl Future<Output = bool> + Send;

    /// Ends what was begun, so that the connection can be used by others; tells whether it can.
    fn reset(&self, conn: &mut Self::Conn) -> impl Future<Output = bool> + Send;
}

pub(crate) struct Pool<M: Manage> {
    manage: M,
    permits: Arc<Semaphore>,
    size: usize,
    acquire_timeout: Duration,
    inside: Mutex<Inside<M::Conn>>,
}

struct Inside<C> {
    idle: Vec<Idle<C>>,
    holders: Vec<Holder>,
    next: u64,
    refused: u64,
    made: u64,
    broken: u64,
    closed: bool,
}

struct Idle<C> {
    conn: C,
    made: Instant,
    since: Instant,
}

struct Holder {
    number: u64,
    what: String,
    since: Instant,
}

impl<M: Manage> Pool<M> {
    pub(crate) fn new(manage: M, size: usize, acquire_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            manage,
            permits: Arc::new(Semaphore::new(size)),
            size,
            acquire_timeout,
            inside: Mutex::new(Inside {
                idle: Vec::new(),
                holders: Vec::new(),
                next: 0,
                refused: 0,
                made: 0,
                broken: 0,
                closed: false,
            }),
        })
    }

    fn inside(&self) -> MutexGuard<'_, Inside<M::Conn>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn manage(&self) -> &M {
        &self.manage
    }

    /// Takes a connection that answers.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Result<Held<M>, Error> {
        let permit = match self.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(tokio::sync::TryAcquireError::Closed) => return Err(Trouble::Closed.into()),
            Err(tokio::sync::TryAcquireError::NoPermits) => self.wait().await?,
        };
        let mut held = Held {
            conn: None,
            made: clock::now(),
            state: State::Clean,
            number: self.enter(),
            pool: self.clone(),
            _permit: permit,
        };
        loop {
            let idle = self.inside().idle.pop();
            let Some(Idle {
                mut conn,
                made,
                since,
            }) = idle
            else {
                held.conn = Some(self.manage.connect().await?);
                self.inside().made += 1;
                held.made = clock::now();
                return Ok(held);
            };
            let now = clock::now();
            if now.duration_since(made) > LIFE {
                continue;
            }
            if now.duration_since(since) <= FRESH
                || matches!(
                    clock::timeout(PING_TIMEOUT, self.manage.is_alive(&mut conn)).await,
                    Ok(true)
                )
            {
                held.conn = Some(conn);
                held.made = made;
                return Ok(held);
            }
        }
    }

    async fn wait(&self) -> Result<OwnedSemaphorePermit, Error> {
        let start = clock::now();
        let acquire = self.permits.clone().acquire_owned();
        match clock::timeout(self.acquire_timeout, acquire).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(Trouble::Closed.into()),
            Err(_) => {
                self.inside().refused += 1;
                Err(Trouble::Exhausted {
                    what: M::WHAT,
                    waited: clock::now().duration_since(start),
                    holders: self.holders(),
                }
                .into())
            }
        }
    }

    /// Notes who holds a connection from now on.
    fn enter(&self) -> u64 {
        let what = holder();
        let mut inside = self.inside();
        let number = inside.next;
        inside.next += 1;
        inside.holders.push(Holder {
            number,
            what,
            since: clock::now(),
        });
        number
    }

    fn holders(&self) -> Vec<String> {
        let now = clock::now();
        let inside = self.inside();
        // They entered in order, so the first are those that hold for longest.
        let told = inside.holders.iter().take(HOLDERS_MAX).map(|holder| {
            let held = now.duration_since(holder.since);
            format!("{} for {held:.1?}", holder.what)
        });
        told.collect()
    }

    /// Tells who has what.
    pub(crate) fn usage(&self) -> Usage {
        let holders = self.holders();
        let inside = self.inside();
        Usage {
            held: inside.holders.len(),
            size: self.size,
            holders,
            refused: inside.refused,
            made: inside.made,
            broken: inside.broken,
            ..Usage::default()
        }
    }

    /// Throws idle connections away: one was found dead, and the others are probably no better.
    pub(crate) fn forget_idle(&self) {
        let idle = std::mem::take(&mut self.inside().idle);
        drop(idle);
    }

    /// Ends the pool: idle connections are closed, and those that are held when they come back.
    pub(crate) fn close(&self) {
        self.permits.close();
        let mut inside = self.inside();
        inside.closed = true;
        let idle = std::mem::take(&mut inside.idle);
        drop(inside);
        drop(idle);
    }

    fn put_back(&self, conn: M::Conn, made: Instant) {
        let mut inside = self.inside();
        if inside.closed || inside.idle.len() >= self.size {
            drop(inside);
            drop(conn);
            return;
        }
        inside.idle.push(Idle {
            conn,
            made,
            since: clock::now(),
        });
    }
}

/// Says who is at work: the scopes around, and the trace id.
pub(crate) fn holder() -> String {
    let path = context::scope_path();
    let trace = context::current().trace_id();
    match (path.is_empty(), trace) {
        (true, None) => "work without a scope".to_owned(),
        (true, Some(trace)) => format!("trace {trace}"),
        (false, None) => path.to_string(),
        (false, Some(trace)) => format!("{path} (trace {trace})"),
    }
}

/// A connection that is taken. Dropped, it goes back if it is clean.
pub(crate) struct Held<M: Manage> {
    conn: Option<M::Conn>,
    made: Instant,
    state: State,
    number: u64,
    pool: Arc<Pool<M>>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing is under way.
    Clean,
    /// A transaction is open, and no operation under way.
    Open,
    /// An operation is under way, or has failed in a way that leaves the connection useless.
    Broken,
}

impl<M: Manage> Held<M> {
    /// Says that an operation begins: until the next call the connection is of no use to others.
    pub(crate) fn busy(&mut self) {
        self.state = State::Broken;
    }

    /// Says that an operation is over, and whether a transaction is open.
    pub(crate) fn idle(&mut self, open: bool) {
        self.state = if open { State::Open } else { State::Clean };
    }

    /// Says that the connection is of no use any more.
    pub(crate) fn broken(&mut self) {
        self.state = State::Broken;
        self.pool.forget_idle();
    }

    pub(crate) fn pool(&self) -> &Arc<Pool<M>> {
        &self.pool
    }
}

impl<M: Manage> Deref for Held<M> {
    type Target = M::Conn;

    fn deref(&self) -> &M::Conn {
        self.conn.as_ref().expect("there until it is dropped")
    }
}

impl<M: Manage> DerefMut for Held<M> {
    fn deref_mut(&mut self) -> &mut M::Conn {
        self.conn.as_mut().expect("there until it is dropped")
    }
}

impl<M: Manage> fmt::Debug for Held<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("state", &self.state).finish()
    }
}

impl<M: Manage> Drop for Held<M> {
    fn drop(&mut self) {
        let mut inside = self.pool.inside();
        inside.holders.retain(|holder| holder.number != self.number);
        drop(inside);
        let Some(mut conn) = self.conn.take() else {
            return;
        };
        match self.state {
            State::Clean => self.pool.put_back(conn, self.made),
            // A roll-back takes a round trip, which nobody waits for. Without a runtime the
            // connection is closed, and the database rolls back by itself.
            State::Open if tokio::runtime::Handle::try_current().is_ok() => {
                let (pool, made) = (self.pool.clone(), self.made);
                steadfast_core::spawn("roll back", async move {
                    let reset = clock::timeout(PING_TIMEOUT, pool.manage.reset(&mut conn)).await;
                    if matches!(reset, Ok(true)) {
                        pool.put_back(conn, made);
                    }
                });
            }
            State::Open | State::Broken => {
                self.pool.inside().broken += 1;
                drop(conn);
            }
        }
    }
}
