//! How the bench and a contender talk: `contender ROLE URL COUNT`, and lines that begin with `@`.
//!
//! - `setup`: makes the tables.
//! - `enqueue`: enqueues COUNT jobs in the best way there is for many, and says `@enqueued SECONDS`.
//! - `work`: says `@working`, runs jobs, says `@ran` when COUNT handlers have run, and goes on until it is killed.
//!   When they are done is for the database to say.
//! - `pickup`: enqueues COUNT jobs one by one into an idle queue, works on them in the same process, and says
//!   `@pickup P50 P99 MAX`, in microseconds from the return of the enqueue to the start of the handler.

use std::future::Future;
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a contender is told.
pub(crate) struct Told {
    /// Its role.
    pub(crate) role: String,
    /// The database.
    pub(crate) url: String,
    /// How many jobs.
    pub(crate) count: u64,
}

impl Told {
    /// Reads the arguments of the program, from `from` on.
    pub(crate) fn read(from: usize) -> Option<Self> {
        let mut arguments = std::env::args().skip(from);
        let told = Self {
            role: arguments.next()?,
            url: arguments.next()?,
            count: arguments.next()?.parse().ok()?,
        };
        WANTED.store(told.count, Ordering::Relaxed);
        Some(told)
    }
}

static WANTED: AtomicU64 = AtomicU64::new(0);
static RAN: AtomicU64 = AtomicU64::new(0);
/// When the enqueue of each job returned, and when its handler began, in nanoseconds since the start of this program.
static TIMES: OnceLock<Vec<[AtomicU64; 2]>> = OnceLock::new();
static START: OnceLock<Instant> = OnceLock::new();

fn nanos() -> u64 {
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Says something to the bench.
pub(crate) fn say(words: &str) {
    println!("@{words}");
    let _ = std::io::stdout().flush();
}

/// What every handler does, and nothing else: the job with this number runs.
pub(crate) fn ran(number: u64) {
    if let Some(times) = TIMES.get()
        && let Some([_, begun]) = times.get(number as usize)
    {
        begun.store(nanos(), Ordering::Release);
    }
    if RAN.fetch_add(1, Ordering::Relaxed) + 1 == WANTED.load(Ordering::Relaxed) {
        say("ran");
    }
}

/// Tells how long the enqueue of all took.
pub(crate) async fn enqueued(all: impl Future<Output = ()>) {
    let began = Instant::now();
    all.await;
    say(&format!("enqueued {}", began.elapsed().as_secs_f64()));
}

/// The time of a job that never began.
pub(crate) const NEVER: u64 = u64::MAX;

/// Enqueues one after the other into an idle queue, and tells how soon their handlers began.
pub(crate) async fn pickup<F: Future<Output = ()>>(count: u64, enqueue: impl Fn(u64) -> F) {
    let times = TIMES.get_or_init(|| (0..count).map(|_| Default::default()).collect());
    // What has just started has yet to become idle.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for number in 0..count {
        // Not in step with any poll.
        tokio::time::sleep(Duration::from_micros(15_000 + number * 7_919 % 10_000)).await;
        enqueue(number).await;
        times[number as usize][0].store(nanos(), Ordering::Release);
    }
    tell_pickup(times).await;
}

/// Enqueues `each` at once, 100 times a second, for so many in all; tells the same.
#[allow(dead_code, reason = "only ours is asked for it")]
pub(crate) async fn soak<F: Future<Output = ()>>(
    count: u64,
    each: u64,
    enqueue: impl Fn(u64, u64) -> F,
) {
    let times = TIMES.get_or_init(|| (0..count).map(|_| Default::default()).collect());
    let mut at = tokio::time::Instant::now();
    for first in (0..count).step_by(each as usize) {
        at += Duration::from_millis(10);
        tokio::time::sleep_until(at).await;
        enqueue(first, each).await;
        let now = nanos();
        for number in first..first + each {
            times[number as usize][0].store(now, Ordering::Release);
        }
    }
    // What the last third saw: what builds up has built up by then.
    tell_pickup(&times[times.len() * 2 / 3..]).await;
}

async fn tell_pickup(times: &[[AtomicU64; 2]]) {
    let until = Instant::now() + Duration::from_secs(10);
    while times
        .iter()
        .any(|[_, begun]| begun.load(Ordering::Acquire) == 0)
        && Instant::now() < until
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut waits: Vec<u64> = times
        .iter()
        .map(|[enqueued, begun]| match begun.load(Ordering::Acquire) {
            0 => NEVER,
            begun => begun.saturating_sub(enqueued.load(Ordering::Acquire)) / 1_000,
        })
        .collect();
    waits.sort_unstable();
    let at = |percent: usize| waits[(waits.len() * percent / 100).min(waits.len() - 1)];
    say(&format!("pickup {} {} {}", at(50), at(99), at(100)));
}

/// Works until the bench kills it.
pub(crate) async fn for_ever() -> ! {
    loop {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
    }
}
