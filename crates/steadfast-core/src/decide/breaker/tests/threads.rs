//! Many threads on one breaker.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::*;

#[test]
fn each_change_is_told_once_however_many_threads_see_it() {
    let config = of_three()
        .with_probes(2, millis(200))
        .unwrap()
        .with_open_time(millis(100), millis(200))
        .unwrap()
        .with_ramp(millis(100))
        .unwrap();
    let breaker = Breaker::new(config, 3).unwrap();
    let clock = AtomicU64::new(0);
    let told: [AtomicUsize; 4] = Default::default();
    let tell = |change: Option<Change>| {
        let Some(change) = change else { return };
        let index = match change {
            Change::Tripped { .. } => 0,
            Change::Probing => 1,
            Change::Recovering => 2,
            Change::Recovered => 3,
        };
        told[index].fetch_add(1, Ordering::Relaxed);
    };

    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (breaker, clock, tell) = (&breaker, &clock, &tell);
            scope.spawn(move || {
                for call in 0..20_000_u64 {
                    let now = clock.fetch_add(MS / 20, Ordering::Relaxed);
                    let answer = breaker.ask(now);
                    tell(answer.change);
                    let Ok(permit) = answer.verdict else { continue };
                    // The target is down in every other half second.
                    let down = now / (500 * MS) % 2 == 1;
                    match (call * 7 + thread) % 13 {
                        0 => breaker.abandon(permit),
                        1 => drop(permit),
                        _ if down => tell(breaker.record(permit, CallEnd::failed(SOON), now)),
                        _ => tell(breaker.record(permit, CallEnd::succeeded(SOON), now)),
                    }
                }
            });
        }
    });

    let [tripped, probing, recovering, recovered] = told.map(AtomicUsize::into_inner);
    assert!(tripped > 0 && recovered > 0, "{tripped} {recovered}");
    // Each round follows a trip, or a round whose permits all came back unused, which is rare here;
    // each ramp follows a round, each closing a ramp.
    assert!(
        probing + 1 >= tripped.saturating_sub(recovering),
        "{tripped} {probing}"
    );
    assert!(recovering <= probing && recovered <= recovering);
    assert_eq!(usize::from(breaker.status(u64::MAX / 4).round), probing);
}
