//! The pool itself: connections, who may have one, and what becomes of it afterwards.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast_core::clock::{self, Instant};
use steadfast_core::context::{self, Name, Tier};
use tokio::sync::oneshot;

use super::advice::{Advice, Load};
use super::books::Times;
use super::error::Exhausted;
use super::holder::Holder;
use super::permits::Permits;
use super::{PoolStats, config};

/// How long a connection may have been idle and still be used without asking whether it lives: a
/// second, after which one more round trip does not matter.
const FRESH: Duration = Duration::from_secs(1);

/// How long a connection is used: half an hour, so that servers and balancers that change behind a
/// name are found.
const LIFE: Duration = Duration::from_secs(30 * 60);

/// How long the answer of a connection is waited for when it is asked whether it lives, and for
/// putting it in order when nobody waits for it.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// How many places are told of nested waits, so that the log stays readable: 64.
const PLACES_MAX: usize = 64;

/// Makes connections, and knows what to do with them.
pub(crate) trait Manage: Send + Sync + 'static {
    type Conn: Send + 'static;
    type Error: Send;

    fn connect(&self) -> impl Future<Output = Result<Self::Conn, Self::Error>> + Send;

    /// Tells whether the other end still answers.
    fn is_alive(&self, conn: &mut Self::Conn) -> impl Future<Output = bool> + Send;

    /// Ends what was begun, so that the connection can be used by others; tells whether it can.
    fn reset(&self, conn: &mut Self::Conn) -> impl Future<Output = bool> + Send;
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NoConnection<E> {
    Exhausted(Exhausted),
    Connect(E),
    Closed,
}

pub(crate) struct Pool<M: Manage> {
    manage: M,
    name: Name,
    size_max: usize,
    acquire_timeout: Duration,
    reserve: [usize; Tier::COUNT],
    inside: Mutex<Inside<M>>,
}

struct Inside<M: Manage> {
    permits: Permits,
    waiting: HashMap<u64, oneshot::Sender<Permit<M>>>,
    idle: Vec<Idle<M::Conn>>,
    holders: Vec<Holder>,
    next: u64,
    counts: Counts,
    times: Times,
    load: Load,
    /// Where nested waits were told of.
    places: HashSet<(&'static str, u32)>,
    closed: bool,
    is_watched: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) refused: u64,
    pub(crate) made: u64,
    pub(crate) broken: u64,
    pub(crate) nested: u64,
}

struct Idle<C> {
    conn: C,
    made: Instant,
    since: Instant,
}

impl<M: Manage> Pool<M> {
    /// Makes one of a fixed size, for the store itself.
    pub(crate) fn new(manage: M, size: usize, acquire_timeout: Duration) -> Arc<Self> {
        let reserve = [0; Tier::COUNT];
        Self::with("store".into(), manage, size, size, acquire_timeout, reserve)
    }

    pub(crate) fn with(
        name: Name,
        manage: M,
        size: usize,
        size_max: usize,
        acquire_timeout: Duration,
        reserve: [usize; Tier::COUNT],
    ) -> Arc<Self> {
        Arc::new(Self {
            manage,
            name,
            size_max,
            acquire_timeout,
            reserve,
            inside: Mutex::new(Inside {
                permits: Permits::new(size, reserve),
                waiting: HashMap::new(),
                idle: Vec::new(),
                holders: Vec::new(),
                next: 0,
                counts: Counts::default(),
                times: Times::default(),
                load: Load::default(),
                places: HashSet::new(),
                closed: false,
                is_watched: false,
            }),
        })
    }

