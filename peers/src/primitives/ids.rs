//! An id that nobody else has.
//!
//! Most layouts have 4,096 ids in a millisecond, which is one in 244 ns: whoever is asked for more waits, and all cost the
//! same. So what an id costs is measured with a layout that has room for all; and with the usual one, where the figure is
//! that of the layout, and what counts is that nothing comes on top.

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::thread;

use ferroid::define_snowflake_id;
use ferroid::generator::AtomicSnowflakeGenerator;
use ferroid::id::SnowflakeTwitterId;
use ferroid::time::{MonotonicClock, UNIX_EPOCH};
use snowflake::SnowflakeIdGenerator;
use sonyflake::Sonyflake;
use uuid::Uuid;

use crate::budget::Budget;
use crate::work::WORKERS;
use crate::{Contender, Group, ours};

define_snowflake_id!(
    Wide, u64,
    reserved: 1,
    timestamp: 41,
    machine_id: 0,
    sequence: 22
);

/// What an id may cost where the layout has room: 20 ns.
const BUDGET_NS: f64 = 20.0;

pub(super) fn groups() -> Vec<Group> {
    vec![
        Group::new("id, one thread", "id")
            .ours(ours::id(1, true))
            .peer(ferroid_wide(1))
            .peer(uuid_v7(1))
            .budget(Budget::AtMost { ns: BUDGET_NS }),
        Group::new("id, two threads", "id")
            .ours(ours::id(WORKERS, true))
            .peer(ferroid_wide(WORKERS))
            .peer(uuid_v7(WORKERS)),
        Group::new("id, 4,096 a millisecond", "id")
            .ours(ours::id(1, false))
            .peer(ferroid_usual())
            .peer(rs_snowflake())
            .peer(snowflaked())
            .peer(sonyflake()),
    ]
}

/// Measures threads that make ids of one generator, each its share.
pub(crate) fn on_threads<G: Send + Sync + 'static>(
    name: &str,
    threads: usize,
    ids: G,
    next: fn(&G) -> u64,
) -> Contender {
    let ids = Arc::new(ids);
    Contender::new(name, move |count| {
        let share = |ids: &G, count: u64| {
            let mut made = 0;
            for _ in 0..count {
                made += u64::from(black_box(next(ids)) > 0);
            }
            made
        };
        if threads == 1 {
            return share(&ids, count);
        }
        thread::scope(|scope| {
            let running: Vec<_> = (0..threads as u64)
                .map(|thread| {
                    let count = (count + thread) / threads as u64;
                    let ids = &ids;
                    scope.spawn(move || share(ids, count))
                })
                .collect();
            running
                .into_iter()
                .map(|thread| thread.join().expect("it does not panic"))
                .sum()
        })
    })
}

fn ferroid_wide(threads: usize) -> Contender {
    let clock = MonotonicClock::<1>::with_epoch(UNIX_EPOCH);
    let ids: AtomicSnowflakeGenerator<Wide, _> = AtomicSnowflakeGenerator::new(0, clock);
    on_threads("ferroid Atomic, 22 bits of sequence", threads, ids, |ids| {
        ids.next_id(|_| thread::yield_now()).to_raw()
    })
}

fn ferroid_usual() -> Contender {
    let clock = MonotonicClock::<1>::with_epoch(UNIX_EPOCH);
    let ids: AtomicSnowflakeGenerator<SnowflakeTwitterId, _> =
        AtomicSnowflakeGenerator::new(1, clock);
    on_threads("ferroid Atomic", 1, ids, |ids| {
        ids.next_id(|_| thread::yield_now()).to_raw()
    })
}

fn rs_snowflake() -> Contender {
    let ids = Mutex::new(SnowflakeIdGenerator::new(1, 1));
    on_threads(
        "rs-snowflake real_time_generate, in a Mutex",
        1,
        ids,
        |ids| {
            let mut ids = ids.lock().expect("nobody panics with it");
            ids.real_time_generate().unsigned_abs()
        },
    )
}

fn snowflaked() -> Contender {
    let ids = snowflaked::sync::Generator::new(1);
    on_threads("snowflaked sync", 1, ids, |ids| ids.generate())
}

/// Its layout has 256 in 10 ms.
fn sonyflake() -> Contender {
    let ids = Sonyflake::builder()
        .machine_id(&|| Ok(1))
        .finalize()
        .expect("a machine id was given");
    on_threads("sonyflake, 256 in 10 ms", 1, ids, |ids| {
        ids.next_id().expect("there are years left").to_u64()
    })
}

fn uuid_v7(threads: usize) -> Contender {
    on_threads("uuid v7, 128 bits", threads, (), |()| {
        Uuid::now_v7().as_u128() as u64
    })
}
