//! A policy that changes while the guard is at work.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use steadfast_core::clock::{self, Instant, Timestamp};
use steadfast_core::decide::policy::{FieldChange, FieldPath, Policy, Route};
use steadfast_core::report::EventDoc;

use super::route::{UNMATCHED, template_of};
use super::state::State;
use super::{Guard, Inner, compile};
use crate::PolicyDocument;
use crate::policy::{
    ApplyError, InForce, InvalidOverride, LivePolicy, Override, PolicyChange, PolicyObserver,
    Proposal, Revision, Signed,
};

/// No override is held.
pub(super) const NEVER: u64 = u64::MAX;

impl Guard {
    /// Gives the policy that this guard follows: to look at, to change, to go back. Every change of
    /// it is in force for the requests that come after it, and what is known behind the numbers goes
    /// on: permits in flight, places in the queue, limits and timeouts that were learned, what is
    /// missing from a quota.
    ///
    /// [`apply`](Self::apply) and [`hold`](Self::hold) are short for what is done most often.
    pub fn live(&self) -> &LivePolicy {
        &self.inner.live
    }

    /// Gives what is in force now.
    pub fn in_force(&self) -> Arc<InForce> {
        self.inner.end_overrides(clock::nanos());
        self.inner.live.in_force()
    }

    /// Puts another document in force, and tells what it has changed.
    ///
    /// # Errors
    /// When the guard cannot do what it says, such as govern a route that was not asked at the
    /// start, a method that the router does not have for it, or any route where it was made without
    /// them and put around nothing, or when somebody else changes the policy at the same moment. All
    /// is as it was. Of a route that was asked for by no policy, and
    /// has been requested since, the template is known and its methods are not.
    ///
    /// # Examples
    /// ```
    /// use steadfast_tower::policy::Signed;
    /// use steadfast_tower::{Guard, PolicyDocument};
    ///
    /// let policy = |timeout: &str| {
    ///     let page = format!("[timeouts.page]\ntimeout = {timeout:?}\n");
    ///     PolicyDocument::new("policy.toml", page + "[routes.\"/\"]\ntimeout = \"page\"\n")
    /// };
    /// let guard = Guard::new(policy("1s")?)?;
    ///
    /// let changed = guard.apply(policy("2s")?, Signed::new("ann", "the database is slow today")?)?;
    ///
    /// assert_eq!(changed[0].path.to_string(), "timeouts.page.timeout");
    /// assert_eq!(guard.armed().revision, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply(
        &self,
        document: PolicyDocument,
        signed: Signed,
    ) -> Result<Vec<FieldChange>, ApplyError> {
        let proposal = self.propose(document, signed);
        let changes = proposal.changes().to_vec();
        self.apply_proposal(proposal)?;
        Ok(changes)
    }

    /// Says what another document would change: to be looked at, and then
    /// [applied](Self::apply_proposal).
    pub fn propose(&self, document: PolicyDocument, signed: Signed) -> Proposal {
        self.inner.end_overrides(clock::nanos());
        self.inner.live.propose(document, signed)
    }

    /// Puts a proposal in force.
    ///
    /// # Errors
    /// As [`apply`](Self::apply); also when another revision came in force since it was made.
    pub fn apply_proposal(&self, proposal: Proposal) -> Result<Arc<Revision>, ApplyError> {
        self.inner.end_overrides(clock::nanos());
        self.inner.live.apply(proposal, self.inner.wall())
    }

    /// Puts a revision in force that is kept elsewhere, under its own number: after a restart, or because another process
    /// has put it in force. A guard keeps none beyond the life of its process; the API of the program does, in its store,
    /// and so can you, by an [observer](LivePolicy::observe).
    ///
    /// [Protect](Self::protect) the routes before: a revision may be for a route that is gone, and then protecting them
    /// is refused. Afterwards such a route is told in the log, and governs nothing.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), but for what others do at the same moment.
    ///
    /// # Examples
    /// ```
    /// use steadfast_core::clock;
    /// use steadfast_tower::policy::{Revision, Signed};
    /// use steadfast_tower::{Guard, PolicyDocument};
    ///
    /// let policy = |timeout: &str| {
    ///     let page = format!("[timeouts.page]\ntimeout = {timeout:?}\n");
    ///     PolicyDocument::new("policy.toml", page + "[routes.\"/\"]\ntimeout = \"page\"\n")
    /// };
    /// let guard = Guard::new(policy("1s")?)?;
    ///
    /// let by_ann = Signed::new("ann", "the database is slow today")?;
    /// guard.adopt(Revision::new("shop", 7, policy("2s")?, by_ann, clock::timestamp()))?;
    ///
    /// assert_eq!(guard.armed().revision, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn adopt(&self, revision: Revision) -> Result<Arc<Revision>, ApplyError> {
        self.inner.end_overrides(clock::nanos());
        let adopted = self.inner.live.adopt(revision, self.inner.wall())?;
        for (key, _) in of_the_router(adopted.document().policy()) {
            if let Some(doubt) = self.inner.doubt(key) {
                tracing::warn!(
                    target: "steadfast::policy",
                    revision = adopted.n(),
                    doubt,
                    "a policy is in force that names a route which nobody knows"
                );
            }
        }
        Ok(adopted)
    }

    /// Says whether a proposal could be [applied](Self::apply_proposal) now, and changes nothing.
    ///
    /// # Errors
    /// As [`apply_proposal`](Self::apply_proposal).
    pub fn check_proposal(&self, proposal: &Proposal) -> Result<(), ApplyError> {
        self.inner.live.check(proposal, self.inner.wall())
    }

    /// Holds one value against the document for a while: it ends by itself, also if somebody sets
    /// the clock on the wall back.
    ///
    /// # Errors
    /// When there is no such field, the policy would have a mistake with it, the guard cannot do it,
    /// it is for more than a [day](Override::LONGEST), or there are [too many](Override::MAX).
    ///
    /// # Examples
    /// ```
    /// # use steadfast_tower::policy::Signed;
    /// # use steadfast_tower::{Guard, PolicyDocument};
    /// use std::time::Duration;
    ///
    /// # let policy = PolicyDocument::new(
    /// #     "policy.toml",
    /// #     "[timeouts.page]\ntimeout = \"1s\"\n[routes.\"/search\"]\ntimeout = \"page\"\n",
    /// # )?;
    /// # let guard = Guard::new(policy)?;
    /// let quarter = Duration::from_secs(15 * 60);
    /// let path = r#"routes."/search".tier"#.parse()?;
    /// guard.hold(path, "tier7", quarter, Signed::new("ann", "INC-7: search floods us")?)?;
    ///
    /// let told = guard.in_force().explain_route("/search")?;
    /// assert!(told.to_string().contains("by ann: INC-7"), "{told}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hold(
        &self,
        path: FieldPath,
        value: &str,
        time: Duration,
        signed: Signed,
    ) -> Result<Arc<InForce>, InvalidOverride> {
        let (one, now) = self.inner.held(path, value, time, signed)?;
        self.inner.live.hold(one, now)
    }

    /// Says what a value that is [held](Self::hold) would change, and holds nothing.
    ///
    /// # Errors
    /// As [`hold`](Self::hold).
    pub fn try_hold(
        &self,
        path: FieldPath,
        value: &str,
        time: Duration,
        signed: Signed,
    ) -> Result<Vec<FieldChange>, InvalidOverride> {
        let (one, now) = self.inner.held(path, value, time, signed)?;
        self.inner.live.try_hold(one, now)
    }

    /// Ends an override before its time; says whether there was one.
    pub fn release(&self, path: &FieldPath) -> bool {
        self.inner.end_overrides(clock::nanos());
        self.inner.live.release(path)
    }
}

