//! What a breaker does, seen from outside.

mod forced;
mod machine;
mod properties;
mod rounds;
mod threads;
mod tripping;

use std::time::Duration;

use super::{Breaker, BreakerConfig, BreakerState, CallEnd, Change, Permit};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const SOON: Duration = Duration::from_millis(5);
const LATE: Duration = Duration::from_millis(900);

/// An instant is kept to a millisecond or so.
const TICK: u64 = 1 << 20;

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn breaker(config: BreakerConfig) -> Breaker {
    Breaker::new(config, 7).unwrap()
}

/// Trips after three failures, and probes with ten.
fn of_three() -> BreakerConfig {
    BreakerConfig::new().with_consecutive(3).unwrap()
}

fn pass(breaker: &Breaker, now: u64) -> Permit {
    breaker.ask(now).verdict.unwrap()
}

fn good(breaker: &Breaker, now: u64) -> Option<Change> {
    breaker.record(pass(breaker, now), CallEnd::succeeded(SOON), now)
}

fn fail(breaker: &Breaker, now: u64) -> Option<Change> {
    breaker.record(pass(breaker, now), CallEnd::failed(SOON), now)
}

fn slow(breaker: &Breaker, now: u64) -> Option<Change> {
    breaker.record(pass(breaker, now), CallEnd::succeeded(LATE), now)
}

/// Lets calls fail until it is open, and returns when it is no more.
fn trip(breaker: &Breaker, now: u64) -> u64 {
    while breaker.ask(now).is_passed() {
        let _ = fail(breaker, now);
    }
    now + left(breaker, now)
}

fn left(breaker: &Breaker, now: u64) -> u64 {
    match breaker.status(now).state {
        BreakerState::Open { left } => left.as_nanos() as u64,
        other => panic!("{other:?} is not open"),
    }
}
