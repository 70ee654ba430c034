use proptest::prelude::*;

use super::super::{PlanBuilder, Rule};
use super::*;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// Due at every full hour.
fn hourly() -> PlanBuilder {
    Plan::builder(Rule::every(Duration::from_secs(3600)).unwrap())
}

fn standing(next_ms: i64, live: u32) -> Standing {
    Standing {
        next_ms: Some(next_ms),
        queued_ms: None,
        live,
        ended_ms: None,
    }
}

fn nominal(decision: &Decision) -> Vec<i64> {
    decision.due.iter().map(|due| due.nominal_ms).collect()
}

fn skipped(first_ms: i64, last_ms: i64, count: u32, reason: SkipReason) -> Skipped {
    Skipped {
        first_ms,
        last_ms,
        count,
        reason,
    }
}

#[test]
fn nothing_is_due_before_its_time_and_it_is_due_at_it() {
    let plan = hourly().build().unwrap();

    let before = plan.decide(0, standing(HOUR, 0), HOUR - 1);
    assert_eq!((nominal(&before), before.next_ms), (vec![], Some(HOUR)));

    let at = plan.decide(0, standing(HOUR, 0), HOUR);
    assert_eq!((nominal(&at), at.next_ms), (vec![HOUR], Some(2 * HOUR)));
    assert!(at.skipped.is_empty());
}

#[test]
fn after_an_outage_over_three_occurrences_none_one_or_all_of_them_run() {
    let check = |missed, run: &[i64], left_out: &[Skipped]| {
        let plan = hourly().missed(missed).build().unwrap();

        let decision = plan.decide(0, standing(HOUR, 0), 3 * HOUR + 30 * MINUTE);

        assert_eq!(nominal(&decision), run, "{missed:?}");
        assert_eq!(decision.skipped, left_out, "{missed:?}");
        assert_eq!(decision.next_ms, Some(4 * HOUR));
    };
    let missed = |first, last, count| skipped(first, last, count, SkipReason::Missed);
    let window = |hours: u64| Missed::RunAll(Duration::from_secs(hours * 3600));

    check(Missed::Skip, &[], &[missed(HOUR, 3 * HOUR, 3)]);
    check(Missed::RunOnce, &[3 * HOUR], &[missed(HOUR, 2 * HOUR, 2)]);
    check(window(24), &[HOUR, 2 * HOUR, 3 * HOUR], &[]);
    check(window(2), &[2 * HOUR, 3 * HOUR], &[missed(HOUR, HOUR, 1)]);
    let short = Missed::RunAll(Duration::from_secs(60));
    check(short, &[], &[missed(HOUR, 3 * HOUR, 3)]);
}

#[test]
fn the_last_one_is_in_time_for_a_minute_whatever_becomes_of_missed_ones() {
    for missed in [
        Missed::Skip,
        Missed::RunOnce,
        Missed::RunAll(Duration::from_secs(1)),
    ] {
        let plan = hourly().missed(missed).build().unwrap();

        let in_time = plan.decide(0, standing(HOUR, 0), 3 * HOUR + 60_000);

        assert_eq!(nominal(&in_time), [3 * HOUR], "{missed:?}");
        assert_eq!(
            in_time.skipped,
            [skipped(HOUR, 2 * HOUR, 2, SkipReason::Missed)]
        );
    }
    let plan = hourly().missed(Missed::Skip).build().unwrap();
    let late = plan.decide(0, standing(3 * HOUR, 0), 3 * HOUR + 60_001);
    assert_eq!(nominal(&late), [] as [i64; 0]);
}

#[test]
fn a_run_longer_than_the_period_is_met_by_the_next_as_the_plan_says() {
    let check = |overlap, live, runs: bool, queued, cancels: bool| {
        let plan = hourly().overlap(overlap).build().unwrap();

        let decision = plan.decide(0, standing(HOUR, live), HOUR);

        assert_eq!(
            decision.due.len(),
            usize::from(runs),
            "{overlap:?} with {live}"
        );
        assert_eq!(decision.queued_ms, queued, "{overlap:?} with {live}");
        assert_eq!(decision.cancels_live, cancels);
        let left_out = skipped(HOUR, HOUR, 1, SkipReason::Overlap);
        let is_left_out = !runs && queued.is_none();
        assert_eq!(
            decision.skipped,
            if is_left_out { vec![left_out] } else { vec![] }
        );
        assert_eq!(decision.next_ms, Some(2 * HOUR));
    };

    check(Overlap::Allow, 5, true, None, false);
    check(Overlap::Skip, 0, true, None, false);
    check(Overlap::Skip, 1, false, None, false);
    check(Overlap::QueueOne, 0, true, None, false);
    check(Overlap::QueueOne, 1, false, Some(HOUR), false);
    check(Overlap::CancelOther, 0, true, None, false);
    check(Overlap::CancelOther, 1, false, Some(HOUR), true);
}