impl Inner {
    /// Gives what governs a request that comes now.
    pub(super) fn in_force(&self, now: Instant) -> arc_swap::Guard<Arc<State>> {
        if self.next_end.load(Ordering::Relaxed) != NEVER {
            self.end_overrides(clock::nanos_at(now));
        }
        self.state.load()
    }

    /// Ends the overrides whose time is over, by the clock that nobody sets.
    pub(super) fn end_overrides(&self, now: u64) {
        if now < self.next_end.load(Ordering::Relaxed) {
            return;
        }
        // One thread does it; it sets the next end as it takes notice of the change.
        self.next_end.store(NEVER, Ordering::Relaxed);
        // What another thread has ended already, and somebody held anew since, is not over then.
        let ended = self.steady().wall_at(now);
        self.live.expire(ended);
        self.note_next_end();
    }

    fn held(
        &self,
        path: FieldPath,
        value: &str,
        time: Duration,
        signed: Signed,
    ) -> Result<(Override, Timestamp), InvalidOverride> {
        self.end_overrides(clock::nanos());
        let now = self.wall();
        let until = SystemTime::from(now)
            .checked_add(time)
            .unwrap_or(SystemTime::from(now) + Override::LONGEST * 2);
        let one = Override::new(path, value, Timestamp::from(until), signed)?;
        Ok((one, now))
    }