    fn inside(&self) -> MutexGuard<'_, Inside<M>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn manage(&self) -> &M {
        &self.manage
    }

    pub(crate) fn name(&self) -> Name {
        self.name
    }

    /// Takes a connection that answers.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        place: Option<&'static Location<'static>>,
    ) -> Result<Held<M>, NoConnection<M::Error>> {
        let began = clock::now();
        let permit = self.permit(place, began).await?;
        let mut held = Held {
            conn: None,
            made: began,
            since: clock::now(),
            state: State::Clean,
            number: self.enter(place, began),
            permit: Some(permit),
        };
        loop {
            let idle = self.inside().idle.pop();
            let Some(Idle {
                mut conn,
                made,
                since,
            }) = idle
            else {
                let began = clock::now();
                held.conn = Some(self.manage.connect().await.map_err(NoConnection::Connect)?);
                held.made = clock::now();
                let mut inside = self.inside();
                inside.counts.made += 1;
                inside.times.create.note(held.made.duration_since(began));
                drop(inside);
                return Ok(held);
            };
            let now = clock::now();
            if now.duration_since(made) > LIFE {
                continue;
            }
            let is_fresh = now.duration_since(since) <= FRESH;
            let answer = match is_fresh {
                true => Ok(true),
                false => clock::timeout(PING_TIMEOUT, self.manage.is_alive(&mut conn)).await,
            };
            match answer {
                Ok(true) => {
                    held.conn = Some(conn);
                    held.made = made;
                    return Ok(held);
                }
                Ok(false) => {}
                // Nobody answers. The others are probably no better, and would cost as long each.
                Err(_) => self.forget_idle(),
            }
        }
    }

    async fn permit(
        self: &Arc<Self>,
        place: Option<&'static Location<'static>>,
        began: Instant,
    ) -> Result<Permit<M>, NoConnection<M::Error>> {
        let tier = context::current().tier();
        let waiting = {
            let mut inside = self.inside();
            if inside.closed {
                return Err(NoConnection::Closed);
            }
            if inside.permits.take(tier) {
                return Ok(Permit { pool: self.clone() });
            }
            let (granted, receiver) = oneshot::channel();
            let ticket = inside.permits.wait(tier);
            inside.waiting.insert(ticket, granted);
            Waiting {
                pool: self.clone(),
                tier,
                ticket,
                receiver,
            }
        };
        self.tell_nested(place);
        waiting.granted(began).await
    }

    /// Tells whoever waits while it holds a connection.
    fn tell_nested(&self, place: Option<&'static Location<'static>>) {
        let mut inside = self.inside();
        let own = inside
            .holders
            .iter()
            .filter(|holder| holder.is_this_task())
            .count();
        if own == 0 {
            return;
        }
        inside.counts.nested += 1;
        let key = place.map_or(("", 0), |place| (place.file(), place.line()));
        if inside.places.len() >= PLACES_MAX || !inside.places.insert(key) {
            return;
        }
        drop(inside);
        let holder = super::at_work();
        tracing::warn!(
            target: "steadfast::pool",
            pool = self.name.as_str(),
            holder,
            place = place.map(tracing::field::display),
            own,
            "a task waits for a connection while it holds one"
        );
    }

    fn exhausted(&self, began: Instant) -> Exhausted {
        let mut inside = self.inside();
        inside.counts.refused += 1;
        Exhausted {
            waited: clock::now().duration_since(began),
            size: inside.permits.size(),
            // Whoever is told still stands in line.
            waiters: inside.permits.waiters().saturating_sub(1),
            own: inside
                .holders
                .iter()
                .filter(|holder| holder.is_this_task())
                .count(),
            // They entered in order, so the first are those that hold for longest.
            holders: inside.holders.clone(),
        }
    }

    /// Notes who holds a connection from now on.
    fn enter(&self, place: Option<&'static Location<'static>>, began: Instant) -> u64 {
        let mut inside = self.inside();
        let number = inside.next;
        inside.next += 1;
        inside.holders.push(Holder::new(number, place));
        let waited = clock::now().duration_since(began);
        inside.times.wait.note(waited);
        inside
            .load
            .acquired(waited.as_nanos() as u64, clock::nanos());
        self.changed(&mut inside);
        number
    }

    fn changed(&self, inside: &mut Inside<M>) {
        let used = inside.permits.used();
        inside.load.changed(used, clock::nanos());
    }

    /// Hands out what is free.
    fn settle(&self, pool: &Arc<Self>) {
        loop {
            let mut inside = self.inside();
            let Some(ticket) = inside.permits.grant() else {
                self.changed(&mut inside);
                return;
            };
            let Some(granted) = inside.waiting.remove(&ticket) else {
                // The pool was closed, and whoever stood here has not left yet. Not by a permit that is dropped, which
                // would come back to here: once for each who waits, and so many do not fit on a stack.
                inside.permits.give_back();
                continue;
            };
            drop(inside);
            // Whoever is not there any more gives it back by dropping it.
            let _ = granted.send(Permit { pool: pool.clone() });
        }
    }

    /// Changes how many connections there may be.
    ///
    /// # Errors
    /// When it is out of range.
    pub(crate) fn resize(self: &Arc<Self>, size: usize) -> Result<(), crate::Error> {
        config::check_size(size, self.size_max, &self.reserve)?;
        let mut inside = self.inside();
        inside.permits.resize(size);
        let keep = size.saturating_sub(inside.permits.used());
        let surplus = inside.idle.len().saturating_sub(keep);
        // The oldest, which are at the front.
        let idle: Vec<_> = inside.idle.drain(..surplus).collect();
        drop(inside);
        drop(idle);
        self.settle(self);
        Ok(())
    }

    pub(crate) fn holders(&self) -> Vec<Holder> {
        self.inside().holders.clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.inside().counts
    }

    pub(crate) fn size(&self) -> usize {
        self.inside().permits.size()
    }

    pub(crate) fn stats(&self, leak_after: Duration) -> PoolStats {
        let inside = self.inside();
        PoolStats {
            name: self.name,
            size: inside.permits.size(),
            used: inside.permits.used(),
            idle: inside.idle.len(),
            waiters: inside.permits.waiters(),
            held_long: inside
                .holders
                .iter()
                .filter(|h| h.held() > leak_after)
                .count(),
            made: inside.counts.made,
            discarded: inside.counts.broken,
            timeouts: inside.counts.refused,
            nested: inside.counts.nested,
        }
    }

    pub(super) fn times(&self) -> Times {
        self.inside().times.clone()
    }

    pub(crate) fn advice(&self) -> Option<Advice> {
        let mut inside = self.inside();
        let size = inside.permits.size();
        inside.load.advice(size, self.size_max, clock::nanos())
    }

    /// Tells whether somebody has to begin to watch for holders that hold for long.
    #[cfg(feature = "sqlx09")]
    pub(crate) fn begin_watch(&self) -> bool {
        let mut inside = self.inside();
        !std::mem::replace(&mut inside.is_watched, true)
    }

    /// Tells of each holder once that holds for longer.
    pub(crate) fn tell_leaks(&self, leak_after: Duration) {
        let mut told = Vec::new();
        for holder in &mut self.inside().holders {
            if !holder.is_told && holder.held() > leak_after {
                holder.is_told = true;
                told.push(holder.clone());
            }
        }
        for holder in told {
            tracing::warn!(
                target: "steadfast::pool",
                pool = self.name.as_str(),
                holder = holder.scope(),
                place = holder.place().map(tracing::field::display),
                trace_id = holder.trace_id().map(tracing::field::display),
                held_ms = holder.held().as_millis() as u64,
                "a connection is held for long"
            );
        }
    }

    /// Throws idle connections away: one was found dead, and the others are probably no better.
    pub(crate) fn forget_idle(&self) {
        let idle = std::mem::take(&mut self.inside().idle);
        drop(idle);
    }

    /// Ends the pool: idle connections are closed, and those that are held when they come back.
    pub(crate) fn close(&self) {
        let mut inside = self.inside();
        inside.closed = true;
        let idle = std::mem::take(&mut inside.idle);
        // Whoever waits sees that nobody will grant anything.
        let waiting = std::mem::take(&mut inside.waiting);
        drop(inside);
        drop(idle);
        drop(waiting);
    }

    fn put_back(&self, conn: M::Conn, made: Instant) {
        let mut inside = self.inside();
        // One permit is still that of this connection.
        let room = inside
            .permits
            .size()
            .saturating_sub(inside.permits.used().saturating_sub(1));
        if inside.closed || inside.idle.len() >= room {
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

    fn discarded(&self) {
        self.inside().counts.broken += 1;
    }
}

/// The right to a connection; given back when it is dropped, wherever that is.
struct Permit<M: Manage> {
    pool: Arc<Pool<M>>,
}

impl<M: Manage> Drop for Permit<M> {
    fn drop(&mut self) {
        self.pool.inside().permits.give_back();
        self.pool.settle(&self.pool);
    }
}

/// A place in line; left when it is dropped.
struct Waiting<M: Manage> {
    pool: Arc<Pool<M>>,
    tier: Tier,
    ticket: u64,
    receiver: oneshot::Receiver<Permit<M>>,
}

impl<M: Manage> Waiting<M> {
    async fn granted(mut self, began: Instant) -> Result<Permit<M>, NoConnection<M::Error>> {
        let timeout = self.pool.acquire_timeout;
        match clock::timeout(timeout, &mut self.receiver).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(NoConnection::Closed),
            Err(_) => Err(NoConnection::Exhausted(self.pool.exhausted(began))),
        }
    }
}

