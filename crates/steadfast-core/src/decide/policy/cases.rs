//! What the examples leave out: other ways into a rule, and what a rule must not find.

use super::examples::*;
use super::*;
use crate::context::Tier;

/// Lints a policy and compares what was found, as `P001 routes./orders.timeout`.
#[track_caller]
fn check(policy: &Policy, expect: &[&str]) {
    let found: Vec<String> = lint(policy)
        .iter()
        .map(|finding| format!("{} {}", finding.rule, finding.path))
        .collect();
    assert_eq!(found, expect);
}

/// A service with a route that calls a dependency; the route has no timeout of its own to help.
fn route_that_calls(rate: f64, call_ms: u64) -> Policy {
    let mut policy = one_dependency(["GET"]);
    policy.timeouts.insert("call".into(), fixed(call_ms));
    policy.timeouts.insert("page".into(), fixed(60_000));
    patient_drain(&mut policy);
    policy.admissions.insert("http".into(), admission(200));
    let mut orders = route(rate);
    orders.calls.push("payments".into());
    policy.routes.insert("/orders".into(), orders);
    policy
}

/// Lets everything end when the service stops, so that long timeouts are no mistake.
fn patient_drain(policy: &mut Policy) {
    policy.drain.lower = millis(60_000);
    policy.drain.hard = millis(75_000);
}

#[test]
fn an_empty_policy_has_no_mistakes() {
    check(&Policy::default(), &[]);
}

#[test]
fn the_stall_of_scenario_s5_is_found_before_the_start() {
    let finding = &lint(&examples()[0].wrong)[0];

    assert_eq!(
        finding.to_string(),
        "error[P001] routes./orders.timeout: 500/s × 1s = 500 permits are held when it stalls, of \
         200; shorten it to 400ms or less, learn it, or have an admission of its own"
    );
}

#[test]
fn permits_are_held_until_the_first_limit_that_ends_the_request() {
    check(&route_that_calls(500.0, 400), &[]);
    check(
        &route_that_calls(500.0, 500),
        &["P001 routes./orders.calls"],
    );

    let mut by_deadline = route_that_calls(500.0, 500);
    orders(&mut by_deadline).deadline = Some(millis(400));
    // The timeout can no longer act, which is another mistake; the permits suffice.
    check(&by_deadline, &["P014 routes./orders.deadline"]);

    let mut late_deadline = route_that_calls(500.0, 1_000);
    orders(&mut late_deadline).deadline = Some(millis(900));
    orders(&mut late_deadline).timeout = None;
    check(
        &late_deadline,
        &[
            "P001 routes./orders.deadline",
            "P024 routes./orders.timeout",
            "P008 timeouts.page",
        ],
    );
}

#[test]
fn calls_of_a_route_come_one_after_the_other() {
    let mut policy = route_that_calls(500.0, 300);
    let payments = policy.dependencies["payments"].clone();
    policy.dependencies.insert("stock".into(), payments);
    orders(&mut policy).calls.push("stock".into());

    check(&policy, &["P001 routes./orders.calls"]);
}

#[test]
fn a_dependency_holds_permits_of_its_own_limit() {
    let mut policy = one_dependency(["GET"]);
    policy.admissions.insert("out".into(), admission(9));
    payments(&mut policy).admission = Some("out".into());

    check(&policy, &["P001 dependencies.payments.timeout"]);
}

#[test]
fn a_learned_timeout_keeps_within_its_share_of_the_permits() {
    let mut policy = one_route();
    orders(&mut policy).rate = Some(Rate::per_second(500.0).unwrap());
    let learned = TimeoutPolicy::new(learned(50, 30_000));
    policy.timeouts.insert("page".into(), learned);

    check(&policy, &[]);
}

