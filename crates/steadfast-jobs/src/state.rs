//! The life of a job, as one table: a state and an event give a state, or the pair is refused.
//!
//! Normal work, recovery after a crash and the hand of an operator go through the same table. The
//! statements in `sql/` carry it out, each guarded by the state (and, where a node writes, by the
//! term) that the table asks for; tests hold the two together.
//!
//! ```text
//!                 enqueue                     enqueue, due later
//!                    │                               │
//!                    ▼          due                  ▼
//!        ┌───────► pending ◄──────────────────── waiting ◄──┐
//!        │           │  │  └──── block ────────────►  │     │
//!  rescue│      claim│  │                             │     │ retry, snooze
//!  release           ▼  │ cancel, expire              │     │
//!        └──────── running ───────────────────────────┼─────┘
//!                    │  │                             │
//!  complete, discard │  │ stop, abandon, quarantine   │ cancel, expire
//!                    ▼  ▼                             ▼
//!        ┌──────────────────────── history ──────────────────────────┐
//!        │  completed     discarded     cancelled     quarantined    │
//!        └──────────────────────────────┬────────────────────────────┘
//!                                       └── redrive ──► pending
//! ```

use std::fmt;

/// Where a job is in its life.
///
/// The first three are live and in the small table that nodes work on. The others are terminal:
/// the job is in the history, and stays there until it is pruned or redriven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Due: any node may claim it.
    Pending,
    /// Leased to one incarnation of a node, under one term.
    Running,
    /// Not due yet: enqueued for later, between two attempts, snoozed, or held back by a limit.
    Waiting,
    /// Ended well.
    Completed,
    /// Its attempts are spent, or its handler said that another would not help.
    Discarded,
    /// Told to end, or expired before it was started.
    Cancelled,
    /// Its process died twice while it was the only suspect there.
    Quarantined,
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// Its time has come, or an operator says so.
    Due,
    /// Its key is at its limit: it makes room for others.
    Block,
    /// A node takes it.
    Claim,
    /// The handler ended well.
    Complete,
    /// The handler failed, and attempts are left.
    Retry,
    /// The handler failed for the last time.
    Discard,
    /// The handler asks to be called again later; no attempt is spent.
    Snooze,
    /// The node hands it back without having run it to its end; no attempt is spent.
    Release,
    /// The node is dead, or holds it past its time.
    Rescue,
    /// As [`Event::Rescue`], once too often.
    Quarantine,
    /// As [`Event::Rescue`], of a job that somebody had cancelled.
    Abandon,
    /// Somebody cancels it before it runs.
    Cancel,
    /// The handler ended because somebody cancelled it.
    Stop,
    /// Nobody started it in time.
    Expire,
    /// An operator puts it back to work.
    Redrive,
}

/// Says that an event cannot happen to a job in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event} cannot happen to a job that is {state}")]
pub struct Refused {
    /// Where the job is.
    pub state: State,
    /// What was to happen.
    pub event: Event,
}

/// Gives the state that follows.
///
/// # Errors
/// [`Refused`] for every pair that the diagram does not have.
///
/// # Examples
/// ```
/// use steadfast_jobs::state::{Event, State, next};
///
/// assert_eq!(next(State::Running, Event::Complete), Ok(State::Completed));
/// assert!(next(State::Completed, Event::Rescue).is_err(), "what is completed is never reopened");
/// ```
pub fn next(state: State, event: Event) -> Result<State, Refused> {
    use Event as E;
    use State as S;
    match (state, event) {
        (S::Waiting, E::Due) => Ok(S::Pending),
        (S::Pending, E::Block) => Ok(S::Waiting),
        (S::Pending, E::Claim) => Ok(S::Running),
        (S::Running, E::Complete) => Ok(S::Completed),
        (S::Running, E::Retry | E::Snooze) => Ok(S::Waiting),
        (S::Running, E::Discard) => Ok(S::Discarded),
        (S::Running, E::Release | E::Rescue) => Ok(S::Pending),
        (S::Running, E::Quarantine) => Ok(S::Quarantined),
        (S::Running, E::Stop | E::Abandon) => Ok(S::Cancelled),
        (S::Pending | S::Waiting, E::Cancel | E::Expire) => Ok(S::Cancelled),
        (S::Completed | S::Discarded | S::Cancelled | S::Quarantined, E::Redrive) => {
            Ok(S::Pending)
        }

        // It is due already, or was.
        (S::Pending | S::Running, E::Due)
        // Only what could be claimed is held back.
        | (S::Running | S::Waiting, E::Block)
        // Not due, or somebody else's.
        | (S::Running | S::Waiting, E::Claim)
        // Nobody runs it, so no end of a run can be told: the lease was lost.
        | (
            S::Pending | S::Waiting,
            E::Complete | E::Retry | E::Snooze | E::Discard | E::Release | E::Stop,
        )
        // Nobody holds it, so nobody died with it.
        | (S::Pending | S::Waiting, E::Rescue | E::Quarantine | E::Abandon)
        // A running job is asked to stop, and ends by `Stop` when its handler has ended.
        | (S::Running, E::Cancel | E::Expire)
        // It has not ended.
        | (S::Pending | S::Running | S::Waiting, E::Redrive)
        // What has ended reopens by `Redrive` alone.
        | (
            S::Completed | S::Discarded | S::Cancelled | S::Quarantined,
            E::Due
            | E::Block
            | E::Claim
            | E::Complete
            | E::Retry
            | E::Discard
            | E::Snooze
            | E::Release
            | E::Rescue
            | E::Quarantine
            | E::Abandon
            | E::Cancel
            | E::Stop
            | E::Expire,
        ) => Err(Refused { state, event }),
    }
}

// === impl State ===

