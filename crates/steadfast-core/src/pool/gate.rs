#[cfg(steadfast_loom)]
use loom::sync::{Mutex, MutexGuard, atomic::AtomicU8};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
#[cfg(not(steadfast_loom))]
use std::sync::{Mutex, MutexGuard, atomic::AtomicU8};

use super::inbox::{Inbox, Posted};
use crate::context::Tier;

/// An inbox behind a lock, with a sign on the door that says what is inside.
///
/// A worker has to know whether the inbox holds a task of a tier that it has none of, at every
/// start, and must not take the lock to learn it: that would be the very fight for one lock that
/// the inbox is there to avoid.
///
/// Invariant: while nobody holds the lock, the sign has a bit for each tier of which a task is
/// inside. So it is only changed under the lock. It is read without: a reader may see an old sign,
/// and then takes what was posted in this very moment one task later. Whoever must know for sure
/// takes the lock; so `Relaxed` is enough.
pub(super) struct Gate<J> {
    inbox: Apart<Mutex<Inbox<J>>>,
    sign: Apart<AtomicU8>,
}

/// Keeps memory that one side writes out of what the other side reads: two cache lines, because
/// processors fetch them in pairs.
#[repr(align(128))]
pub(super) struct Apart<T>(pub(super) T);

impl<J> Gate<J> {
    pub(super) fn new() -> Self {
        Self {
            inbox: Apart(Mutex::new(Inbox::new())),
            sign: Apart(AtomicU8::new(0)),
        }
    }

    /// Accepts a task, if that needs no look at the line.
    pub(super) fn post(&self, tier: Tier, since: u64, task: J) -> Posted<J> {
        let mut inbox = self.inbox();
        let posted = inbox.post(tier, since, task);
        if matches!(posted, Posted::Accepted(_)) {
            let (sign, bit) = (self.sign(), 1 << tier.number());
            // Written only when it changes, to leave it in the caches of the workers.
            if sign & bit == 0 {
                self.sign.0.store(sign | bit, Ordering::Relaxed);
            }
        }
        posted
    }

    /// Tells, by a bit for each tier, of what there is a task inside.
    pub(super) fn sign(&self) -> u8 {
        self.sign.0.load(Ordering::Relaxed)
    }

    /// Locks the inbox for somebody who takes over all that is in it.
    pub(super) fn lock_to_empty(&self) -> MutexGuard<'_, Inbox<J>> {
        let inbox = self.inbox();
        if self.sign() != 0 {
            self.sign.0.store(0, Ordering::Relaxed);
        }
        inbox
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox<J>> {
        self.inbox.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, steadfast_loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    fn take(gate: &Gate<u8>) -> usize {
        let mut taken = Vec::new();
        gate.lock_to_empty().empty_into(&mut taken);
        taken.len()
    }

    #[test]
    fn loom_no_accepted_task_stays_inside_without_a_sign() {
        loom::model(|| {
            let gate = Arc::new(Gate::new());
            let mut inbox = gate.lock_to_empty();
            inbox.set_call(false);
            for number in 0..2 {
                inbox.set_credit(Tier::new(number).unwrap(), 1);
            }
            drop(inbox);

            let submitters: Vec<_> = (0..2)
                .map(|number| {
                    let gate = gate.clone();
                    thread::spawn(move || {
                        let posted = gate.post(Tier::new(number).unwrap(), 0, number);
                        assert!(matches!(posted, Posted::Accepted(_)));
                    })
                })
                .collect();
            let mut taken = 0;
            if gate.sign() != 0 {
                taken += take(&gate);
            }
            for submitter in submitters {
                submitter.join().unwrap();
            }

            let sign = gate.sign();
            let left = take(&gate);
            assert_eq!(taken + left, 2);
            assert_eq!(sign == 0, left == 0, "the sign is {sign:b}");
        });
    }
}
