//! Each criterion with facts that meet it, and with facts that miss it by as little as can be.

use std::time::Duration;

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// An answer of core with this status, after some time.
fn answer(class: &'static str, core: bool, due_ms: u64, took_ms: u64, status: u16) -> Sample {
    Sample {
        class,
        core,
        due: ms(due_ms),
        latency: ms(took_ms),
        outcome: Outcome::Answered {
            status,
            id: None,
            reason: None,
            retry_after: false,
        },
    }
}

fn with(sample: Sample, outcome: Outcome) -> Sample {
    Sample { outcome, ..sample }
}

fn with_id(mut sample: Sample, with: &str) -> Sample {
    if let Outcome::Answered { id, .. } = &mut sample.outcome {
        *id = Some(with.to_owned());
    }
    sample
}

fn rejected(took_ms: u64, told: bool) -> Sample {
    let outcome = Outcome::Answered {
        status: 503,
        id: None,
        reason: told.then(|| "queue-full".to_owned()),
        retry_after: told,
    };
    with(answer("recommendations", false, 0, took_ms, 503), outcome)
}

/// So many of them, served.
fn served(core: bool, count: usize, took_ms: u64) -> Vec<Sample> {
    vec![answer("x", core, 0, took_ms, 200); count]
}

/// Which criteria are missed, of any that were judged.
#[track_caller]
fn missed(rows: &[Row], expected: &[&str]) {
    let missed: Vec<_> = rows
        .iter()
        .filter(|row| !row.is_met())
        .map(|row| row.name)
        .collect();
    assert_eq!(missed, expected, "{rows:#?}");
}

#[test]
fn the_usual_load_is_served_but_for_one_in_two_hundred() {
    let with_failures = |failures| {
        let mut samples = served(true, 1_000 - failures, 10);
        samples.extend(vec![answer("x", true, 0, 10, 503); failures]);
        Calm { samples }.judge()
    };

    missed(&with_failures(5), &[]);
    missed(&with_failures(6), &["requests served"]);
    missed(&Calm::default().judge(), &["requests served"]);
}

#[test]
fn a_client_that_left_or_was_cut_off_was_not_served() {
    for outcome in [
        Outcome::GaveUp,
        Outcome::Broken,
        Outcome::Refused,
        Outcome::CutOff { id: None },
    ] {
        let mut samples = served(true, 100, 10);
        samples.push(with(answer("x", true, 0, 10, 200), outcome));
        missed(&Calm { samples }.judge(), &["requests served"]);
    }
}

fn panics() -> Panics {
    let mut samples = served(true, 100, 10);
    samples.push(with_id(answer("payments", true, 0, 5, 500), "a"));
    samples.push(with_id(answer("payments", true, 0, 5, 500), "b"));
    Panics {
        samples,
        class: "payments",
        reported: vec!["a".into(), "b".into()],
        raised: Some(2),
    }
}

#[test]
fn a_panic_without_an_id_or_without_a_report_is_missed() {
    missed(&panics().judge(), &[]);

    let mut without_an_answer = panics();
    without_an_answer.samples[101].outcome = Outcome::Broken;
    missed(
        &without_an_answer.judge(),
        &[
            "panics answered with their id",
            "ids of answers that are no id of a report",
        ],
    );

    let mut another_id = panics();
    another_id.reported[1] = "c".into();
    missed(
        &another_id.judge(),
        &["ids of answers that are no id of a report"],
    );

    let mut lost = panics();
    lost.raised = Some(3);
    missed(&lost.judge(), &["panics without a report"]);

    let mut others = panics();
    others.samples[0] = answer("x", true, 0, 5, 500);
    missed(&others.judge(), &["other requests served"]);

    // A payment that was turned away has not panicked, and was not served either.
    let mut turned_away = panics();
    turned_away
        .samples
        .push(answer("payments", true, 0, 5, 503));
    missed(&turned_away.judge(), &["other requests served"]);

    let none = Panics {
        samples: served(true, 100, 10),
        raised: Some(0),
        class: "payments",
        ..Panics::default()
    };
    missed(
        &none.judge(),
        &[
            "panics answered with their id",
            "ids of answers that are no id of a report",
            "panics without a report",
        ],
    );
}

