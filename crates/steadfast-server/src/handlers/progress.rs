//! How far runs of this process have come, as they say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use steadfast::jobs::JobId;

/// The longest text of a progress: 200 bytes, a line of a list.
const TEXT_BYTES_MAX: usize = 200;

/// How far a run has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) percent: u8,
    pub(crate) text: String,
}

/// How far runs have come that say so, by job and term; as many as run at most. A cheap clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progresses(Arc<Mutex<BTreeMap<(JobId, u64), Progress>>>);

/// The run that tells how far it has come, until this is dropped.
#[derive(Debug)]
pub(crate) struct Teller {
    run: (JobId, u64),
    all: Progresses,
}

impl Progresses {
    pub(crate) fn begin(&self, id: JobId, term: u64) -> Teller {
        Teller {
            run: (id, term),
            all: self.clone(),
        }
    }

    /// How far a run has come, if it is one of this process and has said so.
    pub(crate) fn of(&self, id: JobId, term: u64) -> Option<Progress> {
        self.all().get(&(id, term)).cloned()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<(JobId, u64), Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Teller {
    pub(crate) fn tell(&self, percent: u8, text: &str) {
        let cut = (0..=TEXT_BYTES_MAX.min(text.len())).rev();
        let cut = cut.into_iter().find(|at| text.is_char_boundary(*at));
        let progress = Progress {
            percent: percent.min(100),
            text: text[..cut.unwrap_or(0)].to_owned(),
        };
        self.all.all().insert(self.run, progress);
    }

    /// What it said last.
    pub(crate) fn told(&self) -> Option<Progress> {
        self.all.of(self.run.0, self.run.1)
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.all.all().remove(&self.run);
    }
}
