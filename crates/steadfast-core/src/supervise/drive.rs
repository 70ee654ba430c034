//! Drives a group: carries out what was decided, sleeps until the next limit or report.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::builder::SupervisorBuilder;
use super::group::Group;
use super::instance::ChildContext;
use crate::cancel::{Cancel, Cause, drop_cause};
use crate::clock;
use crate::context;
use crate::decide::restart::End;
use crate::scope::{BoxError, PendingGuard, What};

/// Drives until the group has ended. When it is dropped before, all children are aborted.
pub(super) fn drive(
    group: Arc<Group>,
    stop_on: Option<Cancel>,
) -> impl Future<Output = ()> + Send + use<> {
    // Outside of the future: a runtime that has ended drops that without a single poll.
    let driving = Driving(group);
    async move { driving.drive(stop_on).await }
}

impl Driving {
    async fn drive(&self, stop_on: Option<Cancel>) {
        let group = &self.0;
        if let Some(cause) = stop_on.as_ref().and_then(Cancel::cause) {
            group.stop(cause);
        }
        let mut stop = pin!(cancelled(stop_on));
        let mut asked = false;
        group.begin();
        loop {
            // A report that comes after this line wakes the wait below.
            let wait = group.tick();
            group.act();
            if group.end().is_some() {
                return;
            }
            tokio::select! {
                biased;
                // First: children that report all the time must not keep the group from stopping.
                cause = &mut stop, if !asked => {
                    asked = true;
                    group.stop(cause);
                }
                () = group.work.notified() => {}
                () = sleep(wait) => {}
            }
        }
    }
}

async fn cancelled(token: Option<Cancel>) -> Cause {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => clock::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Leaves the group to whoever reports something, once nobody drives it.
struct Driving(Arc<Group>);

impl Drop for Driving {
    fn drop(&mut self) {
        // After its end there is nothing to abort, but a child that was written off may still
        // report.
        self.0.abandon(drop_cause());
    }
}

/// Runs a group as a child of another one.
pub(super) async fn inside(
    description: SupervisorBuilder,
    child: ChildContext,
) -> Result<(), BoxError> {
    let (group, stop_on) = description.into_group(child.scope().token())?;
    // The cleanups of this child wait for the children inside, even if this future is dropped.
    if let Some(scope) = context::with(|frame| frame.node.clone()) {
        group.hold(PendingGuard::new(scope, What::Reaped));
    }
    child.link(&group);
    let mut driving = pin!(drive(group.clone(), stop_on));
    let mut stopping = pin!(child.stopping());
    let mut ready = pin!(group.until(|state| state.ready.then_some(())));
    let (mut asked, mut told) = (false, false);
    loop {
        tokio::select! {
            biased;
            () = &mut driving => break,
            cause = &mut stopping, if !asked => {
                asked = true;
                group.stop(cause);
            }
            () = &mut ready, if !told => {
                told = true;
                child.ready();
            }
        }
    }
    let end = group.end().expect("driven to its end").into_result();
    if group.is_stuck() {
        // This life is not over while a child inside of it lives; nobody can say how long.
        child.stuck(if end.is_ok() {
            End::Normal
        } else {
            End::Failed
        });
        group.until(|state| (!state.is_stuck()).then_some(())).await;
    }
    Ok(end?)
}