    /// Gives the time of the wall, as overrides see it. While one is held, the clock on the wall
    /// cannot be set.
    fn wall(&self) -> Timestamp {
        let mut steady = self.steady();
        if self.live.in_force().overrides().is_empty() {
            *steady = Steady::new();
        }
        steady.wall_at(clock::nanos())
    }

    /// Finds out when the next override ends.
    fn note_next_end(&self) {
        // Locked for both, so that what is noted last is what is in force.
        let steady = self.steady();
        let until = self.live.in_force().until();
        let next = until.map_or(NEVER, |until| steady.nanos_at(until));
        self.next_end.store(next, Ordering::Relaxed);
    }

    fn doubt(&self, key: &str) -> Option<String> {
        let why = self.watch.does_not_know(template_of(key))?;
        Some(format!("routes.{key:?} {why}"))
    }

    fn steady(&self) -> MutexGuard<'_, Steady> {
        self.steady.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wall clock that goes on as the monotonic one does, whoever sets the other: the ends of all
/// overrides that are held at a time are read on it.
#[derive(Debug)]
pub(super) struct Steady {
    wall: SystemTime,
    nanos: u64,
}

impl Steady {
    /// Begins with what the clock on the wall shows.
    pub(super) fn new() -> Self {
        Self {
            wall: clock::timestamp().into(),
            nanos: clock::nanos(),
        }
    }

    fn wall_at(&self, nanos: u64) -> Timestamp {
        let since = Duration::from_nanos(nanos.saturating_sub(self.nanos));
        // What no clock can show is far from any override.
        self.wall.checked_add(since).unwrap_or(self.wall).into()
    }

