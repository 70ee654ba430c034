//! The one place where real time enters.
//!
//! Two clocks, never mixed: an [`Instant`] is monotonic, belongs to one process and measures how
//! long something took; a [`Timestamp`] is wall time in UTC, may jump, and is for people and
//! stores. Decisions in [`decide`](crate::decide) see neither: they are handed [`nanos`].
//!
//! Everything here goes through tokio's clock, so a test that starts with paused time
//! (`#[tokio::test(start_paused = true)]`) moves all of steadfast along. For tests of synchronous
//! code, the feature `test-util` has a clock that is moved by hand.
#![allow(
    clippy::disallowed_methods,
    reason = "this file is the one door to real time; everything else comes through it"
)]

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use crate::cancel::{self, Cause};

pub use tokio::time::Instant;
pub use tokio::time::error::Elapsed;

/// Reads the monotonic clock.
pub fn now() -> Instant {
    #[cfg(feature = "test-util")]
    if let Some(now) = crate::testing::manual_now() {
        return now;
    }
    Instant::now()
}

/// Gives the monotonic clock as nanoseconds, the form that pure decisions take.
///
/// Counted from an origin that is fixed at the first call in the process, so two values of one
/// process may be compared and subtracted, and nothing else. Lasts for 584 years.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// let start = steadfast::clock::nanos();
/// assert!(steadfast::clock::nanos() >= start);
/// ```
pub fn nanos() -> u64 {
    nanos_at(now())
}

/// By how much [`nanos_coarse`] may be behind [`nanos`]: 10 ms, a tick of a kernel that has a hundred in a second,
/// which is the slowest that is usual.
pub const COARSE_LAG: Duration = Duration::from_millis(10);

/// Gives [`nanos`] as of the last tick of the system, which is up to [`COARSE_LAG`] ago and never ahead: for a quarter
/// of the cost, where one is read a million times a second.
///
/// Without the feature `coarse-clock`, on other systems than Linux, and under `test-util`, whose clocks are moved by
/// hand, it is [`nanos`] itself.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::clock::{nanos, nanos_coarse};
///
/// assert!(nanos_coarse() <= nanos());
/// ```
pub fn nanos_coarse() -> u64 {
    #[cfg(all(
        feature = "coarse-clock",
        target_os = "linux",
        not(feature = "test-util")
    ))]
    return system_coarse();
    #[cfg(not(all(
        feature = "coarse-clock",
        target_os = "linux",
        not(feature = "test-util")
    )))]
    nanos()
}

/// Reads the coarse clock of the system, on the scale of [`nanos`].
#[cfg(all(
    feature = "coarse-clock",
    target_os = "linux",
    any(test, not(feature = "test-util"))
))]
fn system_coarse() -> u64 {
    use rustix::time::{ClockId, clock_gettime};

    let read = |id| {
        let since = clock_gettime(id);
        (since.tv_sec as u64) * 1_000_000_000 + since.tv_nsec as u64
    };
    // Where the origin of `nanos` is, on the clock of the system. It is read second: so what comes out is behind, if
    // anything.
    static ZERO: OnceLock<u64> = OnceLock::new();
    let zero = ZERO.get_or_init(|| {
        let nanos = nanos_at(Instant::from_std(real()));
        read(ClockId::Monotonic).saturating_sub(nanos)
    });
    read(ClockId::MonotonicCoarse).saturating_sub(*zero)
}

/// Gives [`nanos`] and the time for which the host has slept: the clock by which a lease is held.
///
/// The monotonic clock of Linux stands still while a host is suspended, and the database counts on: by [`nanos`] alone a
/// laptop that was closed for an hour would rely on a lease that was over long ago. Like those of [`nanos`], its values
/// are for one process. Timers know nothing of that sleep: wait by [`lease_sleep_until`].
///
/// What nobody inside can see is a virtual machine whose host stops all of its clocks, as snapshots do. Then the fencing
/// terms in the store are what protects.
#[cfg(feature = "lease-clock")]
pub fn lease_nanos() -> u64 {
    nanos().saturating_add(host_slept())
}