impl<M: Manage> Drop for Waiting<M> {
    fn drop(&mut self) {
        let mut inside = self.pool.inside();
        // If it was granted meanwhile, the permit is in the channel, and given back with it.
        let waited = inside.permits.leave(self.tier, self.ticket);
        let sender = inside.waiting.remove(&self.ticket);
        drop(inside);
        drop(sender);
        if waited {
            // Whoever stood behind may have a claim that this one was in the way of.
            self.pool.settle(&self.pool);
        }
    }
}

/// A connection that is taken. Dropped, it goes back if it is clean.
pub(crate) struct Held<M: Manage> {
    conn: Option<M::Conn>,
    made: Instant,
    since: Instant,
    state: State,
    number: u64,
    /// There until it is dropped.
    permit: Option<Permit<M>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing is under way.
    Clean,
    /// A transaction is open, and no operation under way; or nobody knows, since somebody had it in hands.
    Open,
    /// An operation is under way, or has failed in a way that leaves the connection useless.
    Broken,
}

impl<M: Manage> Held<M> {
    /// Says that an operation begins: until the next call the connection is of no use to others.
    pub(crate) fn busy(&mut self) {
        self.state = State::Broken;
    }

    /// Says that an operation is over, and whether it has to be put in order before others can use it.
    pub(crate) fn idle(&mut self, open: bool) {
        self.state = if open { State::Open } else { State::Clean };
    }

