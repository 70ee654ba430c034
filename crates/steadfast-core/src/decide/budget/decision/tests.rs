use super::*;
use proptest::prelude::*;

const MS: u64 = 1_000_000;

fn rule(max_attempts: u8) -> RetryRule {
    RetryRule::new(max_attempts).unwrap()
}

/// A budget with a single retry in it.
fn one_retry() -> RetryBudget {
    RetryBudget::new(0.0).unwrap()
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn stop(reason: StopReason) -> RetryDecision {
    RetryDecision::Stop(reason)
}

fn decide(rule: RetryRule, call: RetryCall, failed: Failed) -> RetryDecision {
    rule.decide(&call, &failed, millis(10), 0, &mut [&mut one_retry()])
}

#[test]
fn what_may_be_repeated_depends_on_call_failure_and_opt_in() {
    let check = |replay, failure, opted_in, expect: Option<StopReason>| {
        let rule = if opted_in {
            rule(3).with_unsafe_methods()
        } else {
            rule(3)
        };
        let again = RetryDecision::Retry {
            after: millis(10),
            attempt: 2,
        };
        assert_eq!(
            decide(rule, RetryCall::new(replay), Failed::new(1, failure)),
            expect.map_or(again, stop),
            "{replay:?} {failure:?} {opted_in}"
        );
    };
    let no = Some(StopReason::NotReplayable);

    for opted_in in [false, true] {
        check(Replay::Safe, Failure::Unsent, opted_in, None);
        check(Replay::Safe, Failure::Unknown, opted_in, None);
        check(Replay::Unsafe, Failure::Unsent, opted_in, None);
        check(Replay::Impossible, Failure::Unsent, opted_in, no);
        check(Replay::Impossible, Failure::Unknown, opted_in, no);
        for replay in [Replay::Safe, Replay::Unsafe, Replay::Impossible] {
            let permanent = Some(StopReason::Permanent);
            check(replay, Failure::Permanent, opted_in, permanent);
        }
    }
    check(Replay::Unsafe, Failure::Unknown, false, no);
    check(Replay::Unsafe, Failure::Unknown, true, None);
}

#[test]
fn only_idempotent_methods_and_keyed_requests_are_safe() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        assert_eq!(Replay::of_method(method, false), Replay::Safe, "{method}");
    }
    for method in ["POST", "PATCH", "CONNECT", "get", "PURGE", ""] {
        assert_eq!(Replay::of_method(method, false), Replay::Unsafe, "{method}");
        assert_eq!(Replay::of_method(method, true), Replay::Safe, "{method}");
    }
}

#[test]
fn attempts_include_the_first() {
    let call = RetryCall::new(Replay::Safe);
    let check = |max_attempts, attempt, expect| {
        let decision = decide(
            rule(max_attempts),
            call,
            Failed::new(attempt, Failure::Unsent),
        );
        assert_eq!(decision == stop(StopReason::AttemptsSpent), expect);
    };

    check(1, 1, true);
    check(3, 2, false);
    check(3, 3, true);
    check(3, u8::MAX, true);
}

#[test]
fn retry_after_is_obeyed_up_to_the_cap_and_spread() {
    let rule = rule(3).with_retry_after_cap(millis(2_000)).unwrap();
    let check = |asked_ms, expect| {
        let failed = Failed::new(1, Failure::Unsent).with_retry_after(millis(asked_ms));
        assert_eq!(decide(rule, RetryCall::new(Replay::Safe), failed), expect);
    };
    let after = |ms| RetryDecision::Retry {
        after: millis(ms),
        attempt: 2,
    };

    check(0, after(10));
    check(1_000, after(1_010));
    check(2_000, after(2_010));
    check(2_001, stop(StopReason::RetryAfterTooLong));
}

#[test]
fn no_attempt_is_made_that_could_not_end_before_the_deadline() {
    let check = |deadline_ms, usual_ms, expect: bool| {
        let call = RetryCall::new(Replay::Safe)
            .with_deadline(deadline_ms * MS)
            .with_usual_time(millis(usual_ms));
        let decision = decide(rule(3), call, Failed::new(1, Failure::Unsent));
        assert_eq!(decision != stop(StopReason::Deadline), expect);
    };

    check(11, 0, true);
    check(10, 0, false);
    check(31, 20, true);
    check(30, 20, false);
    check(0, 0, false);
}

#[test]
fn who_is_retried_from_outside_does_not_retry() {
    let check = |mark: Option<&str>, expect: bool, passed_on: &str| {
        let call = RetryCall::new(Replay::Safe);
        let call = match mark {
            Some(mark) => call.with_mark(AttemptMark::parse(mark).unwrap()),
            None => call,
        };
        let decision = decide(rule(3), call, Failed::new(1, Failure::Unsent));
        assert_eq!(
            decision != stop(StopReason::RetriedOutside),
            expect,
            "{mark:?}"
        );
        assert_eq!(rule(3).mark(&call, 2).to_string(), passed_on);
    };

    check(None, true, "2/3");
    check(Some("1/1"), true, "2/3");
    check(Some("1/2"), false, "1/2");
    check(Some("2/2"), false, "2/2");
}

