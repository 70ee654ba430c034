//! The task that renews the lease of a worker id.

use std::sync::Arc;

use steadfast_core::decide::vigil::{Step, Vigil};
use steadfast_core::report::EventDoc;
use steadfast_core::{clock, rng};

use super::tenancy::{Ended, Granted, Tenancy, awake};
use crate::atomic::Ordering::Relaxed;
use crate::error::Error;

/// Renews until the generator is dropped or gives its worker id back; gets another one when it is lost.
///
/// Whatever ends this task, and be it before it has begun: nobody waits for the worker id to be given back.
pub(super) async fn keep(left: Left, mut vigil: Vigil) {
    let tenancy = &*left.0;
    let mut ended = None;
    loop {
        let now = clock::lease_nanos();
        tenancy
            .books
            .retry_at
            .store(awake(vigil.next_at()), Relaxed);
        let step = match vigil.next(now) {
            Step::Wait(until) => {
                tokio::select! {
                    () = tenancy.leaving.notified() => break,
                    () = clock::lease_sleep_until(until) => continue,
                }
            }
            step => step,
        };
        tokio::select! {
            () = tenancy.leaving.notified() => break,
            () = act(tenancy, &mut vigil, step, &mut ended) => {}
        }
    }
    if let Some(last) = tenancy.end().or(ended)
        && let Err(error) = tenancy.give_back(last).await
    {
        told_not_renewed(tenancy, &error);
    }
}

async fn act(tenancy: &Tenancy, vigil: &mut Vigil, step: Step, ended: &mut Option<Ended>) {
    let done = match step {
        Step::Fence => {
            lose(tenancy, vigil, ended);
            return;
        }
        Step::Take => {
            let taken = tenancy.take_again(vigil, *ended).await;
            taken.map(|granted| told_leased(tenancy, &granted))
        }
        Step::Renew | Step::Wait(_) => {
            // No longer than the lease may be relied on: then there is something else to do.
            let fence_at = vigil.fence_at().unwrap_or_default();
            let renewed = tokio::select! {
                biased;
                renewed = tenancy.renew(vigil) => renewed,
                () = clock::lease_sleep_until(fence_at) => return,
            };
            match renewed {
                Ok(true) => Ok(()),
                Ok(false) => {
                    lose(tenancy, vigil, ended);
                    Ok(())
                }
                Err(error) => Err(error),
            }
        }
    };
    if let Err(error) = done {
        tenancy.books.failures.fetch_add(1, Relaxed);
        told_not_renewed(tenancy, &error);
        vigil.failed(clock::lease_nanos(), rng::bits());
    }
}

fn lose(tenancy: &Tenancy, vigil: &mut Vigil, ended: &mut Option<Ended>) {
    *ended = tenancy.end().or(*ended);
    vigil.lost(clock::lease_nanos());
    tenancy.books.losses.fetch_add(1, Relaxed);
    tracing::error!(
        target: "steadfast::ids",
        group = %tenancy.group(),
        worker = tenancy.with(|ids, _| ids.worker()),
        "the lease of a worker id is over: no ids until there is another"
    );
}

/// Says that nobody keeps it any more, when it is dropped.
pub(super) struct Left(pub(super) Arc<Tenancy>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.left.send_replace(true);
    }
}

pub(super) fn told_leased(tenancy: &Tenancy, granted: &Granted) {
    tracing::info!(
        target: "steadfast::ids",
        group = %tenancy.group(),
        worker = tenancy.with(|ids, _| ids.worker()),
        term = granted.term,
        "worker id leased"
    );
}

fn told_not_renewed(tenancy: &Tenancy, error: &Error) {
    tracing::warn!(
        target: "steadfast::ids",
        group = %tenancy.group(),
        %error,
        "worker id not renewed"
    );
}

pub(super) fn told_off(tenancy: &Tenancy, off_ms: i64) {
    tracing::warn!(
        target: "steadfast::ids",
        group = %tenancy.group(),
        off_ms,
        "the clock of this host is off that of the database, and is not followed"
    );
}

pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new("steadfast::ids", &["info"], "worker id leased", &["group", "term", "worker"])
        .when("A generator got a worker id of the store: at its start, and each time after it had lost one.")
        .action("Nothing."),
    EventDoc::new("steadfast::ids", &["warn"], "worker id not renewed", &["error", "group"])
        .when("The store could not be asked to renew a lease, to give another worker id or to take one back; it is tried again while that is of use.")
        .action("See the error; when the lease is over, no ids are made."),
    EventDoc::new("steadfast::ids", &["error"], "the lease of a worker id is over: no ids until there is another", &["group", "worker"])
        .when("The store was out of reach for longer than the lease, or this process stood still for so long.")
        .action("Find out what stopped it: a paused machine, a hanging runtime, a database out of reach."),
    EventDoc::new("steadfast::ids", &["warn"], "the clock of this host is off that of the database, and is not followed", &["group", "off_ms"])
        .when("The wall clock of this host differs from that of the database by more than was said to be accepted.")
        .action("Keep the clocks of hosts and database in step, with chrony or the like."),
];