#[test]
fn a_floor_that_alone_holds_all_permits_is_found_twice_over() {
    let mut policy = one_route();
    let learned = TimeoutPolicy::new(learned(1_000, 2_000));
    policy.timeouts.insert("page".into(), learned);

    check(
        &policy,
        &["P001 routes./orders.timeout", "P019 routes./orders.timeout"],
    );
    let fix = &lint(&policy)[1].fix;
    assert_eq!(fix, "lower the floor to 333ms or less");
}

#[test]
fn rates_that_are_not_known_are_not_guessed() {
    let mut policy = one_route();
    policy.timeouts.insert("page".into(), fixed(60_000));
    patient_drain(&mut policy);
    orders(&mut policy).rate = None;

    check(&policy, &[]);
}

#[test]
fn attempts_are_compared_with_the_deadline_too() {
    let mut policy = with_retry(["GET"]);
    policy.timeouts.insert("call".into(), fixed(10_000));
    policy.timeouts.insert("page".into(), fixed(100));
    let mut orders = route(1.0);
    orders.admission = None;
    orders.timeout = None;
    orders.deadline = Some(millis(100));
    orders.calls.push("payments".into());
    policy.routes.insert("/orders".into(), orders);

    let findings = lint(&policy);

    let found = findings.iter().find(|found| found.rule == "P002").unwrap();
    assert_eq!(found.path.to_string(), "routes./orders.deadline");
    assert_eq!(found.fix, "allow 30.1s, or make fewer");
}

#[test]
fn consecutive_failures_need_no_full_window() {
    let mut policy = with_breaker(|breaker| breaker.consecutive = Some(count(5)));
    payments(&mut policy).rate = Some(Rate::per_second(0.01).unwrap());

    check(&policy, &[]);
}

#[test]
fn a_slow_share_needs_a_full_window() {
    let mut policy = with_breaker(|breaker| {
        breaker.slow = Some(SlowCalls {
            over: millis(50),
            share: share(0.5),
        });
    });
    payments(&mut policy).rate = Some(Rate::per_second(0.01).unwrap());

    check(&policy, &["P006 dependencies.payments.breaker"]);
}

#[test]
fn a_breaker_that_trips_at_nothing_is_found() {
    let failures = with_breaker(|breaker| breaker.failure_share = Some(share(0.0)));
    let slow = with_breaker(|breaker| {
        breaker.slow = Some(SlowCalls {
            over: millis(50),
            share: share(0.0),
        });
    });

    check(&failures, &["P023 breakers.careful.failure_share"]);
    check(&slow, &["P023 breakers.careful.slow_share"]);
}

#[test]
fn probes_are_enough_when_one_failure_stays_below_the_share() {
    let with = |failure_share, half_open| {
        with_breaker(|breaker| {
            breaker.failure_share = Some(share(failure_share));
            breaker.half_open = count(half_open);
        })
    };

    check(&with(0.25, 4), &["P003 breakers.careful.half_open"]);
    check(&with(0.25, 5), &[]);
    check(&with(1.0, 1), &["P003 breakers.careful.half_open"]);
    check(&with(1.0, 2), &[]);
}

#[test]
fn every_name_is_looked_up() {
    let mut policy = one_route();
    orders(&mut policy).timeout = Some("pages".into());
    orders(&mut policy).admission = Some("grpc".into());
    orders(&mut policy).quota = Some("public".into());
    orders(&mut policy).calls.push("payments".into());
    let mut dependency = Dependency::new(["GET"]);
    for name in [
        &mut dependency.timeout,
        &mut dependency.admission,
        &mut dependency.breaker,
        &mut dependency.retry,
        &mut dependency.hedge,
    ] {
        *name = Some("nothing".into());
    }
    policy.dependencies.insert("stock".into(), dependency);

    check(
        &policy,
        &[
            "P007 dependencies.stock.admission",
            "P007 dependencies.stock.breaker",
            "P007 dependencies.stock.hedge",
            "P007 dependencies.stock.retry",
            "P007 dependencies.stock.timeout",
            "P007 routes./orders.admission",
            "P007 routes./orders.calls",
            "P007 routes./orders.quota",
            "P007 routes./orders.timeout",
            "P008 admissions.http",
            "P008 timeouts.page",
        ],
    );
    let fixes: Vec<String> = lint(&policy)
        .into_iter()
        .filter(|found| found.path.to_string().starts_with("routes"))
        .map(|found| found.fix)
        .collect();
    assert_eq!(
        fixes,
        [
            "add [admissions.grpc], or name one of http",
            "add [dependencies.payments], or name one of stock",
            "add [rates.public]",
            "write \"page\"",
        ]
    );
}

