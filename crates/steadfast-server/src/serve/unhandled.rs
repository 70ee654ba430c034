//! Tells of work that nobody does, while the server runs.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use steadfast::clock;
use steadfast::jobs::Jobs;

use crate::unhandled::{fix, fix_of_queue, says, says_of_queue, unhandled, unserved};

/// How often it is looked: every minute.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How much longer than a lease the first look waits, so that this node has lived for longer than one: 1 s.
const BEYOND: Duration = Duration::from_secs(1);

/// Tells each kind once as long as it has no handler, and each queue as long as no node claims from it, beginning a lease after the start, within which others are back that were
/// started anew with us.
pub(super) async fn tell(
    jobs: Jobs,
    lease: Duration,
    handled: BTreeSet<String>,
    queues: BTreeSet<String>,
) -> Infallible {
    let (mut told, mut told_queues) = (BTreeSet::new(), BTreeSet::new());
    clock::sleep(lease.saturating_add(BEYOND)).await;
    loop {
        match unhandled(&jobs, lease, |kind| handled.contains(kind)).await {
            Ok(found) => {
                for (kind, of_kind) in &found {
                    if !told.contains(kind) {
                        tracing::warn!(target: "steadfast::serve", fix = fix(kind, of_kind), "{}", says(kind, of_kind));
                    }
                }
                told = found.into_keys().collect();
            }
            // Nothing depends on it.
            Err(error) => {
                tracing::warn!(target: "steadfast::serve", %error, "kinds without a handler cannot be looked for");
            }
        }
        match unserved(&jobs, lease, |queue| queues.contains(queue)).await {
            Ok(found) => {
                for (queue, waiting) in &found {
                    if !told_queues.contains(queue) {
                        tracing::warn!(target: "steadfast::serve", fix = fix_of_queue(queue), "{}", says_of_queue(queue, *waiting));
                    }
                }
                told_queues = found.into_keys().collect();
            }
            Err(error) => {
                tracing::warn!(target: "steadfast::serve", %error, "queues that nobody claims from cannot be looked for");
            }
        }
        clock::sleep(LOOK_EVERY).await;
    }
}