/// How late [`lease_sleep_until`] is after the host has slept, at most: 500 ms.
#[cfg(feature = "lease-clock")]
pub const LEASE_LOOK: Duration = Duration::from_millis(500);

/// Waits until [`lease_nanos`] is at `until`.
///
/// # Panics
/// When polled outside a tokio runtime with a timer.
///
/// # Cancel safety
/// Dropping the future stops the wait; nothing else is lost.
#[cfg(feature = "lease-clock")]
pub async fn lease_sleep_until(until: u64) {
    loop {
        let left = Duration::from_nanos(until.saturating_sub(lease_nanos()));
        if left.is_zero() {
            return;
        }
        sleep(left.min(LEASE_LOOK)).await;
    }
}

/// For how long the host has slept since this was first asked, in nanoseconds.
#[cfg(all(feature = "lease-clock", target_os = "linux"))]
fn host_slept() -> u64 {
    use rustix::time::{ClockId, clock_gettime};

    let read = |id| {
        let since = clock_gettime(id);
        since.tv_sec * 1_000_000_000 + since.tv_nsec
    };
    // What passes between two reads counts as sleep where it makes a lease end early, and not where it would make one last.
    static ZERO: OnceLock<i64> = OnceLock::new();
    let zero = *ZERO.get_or_init(|| {
        let all = read(ClockId::Boottime);
        all - read(ClockId::Monotonic)
    });
    let awake = read(ClockId::Monotonic);
    let slept = read(ClockId::Boottime) - awake - zero;
    u64::try_from(slept).unwrap_or(0)
}

/// Monotonic clocks of other systems are not known to stand still.
#[cfg(all(feature = "lease-clock", not(target_os = "linux")))]
fn host_slept() -> u64 {
    0
}

/// Converts an instant to the scale of [`nanos`]; an instant before the origin gives zero.
pub fn nanos_at(instant: Instant) -> u64 {
    let since = instant.saturating_duration_since(origin());
    let nanos = since.as_secs().saturating_mul(1_000_000_000);
    nanos.saturating_add(since.subsec_nanos().into())
}

/// Converts a point on the scale of [`nanos`] to an instant; one that is out of range, such as
/// `u64::MAX` for "never", becomes one in thirty years.
pub fn instant_at(nanos: u64) -> Instant {
    const LATEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    origin() + Duration::from_nanos(nanos).min(LATEST)
}

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    // A second in the past, so that a zero means "before everything" and not "at the first call".
    *ORIGIN.get_or_init(|| {
        // Of the machine's time: a test that has moved its own must not set it for the others.
        let now = Instant::from_std(real());
        now.checked_sub(Duration::from_secs(1)).unwrap_or(now)
    })
}

/// Reads the wall clock.
pub fn timestamp() -> Timestamp {
    #[cfg(feature = "test-util")]
    if let Some(timestamp) = crate::testing::manual_timestamp() {
        return Timestamp(timestamp);
    }
    Timestamp(SystemTime::now())
}

/// A point in wall time, UTC: for people and for stores.
///
/// Never use the difference of two timestamps as a duration: the wall clock is stepped by
/// operators and by NTP. Times that are compared between hosts come from the database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(SystemTime);

impl Timestamp {
    /// Makes one from the milliseconds since 1970-01-01T00:00:00Z, negative before: the form in which
    /// stores hand them out. What no wall clock can show becomes 1970-01-01T00:00:00Z.
    pub fn from_unix_millis(millis: i64) -> Self {
        let distance = Duration::from_millis(millis.unsigned_abs());
        let epoch = SystemTime::UNIX_EPOCH;
        let time = if millis < 0 {
            epoch.checked_sub(distance)
        } else {
            epoch.checked_add(distance)
        };
        Self(time.unwrap_or(epoch))
    }

    /// Gives the milliseconds since 1970-01-01T00:00:00Z, negative before.
    pub fn unix_millis(self) -> i64 {
        let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        match self.0.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        }
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(time)
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.0
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({} ms)", self.unix_millis())
    }
}

