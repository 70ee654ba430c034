use std::sync::Arc;

use steadfast_core::clock::Timestamp;
use steadfast_core::decide::policy::{FieldChange, Policy};

use super::document::PolicyDocument;
use super::explain::{Explainer, Explanation, UnknownSubject};
use super::overrides::{self, Override, Refusal};
use super::revision::Revision;

/// The policy in force: a revision, and what operators hold against it for a while.
#[derive(Clone, Debug)]
pub struct InForce {
    revision: Arc<Revision>,
    overrides: Vec<Override>,
    /// What both amount to.
    amounts_to: PolicyDocument,
}

/// What was in force, what is, and how they differ.
///
/// Of what is in no change, an observer keeps its state: a breaker whose numbers are the same stays
/// open, a quota is not given anew.
#[derive(Clone, Debug)]
pub struct PolicyChange {
    /// What was in force.
    pub before: Arc<InForce>,
    /// What is.
    pub after: Arc<InForce>,
    /// The fields that differ, by path.
    pub changes: Vec<FieldChange>,
}

/// Hears what was changed.
///
/// Closures do. It is called by whoever changes the policy, after the change is in force, and may
/// change it itself. A panic in it is contained and reported.
pub trait PolicyObserver: Send + Sync {
    /// Takes notice of a change.
    fn changed(&self, change: &PolicyChange);

    /// Says why a policy cannot be put in force here; then nobody has it. By default any can.
    ///
    /// It is asked by whoever changes the policy or ends an override, of a document by itself and of
    /// what overrides make of it, while others who want to change it wait: it must not change it
    /// itself. One that panics has refused.
    fn refuses(&self, next: &Policy) -> Option<String> {
        let _ = next;
        None
    }

    /// Says why it is not known whether a policy can be put in force here; then nobody has it who proposes it, and it is
    /// taken where it is [adopted](super::LivePolicy::adopt), since it was in force elsewhere. Asked as
    /// [`refuses`](Self::refuses). By default there is no doubt.
    fn doubts(&self, next: &Policy) -> Option<String> {
        let _ = next;
        None
    }
}

impl InForce {
    pub(super) fn new(revision: Arc<Revision>) -> Self {
        Self {
            amounts_to: revision.document().clone(),
            revision,
            overrides: Vec::new(),
        }
    }

    /// Holds the overrides against a revision, all or none.
    pub(super) fn with(revision: Arc<Revision>, overrides: Vec<Override>) -> Result<Self, Refusal> {
        let amounts_to = match overrides.is_empty() {
            true => revision.document().clone(),
            false => overrides::apply(revision.document(), &overrides)?,
        };
        Ok(Self {
            revision,
            overrides,
            amounts_to,
        })
    }

    /// Holds those of the overrides that still can be held, with what can be followed; the others are
    /// over.
    pub(super) fn with_those_that_fit(
        revision: Arc<Revision>,
        overrides: &[Override],
        can_be_followed: impl Fn(&Policy) -> bool,
    ) -> Self {
        let mut in_force = Self::new(revision);
        for one in overrides {
            let mut held = in_force.overrides.clone();
            held.push(one.clone());
            match Self::with(in_force.revision.clone(), held) {
                Ok(with) if can_be_followed(with.policy()) => in_force = with,
                Ok(_) | Err(_) => {}
            }
        }
        in_force
    }

    /// Gives the policy, overrides included.
    pub fn policy(&self) -> &Policy {
        self.amounts_to.policy()
    }

    /// Gives the revision.
    pub fn revision(&self) -> &Arc<Revision> {
        &self.revision
    }

    /// Gives the overrides, the oldest first.
    pub fn overrides(&self) -> &[Override] {
        &self.overrides
    }

    /// Gives when the next override is over, and with it this.
    pub fn until(&self) -> Option<Timestamp> {
        self.overrides.iter().map(Override::until).min()
    }

    /// Explains what is in force for a route: by its name in the policy, or by the method and the
    /// template of a request, `GET /orders`.
    ///
    /// # Errors
    /// When there is none; the nearest name is told.
    pub fn explain_route(&self, name: &str) -> Result<Explanation, UnknownSubject> {
        self.explainer().route(name)
    }

    /// Explains what is in force for a dependency.
    ///
    /// # Errors
    /// When there is none; the nearest name is told.
    pub fn explain_dependency(&self, name: &str) -> Result<Explanation, UnknownSubject> {
        self.explainer().dependency(name)
    }

    fn explainer(&self) -> Explainer<'_> {
        Explainer {
            document: self.revision.document(),
            policy: self.policy(),
            overrides: &self.overrides,
        }
    }
}

// === impl PolicyChange ===

impl PolicyChange {
    pub(super) fn between(before: Arc<InForce>, after: Arc<InForce>) -> Self {
        Self {
            changes: before.policy().changes(after.policy()),
            before,
            after,
        }
    }

    /// Gives the overrides that were held before and no longer are: over, released, or not fitting
    /// what has changed.
    pub fn ended(&self) -> impl Iterator<Item = &Override> {
        let held = self.after.overrides();
        let before = self.before.overrides().iter();
        before.filter(move |one| !held.contains(one))
    }

    /// Says whether a table, such as `["breakers", "careful"]`, is different in any of its fields.
    pub fn touches(&self, table: &[&str]) -> bool {
        self.changes.iter().any(|change| {
            let segments = change.path.segments();
            segments.len() > table.len() && table.iter().zip(segments).all(|(a, b)| a == b)
        })
    }
}

impl<F: Fn(&PolicyChange) + Send + Sync> PolicyObserver for F {
    fn changed(&self, change: &PolicyChange) {
        self(change);
    }
}
