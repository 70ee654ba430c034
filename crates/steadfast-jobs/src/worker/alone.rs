//! The one place for a suspect that a process has, whoever of its workers asks for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Who has the place, if somebody has.
pub(crate) struct Seat(Mutex<Sits>);

struct Sits {
    /// How often it was taken.
    takes: u64,
    /// Until when it is taken.
    until: u64,
}

static SEAT: Seat = Seat::new();

/// The right to be the suspect of this process ([`crate::decide::crash`]): from before a job is claimed by it until its
/// run has come to its end or is written off, whatever becomes of lease and worker meanwhile. What others of this
/// process hold by the books does not tell all: a run may go on that is nobody's there.
///
/// Who would write it off may be gone by then, so that others may take the place at that time in any case.
pub(crate) struct Place {
    of: &'static Seat,
    take: u64,
}

/// Takes it, if nobody has it.
pub(crate) fn take(now: u64) -> Option<Place> {
    SEAT.take(now)
}

/// Tells whether somebody has it.
pub(crate) fn is_taken(now: u64) -> bool {
    SEAT.is_taken(now)
}

impl Seat {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Sits { takes: 0, until: 0 }))
    }

    fn sits(&self) -> MutexGuard<'_, Sits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(&'static self, now: u64) -> Option<Place> {
        let mut sits = self.sits();
        (now >= sits.until).then(|| {
            sits.takes += 1;
            // Until its run begins, whoever takes it lets it go if anything happens.
            sits.until = u64::MAX;
            Place {
                of: self,
                take: sits.takes,
            }
        })
    }

    pub(crate) fn is_taken(&self, now: u64) -> bool {
        now < self.sits().until
    }
}

impl Place {
    /// Says when others may take it in any case.
    pub(crate) fn keep_until(&self, until: u64) {
        let mut sits = self.of.sits();
        if sits.takes == self.take {
            sits.until = until;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.keep_until(0);
    }
}

/// Where a run has it, if it is one of those.
#[derive(Default)]
pub(crate) struct Alone(Mutex<Option<Place>>);

impl Alone {
    pub(crate) fn new(place: Option<Place>) -> Self {
        Self(Mutex::new(place))
    }

    /// Leaves it to others.
    pub(crate) fn leave(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_the_place() {
        static SEAT: Seat = Seat::new();
        let place = SEAT.take(0).unwrap();

        assert!(SEAT.is_taken(u64::MAX - 1) && SEAT.take(u64::MAX - 1).is_none());

        drop(place);
        assert!(!SEAT.is_taken(0) && SEAT.take(0).is_some());
    }

    /// Its worker may be gone, and its handler hang for ever.
    #[test]
    fn others_take_the_place_of_a_run_that_should_be_written_off_by_then() {
        static SEAT: Seat = Seat::new();
        let first = SEAT.take(0).unwrap();
        first.keep_until(10);
        assert!(SEAT.is_taken(9) && SEAT.take(9).is_none());

        let second = SEAT.take(10).unwrap();

        // It is not that of the first any more.
        first.keep_until(11);
        drop(first);
        assert!(SEAT.is_taken(12));
        drop(second);
        assert!(!SEAT.is_taken(12));
    }
}
