//! The one place for a suspect that a process has, whoever of its workers asks for it.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

static PLACE: Semaphore = Semaphore::const_new(1);

/// The right to be the suspect of this process ([`crate::decide::crash`]): from before a job is claimed by it until its
/// run has come to its end or is written off, whatever becomes of lease and worker meanwhile. What others of this
/// process hold by the books does not tell all: a run may go on that is nobody's there.
pub(crate) type Place = SemaphorePermit<'static>;

/// Takes it, if nobody has it.
pub(crate) fn take() -> Option<Place> {
    PLACE.try_acquire().ok()
}

/// Tells whether somebody has it.
pub(crate) fn is_taken() -> bool {
    PLACE.available_permits() == 0
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
