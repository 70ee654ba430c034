//! Everything at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::context::{Context, Tier};
use steadfast_core::pool::{Rejected, Ticket, TicketError};
use steadfast_core::{Cause, clock};
use tokio::sync::Notify;
use tokio::task::yield_now;

use super::{pool_with_queue, tokio_spawn};

/// A generator of our own for each seed, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

/// Counts what runs at this moment, and the most that ever did.
#[derive(Default)]
struct Meter {
    running: AtomicUsize,
    most: AtomicUsize,
    ran: Mutex<Vec<u64>>,
}

impl Meter {
    async fn task(self: Arc<Self>, id: u64, kind: u64) -> Result<u64, &'static str> {
        struct Leave<'a>(&'a AtomicUsize);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let _leave = Leave(&self.running);
        self.ran.lock().unwrap().push(id);
        match kind {
            0 => panic!("one of many"),
            1 => return Err("failed"),
            2 => yield_now().await,
            3 => {
                yield_now().await;
                yield_now().await;
            }
            _ => {}
        }
        Ok(id)
    }
}

async fn race(seed: u64) {
    const WORKERS_MAX: u64 = 4;
    let mut dice = Dice(seed);
    let pool = pool_with_queue(
        1 + dice.roll(WORKERS_MAX) as usize,
        1 + dice.roll(8) as usize,
    );
    let meter = Arc::new(Meter::default());
    let go = Arc::new(Notify::new());
    let submitters: Vec<_> = (0..3)
        .map(|submitter| {
            let (pool, meter, go) = (pool.clone(), meter.clone(), go.clone());
            let mut dice = Dice(seed ^ (submitter + 1) << 32);
            let future = async move {
                let mut tickets = Vec::new();
                let mut rejected = 0u64;
                for n in 0..60 {
                    let id = submitter * 1_000 + n;
                    let task = meter.clone().task(id, dice.roll(12));
                    let tier = Tier::new(dice.roll(3) as u8).unwrap();
                    let context = Context::new().with_tier(tier);
                    let fallible = pool.fallible();
                    let submitted: Result<Ticket<_, _>, Rejected> = match dice.roll(3) {
                        0 => context.run(|| fallible.try_submit("task", task)),
                        _ => context.wrap(fallible.submit("task", task)).await,
                    };
                    match submitted {
                        Ok(ticket) => {
                            if dice.roll(8) == 0 {
                                ticket.cancel(Cause::ClientGone);
                            }
                            tickets.push((id, ticket));
                        }
                        Err(_) => rejected += 1,
                    }
                    if n == 20 {
                        go.notify_one();
                    }
                }
                (tickets, rejected)
            };
            tokio_spawn(future)
        })
        .collect();
    go.notified().await;
    for _ in 0..dice.roll(6) {
        pool.resize(1 + dice.roll(WORKERS_MAX) as usize).unwrap();
        yield_now().await;
    }
    let ending = if dice.roll(2) == 0 {
        tokio_spawn(pool.drain())
    } else {
        tokio_spawn(pool.stop(Cause::Shutdown))
    };

    let (mut accepted, mut rejected, mut never_ran) = (0u64, 0, 0);
    for submitter in submitters {
        let (tickets, no) = submitter.await.unwrap();
        rejected += no;
        for (id, ticket) in tickets {
            accepted += 1;
            let ran = |meter: &Meter| meter.ran.lock().unwrap().contains(&id);
            match ticket.await {
                Ok(value) => assert_eq!(value, id),
                Err(TicketError::Cancelled(_)) if !ran(&meter) => never_ran += 1,
                Err(TicketError::Rejected(_)) => panic!("rejected after it was accepted"),
                Err(_) => assert!(ran(&meter)),
            }
        }
    }
    ending.await.unwrap();

    let stats = pool.stats();
    assert_eq!(stats.ended(), accepted, "seed {seed}: {stats:?}");
    assert_eq!(stats.rejected(), rejected, "seed {seed}: {stats:?}");
    assert_eq!(accepted + rejected, 180);
    let mut ran = meter.ran.lock().unwrap().clone();
    ran.sort_unstable();
    ran.dedup();
    assert_eq!(ran.len(), meter.ran.lock().unwrap().len(), "one ran twice");
    assert_eq!(ran.len() as u64, accepted - never_ran);
    assert!(meter.most.load(Ordering::SeqCst) <= WORKERS_MAX as usize);
    assert_eq!((stats.workers, stats.in_flight, stats.depth()), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn submissions_that_race_with_resize_drain_and_stop_end_exactly_once() {
    steadfast_core::panic::install_quiet();
    for seed in 0..300 {
        let raced = clock::timeout(Duration::from_secs(60), race(seed)).await;
        raced.unwrap_or_else(|_| panic!("seed {seed} hangs"));
    }
}