#[test]
fn a_broken_body_is_known_by_the_id_of_its_head() {
    let cut = |id: Option<&str>| {
        let outcome = Outcome::CutOff {
            id: id.map(str::to_owned),
        };
        with(answer("catalogue", false, 0, 5, 200), outcome)
    };
    let task = with_id(answer("payments", true, 0, 5, 201), "task");
    let within = |body, reported: &[&str], raised| PanicsWithin {
        samples: vec![cut(body), task.clone()],
        reported: reported.iter().map(|id| (*id).to_owned()).collect(),
        raised: Some(raised),
    };

    missed(&within(Some("body"), &["body", "task"], 2).judge(), &[]);
    missed(
        &within(None, &["task"], 1).judge(),
        &["broken bodies whose id has no report"],
    );
    missed(
        &within(Some("body"), &["task"], 1).judge(),
        &["broken bodies whose id has no report"],
    );
    missed(
        &within(Some("body"), &["body", "nobody"], 2).judge(),
        &["reports whose id no client has seen"],
    );
    missed(
        &within(Some("body"), &["body", "task"], 3).judge(),
        &["panics without a report"],
    );
    let mut failed = within(Some("body"), &["body", "task"], 2);
    failed.samples.push(answer("x", true, 0, 5, 500));
    missed(&failed.judge(), &["requests served where no body broke"]);
}

/// The fault is from the first to the ninth second.
fn gateway(opened_ms: u64, good_at_ms: u64) -> Gateway {
    let mut samples = served(false, 200, 10);
    samples.push(answer("payments", true, 500, 20, 201));
    samples.push(answer("payments", true, 6_000, 5, 503));
    // It came while the gateway hung, and was answered after it: that proves nothing.
    samples.push(answer("payments", true, 8_900, 200, 201));
    samples.push(answer("payments", true, 9_500, 5, 503));
    samples.push(answer("payments", true, good_at_ms - 20, 20, 201));
    Gateway {
        samples,
        fault: Some((ms(1_000), ms(9_000))),
        opened: Some(ms(opened_ms)),
    }
}

#[test]
fn a_breaker_that_opens_or_recovers_late_is_missed() {
    missed(&gateway(4_000, 14_000).judge(), &[]);
    missed(&gateway(4_001, 14_000).judge(), &["breaker opens after"]);
    missed(
        &gateway(4_000, 14_001).judge(),
        &["first good call after the fault"],
    );

    let mut never = gateway(4_000, 14_000);
    never.opened = None;
    missed(
        &never.judge(),
        &[
            "breaker opens after",
            "core told no within, median, once it is open",
        ],
    );

    let mut waits = gateway(4_000, 14_000);
    waits.samples[201].latency = ms(51);
    missed(
        &waits.judge(),
        &["core told no within, median, once it is open"],
    );

    let mut taken_along = gateway(4_000, 14_000);
    taken_along.samples[..2].fill(answer("x", false, 0, 10, 503));
    missed(
        &taken_along.judge(),
        &["requests without the gateway served"],
    );
}

fn overload() -> Overload {
    let mut samples = served(true, 1_000, 20);
    samples.extend(vec![rejected(5, true); 100]);
    Overload {
        samples,
        calm_core_p99_ms: Some(10.0),
    }
}

#[test]
fn core_that_is_late_or_turned_away_and_others_that_wait_for_their_no_are_missed() {
    missed(&overload().judge(), &[]);

    let mut turned_away = overload();
    turned_away.samples[..6].fill(answer("orders", true, 0, 5, 503));
    missed(&turned_away.judge(), &["core served"]);

    let mut late = overload();
    late.samples[..11].fill(answer("orders", true, 0, 21, 201));
    missed(&late.judge(), &["core p99, by that of the usual load"]);
    late.calm_core_p99_ms = None;
    missed(&late.judge(), &["core p99, by that of the usual load"]);

    let mut waits = overload();
    waits.samples[1_000..1_002].fill(rejected(6, true));
    missed(&waits.judge(), &["others rejected within, p99"]);

    let mut untold = overload();
    untold.samples[1_000] = rejected(5, false);
    missed(
        &untold.judge(),
        &["others not served who are told why and when to come"],
    );
    untold.samples[1_000] = with(rejected(5, true), Outcome::GaveUp);
    missed(
        &untold.judge(),
        &["others not served who are told why and when to come"],
    );
}

const ORDERS: &str = "orders promised and not done";
const LEDGER: &str = "ledger off by";
const ONCE: &str = "occurrences settled otherwise than once";

fn books() -> Audit {
    Audit {
        promised: 50,
        done: 50,
        off_cents: 0,
        entries: 3,
        entries_twice: 0,
        occurrences: 4,
        occurrences_not_once: 0,
    }
}

#[test]
fn books_that_lack_an_order_a_cent_or_an_occurrence_are_missed() {
    let killed = |audit: Option<Audit>| Killed {
        rescued_s: Some(15.0),
        lease_s: 5.0,
        audit,
    };
    let with = |change: fn(&mut Audit)| {
        let mut audit = books();
        change(&mut audit);
        killed(Some(audit)).judge()
    };

    missed(&with(|_| {}), &[]);
    missed(&with(|audit| audit.done = 49), &[ORDERS]);
    missed(&with(|audit| audit.off_cents = 1), &[LEDGER]);
    missed(&with(|audit| audit.entries_twice = 1), &[ONCE]);
    missed(&with(|audit| audit.occurrences_not_once = 1), &[ONCE]);
    missed(
        &with(|audit| *audit = Audit::default()),
        &[ORDERS, LEDGER, ONCE],
    );
    missed(&killed(None).judge(), &[ORDERS, LEDGER, ONCE]);
    let late = Killed {
        rescued_s: Some(15.1),
        ..killed(Some(books()))
    };
    missed(&late.judge(), &["its job completed by another after"]);
}

