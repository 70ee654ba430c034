//! The handle of a running group.

use std::fmt;
use std::sync::Arc;

use super::builder::SupervisorBuilder;
use super::child::Child;
use super::end::{ChildEnd, GroupEnd};
use super::error::{RequestError, Unfulfilled};
use super::group::Group;
use super::request::Wants;
use super::snapshot::Snapshot;

use crate::cancel::Cause;
use crate::context::Name;
use crate::decide::restart::{ChildId, Rejected, Restart, Rules, Supervision};
use crate::reaper;

/// The handle of a running group of children; a cheap clone. See the
/// [module](mod@crate::supervise).
///
/// Dropping the last handle stops the group in good order: the driver goes on in the background
/// until the last child has ended, and [`reaper::drain`] waits for it, as
/// [`run`](crate::run()) does before its runtime ends. To let a group run for as long as the
/// process, keep a handle for that long: [`ended`](Self::ended) does.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use steadfast::Supervisor;
/// use steadfast::supervise::{Child, ChildState, Intensity, Rules, Strategy};
///
/// let intensity = Intensity::new(3, Duration::from_secs(60))?;
/// let group = Supervisor::builder("ingest", Rules::new(Strategy::OneForOne, intensity))
///     .child(Child::permanent("consumer", async |child| { child.stopping().await; }))
///     .start()
///     .await?;
///
/// let consumer = group.snapshot().children[0].id;
/// let end = group.stop_child(consumer).await?.expect("it had lived");
/// assert_eq!(end.to_string(), "stopped");
/// assert_eq!(group.snapshot().children[0].state, ChildState::AtRest);
///
/// group.start_child(consumer).await?;
/// assert!(!group.stop().await.is_failure());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Supervisor {
    handle: Arc<Handle>,
}

/// What all clones of a handle share; its drop is that of the last one.
struct Handle {
    group: Arc<Group>,
}

const NO_HANDLE: Cause = Cause::Requested(Name::new("drop of the last handle"));
const STOP: Cause = Cause::Requested(Name::new("stop"));
const STOP_CHILD: Cause = Cause::Requested(Name::new("stop_child"));
const RESTART_CHILD: Cause = Cause::Requested(Name::new("restart_child"));
const REMOVE_CHILD: Cause = Cause::Requested(Name::new("remove_child"));

impl Supervisor {
    /// Starts the description of a group.
    ///
    /// The name is the first part of its children's scope paths, and a label of its metrics.
    pub fn builder(name: impl Into<Name>, rules: Rules) -> SupervisorBuilder {
        SupervisorBuilder::new(name.into(), rules)
    }

    pub(super) fn new(group: Arc<Group>) -> Self {
        Self {
            handle: Arc::new(Handle { group }),
        }
    }

    fn group(&self) -> &Arc<Group> {
        &self.handle.group
    }

    /// Shows the group and all its children as they are at this moment, groups inside included.
    pub fn snapshot(&self) -> Snapshot {
        self.group().snapshot()
    }

    /// Stops all children, last one first, and waits until the group has ended.
    ///
    /// A group that is ending already goes on as it was, with its reason.
    ///
    /// # Cancel safety
    /// The stop goes on when this is dropped.
    pub async fn stop(&self) -> GroupEnd {
        self.stop_with(STOP).await
    }

    /// Stops all children as [`stop`](Self::stop) does; their tokens have this cause.
    ///
    /// # Cancel safety
    /// The stop goes on when this is dropped.
    pub async fn stop_with(&self, cause: Cause) -> GroupEnd {
        self.group().stop(cause);
        self.ended().await
    }