#[test]
fn what_waits_runs_once_the_run_before_has_ended() {
    let waiting = |overlap, next_ms, live, now| {
        let plan = hourly().overlap(overlap).build().unwrap();
        let standing = Standing {
            queued_ms: Some(HOUR),
            ..standing(next_ms, live)
        };
        plan.decide(0, standing, now)
    };
    let left_out = |at| vec![skipped(at, at, 1, SkipReason::Overlap)];

    for overlap in [Overlap::QueueOne, Overlap::CancelOther] {
        let still = waiting(overlap, 2 * HOUR, 1, HOUR + 5_000);
        assert_eq!((nominal(&still), still.queued_ms), (vec![], Some(HOUR)));
        assert_eq!(still.look_ms(HOUR + 5_000), Some(HOUR + 6_000));

        let ended = waiting(overlap, 2 * HOUR, 0, HOUR + 5_000);
        assert_eq!((nominal(&ended), ended.queued_ms), (vec![HOUR], None));
        assert_eq!(ended.look_ms(HOUR + 5_000), Some(2 * HOUR));
    }
    // The next one is due meanwhile: it is left out, or takes the place of the one that waits.
    let queue = waiting(Overlap::QueueOne, 2 * HOUR, 1, 2 * HOUR);
    assert_eq!(
        (queue.queued_ms, queue.skipped),
        (Some(HOUR), left_out(2 * HOUR))
    );
    let cancel = waiting(Overlap::CancelOther, 2 * HOUR, 1, 2 * HOUR);
    assert_eq!(
        (cancel.queued_ms, cancel.skipped),
        (Some(2 * HOUR), left_out(HOUR))
    );
    assert!(cancel.cancels_live);
    // Both at once: one runs, and the other waits for it.
    let both = waiting(Overlap::QueueOne, 2 * HOUR, 0, 2 * HOUR);
    assert_eq!(
        (nominal(&both), both.queued_ms),
        (vec![HOUR], Some(2 * HOUR))
    );
}

#[test]
fn what_cannot_start_by_its_deadline_is_left_out() {
    let deadline = Duration::from_secs(90 * 60);
    let plan = hourly()
        .missed(Missed::RunAll(Duration::from_secs(86_400)))
        .start_deadline(deadline)
        .build()
        .unwrap();

    let decision = plan.decide(0, standing(HOUR, 0), 4 * HOUR);

    assert_eq!(nominal(&decision), [3 * HOUR, 4 * HOUR]);
    assert_eq!(decision.due[0].start_until_ms, Some(3 * HOUR + 90 * MINUTE));
    assert_eq!(
        decision.skipped,
        [skipped(HOUR, 2 * HOUR, 2, SkipReason::Deadline)]
    );
}

#[test]
fn a_long_outage_is_caught_up_in_bounded_steps() {
    let plan = Plan::builder(Rule::every(Duration::from_secs(60)).unwrap())
        .missed(Missed::RunAll(Duration::from_secs(86_400)))
        .build()
        .unwrap();
    let now = 250 * MINUTE;
    let (mut next, mut run, mut rounds) = (MINUTE, Vec::new(), 0);

    while next <= now {
        let decision = plan.decide(0, standing(next, 0), now);
        assert!(decision.due.len() <= FIRED_MAX);
        run.extend(nominal(&decision));
        next = decision.next_ms.unwrap();
        rounds += 1;
    }

    assert_eq!(run, (1..=250).map(|n| n * MINUTE).collect::<Vec<_>>());
    assert_eq!(rounds, 3);
}

#[test]
fn years_of_seconds_are_left_out_at_once() {
    let plan = Plan::builder(Rule::cron("* * * * * *").unwrap())
        .build()
        .unwrap();
    let now = 10 * 366 * 24 * HOUR;

    let decision = plan.decide(0, standing(1000, 0), now);

    assert_eq!(nominal(&decision), [now]);
    let left_out = skipped(1000, now - 1000, COUNTED_MAX, SkipReason::Missed);
    assert_eq!(decision.skipped, [left_out]);
}

#[test]
fn a_fixed_delay_waits_for_the_end_of_the_run_before() {
    let plan = Plan::builder(Rule::after(Duration::from_secs(60)).unwrap())
        .build()
        .unwrap();
    let check = |live, ended_ms, now, runs: &[i64], next| {
        let standing = Standing {
            next_ms: Some(10 * MINUTE),
            queued_ms: None,
            live,
            ended_ms,
        };
        let decision = plan.decide(0, standing, now);
        assert_eq!(
            (nominal(&decision), decision.next_ms),
            (runs.to_vec(), Some(next))
        );
        assert!(decision.skipped.is_empty());
    };
    let look = 10 * MINUTE;

    // The first time at once; then not while one runs, and a delay after it has ended.
    check(0, None, look, &[look], look + MINUTE);
    check(1, None, look, &[], look + MINUTE);
    check(1, Some(5), look, &[], look + MINUTE);
    check(0, Some(look - 1), look, &[], look - 1 + MINUTE);
    check(0, Some(look - MINUTE), look, &[look], look + MINUTE);
    check(
        0,
        Some(look - MINUTE + 5),
        look + 5,
        &[look + 5],
        look + 5 + MINUTE,
    );
}