    /// Says that the connection is of no use any more.
    pub(crate) fn broken(&mut self) {
        self.state = State::Broken;
        self.pool().forget_idle();
    }

    pub(crate) fn pool(&self) -> &Arc<Pool<M>> {
        &self
            .permit
            .as_ref()
            .expect("there until it is dropped")
            .pool
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
        let Some(permit) = self.permit.take() else {
            return;
        };
        let pool = permit.pool.clone();
        let mut inside = pool.inside();
        inside.holders.retain(|holder| holder.number != self.number);
        inside
            .times
            .held
            .note(clock::now().duration_since(self.since));
        drop(inside);
        let Some(mut conn) = self.conn.take() else {
            return;
        };
        match self.state {
            State::Clean => pool.put_back(conn, self.made),
            // Putting it in order takes a round trip, which nobody waits for; its permit does, within bounds, so that
            // there are never more connections than permits. Without a runtime the connection is closed, and
            // the database rolls back by itself.
            State::Open if tokio::runtime::Handle::try_current().is_ok() => {
                let made = self.made;
                steadfast_core::spawn("roll back", async move {
                    let reset = clock::timeout(PING_TIMEOUT, pool.manage.reset(&mut conn)).await;
                    match reset {
                        Ok(true) => pool.put_back(conn, made),
                        Ok(false) | Err(_) => {
                            pool.discarded();
                            drop(conn);
                        }
                    }
                    drop(permit);
                });
            }
            State::Open | State::Broken => {
                pool.discarded();
                drop(conn);
            }
        }
    }
}
