//! Which faults are in force. They end by themselves: nobody has to be there to end them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use steadfast::clock::{Instant, now, sleep, sleep_until};
use steadfast::rng;

use super::fault::{Fault, Injection};

/// How many panics were faults.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Faults of a process, once it is armed.
static FORCE: OnceLock<Force> = OnceLock::new();

/// At how many places something goes wrong at once, at most: more than the shop has routes.
const PLACES_MAX: usize = 64;

struct Force {
    guarded: bool,
    faults: Mutex<Vec<(Injection, Instant)>>,
}

pub(super) fn arm(guarded: bool) {
    let faults = Mutex::default();
    FORCE.get_or_init(|| Force { guarded, faults });
}

/// Tells whether tasks are started as ours are; the unprotected shop starts them as usual.
pub(super) fn is_guarded() -> bool {
    FORCE.get().is_none_or(|force| force.guarded)
}

/// Has something go wrong from now on, instead of what went wrong there before.
///
/// # Errors
/// When this process is not armed, or a bound is exceeded.
pub fn inject(injection: Injection) -> Result<(), String> {
    let force = FORCE.get().ok_or("this process is not armed")?;
    injection.check()?;
    let until = now() + Duration::from_millis(injection.lasts_ms);
    let mut faults = force.lock();
    faults.retain(|(other, until)| other.at != injection.at && *until > now());
    if faults.len() >= PLACES_MAX {
        return Err(format!(
            "something goes wrong at {PLACES_MAX} places already"
        ));
    }
    faults.push((injection, until));
    Ok(())
}

#[cfg(test)]
pub(super) fn end_all() {
    if let Some(force) = FORCE.get() {
        force.lock().clear();
    }
}

impl Force {
    fn lock(&self) -> MutexGuard<'_, Vec<(Injection, Instant)>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives what goes wrong at a place this time, if anything, and until when.
pub(super) fn meet(at: &str) -> Option<(Fault, Instant)> {
    let force = FORCE.get()?;
    let faults = force.lock();
    let here = faults
        .iter()
        .find(|(other, until)| (other.at == at || other.at == "*") && *until > now());
    let (injection, until) = here?;
    (unit() < injection.share).then_some((injection.fault, *until))
}

/// Holds up whoever comes to this place in the middle of work, if the fault there says so. Tells in the
/// log that it was reached, for whoever waits for this moment to kill the process.
pub async fn reach(at: &str) {
    let Some((fault, until)) = meet(at) else {
        return;
    };
    tracing::warn!(target: "shop::fault", at, "a fault is reached");
    hold_up(fault, until).await;
}

/// Panics, and counts it: what is reported can be compared with it.
#[track_caller]
pub(super) fn panic(what: &'static str) -> ! {
    PANICS.fetch_add(1, Ordering::Relaxed);
    panic!("a fault: {what}");
}

/// Tells how many panics of this process were faults.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Lets time go by, as the fault says.
pub(super) async fn hold_up(fault: Fault, until: Instant) {
    match fault {
        Fault::Latency { ms, jitter_ms } => {
            let ms = ms as f64 + (2.0 * unit() - 1.0) * jitter_ms as f64;
            sleep(Duration::from_secs_f64(ms.max(0.0) / 1_000.0)).await;
        }
        Fault::Hang => sleep_until(until).await,
        Fault::Cpu { ms } => {
            let done = now() + Duration::from_millis(ms);
            while now() < done {
                std::hint::spin_loop();
            }
        }
        _ => {}
    }
}

/// A random number from 0, below 1.
fn unit() -> f64 {
    (rng::bits() >> 11) as f64 / (1_u64 << 53) as f64
}
