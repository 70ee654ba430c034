use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use crate::clock::{self, Instant, Timestamp};

thread_local! {
    static MANUAL: Cell<Option<Times>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Times {
    now: Instant,
    timestamp: SystemTime,
}

/// Stops both clocks of this thread until it is dropped, and moves them by hand.
///
/// [`clock::now`], [`clock::nanos`] and [`clock::timestamp`] obey it on this thread, and
/// [`clock::block`] moves it instead of blocking. Timers of a runtime do not: pause tokio's time
/// for those. A second one starts at the time of the first, which goes on from its own when the
/// second is dropped.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use std::time::Duration;
/// use steadfast::{clock, testing};
///
/// let time = testing::Clock::start();
/// let start = clock::now();
/// assert_eq!(clock::now(), start, "it stands");
///
/// time.advance(Duration::from_secs(90));
/// clock::block(Duration::from_secs(30));
/// assert_eq!(clock::now() - start, Duration::from_secs(120));
/// ```
#[must_use = "the clocks go on when this is dropped"]
pub struct Clock {
    outer: Option<Times>,
    /// It is the clock of one thread.
    not_send: PhantomData<*mut ()>,
}

impl Clock {
    /// Stops the clocks at the present time.
    pub fn start() -> Self {
        let times = Times {
            now: clock::now(),
            timestamp: clock::timestamp().into(),
        };
        Self {
            outer: MANUAL.replace(Some(times)),
            not_send: PhantomData,
        }
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        manual_block(by);
    }

    /// Steps the wall clock alone, back or forth, as operators and NTP do.
    pub fn set_timestamp(&self, to: Timestamp) {
        if let Some(times) = MANUAL.get() {
            let timestamp = to.into();
            MANUAL.set(Some(Times { timestamp, ..times }));
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        MANUAL.set(self.outer);
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("now", &manual_now())
            .finish_non_exhaustive()
    }
}

fn times() -> Option<Times> {
    MANUAL.try_with(Cell::get).ok().flatten()
}

pub(crate) fn manual_now() -> Option<Instant> {
    Some(times()?.now)
}

pub(crate) fn manual_timestamp() -> Option<SystemTime> {
    Some(times()?.timestamp)
}

/// Moves the clock instead of blocking; tells whether there is one to move.
pub(crate) fn manual_block(by: Duration) -> bool {
    let Some(times) = times() else {
        return false;
    };
    let moved = Times {
        now: times.now.checked_add(by).unwrap_or(times.now),
        timestamp: times.timestamp.checked_add(by).unwrap_or(times.timestamp),
    };
    MANUAL.set(Some(moved));
    true
}
