//! What holds for any calls at any times.

use proptest::prelude::*;

use super::*;

const PARTS: u64 = 10;

fn by_share(share: f64, min_calls: u32) -> BreakerConfig {
    BreakerConfig::new()
        .with_failure_share(share)
        .unwrap()
        .with_min_calls(min_calls)
        .unwrap()
}

proptest! {
    #[test]
    fn good_calls_never_trip(steps in prop::collection::vec(0..SECOND, 1..200)) {
        let config = by_share(0.01, 1).with_consecutive(1).unwrap();
        let breaker = breaker(config.with_slow(millis(6), 0.01).unwrap());
        let mut now = 0;

        for step in steps {
            now += step;
            prop_assert_eq!(good(&breaker, now), None);
        }
    }

    #[test]
    fn it_trips_at_the_failure_at_which_a_list_of_all_calls_says_so(
        share in 0.05..0.95_f64,
        min_calls in 1..12_u32,
        calls in prop::collection::vec((0..2 * SECOND, any::<bool>()), 1..100),
    ) {
        let breaker = breaker(by_share(share, min_calls));
        let ppm = (share * 1e6).round();
        let mut list: Vec<(u64, bool)> = Vec::new();
        let mut now = 0;

        for (step, failed) in calls {
            now += step;
            let part = now / (10 * SECOND / PARTS);
            list.push((part, failed));
            let window = list.iter().filter(|(at, _)| part - at < PARTS);
            let all = window.clone().count() as f64;
            let bad = window.filter(|(_, failed)| *failed).count() as f64;
            let expect = failed && all >= f64::from(min_calls) && bad * 1e6 >= ppm * all;

            let change = if failed { fail(&breaker, now) } else { good(&breaker, now) };
            prop_assert_eq!(change.is_some(), expect, "{} of {}", bad, all);
            if expect {
                break;
            }
        }
    }

    #[test]
    fn the_open_time_is_within_its_bounds(
        first_ms in 100..5_000_u64,
        more_ms in 0..60_000_u64,
        seed: u64,
        trips in 1..12_usize,
    ) {
        let (first, longest) = (millis(first_ms), millis(first_ms + more_ms));
        let config = of_three().with_open_time(first, longest).unwrap();
        let breaker = Breaker::new(config, seed).unwrap();
        let mut now = 0;

        for _ in 0..trips {
            let until = trip(&breaker, now);
            let open = Duration::from_nanos(until - now);
            prop_assert!(open >= first / 2 && open <= longest + Duration::from_nanos(TICK));
            now = until;
        }
    }

    #[test]
    fn of_any_calls_in_a_row_a_ramp_passes_its_share(skip in 0..3_000_usize, at in 0.0..1.0_f64) {
        let breaker = breaker(of_three().with_ramp(millis(10_000)).unwrap());
        let mut now = trip(&breaker, 0);
        while !matches!(breaker.status(now).state, BreakerState::Ramp { .. }) {
            let _ = good(&breaker, now);
        }
        for _ in 0..skip {
            let _ = breaker.ask(now);
        }
        now += (10.0 * at * SECOND as f64) as u64;
        let BreakerState::Ramp { share } = breaker.status(now).state else {
            return Ok(());
        };

        let passed = (0..100).filter(|_| breaker.ask(now).is_passed()).count();

        prop_assert!((passed as f64 - 100.0 * share).abs() <= 4.0, "{passed} of {share}");
    }

    #[test]
    fn the_clock_may_go_backwards_and_to_its_end(
        instants in prop::collection::vec(any::<u64>(), 1..100),
        fails in any::<u128>(),
    ) {
        let breaker = breaker(of_three());

        for (n, &now) in instants.iter().enumerate() {
            if let Ok(permit) = breaker.ask(now).verdict {
                let end = if fails >> n & 1 == 1 {
                    CallEnd::failed(SOON)
                } else {
                    CallEnd::succeeded(SOON)
                };
                let _ = breaker.record(permit, end, now);
            }
        }

        // Not stuck, even at the last instant there is.
        let passed = (0..1_000).any(|_| breaker.ask(u64::MAX).is_passed());
        prop_assert!(passed);
    }
}