    /// Waits until the group has ended, in whatever way: nothing of it lives then but what was
    /// written off.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn ended(&self) -> GroupEnd {
        self.group().until(|state| state.end.clone()).await
    }

    /// Adds a child after all others, starts it in its turn, and waits until it is ready.
    ///
    /// A transient or temporary child may be done by then.
    ///
    /// # Errors
    /// [`RequestError`]: its terms were refused; the group is full or ends; or the child ended
    /// before it was ready, in which case it has been removed.
    ///
    /// # Cancel safety
    /// The child stays when this is dropped.
    pub async fn add_child(&self, child: Child) -> Result<ChildId, RequestError> {
        let (spec, described) = child.into_parts().map_err(Unfulfilled::Invalid)?;
        let described = Arc::new(described);
        let added = self.group().update(|state, at| {
            let now = state.terms.nanos(at);
            let id = state.machine.add(spec, now)?;
            state.add(id, described, at);
            Ok((id, state.request(id, Wants::Up)))
        });
        let (id, answer) = added.map_err(Unfulfilled::Rejected)?;
        answer.await.unwrap_or(Err(Unfulfilled::Ended.into()))?;
        Ok(id)
    }

    /// Stops one child, keeps it at rest, and gives how its last life ended.
    ///
    /// A temporary child is removed, as it will never be started again. One that is at rest stays
    /// so. When its group is restarted because of a sibling, a child at rest is started again.
    ///
    /// # Errors
    /// [`RequestError`]: there is no such child, the group ends, or the child did not end although
    /// it was aborted.
    ///
    /// # Cancel safety
    /// The stop goes on when this is dropped.
    pub async fn stop_child(&self, child: ChildId) -> Result<Option<ChildEnd>, RequestError> {
        self.stop_child_for(child, STOP_CHILD).await
    }

    /// Starts a child that is at rest, and waits until it is ready.
    ///
    /// # Errors
    /// [`RequestError`]: there is no such child, it lives or is about to be started, the group
    /// ends, or the child ended before it was ready, in which case it is at rest again.
    ///
    /// # Cancel safety
    /// The start goes on when this is dropped.
    pub async fn start_child(&self, child: ChildId) -> Result<(), RequestError> {
        let start = |machine: &mut Supervision, now| machine.start_child(child, now);
        self.request(child, Wants::Up, None, start).await?;
        Ok(())
    }

    /// Stops a child if it lives, starts it again, and waits until it is ready. Counts nothing
    /// against the intensity.
    ///
    /// # Errors
    /// As [`stop_child`](Self::stop_child) and [`start_child`](Self::start_child); a temporary
    /// child is never restarted.
    ///
    /// # Cancel safety
    /// When this is dropped while the child stops, it stays at rest.
    pub async fn restart_child(&self, child: ChildId) -> Result<(), RequestError> {
        let temporary = self.group().change(|state, _| {
            let entry = state.entries.get(&child);
            entry.is_some_and(|entry| entry.child.restart == Restart::Temporary)
        });
        if temporary {
            return Err(Unfulfilled::Temporary.into());
        }
        self.stop_child_for(child, RESTART_CHILD).await?;
        match self.start_child(child).await {
            // Somebody else, or the restart of a sibling, was faster.
            Err(error) if error.is_live() => {
                self.request(child, Wants::Up, None, |_, _| Ok(())).await?;
                Ok(())
            }
            started => started,
        }
    }

    /// Stops a child if it lives, removes it, and gives how its last life ended.
    ///
    /// # Errors
    /// As [`stop_child`](Self::stop_child).
    ///
    /// # Cancel safety
    /// The removal goes on when this is dropped.
    pub async fn remove_child(&self, child: ChildId) -> Result<Option<ChildEnd>, RequestError> {
        let remove = |machine: &mut Supervision, now| machine.remove_child(child, now);
        self.request(child, Wants::Gone, Some(REMOVE_CHILD), remove)
            .await
    }

    async fn stop_child_for(
        &self,
        child: ChildId,
        cause: Cause,
    ) -> Result<Option<ChildEnd>, RequestError> {
        let stop = |machine: &mut Supervision, now| machine.stop_child(child, now);
        self.request(child, Wants::Down, Some(cause), stop).await
    }

    async fn request(
        &self,
        child: ChildId,
        wants: Wants,
        cause: Option<Cause>,
        call: impl FnOnce(&mut Supervision, u64) -> Result<(), Rejected>,
    ) -> Result<Option<ChildEnd>, RequestError> {
        let requested = self.group().update(|state, at| {
            let now = state.terms.nanos(at);
            call(&mut state.machine, now)?;
            state.set_by_hand(child, cause);
            Ok(state.request(child, wants))
        });
        let answer = requested.map_err(Unfulfilled::Rejected)?;
        answer.await.unwrap_or(Err(Unfulfilled::Ended.into()))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let ended = self.group.end().is_some();
        if !ended {
            self.group.hold(reaper::hold());
            self.group.stop(NO_HANDLE);
        }
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Supervisor").field(&self.snapshot()).finish()
    }
}
