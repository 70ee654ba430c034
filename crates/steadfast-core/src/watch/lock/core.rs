use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::context::Name;
use crate::decide::lateness::Overdue;
use crate::watch::party::Party;
use crate::watch::time;
use crate::watch::{Holder, Who};

/// How many locks are listed for the watchdog: 16,384. Later ones work, and their waits are
/// watched, but nobody sees that their holder is not polled.
const LISTED_MAX: usize = 16_384;

/// What the watch knows of a lock. Apart from the lock's value, so that the watchdog may look at
/// it while others wait.
pub(super) struct Core {
    pub(super) name: Name,
    /// Whether waiting for it blocks the thread, and its guard stays on one.
    pub(super) blocking: bool,
    pub(super) refuses_cycles: bool,
    /// Whether it is held. Written by the holder alone: after the state was, and before the lock
    /// is free. For a blocking lock it *is* the lock, and written under `state` only.
    held: AtomicBool,
    /// The wait to which it was handed and that has not come to take it, as its id and one; or
    /// zero. Only looked at while the lock is not held.
    pub(super) handed: AtomicU64,
    /// A leaf: nothing is called under it.
    state: Mutex<State>,
    /// Wakes those who wait for a blocking lock.
    freed: Condvar,
}

pub(super) struct State {
    /// Who holds the lock, or held it last.
    last: Option<Hold>,
    /// How many wait for the condition.
    waiting: usize,
}

/// Who took a lock, where and when; or who waits for it.
#[derive(Clone)]
pub(super) struct Hold {
    pub(super) party: Party,
    pub(super) place: &'static Location<'static>,
    pub(super) since: u64,
    /// When to say that its party is not polled; made by the watchdog.
    pub(super) unpolled: Option<Overdue>,
}

impl Hold {
    pub(super) fn here(place: &'static Location<'static>) -> Self {
        Self {
            party: Party::here(),
            place,
            since: time::now(),
            unpolled: None,
        }
    }

    pub(super) fn age_ns(&self, now: u64) -> u64 {
        now.saturating_sub(self.since)
    }

    pub(super) fn describe(&self, now: u64) -> Holder {
        Holder {
            who: self.who(),
            place: self.place,
            since: Duration::from_nanos(self.age_ns(now)),
        }
    }

    pub(super) fn who(&self) -> Who {
        self.party.describe()
    }
}

impl Core {
    pub(super) fn new(name: Name, blocking: bool, refuses_cycles: bool) -> Arc<Self> {
        let core = Arc::new(Self {
            name,
            blocking,
            refuses_cycles,
            held: AtomicBool::new(false),
            handed: AtomicU64::new(0),
            state: Mutex::new(State {
                last: None,
                waiting: 0,
            }),
            freed: Condvar::new(),
        });
        let mut listed = listed();
        if listed.len() == listed.capacity() || listed.len() >= LISTED_MAX {
            listed.retain(|known| known.strong_count() > 0);
        }
        if listed.len() < LISTED_MAX {
            listed.push(Arc::downgrade(&core));
        }
        core
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says who has the lock from now on.
    #[inline]
    pub(super) fn hold(&self, place: &'static Location<'static>) {
        self.state().hold(place);
        // Release, against the Acquire of the look: whoever sees it held must find its holder.
        self.held.store(true, Ordering::Release);
    }

    /// Says that nobody has the lock, just before that is true.
    #[inline]
    pub(super) fn release(&self) {
        self.held.store(false, Ordering::Release);
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Gives the holder at this moment.
    pub(super) fn holder(&self) -> Option<Hold> {
        let state = self.state();
        self.is_held().then(|| state.last.clone()).flatten()
    }

    /// Says whether to tell that the party of `hold` was not polled for that long, if it still
    /// holds the lock.
    pub(super) fn is_unpolled_due(&self, of: &Hold, unpolled_ns: u64, limit: Duration) -> bool {
        let mut state = self.state();
        let held = self.is_held();
        let same = |hold: &&mut Hold| {
            held && hold.since == of.since
                && hold.place == of.place
                && hold.party.key == of.party.key
        };
        let Some(hold) = state.last.as_mut().filter(same) else {
            return false;
        };
        let unpolled = hold.unpolled.get_or_insert_with(|| Overdue::new(limit));
        unpolled.is_due(unpolled_ns)
    }

    /// Starts anew to judge whether the holder is polled.
    pub(super) fn forget_unpolled(&self) {
        if let Some(hold) = &mut self.state().last {
            hold.unpolled = None;
        }
    }

    /// Takes a blocking lock if it is free.
    #[inline]
    pub(super) fn try_take(&self, place: &'static Location<'static>) -> bool {
        self.take_under(&mut self.state(), place)
    }

    #[inline]
    fn take_under(&self, state: &mut State, place: &'static Location<'static>) -> bool {
        // The state's lock orders it.
        if self.held.load(Ordering::Relaxed) {
            return false;
        }
        state.hold(place);
        self.held.store(true, Ordering::Release);
        true
    }

    /// Blocks until a blocking lock is taken, or `left` says that there is no time left.
    pub(super) fn wait_and_take(
        &self,
        place: &'static Location<'static>,
        left: impl Fn() -> Option<Duration>,
    ) -> bool {
        let mut state = self.state();
        loop {
            if self.take_under(&mut state, place) {
                return true;
            }
            let left = left();
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            state.waiting += 1;
            state = match left {
                None => self
                    .freed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let waited = self.freed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.waiting -= 1;
        }
    }

    /// Gives a blocking lock back.
    #[inline]
    pub(super) fn give_back(&self) {
        let state = self.state();
        self.held.store(false, Ordering::Release);
        let wake = state.waiting > 0;
        drop(state);
        if wake {
            // One that gives up just now takes the lock before it looks at its time, so the
            // wake-up is not lost with it.
            self.freed.notify_one();
        }
    }
}

impl State {
    #[inline]
    fn hold(&mut self, place: &'static Location<'static>) {
        match &mut self.last {
            Some(last) => {
                last.party.become_here();
                last.place = place;
                last.since = time::now();
                last.unpolled = None;
            }
            None => self.last = Some(Hold::here(place)),
        }
    }
}

static LISTED: Mutex<Vec<Weak<Core>>> = Mutex::new(Vec::new());

fn listed() -> MutexGuard<'static, Vec<Weak<Core>>> {
    LISTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the locks that are in use.
pub(super) fn all() -> Vec<Arc<Core>> {
    listed().iter().filter_map(Weak::upgrade).collect()
}
