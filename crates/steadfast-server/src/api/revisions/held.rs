//! What operators hold against the policy for a while, wherever they have asked, and whoever is started meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use steadfast::decide::policy::FieldPath;
use steadfast::store::Error;
use steadfast::tower::policy::{InvalidOverride, Override, Signed};

use super::super::problem::Problem;
use super::super::types;
use super::{Revisions, State, kept, lock};

/// Why a process does not hold what others may.
const OF_OTHERS: &str = "it is held against another policy that processes were started with";

/// What is known of an override that is kept.
pub(super) struct Known {
    at_us: i64,
    /// Who holds it, or why it does not fit.
    by: Result<Signed, String>,
}

impl Revisions {
    /// Holds a value, and keeps that it is held; gives what was held for the field before.
    pub(in super::super) async fn hold(
        &self,
        path: &FieldPath,
        value: &str,
        lasts: Duration,
        by: Signed,
    ) -> Result<Option<Override>, Problem> {
        let mut state = self.state.lock().await;
        self.begin(&mut state).await?;
        let in_force = self.guard.in_force();
        let mut before = in_force.overrides().iter();
        let before = before.find(|one| one.path() == path).cloned();
        let fits = self.guard.try_hold(path.clone(), value, lasts, by.clone());
        fits.map_err(|refused| not_held(&refused))?;
        let name = path.to_string();
        let at_us = self.kept.hold(&name, value, lasts, &by).await?;
        let known = Known {
            at_us,
            by: Ok(by.clone()),
        };
        state.held.insert(name, known);
        let held = self.guard.hold(path.clone(), value, lasts, by);
        held.map(|_| before).map_err(|refused| not_held(&refused))
    }

    /// Ends what is held for a field; says whether anything was.
    pub(in super::super) async fn end_hold(&self, path: &FieldPath) -> Result<bool, Problem> {
        let mut state = self.state.lock().await;
        let name = path.to_string();
        let was_kept = self.kept.end_hold(&name).await?;
        state.held.remove(&name);
        Ok(self.guard.release(path) || was_kept)
    }

    /// Holds what the store says, and nothing any more that it does not.
    pub(super) async fn follow_held(&self, state: &mut State) -> Result<(), Error> {
        let kept = self.kept.held().await?.into_iter();
        let (kept, others): (Vec<_>, Vec<_>) = kept.partition(|one| one.base == self.kept.base);
        let names: BTreeSet<&str> = kept.iter().map(|one| one.path.as_str()).collect();
        state.held.retain(|name, known| {
            let is_kept = names.contains(name.as_str());
            if let (false, Some(path)) = (is_kept, self.held_by(name, known)) {
                self.guard.release(&path);
            }
            is_kept
        });
        let mut tried = Vec::new();
        for one in kept {
            let known = state.held.remove(&one.path);
            match known.filter(|known| known.at_us == one.at_us) {
                Some(known) if self.is_settled(&one.path, &known) => {
                    state.held.insert(one.path, known);
                }
                known => tried.push((one, known.and_then(|known| known.by.err()))),
            }
        }
        let mut not_held = Vec::new();
        for (one, why, is_new) in self.hold_those_that_fit(state, tried) {
            if is_new {
                tracing::warn!(
                    target: "steadfast::policy",
                    held = one.path,
                    author = one.author,
                    why,
                    "an override cannot be held by this process, which goes on without it"
                );
            }
            not_held.push(told(&one, &why));
            let (at_us, by) = (one.at_us, Err(why));
            state.held.insert(one.path, Known { at_us, by });
        }
        for one in &others {
            if !state.is_begun {
                tracing::warn!(
                    target: "steadfast::policy",
                    held = one.path,
                    value = one.value,
                    author = one.author,
                    left_s = one.left.as_secs(),
                    "an override is held against another policy than the process was started with, and not by this process"
                );
            }
            not_held.push(told(one, OF_OTHERS));
        }
        state.is_begun = true;
        *lock(&self.not_held) = not_held;
        Ok(())
    }

    /// Holds what can be held, in whichever order: one may make room for another, or for its value. Gives the others,
    /// each with why, and whether that was not known.
    fn hold_those_that_fit(
        &self,
        state: &mut State,
        tried: Vec<(kept::Held, Option<String>)>,
    ) -> Vec<(kept::Held, String, bool)> {
        let mut left = tried;
        loop {
            let (before, mut refused) = (left.len(), Vec::new());
            for (one, known) in left {
                match self.hold_kept(&one) {
                    Ok(by) => {
                        let (at_us, by) = (one.at_us, Ok(by));
                        state.held.insert(one.path, Known { at_us, by });
                    }
                    Err(why) => {
                        let is_new = known.as_ref() != Some(&why);
                        refused.push((one, known, why, is_new));
                    }
                }
            }
            if refused.len() == before {
                let told = refused.into_iter();
                return told
                    .map(|(one, _, why, is_new)| (one, why, is_new))
                    .collect();
            }
            left = refused
                .into_iter()
                .map(|(one, known, ..)| (one, known))
                .collect();
        }
    }

    /// Whether it was held and the field still is, by it or by the code of the service since. One falls with another that
    /// it needs.
    fn is_settled(&self, name: &str, known: &Known) -> bool {
        let in_force = self.guard.in_force();
        let mut held = in_force.overrides().iter();
        known.by.is_ok() && held.any(|one| one.path().to_string() == name)
    }

    /// The field, if it is still held as is known; somebody may hold it by code since.
    fn held_by(&self, name: &str, known: &Known) -> Option<FieldPath> {
        let signed = known.by.as_ref().ok()?;
        let in_force = self.guard.in_force();
        let mut held = in_force.overrides().iter();
        let ours = held.find(|one| one.path().to_string() == name && one.signed() == signed);
        ours.map(|one| one.path().clone())
    }

    fn hold_kept(&self, one: &kept::Held) -> Result<Signed, String> {
        let path: FieldPath = one.path.parse().map_err(|error| format!("{error}"))?;
        let signed = Signed::new(one.author.as_str(), one.reason.as_str());
        let signed = signed.map_err(|invalid| invalid.to_string())?;
        // The clock of the database may be another by now, after a failover.
        let left = one.left.min(Override::LONGEST);
        let held = self.guard.hold(path, &one.value, left, signed.clone());
        held.map(|_| signed).map_err(|refused| refused.to_string())
    }

    /// Forgets what a revision has ended.
    pub(super) async fn forget_held(&self, state: &mut State, paths: &[String]) {
        for path in paths {
            state.held.remove(path);
            if let Err(error) = self.kept.end_hold(path).await {
                // It does not fit, so nobody can hold it; and it ends by itself.
                tracing::warn!(target: "steadfast::policy", %error, held = path.as_str(), "an override that has ended is still kept");
            }
        }
    }
}

fn told(one: &kept::Held, why: &str) -> types::NotHeld {
    types::NotHeld {
        path: one.path.clone(),
        value: one.value.clone(),
        left_seconds: one.left.as_secs(),
        author: one.author.clone(),
        reason: one.reason.clone(),
        why: why.to_owned(),
    }
}

/// Why a value is not held.
pub(in super::super) fn not_held(refused: &InvalidOverride) -> Problem {
    match refused.problems() {
        Some(problems) => {
            Problem::mistaken("with it the policy would have mistakes").with_mistakes(problems)
        }
        None if refused.is_unknown() => Problem::not_found(refused.to_string()),
        None => Problem::refused(refused.to_string()),
    }
}