#[test]
fn unused_parts_of_every_section_are_found() {
    let mut policy = Policy::default();
    policy.admissions.insert("a".into(), admission(10));
    policy.timeouts.insert("b".into(), fixed(100));
    let rate = RatePolicy::new(count(1), millis(1_000), count(1));
    policy.rates.insert("c".into(), rate);
    let mut breaker = BreakerPolicy::new();
    breaker.consecutive = Some(count(5));
    policy.breakers.insert("d".into(), breaker);
    let retry = RetryPolicy::new(attempts(2), share(0.1));
    policy.retries.insert("e".into(), retry);
    let hedge = HedgePolicy::new(learned(10, 20), share(0.1));
    policy.hedges.insert("f".into(), hedge);

    check(
        &policy,
        &[
            "P008 admissions.a",
            "P008 breakers.d",
            "P008 hedges.f",
            "P008 rates.c",
            "P008 retries.e",
            "P008 timeouts.b",
        ],
    );
}

#[test]
fn retries_are_right_where_some_call_is_safe_or_somebody_opted_in() {
    let mut mixed = with_retry(["POST"]);
    payments(&mut mixed).methods.push("GET".into());
    let mut opted_in = with_retry(["POST"]);
    opted_in
        .retries
        .get_mut("twice more")
        .unwrap()
        .unsafe_methods = true;
    let mut single = with_retry(["POST"]);
    single.retries.get_mut("twice more").unwrap().attempts = Attempts::ONE;

    for policy in [mixed, opted_in, single] {
        check(&policy, &[]);
    }
}

#[test]
fn a_single_attempt_needs_no_budget_and_multiplies_nothing() {
    let mut policy = with_retry(["GET"]);
    let retry = policy.retries.get_mut("twice more").unwrap();
    retry.attempts = Attempts::ONE;
    retry.budget = None;
    payments(&mut policy).attempts_inside = attempts(3);

    check(&policy, &[]);
}

#[test]
fn a_key_makes_a_hedged_post_safe() {
    let mut policy = with_hedge(["POST"], Setting::Fixed(millis(20)));
    check(&policy, &["P021 dependencies.payments.hedge"]);

    payments(&mut policy).idempotency_key = true;

    check(&policy, &[]);
}

#[test]
fn swapped_bounds_are_found_wherever_something_is_learned() {
    let mut policy = with_hedge(["GET"], learned(50, 10));
    policy
        .timeouts
        .insert("call".into(), TimeoutPolicy::new(learned(200, 100)));
    let mut admission = admission(10);
    admission.permits = Setting::Learn {
        floor: count(20),
        ceiling: count(10),
    };
    policy.admissions.insert("out".into(), admission);
    payments(&mut policy).admission = Some("out".into());
    payments(&mut policy).rate = None;

    check(
        &policy,
        &[
            "P013 admissions.out.permits_floor",
            "P013 hedges.tail.delay_floor",
            "P013 timeouts.call.timeout_floor",
        ],
    );
}

#[test]
fn a_fixed_timeout_is_its_own_floor() {
    let mut policy = one_route();
    orders(&mut policy).deadline = Some(millis(499));
    check(&policy, &["P014 routes./orders.deadline"]);

    orders(&mut policy).deadline = Some(millis(500));
    check(&policy, &[]);
}

