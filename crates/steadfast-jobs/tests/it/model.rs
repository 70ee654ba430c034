//! What jobs mean, as a page of maps: no SQL, no time, no node that runs.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_jobs::State;
use steadfast_jobs::decide::crash::Crashes;
use steadfast_jobs::state::{Event, next};

#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) state: State,
    pub(crate) spent: i64,
    pub(crate) max: i64,
    pub(crate) crashes: Crashes,
    pub(crate) term: i64,
    pub(crate) holder: Option<i64>,
    /// Whether somebody wants its run to stop.
    pub(crate) stops: bool,
    pub(crate) key: Option<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) jobs: BTreeMap<u64, Job>,
    pub(crate) alive: BTreeSet<i64>,
    pub(crate) nodes: BTreeSet<i64>,
}

impl Model {
    /// Gives the live job that has a key.
    pub(crate) fn holder_of(&self, key: u8) -> Option<u64> {
        let mut live = self.jobs.iter().filter(|(_, job)| !job.state.is_terminal());
        live.find(|(_, job)| job.key == Some(key))
            .map(|(id, _)| *id)
    }

    pub(crate) fn enqueue(&mut self, id: u64, later: bool, max: i64, key: Option<u8>) {
        let state = if later {
            State::Waiting
        } else {
            State::Pending
        };
        let (crashes, holder) = (Crashes::default(), None);
        let job = Job {
            state,
            spent: 0,
            max,
            crashes,
            term: 0,
            holder,
            stops: false,
            key,
        };
        assert!(
            self.jobs.insert(id, job).is_none(),
            "ids are never given twice"
        );
    }

    /// What a node may claim: suspects one by one, the others together.
    pub(crate) fn claimable(&self, node: i64, suspects: bool) -> BTreeSet<u64> {
        let holds = |job: &Job| {
            job.state == State::Running && job.holder == Some(node) && job.crashes.is_suspect()
        };
        // One suspect for each node.
        let free = !suspects || !self.jobs.values().any(holds);
        let alive = free && self.alive.contains(&node);
        let ready = |job: &Job| job.state == State::Pending && job.crashes.is_suspect() == suspects;
        let ready = self.jobs.iter().filter(|(_, job)| alive && ready(job));
        ready.map(|(id, _)| *id).collect()
    }

    pub(crate) fn claim(&mut self, node: i64, id: u64) {
        self.happen(id, Event::Claim);
        self.job(id).holder = Some(node);
    }

    /// Gives whether the end of a run counts.
    pub(crate) fn end(&mut self, node: i64, id: u64, term: i64, event: Event) -> bool {
        let job = self.job(id);
        if (job.state, job.term, job.holder) != (State::Running, term, Some(node)) {
            return false;
        }
        match event {
            Event::Retry => job.spent += 1,
            Event::Complete | Event::Discard | Event::Stop => job.spent += 1,
            _ => {}
        }
        let goes_on = matches!(event, Event::Retry | Event::Snooze | Event::Release);
        if goes_on && job.stops {
            self.happen(id, Event::Stop);
            return true;
        }
        if matches!(event, Event::Retry | Event::Snooze) {
            job.crashes = Crashes::default();
        }
        self.happen(id, event);
        let job = self.job(id);
        if !job.state.is_terminal() {
            job.holder = None;
        }
        true
    }

    /// Takes what dead nodes hold.
    pub(crate) fn rescue(&mut self) {
        let dead: Vec<u64> = self
            .jobs
            .iter()
            .filter(|(_, job)| {
                job.state == State::Running
                    && job.holder.is_some_and(|node| !self.alive.contains(&node))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in dead {
            let job = self.job(id);
            job.crashes = job.crashes.after_crash();
            let event = match (job.stops, job.crashes.is_over()) {
                (true, _) => Event::Abandon,
                (false, true) => Event::Quarantine,
                (false, false) => Event::Rescue,
            };
            self.happen(id, event);
            if event == Event::Rescue {
                self.job(id).holder = None;
            }
        }
    }

    pub(crate) fn cancel(&mut self, id: u64) -> bool {
        self.job(id).stops |= self.job(id).state == State::Running;
        if next(self.job(id).state, Event::Cancel).is_err() {
            return false;
        }
        self.happen(id, Event::Cancel);
        true
    }

    pub(crate) fn run_now(&mut self, id: u64) -> bool {
        if next(self.job(id).state, Event::Due).is_err() {
            return false;
        }
        self.happen(id, Event::Due);
        true
    }

    pub(crate) fn redrive(&mut self, id: u64) -> bool {
        let state = self.job(id).state;
        if state == State::Completed || next(state, Event::Redrive).is_err() {
            return false;
        }
        if self
            .job(id)
            .key
            .is_some_and(|key| self.holder_of(key).is_some())
        {
            return false;
        }
        self.happen(id, Event::Redrive);
        let job = self.job(id);
        (job.spent, job.crashes, job.holder) = (0, Crashes::default(), None);
        job.stops = false;
        true
    }

    fn happen(&mut self, id: u64, event: Event) {
        let job = self.job(id);
        job.state = next(job.state, event).unwrap();
        job.term += i64::from(event.raises_term());
    }

    fn job(&mut self, id: u64) -> &mut Job {
        self.jobs.get_mut(&id).unwrap()
    }
}