#[test]
fn a_call_that_reaches_its_target_at_most_once_is_marked_so() {
    let check = |replay, rule: RetryRule, expect: &str| {
        let mark = rule.mark(&RetryCall::new(replay), 2);
        assert_eq!(mark.to_string(), expect, "{replay:?}");
    };

    check(Replay::Safe, rule(3), "2/3");
    check(Replay::Unsafe, rule(3), "1/1");
    check(Replay::Unsafe, rule(3).with_unsafe_methods(), "2/3");
    check(Replay::Impossible, rule(3).with_unsafe_methods(), "1/1");
}

#[test]
fn nested_layers_add_attempts_and_do_not_multiply_them() {
    // Every call fails; each layer hands its mark to the one below.
    fn attempts_below(layers: u32, mark: Option<AttemptMark>) -> u32 {
        if layers == 0 {
            return 1;
        }
        let call = RetryCall::new(Replay::Safe);
        let call = mark.map_or(call, |mark| call.with_mark(mark));
        let mut budget = RetryBudget::new(1.0).unwrap().with_reserve(100).unwrap();
        let (mut attempt, mut made) = (1, 0);
        loop {
            made += attempts_below(layers - 1, Some(rule(3).mark(&call, attempt)));
            let failed = Failed::new(attempt, Failure::Unknown);
            match rule(3).decide(&call, &failed, Duration::ZERO, 0, &mut [&mut budget]) {
                RetryDecision::Retry { attempt: next, .. } => attempt = next,
                RetryDecision::Stop(_) => return made,
            }
        }
    }

    assert_eq!(
        [1, 2, 3].map(|layers| attempts_below(layers, None)),
        [3, 3, 3]
    );
}

#[test]
fn retries_of_somebody_outside_do_not_pay() {
    let call = RetryCall::new(Replay::Safe);
    let with = |mark| call.with_mark(AttemptMark::parse(mark).unwrap());

    assert!(call.is_first() && with("1/3").is_first());
    assert!(!with("2/3").is_first());
}

#[test]
fn a_retry_that_is_not_made_costs_no_budget() {
    let mut budget = one_retry();
    let call = RetryCall::new(Replay::Safe).with_deadline(MS);
    let failed = Failed::new(1, Failure::Unsent);

    let hopeless = rule(3).decide(&call, &failed, millis(10), 0, &mut [&mut budget]);
    let granted = rule(3).decide(&call, &failed, Duration::ZERO, 0, &mut [&mut budget]);
    let spent = rule(3).decide(&call, &failed, Duration::ZERO, 0, &mut [&mut budget]);

    assert_eq!(hopeless, stop(StopReason::Deadline));
    assert!(matches!(granted, RetryDecision::Retry { .. }));
    assert_eq!(spent, stop(StopReason::BudgetSpent));
}

#[test]
fn without_a_budget_nothing_is_retried() {
    let decision = rule(3).decide(
        &RetryCall::new(Replay::Safe),
        &Failed::new(1, Failure::Unsent),
        Duration::ZERO,
        0,
        &mut [],
    );

    assert_eq!(decision, stop(StopReason::BudgetSpent));
}

#[test]
fn numbers_out_of_range_are_refused_with_their_bound() {
    let check = |made: Result<RetryRule, InvalidRetryRule>, part: &str| {
        let message = made.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };

    check(RetryRule::new(0), "0 attempts are not from 1 to 10");
    check(RetryRule::new(11), "11 attempts are not from 1 to 10");
    check(rule(3).with_retry_after_cap(Duration::MAX), "bound of 300s");
}

proptest! {
    #[test]
    fn a_granted_retry_keeps_every_promise(
        max_attempts in 1..=10_u8,
        attempt in 1..12_u8,
        asked_ms in 0..8_000_u64,
        delay_ms in 0..2_000_u64,
        deadline_ms in 0..10_000_u64,
        usual_ms in 0..500_u64,
        now_ms in 0..5_000_u64,
    ) {
        let call = RetryCall::new(Replay::Safe)
            .with_deadline(deadline_ms * MS)
            .with_usual_time(millis(usual_ms));
        let failed = Failed::new(attempt, Failure::Unknown).with_retry_after(millis(asked_ms));

        let decision = rule(max_attempts)
            .decide(&call, &failed, millis(delay_ms), now_ms * MS, &mut [&mut one_retry()]);

        if let RetryDecision::Retry { after, attempt: next } = decision {
            prop_assert_eq!(next, attempt + 1);
            prop_assert!(next <= max_attempts);
            prop_assert!(after >= millis(asked_ms));
            prop_assert!(millis(asked_ms) <= RetryRule::DEFAULT_RETRY_AFTER_CAP);
            prop_assert!(now_ms + after.as_millis() as u64 + usual_ms < deadline_ms);
        }
    }

    #[test]
    fn no_length_of_time_overflows(deadline: u64, now: u64, secs: u64) {
        let long = Duration::from_secs(secs);
        let call = RetryCall::new(Replay::Safe).with_deadline(deadline).with_usual_time(long);
        let failed = Failed::new(1, Failure::Unsent).with_retry_after(long);

        let _ = rule(3).decide(&call, &failed, long, now, &mut [&mut one_retry()]);
    }
}
