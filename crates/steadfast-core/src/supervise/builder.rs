//! Describes a group and starts it.

use std::fmt;
use std::sync::Arc;

use super::child::Child;
use super::drive::drive;
use super::end::GroupEnd;
use super::error::{GroupError, GroupFailure};
use super::event::{Event, Observer};
use super::group::Group;
use super::handle::Supervisor;
use super::state::{State, Terms};
use crate::cancel::Cancel;
use crate::clock;
use crate::context::{Captured, Frame, Name, Node};
use crate::decide::restart::{Rules, Supervision};
use crate::panic::Contained;
use crate::{recover_async, report, task};

/// Describes a group; made by [`Supervisor::builder`].
#[must_use = "a group does nothing until it is started"]
pub struct SupervisorBuilder {
    name: Name,
    rules: Rules,
    children: Vec<Child>,
    observers: Vec<Contained<Observer>>,
    stop_on: Option<Cancel>,
}

impl SupervisorBuilder {
    pub(super) fn new(name: Name, rules: Rules) -> Self {
        Self {
            name,
            rules,
            children: Vec::new(),
            observers: Vec::new(),
            stop_on: None,
        }
    }

    /// Adds a child after all others: it is started after them and stopped before them.
    pub fn child(mut self, child: Child) -> Self {
        self.children.push(child);
        self
    }

    /// Calls `observe` with each event, in order, on the task that drives the group: it must not
    /// block. A panic in it is contained and reported, and harms nobody.
    pub fn observe(mut self, observe: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.observers.push(Contained::new(Box::new(observe)));
        self
    }

    /// Stops the group, in good order, when `token` is cancelled: with that cause.
    pub fn stop_on(mut self, token: &Cancel) -> Self {
        self.stop_on = Some(token.clone());
        self
    }

    /// Starts the children in order, each after the one before is ready; returns when all are.
    ///
    /// Transient and temporary children may be done by then. The group has a place of its own in
    /// the tree of scopes and inherits no facts from the caller; each life of a child is the root
    /// of a trace.
    ///
    /// # Errors
    /// [`GroupError`]: the description was refused, a child ended before it was ready, or the group
    /// was [stopped](GroupError::is_stopped) while it started. In the latter cases those that were
    /// started have been stopped again, last one first. Trying again makes sense if the child's
    /// reason may pass.
    ///
    /// # Panics
    /// Outside a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// When this is dropped, the group is stopped as by the drop of its last handle.
    pub async fn start(self) -> Result<Supervisor, GroupError> {
        let name = self.name;
        let (group, stop_on) = self.into_group(Cancel::new())?;
        let driving = recover_async(drive(group.clone(), stop_on));
        let place = Frame::body(Arc::new(Node::owner(name)));
        task::spawn_contained(Captured::from(place).wrap(driving));
        let supervisor = Supervisor::new(group.clone());
        let started = group.until(|state| match &state.end {
            Some(GroupEnd::Failed(error)) => Some(Err(error.clone())),
            Some(GroupEnd::Stopped(cause)) if !state.ready => {
                let why = GroupFailure::Stopped(cause.clone());
                Some(Err(GroupError { group: name, why }))
            }
            Some(_) => Some(Ok(())),
            None => state.ready.then_some(Ok(())),
        });
        started.await?;
        Ok(supervisor)
    }

    /// Makes a group that nobody drives yet.
    pub(super) fn into_group(
        self,
        token: Cancel,
    ) -> Result<(Arc<Group>, Option<Cancel>), GroupError> {
        let now = clock::now();
        let terms = Terms {
            name: self.name,
            strategy: self.rules.strategy(),
            intensity: self.rules.intensity().clone(),
            origin: now,
            token,
        };
        let mut state = State::new(terms, Supervision::new(self.rules));
        for child in self.children {
            let refused = |why| GroupError {
                group: self.name,
                why,
            };
            let name = child.described.name;
            let (spec, described) = child
                .into_parts()
                .map_err(|rules| refused(GroupFailure::Invalid { child: name, rules }))?;
            let id = state.machine.add(spec, 0).map_err(|rejected| {
                refused(GroupFailure::Rejected {
                    child: name,
                    rejected,
                })
            })?;
            state.add(id, Arc::new(described), now);
        }
        let group = Arc::new(Group::new(state, self.observers));
        if let Err(error) = report::register("supervise", &group) {
            tracing::warn!(
                target: "steadfast::supervise",
                group = self.name.as_str(),
                %error,
                "group is missing from reports"
            );
        }
        Ok((group, self.stop_on))
    }
}

impl fmt::Debug for SupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorBuilder")
            .field("name", &self.name)
            .field("rules", &self.rules)
            .field("children", &self.children)
            .finish_non_exhaustive()
    }
}
