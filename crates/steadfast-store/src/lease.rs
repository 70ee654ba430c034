//! Locks between processes, for work of the user's own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use steadfast_core::cancel::{Cancel, Cause};
use steadfast_core::report::EventDoc;
use steadfast_core::{clock, rng};
use tokio::sync::{Notify, watch};

use crate::config::config;
use crate::node::host;
use crate::schema::{LEASE_RELEASE, LEASE_RENEW, LEASE_TAKE};
use crate::{Error, Store, binds};

/// How a lock is held.
#[derive(Debug, Clone)]
pub struct LockConfig {
    /// How long the lock outlives its holder: 30 s. It is renewed every third of it.
    pub lease: Duration,
    /// How long to wait between two looks at a lock that others have: 1 s, more or less.
    pub poll: Duration,
}

impl Default for LockConfig {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            poll: Duration::from_secs(1),
        }
    }
}

impl LockConfig {
    /// The shortest lease and poll: 10 ms, for tests.
    pub const MIN: Duration = Duration::from_millis(10);

    /// The longest lease and poll: an hour.
    pub const MAX: Duration = Duration::from_secs(3_600);

    fn check(&self) -> Result<(), Error> {
        for (what, value) in [("lease", self.lease), ("poll", self.poll)] {
            if !(Self::MIN..=Self::MAX).contains(&value) {
                return Err(config(what, "must be from 10 ms to 1 h"));
            }
        }
        Ok(())
    }

    /// How much earlier than the database the holder believes that it is over: a tenth.
    fn reliable(&self) -> Duration {
        self.lease - self.lease / 10
    }
}

pub(crate) const EVENTS: &[EventDoc] = &[EventDoc::new(
    "steadfast::store",
    &["warn"],
    "lock not renewed",
    &["error", "lock"],
)
.when("A lock that this process holds could not be renewed; it is tried again until it is lost.")
.action("See the error; when it is lost, work under the lock is cancelled.")];

/// The longest name of a lock: 200 bytes.
const NAME_BYTES_MAX: usize = 200;

/// A lock that this process holds; made by [`Store::lock`]. Given back when it is dropped.
///
/// A lock in a database is a *lease*: a holder that was stopped for long enough has lost it without
/// knowing. It finds out by itself when it goes on, or its host wakes up. So it is advice, and the [term](Self::term) is what protects: it grows with each
/// holder. Send it along with every write, and have the receiver refuse a term that is lower than
/// one it has seen.
#[must_use = "it is given back when this is dropped"]
pub struct Lock(Arc<Held>);

struct Held {
    name: String,
    holder: String,
    term: i64,
    fence_at: AtomicU64,
    cancel: Cancel,
    release: Notify,
    released: watch::Sender<bool>,
}

impl Store {
    /// Takes the lock `name`, waiting for as long as others have it.
    ///
    /// # Errors
    /// When the config or the name (1 to 200 bytes) is out of range (SF-1114), or the database
    /// cannot be asked.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropped half-way, it may have been taken; then it ends with its lease.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// # use steadfast_store::{Config, Error, LockConfig, Store};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Error> {
    /// # let folder = std::env::temp_dir().join(format!("lock-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder).unwrap();
    /// # let store = Store::open(Config::sqlite(folder.join("shop.db"))).await?;
    /// let lock = store.lock("monthly report", LockConfig::default()).await?;
    /// assert!(store.try_lock("monthly report", LockConfig::default()).await?.is_none());
    ///
    /// // Work under `lock.cancel()`, and send `lock.term()` along with what it writes elsewhere.
    /// let first = lock.term();
    /// lock.release().await;
    ///
    /// let again = store.lock("monthly report", LockConfig::default()).await?;
    /// assert!(again.term() > first);
    /// # again.release().await;
    /// # store.close().await;
    /// # std::fs::remove_dir_all(folder).unwrap();
    /// # Ok(()) } main().unwrap(); }
    /// ```
    pub async fn lock(&self, name: &str, config: LockConfig) -> Result<Lock, Error> {
        loop {
            if let Some(lock) = self.try_lock(name, config.clone()).await? {
                return Ok(lock);
            }
            // Half of it to one and a half: those who wait do not ask all at once.
            let spread = config
                .poll
                .mul_f64(0.5 + (rng::bits() % 1_000) as f64 / 1_000.0);
            clock::sleep(spread).await;
        }
    }