#[test]
fn a_queue_may_take_as_long_as_the_work_but_no_longer() {
    let mut policy = one_route();
    let mut wait = |ms| {
        policy.admissions.get_mut("http").unwrap().queue_wait = millis(ms);
        policy.clone()
    };

    check(&wait(500), &[]);
    check(&wait(501), &["P015 routes./orders.admission"]);
}

#[test]
fn core_without_a_guarantee_has_less_than_any_other() {
    let mut policy = one_route();
    let admission = policy.admissions.get_mut("http").unwrap();
    admission.guaranteed.insert(Tier::DEFAULT, share(0.1));

    check(&policy, &["P016 admissions.http.guaranteed_tier1"]);
}

#[test]
fn guarantees_are_kept_by_the_floor_of_learned_permits() {
    let mut policy = with_guarantees(0.5, 0.5);
    let admission = policy.admissions.get_mut("http").unwrap();
    admission.permits = Setting::Learn {
        floor: count(1),
        ceiling: count(200),
    };

    check(
        &policy,
        &[
            "P018 admissions.http.guaranteed_core",
            "P018 admissions.http.guaranteed_tier1",
        ],
    );
}

#[test]
fn sums_of_decimal_shares_are_not_off_by_rounding() {
    let mut policy = with_guarantees(0.4, 0.1);
    let admission = policy.admissions.get_mut("http").unwrap();
    for number in 2..7 {
        let tier = Tier::new(number).unwrap();
        admission.guaranteed.insert(tier, share(0.1));
    }

    check(&policy, &[]);
}

#[test]
fn who_is_too_much_alone_is_not_found_together_as_well() {
    let mut policy = route_that_calls(600.0, 400);
    let carts = policy.routes["/orders"].clone();
    policy.routes.insert("/carts".into(), carts);

    check(
        &policy,
        &["P001 routes./carts.calls", "P001 routes./orders.calls"],
    );
}

#[test]
fn a_threshold_at_the_timeout_is_never_passed() {
    let over = |ms| {
        with_breaker(|breaker| {
            breaker.slow = Some(SlowCalls {
                over: millis(ms),
                share: share(0.5),
            });
        })
    };

    check(&over(99), &[]);
    check(&over(100), &["P005 dependencies.payments.breaker"]);
}

#[test]
fn a_floor_may_take_up_its_whole_share() {
    let with_share = |permit_share| {
        let mut policy = one_route();
        let mut timeout = TimeoutPolicy::new(learned(500, 2_000));
        timeout.permit_share = share(permit_share);
        policy.timeouts.insert("page".into(), timeout);
        orders(&mut policy).rate = Some(Rate::per_second(400.0).unwrap());
        policy
    };

    check(&with_share(1.0), &[]);
    let finding = &lint(&with_share(0.5))[0];
    assert_eq!(
        finding.fix,
        "lower the floor to 250ms or less, or raise permit_share to 1 or more"
    );
}

#[test]
fn errors_come_before_warnings() {
    let mut policy = one_route();
    policy.timeouts.insert("other".into(), fixed(100));
    orders(&mut policy).timeout = None;

    let severities: Vec<Severity> = lint(&policy).iter().map(|found| found.severity).collect();

    assert_eq!(
        severities,
        [Severity::Error, Severity::Warning, Severity::Warning]
    );
}

#[test]
fn the_drain_of_core_is_longer_than_that_of_others() {
    let with_tier = |tier, ms| {
        let mut policy = one_route();
        policy.timeouts.insert("page".into(), fixed(ms));
        orders(&mut policy).rate = None;
        orders(&mut policy).tier = tier;
        policy
    };

    check(&with_tier(Tier::DEFAULT, 5_000), &[]);
    check(
        &with_tier(Tier::DEFAULT, 5_001),
        &["P031 routes./orders.timeout"],
    );
    check(&with_tier(Tier::CORE, 15_000), &[]);
    check(
        &with_tier(Tier::CORE, 15_001),
        &["P031 routes./orders.timeout"],
    );
}