#[test]
fn a_frozen_worker_through_whose_time_nothing_was_due_proves_nothing() {
    let frozen = |meanwhile| Frozen {
        meanwhile,
        audit: Some(books()),
    };

    missed(&frozen(1).judge(), &[]);
    missed(&frozen(0).judge(), &["occurrences run by others meanwhile"]);
    missed(
        &Frozen::default().judge(),
        &["occurrences run by others meanwhile", ORDERS, LEDGER, ONCE],
    );
}

#[test]
fn whoever_was_inside_when_the_shop_was_told_to_end_is_served() {
    let drain = |samples, took_s, exit_code| Drain {
        samples,
        told: Some(ms(1_000)),
        took_s,
        exit_code,
    };
    let inside = answer("orders", true, 990, 20, 201);
    let before = answer("orders", true, 900, 20, 503);
    let after = with(answer("orders", true, 1_100, 20, 201), Outcome::Refused);
    let cut = with(inside.clone(), Outcome::Broken);

    let good = vec![before.clone(), inside, after.clone()];
    missed(&drain(good.clone(), Some(20.0), Some(0)).judge(), &[]);
    missed(
        &drain(good.clone(), Some(20.1), Some(0)).judge(),
        &["ended after"],
    );
    missed(
        &drain(good.clone(), Some(20.0), Some(1)).judge(),
        &["exit code"],
    );
    missed(&drain(good, Some(20.0), None).judge(), &["exit code"]);
    for samples in [vec![cut], vec![before, after]] {
        missed(
            &drain(samples, Some(1.0), Some(0)).judge(),
            &["requests in flight that failed"],
        );
    }
}

#[test]
fn a_gateway_that_is_asked_more_because_it_fails_is_missed() {
    let retries = |amplified, after_status, other_status| {
        let mut samples = served(false, 199, 10);
        samples.push(answer("x", false, 0, 10, other_status));
        samples.push(answer("orders", true, 9_999, 10, 503));
        samples.extend(vec![answer("orders", true, 15_000, 10, 201); 199]);
        samples.push(answer("orders", true, 15_000, 10, after_status));
        samples.push(answer("orders", true, 15_000, 10, 503));
        Retries {
            samples,
            ended: Some(ms(10_000)),
            amplified: Some(amplified),
        }
        .judge()
    };

    missed(&retries(1.5, 201, 503), &[]);
    missed(
        &retries(1.51, 201, 200),
        &["calls of the gateway, by those when it is well"],
    );
    missed(&retries(1.0, 503, 200), &["core served from 5 s after it"]);
    let none = Retries::default().judge();
    assert!(none.iter().all(|row| !row.is_met()));
}

#[test]
fn a_gateway_that_grows_slow_costs_nobody_an_answer() {
    let drift = |core_status, other_status| {
        let mut samples = served(true, 100, 10);
        samples.extend(served(false, 100, 10));
        samples.push(answer("orders", true, 0, 10, core_status));
        samples.push(answer("catalogue", false, 0, 10, other_status));
        Drift { samples }.judge()
    };

    missed(&drift(201, 200), &[]);
    missed(&drift(504, 200), &["core served all the way"]);
    missed(&drift(201, 503), &["others served"]);
}

#[test]
fn what_clients_left_behind_is_missed() {
    let gave_up = |count, left_aside| GivingUp {
        samples: vec![with(answer("orders", true, 0, 8, 200), Outcome::GaveUp); count],
        left_aside,
    };

    missed(&gave_up(10, Some(0.0)).judge(), &[]);
    missed(&gave_up(9, Some(0.0)).judge(), &["clients that left"]);
    missed(
        &gave_up(10, Some(1.0)).judge(),
        &["holds that nobody released"],
    );
    missed(&gave_up(10, None).judge(), &["holds that nobody released"]);
}

#[test]
fn a_run_that_gets_on_is_left_alone_and_one_that_does_not_is_ended() {
    let progress = |ended_s, slow_attempts, slow_took_s, done_after| Progress {
        ended_s,
        slow_attempts,
        slow_took_s,
        done_after,
    };

    let good = progress(Some(10.0), Some(1), Some(5.0), Some(true));
    missed(&good.judge(), &[]);
    let bad = progress(Some(10.1), Some(2), Some(4.9), Some(false));
    assert!(bad.judge().iter().all(|row| !row.is_met()));
    assert!(Progress::default().judge().iter().all(|row| !row.is_met()));
}
