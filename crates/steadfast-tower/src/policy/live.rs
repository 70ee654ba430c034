use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use steadfast_core::clock::Timestamp;
use steadfast_core::decide::policy::{FieldChange, FieldPath, Policy};
use steadfast_core::recover;

use super::document::PolicyDocument;
use super::in_force::{InForce, PolicyChange, PolicyObserver};
use super::overrides::{InvalidOverride, Override, Refusal};
use super::revision::{Proposal, Revision};
use super::signed::Signed;

/// A policy that changes while the service runs.
///
/// Whoever reads it never waits: [`in_force`](Self::in_force) is one atomic load. Whoever changes it
/// waits for others who do. Observers are told after a change is in force, one change at a time, by
/// one of those who made them; when several come together, they are told what all of them amount to.
///
/// Time is an argument, so that the one who asks says by which clock overrides end. Nothing ends by
/// itself without being asked: ask [`at`](Self::at), or call [`expire`](Self::expire) at the time it
/// told last.
pub struct LivePolicy {
    in_force: ArcSwap<InForce>,
    state: Mutex<State>,
}

struct State {
    history: VecDeque<Arc<Revision>>,
    observers: Vec<Weak<dyn PolicyObserver>>,
    /// What the observers know.
    told: Arc<InForce>,
    /// Somebody is telling them, and will go on until they know the newest.
    telling: bool,
}

/// Refuses a proposal that was made for another revision than the one in force, a revision that is
/// no longer kept, or a policy that an [observer](PolicyObserver::refuses) cannot put in force. All
/// is as it was.
///
/// Look at what has changed, or at what is refused, and propose again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct ApplyError(#[from] NotApplied);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum NotApplied {
    #[error("it was made for revision {base}, and revision {current} is in force")]
    Outdated { base: u64, current: u64 },
    #[error("revision {0} is not among the last {bound}", bound = LivePolicy::HISTORY_MAX)]
    Forgotten(u64),
    #[error("it cannot be put in force: {0}")]
    Refused(String),
}

impl ApplyError {
    /// Tells whether another revision came in force since the proposal was made: look at that, and
    /// propose again.
    pub fn is_outdated(&self) -> bool {
        matches!(self.0, NotApplied::Outdated { .. })
    }
}

impl LivePolicy {
    /// The most revisions that are kept, the one in force included: 50. With documents of the usual
    /// ten kilobytes that is half a megabyte, and nobody goes back further without a store.
    pub const HISTORY_MAX: usize = 50;

    /// Puts a first revision in force.
    pub fn new(revision: Revision) -> Self {
        let revision = Arc::new(revision);
        let in_force = Arc::new(InForce::new(revision.clone()));
        Self {
            in_force: ArcSwap::new(in_force.clone()),
            state: Mutex::new(State {
                history: VecDeque::from([revision]),
                observers: Vec::new(),
                told: in_force,
                telling: false,
            }),
        }
    }

    /// Gives what is in force. An override that is over is still in it until somebody asks
    /// [`at`](Self::at) or calls [`expire`](Self::expire).
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// Gives what is in force now.
    pub fn at(&self, now: Timestamp) -> Arc<InForce> {
        let in_force = self.in_force();
        match in_force.until() {
            Some(until) if until <= now => {
                self.expire(now);
                self.in_force()
            }
            _ => in_force,
        }
    }

    /// Gives the revisions that are kept, the one in force last.
    pub fn history(&self) -> Vec<Arc<Revision>> {
        self.lock().history.iter().cloned().collect()
    }

    /// Tells an observer of all changes from now on, for as long as it lives: it is not kept alive.
    pub fn observe(&self, observer: &Arc<impl PolicyObserver + 'static>) {
        let observer: Arc<dyn PolicyObserver> = observer.clone();
        let mut state = self.lock();
        state.observers.retain(|known| known.strong_count() > 0);
        state.observers.push(Arc::downgrade(&observer));
    }

    /// Says what a document would change. Nothing is changed yet.
    pub fn propose(&self, document: PolicyDocument, signed: Signed) -> Proposal {
        Proposal::new(self.in_force().revision().clone(), document, signed)
    }

