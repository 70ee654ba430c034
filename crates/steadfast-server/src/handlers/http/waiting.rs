//! Runs whose work is done elsewhere, until their end is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast::jobs::{JobId, Run};
use tokio::sync::oneshot;

/// How work that was done elsewhere has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// Well, with this result as JSON.
    Complete(Option<String>),
    /// It failed.
    Fail {
        error: String,
        retry_after: Option<Duration>,
        /// Another attempt would not help.
        discard: bool,
    },
}

/// Why a word about a run changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// No run of this job is here: it has ended, was cancelled, or is run by another node.
    Job,
    /// The job has changed hands since.
    Term,
}

/// The runs that are under way here. A cheap clone.
#[derive(Clone, Default)]
pub(crate) struct Waiting(Arc<Mutex<BTreeMap<JobId, Entry>>>);

struct Entry {
    run: Run,
    handler: String,
    end: Option<oneshot::Sender<Told>>,
}

/// The place of a run among those; it is there until this is dropped.
pub(super) struct Place {
    id: JobId,
    term: u64,
    all: Waiting,
}

impl Waiting {
    /// Notes a run before its target is called: the end may be told before the answer is.
    pub(super) fn begin(&self, handler: &str, run: &Run) -> (Place, oneshot::Receiver<Told>) {
        let (end, ended) = oneshot::channel();
        let entry = Entry {
            run: run.clone(),
            handler: handler.to_owned(),
            end: Some(end),
        };
        self.all().insert(run.id(), entry);
        let place = Place {
            id: run.id(),
            term: run.term(),
            all: self.clone(),
        };
        (place, ended)
    }

    /// Gives the handler of a run, by whose secret words about it are signed.
    pub(crate) fn handler(&self, id: JobId, term: u64) -> Result<String, Unknown> {
        let all = self.all();
        Self::find(&all, id, term).map(|entry| entry.handler.clone())
    }

    /// Takes a sign of progress.
    pub(crate) fn beat(&self, id: JobId, term: u64) -> Result<(), Unknown> {
        let all = self.all();
        Self::find(&all, id, term).map(|entry| entry.run.beat())
    }

    /// Takes the end. One that is told again is taken, and changes nothing.
    pub(crate) fn end(&self, id: JobId, term: u64, told: Told) -> Result<(), Unknown> {
        let mut all = self.all();
        Self::find(&all, id, term)?;
        if let Some(end) = all.get_mut(&id).and_then(|entry| entry.end.take()) {
            // Nobody waits any more: the run has been cancelled in this moment.
            end.send(told).map_err(|_| Unknown::Job)?;
        }
        Ok(())
    }

    fn find(all: &BTreeMap<JobId, Entry>, id: JobId, term: u64) -> Result<&Entry, Unknown> {
        match all.get(&id) {
            None => Err(Unknown::Job),
            Some(entry) if entry.run.term() != term => Err(Unknown::Term),
            Some(entry) => Ok(entry),
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<JobId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.all.all();
        // A later run of the same job may have taken the place.
        if all
            .get(&self.id)
            .is_some_and(|entry| entry.run.term() == self.term)
        {
            all.remove(&self.id);
        }
    }
}