#[test]
fn a_drain_may_take_up_its_whole_limit() {
    let mut policy = Policy::default();
    policy.drain.not_ready = Some(millis(10_000));
    check(&policy, &[]);

    policy.drain.not_ready = Some(millis(10_001));
    check(&policy, &["P030 drain.hard"]);
}

#[test]
fn routes_of_one_template_share_its_methods() {
    let with = |routes: &[(&str, &[&str])]| {
        let mut policy = one_route();
        policy.routes.clear();
        for (name, methods) in routes {
            let mut route = route(1.0);
            route.methods = methods.iter().copied().map(String::from).collect();
            policy.routes.insert((*name).to_owned(), route);
        }
        policy
    };

    check(&with(&[("/a", &[]), ("GET /a", &["GET"])]), &[]);
    check(&with(&[("/a", &["PUT"]), ("GET /a", &["GET"])]), &[]);
    check(
        &with(&[("/a", &["PUT", "PUT"])]),
        &["P025 routes./a.methods"],
    );
    check(
        &with(&[("GET /a", &["PUT"])]),
        &["P025 routes.\"GET /a\".methods"],
    );
    check(
        &with(&[("GET /a", &[])]),
        &["P025 routes.\"GET /a\".methods"],
    );
}

#[test]
fn a_body_that_may_stand_still_for_all_its_time_is_found() {
    let mut policy = one_route();
    let page = policy.timeouts.get_mut("page").unwrap();
    page.body_total = Some(page.body_idle);

    check(&policy, &["P028 timeouts.page.body_idle"]);
}

#[test]
fn every_policy_that_can_be_in_shadow_is_told() {
    let mut policy = with_stream();
    policy.streams.get_mut("live").unwrap().shadow = true;
    policy.timeouts.get_mut("page").unwrap().shadow = true;
    policy.admissions.get_mut("http").unwrap().shadow = true;
    let mut rate = RatePolicy::new(count(1), millis(1_000), count(1));
    rate.shadow = true;
    policy.rates.insert("public".into(), rate);
    orders(&mut policy).quota = Some("public".into());
    let mut breaker = BreakerPolicy::new();
    breaker.consecutive = Some(count(5));
    breaker.shadow = true;
    policy.breakers.insert("careful".into(), breaker);
    let mut dependency = Dependency::new(["GET"]);
    dependency.breaker = Some("careful".into());
    dependency.timeout = Some("page".into());
    policy.dependencies.insert("stock".into(), dependency);

    check(
        &policy,
        &[
            "P034 admissions.http.shadow",
            "P034 breakers.careful.shadow",
            "P034 rates.public.shadow",
            "P034 streams.live.shadow",
            "P034 timeouts.page.shadow",
        ],
    );
}

#[test]
fn a_name_of_any_kind_that_is_too_long_to_be_told_is_found() {
    let (fits, long) = ("n".repeat(96), "n".repeat(97));
    let named = |name: &str| {
        let mut policy = one_route();
        let mut orders = policy.routes.remove("/orders").unwrap();
        policy.timeouts.insert(name.into(), fixed(500));
        orders.timeout = Some(name.into());
        // The method is no part of the name.
        policy.routes.insert(format!("GET /{}", &name[1..]), orders);
        let mut dependency = Dependency::new(["GET"]);
        dependency.timeout = Some(name.into());
        policy.dependencies.insert(name.into(), dependency);
        policy.timeouts.remove("page");
        policy
    };

    check(&named(&fits), &[]);
    let route = format!("GET /{}", &long[1..]);
    let found = [
        format!("P035 dependencies.{long}"),
        format!("P035 routes.{route:?}"),
        format!("P035 timeouts.{long}"),
    ];
    check(&named(&long), &found.each_ref().map(String::as_str));
}