    /// Puts a proposal in force as the next revision. Overrides go on, except for those that no
    /// longer fit, or with which an observer could not follow it.
    ///
    /// # Errors
    /// When another revision has come in force since it was made, or an observer refuses it.
    pub fn apply(&self, proposal: Proposal, now: Timestamp) -> Result<Arc<Revision>, ApplyError> {
        let state = self.lock();
        self.is_newest(&proposal)?;
        state.check_doubts(&proposal.document)?;
        let next = proposal.base.next(proposal.document, proposal.signed, now);
        self.put(state, next, now)
    }

    /// Says whether a proposal could be [applied](Self::apply) now, and changes nothing.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn check(&self, proposal: &Proposal, now: Timestamp) -> Result<(), ApplyError> {
        let state = self.lock();
        self.is_newest(proposal)?;
        state.check_doubts(&proposal.document)?;
        let (document, signed) = (proposal.document.clone(), proposal.signed.clone());
        let next = proposal.base.next(document, signed, now);
        self.next(&state, Arc::new(next), now).map(drop)
    }

    /// Puts the document of an earlier revision in force again, as the next one.
    ///
    /// # Errors
    /// When that revision is no longer kept, or an observer refuses it.
    pub fn revert(
        &self,
        n: u64,
        signed: Signed,
        now: Timestamp,
    ) -> Result<Arc<Revision>, ApplyError> {
        let state = self.lock();
        let earlier = state.history.iter().find(|revision| revision.n() == n);
        let document = earlier.ok_or(NotApplied::Forgotten(n))?.document().clone();
        state.check_doubts(&document)?;
        let next = self.in_force().revision().next(document, signed, now);
        self.put(state, next, now)
    }

    /// Puts a revision in force that is kept elsewhere, under its own number: after a restart, or because another process
    /// has put it in force. What observers only [doubt](PolicyObserver::doubts) is taken. Overrides go on as with [`apply`](Self::apply). Revisions of its number and greater ones are
    /// forgotten here: where it is kept, others have these numbers.
    ///
    /// # Errors
    /// When an observer refuses it.
    pub fn adopt(&self, revision: Revision, now: Timestamp) -> Result<Arc<Revision>, ApplyError> {
        self.put(self.lock(), revision, now)
    }

    /// Holds a value against the document until a time. One that is held for the same field already
    /// is replaced.
    ///
    /// # Errors
    /// When there is no such field, the policy would have a mistake with it, an observer refuses it,
    /// the time is over or more than a day away, or there are too many.
    pub fn hold(&self, one: Override, now: Timestamp) -> Result<Arc<InForce>, InvalidOverride> {
        let state = self.lock();
        let next = Arc::new(self.held(&state, one, now)?);
        self.in_force.store(next.clone());
        drop(state);
        self.tell();
        Ok(next)
    }

    /// Says what a value that is [held](Self::hold) would change, and holds nothing.
    ///
    /// # Errors
    /// As [`hold`](Self::hold).
    pub fn try_hold(
        &self,
        one: Override,
        now: Timestamp,
    ) -> Result<Vec<FieldChange>, InvalidOverride> {
        let state = self.lock();
        let next = self.held(&state, one, now)?;
        Ok(self.in_force().policy().changes(next.policy()))
    }

    /// Ends an override before its time; says whether there was one.
    pub fn release(&self, path: &FieldPath) -> bool {
        self.retain(|held| held.path() != path)
    }

    /// Ends the overrides whose time is over, and gives when the next one will be.
    pub fn expire(&self, now: Timestamp) -> Option<Timestamp> {
        self.retain(|held| held.holds(now));
        self.in_force().until()
    }

    fn is_newest(&self, proposal: &Proposal) -> Result<(), NotApplied> {
        let in_force = self.in_force();
        let (base, current) = (&proposal.base, in_force.revision());
        match Arc::ptr_eq(base, current) {
            true => Ok(()),
            false => Err(NotApplied::Outdated {
                base: base.n(),
                current: current.n(),
            }),
        }
    }

    /// What would be in force with one more override.
    fn held(&self, state: &State, one: Override, now: Timestamp) -> Result<InForce, Refusal> {
        one.check(now)?;
        let in_force = self.in_force();
        let others = in_force.overrides().iter();
        let others = others.filter(|held| held.holds(now) && held.path() != one.path());
        let mut held: Vec<Override> = others.cloned().collect();
        if held.len() >= Override::MAX {
            return Err(Refusal::Many);
        }
        held.push(one);
        let next = InForce::with(in_force.revision().clone(), held)?;
        match state.refused(next.policy()) {
            Some(refused) => Err(Refusal::Refused(refused)),
            None => Ok(next),
        }
    }

    /// What would be in force with another revision.
    fn next(
        &self,
        state: &State,
        next: Arc<Revision>,
        now: Timestamp,
    ) -> Result<InForce, ApplyError> {
        let in_force = self.in_force();
        let held = in_force.overrides().iter().filter(|held| held.holds(now));
        let held: Vec<Override> = held.cloned().collect();
        // By itself: it is what holds once all overrides have ended, and nobody can refuse it then.
        match state.refused(next.document().policy()) {
            Some(refused) => Err(NotApplied::Refused(refused).into()),
            None => Ok(state.with_those_that_fit(next, &held)),
        }
    }

    fn put(
        &self,
        mut state: MutexGuard<'_, State>,
        next: Revision,
        now: Timestamp,
    ) -> Result<Arc<Revision>, ApplyError> {
        let next = Arc::new(next);
        let next_in_force = self.next(&state, next.clone(), now)?;
        // What is kept elsewhere may have a number that was given here.
        state.history.retain(|earlier| earlier.n() < next.n());
        if state.history.len() == Self::HISTORY_MAX {
            state.history.pop_front();
        }
        state.history.push_back(next.clone());
        self.in_force.store(Arc::new(next_in_force));
        drop(state);
        self.tell();
        Ok(next)
    }

    /// Tells the observers until they know the newest. Without the lock, so that an observer may
    /// change the policy: that change is told by the loop it came from.
    fn tell(&self) {
        loop {
            let mut state = self.lock();
            let newest = self.in_force();
            if state.telling || Arc::ptr_eq(&state.told, &newest) {
                return;
            }
            state.telling = true;
            let before = std::mem::replace(&mut state.told, newest.clone());
            let observers: Vec<_> = state.observers.iter().filter_map(Weak::upgrade).collect();
            drop(state);
            let change = PolicyChange::between(before, newest);
            for observer in observers {
                // A panic is reported where it happens; the others are told all the same.
                let _ = recover(|| observer.changed(&change));
                let _ = recover(|| drop(observer));
            }
            self.lock().telling = false;
        }
    }

    fn retain(&self, keep: impl Fn(&Override) -> bool) -> bool {
        let state = self.lock();
        let in_force = self.in_force();
        let held: Vec<Override> = in_force
            .overrides()
            .iter()
            .filter(|one| keep(one))
            .cloned()
            .collect();
        if held.len() == in_force.overrides().len() {
            return false;
        }
        let next = state.with_those_that_fit(in_force.revision().clone(), &held);
        self.in_force.store(Arc::new(next));
        drop(state);
        self.tell();
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Asks whether every observer can do what a policy says; gives the first reason why not.
    fn refused(&self, next: &Policy) -> Option<String> {
        self.first_no(|observer| observer.refuses(next))
    }

    fn check_doubts(&self, next: &PolicyDocument) -> Result<(), NotApplied> {
        match self.first_no(|observer| observer.doubts(next.policy())) {
            Some(doubt) => Err(NotApplied::Refused(doubt)),
            None => Ok(()),
        }
    }

    fn first_no(&self, ask: impl Fn(&dyn PolicyObserver) -> Option<String>) -> Option<String> {
        let observers = self.observers.iter().filter_map(Weak::upgrade);
        let mut answers = observers.map(|observer| {
            let no = recover(|| ask(&*observer));
            let _ = recover(|| drop(observer));
            no.unwrap_or_else(|_| Some("whoever has to follow it panicked".to_owned()))
        });
        answers.find_map(|no| no)
    }

    fn with_those_that_fit(&self, revision: Arc<Revision>, held: &[Override]) -> InForce {
        InForce::with_those_that_fit(revision, held, |policy| self.refused(policy).is_none())
    }
}

impl fmt::Debug for LivePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_force = self.in_force();
        f.debug_struct("LivePolicy")
            .field("revision", &in_force.revision().n())
            .field("overrides", &in_force.overrides().len())
            .finish_non_exhaustive()
    }
}