/// Waits for `duration` of the monotonic clock.
///
/// # Panics
/// When polled outside a tokio runtime with a timer.
///
/// # Cancel safety
/// Dropping the future stops the wait; nothing else is lost.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits until `deadline`.
///
/// # Panics
/// When polled outside a tokio runtime with a timer.
///
/// # Cancel safety
/// Dropping the future stops the wait; nothing else is lost.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline).await;
}

/// A point in time that a future watches beside its work.
///
/// The timer is made when it is first asked for: work that is done at once pays nothing.
pub struct Alarm {
    at: Instant,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Alarm {
    /// Sets the alarm.
    pub fn new(at: Instant) -> Self {
        Self { at, sleep: None }
    }

    /// Gives the point in time.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Sets it anew.
    pub fn set(&mut self, at: Instant) {
        self.at = at;
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().reset(at);
        }
    }

    /// Tells whether the time is up; if not, the task of `cx` is woken when it is.
    ///
    /// # Panics
    /// Outside a tokio runtime with a timer.
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.at)));
        sleep.as_mut().poll(cx)
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Alarm").field(&self.at).finish()
    }
}

/// Runs a future for at most `duration`; then it is dropped, and scopes inside of it end with
/// [`Cause::Timeout`].
///
/// Compared with [`ScopeBuilder::timeout`](crate::ScopeBuilder::timeout): a scope also waits for
/// the children of the future, and runs its cleanups before it answers.
///
/// # Errors
/// [`Elapsed`] when the time was up first; the future is dropped then.
///
/// # Panics
/// When polled outside a tokio runtime with a timer.
///
/// # Cancel safety
/// As the future's own.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(Some(future));
    let timed = tokio::time::timeout(
        duration,
        poll_fn(|cx| {
            let running = future.as_mut().as_pin_mut();
            running.expect("there until the time is up").poll(cx)
        }),
    );
    let timed = timed.await;
    if timed.is_err() {
        cancel::dropping(Cause::Timeout(duration), || future.set(None));
    }
    timed
}

/// Blocks the calling thread for `duration`: for threads of their own, never for async code.
pub fn block(duration: Duration) {
    #[cfg(feature = "test-util")]
    if crate::testing::manual_block(duration) {
        return;
    }
    std::thread::sleep(duration);
}

/// Reads the clock of the machine even where a test has paused time: for threads of our own that
/// no runtime's time reaches.
pub(crate) fn real() -> std::time::Instant {
    std::time::Instant::now()
}

/// Gives [`real`] as nanoseconds, on a scale of its own; never zero.
pub(crate) fn real_nanos() -> u64 {
    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    let now = real();
    let since = now.saturating_duration_since(*ORIGIN.get_or_init(|| now));
    // A second later than the origin, for the same reason as above.
    u64::try_from(since.as_nanos())
        .unwrap_or(u64::MAX)
        .saturating_add(1_000_000_000)
}

/// Tells when an instant was by the wall clock: exactly, unless that was stepped since.
pub(crate) fn timestamp_of(instant: std::time::Instant) -> Timestamp {
    let now = SystemTime::now();
    Timestamp(now.checked_sub(instant.elapsed()).unwrap_or(now))
}

/// Gives the instant at which `duration` will be over; one that no process lives to see for a
/// duration that is too long to be added.
pub(crate) fn after(duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    let now = now();
    now.checked_add(duration).unwrap_or_else(|| now + FAR)
}

pub(crate) fn timer_until(deadline: Instant) -> tokio::time::Sleep {
    tokio::time::sleep_until(deadline)
}

#[cfg(all(test, feature = "coarse-clock", target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_clock_goes_on_and_is_never_ahead() {
        let mut last = 0;
        let first = system_coarse();
        while last < first + 50_000_000 {
            let before = system_coarse();
            let now = nanos();
            assert!(before <= now, "{before} is ahead of {now}");
            assert!(last <= before, "it went back");
            // A machine that stands still in between makes it older, and nothing makes it a second.
            assert!(
                now - before < 1_000_000_000,
                "{before} is long before {now}"
            );
            last = before;
        }
    }
}
