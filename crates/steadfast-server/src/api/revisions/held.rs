//! What operators hold against the policy for a while, wherever they have asked, and whoever is started meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use steadfast::decide::policy::FieldPath;
use steadfast::store::Error;
use steadfast::tower::policy::{InvalidOverride, Override, Signed};

use super::super::problem::Problem;
use super::{Revisions, State, kept};

impl Revisions {
    /// Holds a value, and keeps that it is held.
    pub(in super::super) async fn hold(
        &self,
        path: &FieldPath,
        value: &str,
        lasts: Duration,
        by: Signed,
    ) -> Result<(), Problem> {
        let mut state = self.state.lock().await;
        self.catch_up(&mut state).await?;
        let fits = self.guard.try_hold(path.clone(), value, lasts, by.clone());
        fits.map_err(|refused| not_held(&refused))?;
        let name = path.to_string();
        let at_us = self.kept.hold(&name, value, lasts, &by).await?;
        state.held.insert(name, (at_us, by.clone()));
        let held = self.guard.hold(path.clone(), value, lasts, by);
        held.map(drop).map_err(|refused| not_held(&refused))
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
        let kept = self.kept.held().await?;
        let names: BTreeSet<&str> = kept.iter().map(|one| one.path.as_str()).collect();
        let in_force = self.guard.in_force();
        state.held.retain(|name, (_, signed)| {
            let is_kept = names.contains(name.as_str());
            let mut held = in_force.overrides().iter();
            // Somebody may hold it by code since.
            let ours = held.find(|one| one.path().to_string() == *name && one.signed() == signed);
            if let (false, Some(one)) = (is_kept, ours) {
                self.guard.release(one.path());
            }
            is_kept
        });
        for one in kept {
            let known = state.held.get(&one.path);
            if known.is_some_and(|(at_us, _)| *at_us == one.at_us) {
                continue;
            }
            match self.hold_kept(&one) {
                Ok(signed) => {
                    state.held.insert(one.path, (one.at_us, signed));
                }
                Err(why) => {
                    let (held, author) = (one.path.as_str(), one.author.as_str());
                    tracing::warn!(
                        target: "steadfast::policy",
                        held,
                        author,
                        why,
                        "an override cannot be held by this process, which goes on without it"
                    );
                    let nobody = Signed::new("nobody", "it does not fit").expect("both are said");
                    state.held.insert(one.path, (one.at_us, nobody));
                }
            }
        }
        Ok(())
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
