//! Faults that tests put in the place of cleanups.

use std::sync::Arc;

use super::CleanupStatus;
use super::handle::{Cleanup, Shared, Step};
use super::stack::Meta;
use crate::context::{self, Node};
use crate::panic;
use crate::small_fn::SmallFn;
use crate::testing::fault::{self, Fault, Site};

/// Gives what runs in the place of a cleanup: the cleanup itself, unless a fault is due.
pub(super) fn in_cleanup<T, E>(node: &Node, meta: Meta, cleanup: Cleanup<T, E>) -> Cleanup<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    let Some((plan, fault, point)) = fault::at_cleanup(node, Site::Cleanup, meta.name) else {
        return cleanup;
    };
    match fault {
        Fault::Panic => SmallFn::new(move |_| {
            panic::drop_contained(cleanup);
            fault::panic_at(point)
        }),
        Fault::Error => SmallFn::new(move |_| {
            panic::drop_contained(cleanup);
            Step::Done(CleanupStatus::Failed(fault::error_at(point).into()))
        }),
        Fault::Delay(_) | Fault::Hang | Fault::Drop => {
            SmallFn::new(move |shared: &mut Arc<Shared<T, E>>| {
                let mut shared = shared.clone();
                Step::Await(Box::pin(async move {
                    plan.suffer(fault, point).await;
                    match cleanup.call(&mut shared) {
                        Step::Done(status) => status,
                        Step::Await(future) => future.await,
                    }
                }))
            })
        }
    }
}

/// Says which fault comes in the place of a cleanup of the sync scope at hand, if one does.
pub(super) fn in_sync_cleanup(meta: Meta) -> Result<(), CleanupStatus> {
    let at_cleanup = |node: &Node| fault::at_cleanup(node, Site::SyncCleanup, meta.name);
    match context::with(|frame| frame.node().and_then(at_cleanup)) {
        Some((_, Fault::Error, point)) => Err(CleanupStatus::Failed(fault::error_at(point).into())),
        Some((_, _, point)) => fault::panic_at(point),
        None => Ok(()),
    }
}