    /// Takes the lock `name` if nobody has it.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    ///
    /// # Cancel safety
    /// As [`lock`](Self::lock).
    pub async fn try_lock(&self, name: &str, config: LockConfig) -> Result<Option<Lock>, Error> {
        config.check()?;
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Err(crate::config::config("name", "must have 1 to 200 bytes"));
        }
        let holder = format!("{:016x}{:016x}", rng::bits(), rng::bits());
        let asked_at = clock::lease_nanos();
        let rows = self
            .run(
                &LEASE_TAKE,
                binds![
                    name,
                    holder.as_str(),
                    micros(config.lease),
                    host::boot(),
                    host::clock_us(self.dialect())
                ],
            )
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let held = Arc::new(Held {
            name: name.to_owned(),
            holder,
            term: row.get(0)?,
            fence_at: AtomicU64::new(fence_at(asked_at, &config)),
            cancel: Cancel::new(),
            release: Notify::new(),
            released: watch::Sender::new(false),
        });
        let end = End(held.clone());
        steadfast_core::spawn("lock", keep(self.clone(), end, config));
        Ok(Some(Lock(held)))
    }
}

impl Lock {
    /// Gives the name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Gives the fencing term: higher than that of everybody who had any lock of this store before.
    pub fn term(&self) -> i64 {
        self.0.term
    }

    /// Tells whether the holder may rely on it at this moment.
    pub fn is_held(&self) -> bool {
        self.0.left() > Duration::ZERO
    }

    /// Gives the token that is cancelled when the lock is lost ([`Cause::LeaseLost`]) or given
    /// back.
    pub fn cancel(&self) -> &Cancel {
        &self.0.cancel
    }

    /// Gives it back, and waits until the database has been told.
    ///
    /// # Cancel safety
    /// Dropped half-way, it is given back all the same.
    pub async fn release(self) {
        let mut released = self.0.released.subscribe();
        self.0.release.notify_one();
        let _ = released.wait_for(|released| *released).await;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.release.notify_one();
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("name", &self.0.name)
            .field("term", &self.0.term)
            .field("held", &self.is_held())
            .finish()
    }
}

impl Held {
    fn left(&self) -> Duration {
        if self.cancel.is_cancelled() {
            return Duration::ZERO;
        }
        let fence_at = self.fence_at.load(Ordering::Acquire);
        Duration::from_nanos(fence_at.saturating_sub(clock::lease_nanos()))
    }
}

/// Renews a lock until it is lost or given back.
///
/// Whatever ends this task, and be it before it has begun: nobody relies on the lock, or waits for it to be given back.
async fn keep(store: Store, end: End, config: LockConfig) {
    let held = &*end.0;
    let mut pause = config.lease / 3;
    loop {
        tokio::select! {
            () = held.release.notified() => {
                held.cancel.cancel(Cause::Shutdown);
                let binds = binds![held.name.as_str(), held.holder.as_str(), held.term];
                // Not told, it ends with its lease.
                let _ = store.run(&LEASE_RELEASE, binds).await;
                return;
            }
            () = wait(pause.min(held.left())) => {}
        }
        if held.left().is_zero() {
            return;
        }
        let asked_at = clock::lease_nanos();
        let renew = store.run(
            &LEASE_RENEW,
            binds![
                held.name.as_str(),
                held.holder.as_str(),
                held.term,
                micros(config.lease),
                host::clock_us(store.dialect())
            ],
        );
        let renewed = tokio::select! {
            biased;
            renewed = renew => renewed,
            () = wait(held.left()) => return,
        };
        match renewed {
            Ok(rows) if rows.is_empty() => return,
            Ok(_) => {
                held.fence_at
                    .store(fence_at(asked_at, &config), Ordering::Release);
                pause = config.lease / 3;
            }
            Err(error) => {
                tracing::warn!(target: "steadfast::store", %error, lock = %held.name, "lock not renewed");
                pause = config.lease / 30;
            }
        }
    }
}

/// Waits, also by what the host sleeps meanwhile.
async fn wait(duration: Duration) {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    clock::lease_sleep_until(clock::lease_nanos().saturating_add(nanos)).await;
}

/// Says that nobody keeps it any more, when it is dropped.
struct End(Arc<Held>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.cancel.cancel(Cause::LeaseLost);
        self.0.released.send_replace(true);
    }
}

/// Counted from before the database was asked: its own count began later.
fn fence_at(asked_at: u64, config: &LockConfig) -> u64 {
    let reliable = u64::try_from(config.reliable().as_nanos()).unwrap_or(u64::MAX);
    asked_at.saturating_add(reliable)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