#[test]
fn a_date_runs_once_and_nothing_comes_after_it() {
    let plan = Plan::builder("at 1970-01-01T01:00:00Z".parse().unwrap())
        .build()
        .unwrap();

    assert_eq!(plan.first_ms(0, None), Some(HOUR));
    let decision = plan.decide(0, standing(HOUR, 0), 5 * HOUR);
    assert_eq!((nominal(&decision), decision.next_ms), (vec![HOUR], None));
    // Registered too late it is due all the same, once.
    assert_eq!(plan.first_ms(5 * HOUR, None), Some(HOUR));
    assert_eq!(plan.first_ms(5 * HOUR, Some(HOUR)), None);
}

/// A timer that waits a week from its start never ends in a service that is deployed daily, and one that
/// waits for its next tick stops for ever once that lies behind it.
#[test]
fn a_weekly_run_happens_in_a_service_that_is_deployed_daily_and_after_a_clock_that_jumped() {
    const DAY: i64 = 24 * HOUR;
    let plan = Plan::builder(Rule::every(Duration::from_secs(7 * 86_400)).unwrap());
    let plan = plan.build().unwrap();
    let (mut next, mut run) = (plan.first_ms(0, None).unwrap(), Vec::new());

    for day in 1..=28 {
        // Each deploy registers the schedule anew, which keeps its due time; nobody looks meanwhile.
        let now = day * DAY + 5_000;
        let decision = plan.decide(0, standing(next, 0), now);
        run.extend(nominal(&decision));
        next = decision.next_ms.unwrap();
    }
    assert_eq!(run, [7 * DAY, 14 * DAY, 21 * DAY, 28 * DAY]);

    // The clock jumps three weeks ahead, and back again.
    let ahead = plan.decide(0, standing(next, 0), 50 * DAY);
    assert_eq!(nominal(&ahead), [49 * DAY]);
    let back = plan.decide(0, standing(ahead.next_ms.unwrap(), 0), 29 * DAY);
    assert_eq!((nominal(&back), back.next_ms), (vec![], Some(56 * DAY)));
}

#[test]
fn an_edit_gives_no_due_time_that_was_decided() {
    let plan = hourly().build().unwrap();

    assert_eq!(plan.first_ms(HOUR - 1, None), Some(HOUR));
    assert_eq!(plan.first_ms(HOUR, None), Some(2 * HOUR));
    // The clock of a database that fell back behind what was decided.
    assert_eq!(plan.first_ms(HOUR - 5, Some(HOUR)), Some(2 * HOUR));
}

#[test]
fn jitter_is_the_same_on_every_node_and_spread_over_schedules() {
    let plan = hourly().jitter(Duration::from_secs(600)).build().unwrap();
    let start = |seed| plan.decide(seed, standing(HOUR, 0), HOUR).due[0].start_ms - HOUR;

    let starts: Vec<i64> = (0..1000).map(start).collect();

    assert_eq!(start(7), starts[7]);
    assert!(starts.iter().all(|delay| (0..=600_000).contains(delay)));
    let early = starts.iter().filter(|delay| **delay < 300_000).count();
    assert!(
        (400..600).contains(&early),
        "{early} of 1000 in the first half"
    );
}

proptest! {
    /// Whatever the plan, the pauses between looks and what runs: every occurrence is decided exactly once.
    #[test]
    fn every_occurrence_is_decided_once_and_in_order(
        missed in prop_oneof![
            Just(Missed::Skip),
            Just(Missed::RunOnce),
            (1..100_000_u64).prop_map(|s| Missed::RunAll(Duration::from_secs(s))),
        ],
        deadline in prop::option::of(1..10_000_u64),
        period in 1..4_000_u64,
        looks in prop::collection::vec((0..40_000_i64, 0..3_u32), 1..12),
    ) {
        let mut builder = Plan::builder(Rule::every(Duration::from_secs(period)).unwrap()).missed(missed);
        if let Some(deadline) = deadline {
            builder = builder.start_deadline(Duration::from_secs(deadline));
        }
        let plan = builder.build().unwrap();
        let period = period as i64 * 1000;
        let (mut now, mut next, mut decided) = (0, period, 0);

        for (pause, live) in looks {
            now += pause * 1000;
            let decision = plan.decide(1, standing(next, live), now);
            let mut seen: Vec<(i64, i64, u32)> = decision
                .due
                .iter()
                .map(|due| (due.nominal_ms, due.nominal_ms, 1))
                .chain(decision.skipped.iter().map(|s| (s.first_ms, s.last_ms, s.count)))
                .collect();
            seen.sort_unstable();
            for (first, last, count) in seen {
                prop_assert_eq!(first, decided + period, "no gap and no repetition");
                prop_assert!(last <= now);
                if count < COUNTED_MAX {
                    prop_assert_eq!((last - first) / period + 1, i64::from(count));
                }
                decided = last;
            }
            next = decision.next_ms.unwrap();
            prop_assert_eq!(next, decided + period);
        }
    }
}