impl State {
    /// All of them, live ones first.
    pub const ALL: [State; 7] = [
        State::Pending,
        State::Running,
        State::Waiting,
        State::Completed,
        State::Discarded,
        State::Cancelled,
        State::Quarantined,
    ];

    /// Tells whether the job has ended.
    pub fn is_terminal(self) -> bool {
        match self {
            State::Pending | State::Running | State::Waiting => false,
            State::Completed | State::Discarded | State::Cancelled | State::Quarantined => true,
        }
    }

    /// Gives the word for it: in the tables, in labels and in log fields.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Running => "running",
            State::Waiting => "waiting",
            State::Completed => "completed",
            State::Discarded => "discarded",
            State::Cancelled => "cancelled",
            State::Quarantined => "quarantined",
        }
    }

    /// Gives the state that a word stands for.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Event ===

impl Event {
    /// All of them.
    pub const ALL: [Event; 15] = [
        Event::Due,
        Event::Block,
        Event::Claim,
        Event::Complete,
        Event::Retry,
        Event::Discard,
        Event::Snooze,
        Event::Release,
        Event::Rescue,
        Event::Quarantine,
        Event::Abandon,
        Event::Cancel,
        Event::Stop,
        Event::Expire,
        Event::Redrive,
    ];

    /// Gives the word for it, for labels and log fields.
    pub fn as_str(self) -> &'static str {
        match self {
            Event::Due => "due",
            Event::Block => "block",
            Event::Claim => "claim",
            Event::Complete => "complete",
            Event::Retry => "retry",
            Event::Discard => "discard",
            Event::Snooze => "snooze",
            Event::Release => "release",
            Event::Rescue => "rescue",
            Event::Quarantine => "quarantine",
            Event::Abandon => "abandon",
            Event::Cancel => "cancel",
            Event::Stop => "stop",
            Event::Expire => "expire",
            Event::Redrive => "redrive",
        }
    }

    /// Tells whether the term of the job grows with it, so that whoever held the job before can
    /// change it no more.
    pub fn raises_term(self) -> bool {
        match self {
            // A new holder; a holder that is taken for dead; a second life.
            Event::Claim | Event::Rescue | Event::Quarantine | Event::Abandon | Event::Redrive => {
                true
            }
            // Ended or given back by the holder itself, or not held by anybody.
            Event::Due
            | Event::Block
            | Event::Complete
            | Event::Retry
            | Event::Discard
            | Event::Snooze
            | Event::Release
            | Event::Cancel
            | Event::Stop
            | Event::Expire => false,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that may happen, written a second time, from the diagram.
    const ALLOWED: &[(State, Event, State)] = &[
        (State::Waiting, Event::Due, State::Pending),
        (State::Waiting, Event::Cancel, State::Cancelled),
        (State::Waiting, Event::Expire, State::Cancelled),
        (State::Pending, Event::Block, State::Waiting),
        (State::Pending, Event::Claim, State::Running),
        (State::Pending, Event::Cancel, State::Cancelled),
        (State::Pending, Event::Expire, State::Cancelled),
        (State::Running, Event::Complete, State::Completed),
        (State::Running, Event::Retry, State::Waiting),
        (State::Running, Event::Snooze, State::Waiting),
        (State::Running, Event::Discard, State::Discarded),
        (State::Running, Event::Release, State::Pending),
        (State::Running, Event::Rescue, State::Pending),
        (State::Running, Event::Quarantine, State::Quarantined),
        (State::Running, Event::Stop, State::Cancelled),
        (State::Running, Event::Abandon, State::Cancelled),
        (State::Completed, Event::Redrive, State::Pending),
        (State::Discarded, Event::Redrive, State::Pending),
        (State::Cancelled, Event::Redrive, State::Pending),
        (State::Quarantined, Event::Redrive, State::Pending),
    ];

    #[test]
    fn every_pair_is_as_the_diagram_says() {
        for state in State::ALL {
            for event in Event::ALL {
                let drawn = ALLOWED
                    .iter()
                    .find(|(from, by, _)| (*from, *by) == (state, event));
                let expect = drawn.map(|(_, _, to)| *to).ok_or(Refused { state, event });

                assert_eq!(next(state, event), expect, "{state} and {event}");
            }
        }
    }

    #[test]
    fn what_has_ended_reopens_by_redrive_alone() {
        for state in State::ALL.into_iter().filter(|state| state.is_terminal()) {
            for event in Event::ALL {
                assert_eq!(next(state, event).is_ok(), event == Event::Redrive);
            }
        }
    }

    #[test]
    fn no_sequence_of_events_runs_a_job_twice_under_one_term() {
        // Breadth first over (state, term of the row, term of the last claim that still runs).
        let mut seen = vec![(State::Pending, false)];
        let mut at = 0;
        while at < seen.len() {
            let (state, _) = seen[at];
            at += 1;
            for event in Event::ALL {
                let Ok(to) = next(state, event) else {
                    continue;
                };
                if to == State::Running {
                    assert!(
                        event.raises_term(),
                        "{event} starts a run under an old term"
                    );
                }
                let reached = (to, event.raises_term());
                if !seen.contains(&reached) {
                    seen.push(reached);
                }
            }
        }
        assert!(
            State::ALL
                .iter()
                .all(|state| seen.iter().any(|(s, _)| s == state))
        );
    }

    #[test]
    fn a_holder_that_is_taken_for_dead_loses_its_term() {
        for event in [Event::Rescue, Event::Quarantine, Event::Abandon] {
            assert!(next(State::Running, event).is_ok() && event.raises_term());
        }
    }

    #[test]
    fn words_stand_for_one_state_each() {
        for state in State::ALL {
            assert_eq!(State::of(state.as_str()), Some(state));
        }
        assert_eq!(State::of("done"), None);
    }
}