    /// Gives the first nanosecond at which [`wall_at`](Self::wall_at) has reached a time.
    fn nanos_at(&self, until: Timestamp) -> u64 {
        let left = SystemTime::from(until).duration_since(self.wall);
        let left = u64::try_from(left.unwrap_or_default().as_nanos()).unwrap_or(NEVER);
        self.nanos.saturating_add(left)
    }
}

/// What it tells to the log.
pub(crate) const LIVE_EVENTS: &[EventDoc] = &[
    EventDoc::new(
        "steadfast::policy",
        &["info"],
        "another policy is in force",
        &["author", "changes", "reason", "revision"],
    )
    .when("A document, or an earlier revision, was put in force.")
    .action("None; it says who has changed the policy, and why."),
    EventDoc::new(
        "steadfast::policy",
        &["warn"],
        "a policy is in force that names a route which nobody knows",
        &["doubt", "revision"],
    )
    .when("A revision that is kept elsewhere was put in force; the route was not asked at the start, nor requested since.")
    .action("None where the route is there, since it is governed; take it out of the policy where it is gone."),
    EventDoc::new(
        "steadfast::policy",
        &["warn"],
        "an override is held",
        &["held"],
    )
    .when("An operator holds a value against the document.")
    .action("Nothing now; what should hold for longer is a change of the document."),
    EventDoc::new(
        "steadfast::policy",
        &["info"],
        "an override has ended",
        &["held"],
    )
    .when("Its time is over, it was released, or the document does not fit it any more.")
    .action("None."),
    EventDoc::new(
        "steadfast::policy",
        &["error"],
        "a policy is not in force",
        &["error"],
    )
    .when("A change that was checked could not be followed. This is a bug.")
    .action("Put the revision before it in force again, and report the `error`."),
];

impl PolicyObserver for Inner {
    fn changed(&self, change: &PolicyChange) {
        if change.before.overrides().is_empty() {
            // Also for what was held without asking the guard for the time.
            *self.steady() = Steady::new();
        }
        for one in change.ended() {
            tracing::info!(target: "steadfast::policy", held = %one, "an override has ended");
        }
        for one in change.after.overrides() {
            if !change.before.overrides().contains(one) {
                tracing::warn!(target: "steadfast::policy", held = %one, "an override is held");
            }
        }
        let (before, after) = (change.before.revision(), change.after.revision());
        // The same one may only have got the number under which it is kept.
        if before.n() != after.n() || before.hash() != after.hash() {
            tracing::info!(
                target: "steadfast::policy",
                revision = after.n(),
                changes = change.changes.len(),
                author = after.signed().author(),
                reason = after.signed().reason(),
                "another policy is in force"
            );
        }
        if let Err(error) = self.follow(change.after.policy()) {
            // It was asked before, so this is a bug; what was in force still is.
            tracing::error!(target: "steadfast::policy", %error, "a policy is not in force");
        }
        self.note_next_end();
    }

    fn doubts(&self, next: &Policy) -> Option<String> {
        if self.for_calls_alone && !self.watch.is_layered() && !next.routes.is_empty() {
            return Some("the guard is around no routes, so none that a policy names would be governed; take the routes out of it".to_owned());
        }
        let in_force = self.live.in_force();
        // One that is governed already was believed, or is known.
        let known = &in_force.revision().document().policy().routes;
        let mut new = of_the_router(next).filter(|(key, _)| !known.contains_key(key.as_str()));
        new.find_map(|(key, _)| self.doubt(key))
    }

    fn refuses(&self, next: &Policy) -> Option<String> {
        let mut routes = of_the_router(next);
        let missed = routes.find_map(|(key, route)| {
            let why = self.watch.misses(template_of(key), &route.methods)?;
            Some(format!("routes.{key:?} {why}"))
        });
        if missed.is_some() {
            return missed;
        }
        let wrong = compile::check(next).err().map(|error| error.to_string());
        wrong.or_else(|| self.dependencies.refuses(next))
    }
}

/// The routes of a policy that a router has to have.
fn of_the_router(policy: &Policy) -> impl Iterator<Item = (&String, &Route)> {
    let routes = policy.routes.iter();
    routes.filter(|(key, _)| key.as_str() != UNMATCHED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_comes_late_to_the_end_of_one_override_leaves_the_next_one() {
        let policy = "[timeouts.page]\ntimeout = \"1s\"\n[routes.\"/\"]\ntimeout = \"page\"\n";
        let guard = Guard::new(PolicyDocument::new("policy.toml", policy).unwrap()).unwrap();
        let path = "routes.\"/\".tier".parse().unwrap();
        let signed = Signed::new("ann", "INC-7").unwrap();
        let quarter = Duration::from_secs(15 * 60);
        guard.hold(path, "tier7", quarter, signed).unwrap();
        let ends = guard.inner.next_end.load(Ordering::Relaxed);

        // What it had looked at before was the end of another one.
        guard.inner.next_end.store(0, Ordering::Relaxed);
        guard.inner.end_overrides(clock::nanos());

        assert_eq!(guard.in_force().overrides().len(), 1);
        assert_eq!(guard.inner.next_end.load(Ordering::Relaxed), ends);
        guard.inner.end_overrides(ends);
        assert!(guard.in_force().overrides().is_empty());
    }
}
