//! A wrong and a right policy for each rule: the tests run them, and the reference page shows them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::context::Tier;

/// A policy in which one rule finds something, and the nearest one in which none does.
pub(super) struct Example {
    pub(super) rule: &'static str,
    pub(super) wrong: Policy,
    pub(super) right: Policy,
}

/// Makes the wrong policy of `true` and the right one of `false`.
type Pair = fn(bool) -> Policy;

pub(super) fn examples() -> Vec<Example> {
    let pairs: [(&str, Pair); 35] = [
        ("P001", stalled_route),
        ("P002", too_many_attempts),
        ("P003", few_probes),
        ("P004", promised_too_much),
        ("P005", never_slow),
        ("P006", quiet_dependency),
        ("P007", misspelt),
        ("P008", unused),
        ("P009", retried_post),
        ("P010", hedge_without_budget),
        ("P011", retry_without_budget),
        ("P012", retries_in_two_layers),
        ("P013", swapped_bounds),
        ("P014", early_deadline),
        ("P015", long_queue),
        ("P016", core_below),
        ("P017", cut_stream),
        ("P018", tiny_guarantee),
        ("P019", high_floor),
        ("P020", stalled_together),
        ("P021", hedged_post),
        ("P022", late_hedge),
        ("P023", idle_breaker),
        ("P024", endless),
        ("P025", claimed_twice),
        ("P026", unbounded_stream),
        ("P027", stream_policy_of_response),
        ("P028", never_idle),
        ("P029", never_growing),
        ("P030", hard_drain),
        ("P031", cut_at_deploy),
        ("P032", everybody_is_a_proxy),
        ("P033", hops_without_proxies),
        ("P034", in_shadow),
        ("P035", long_name),
    ];
    pairs
        .into_iter()
        .map(|(rule, policy)| Example {
            rule,
            wrong: policy(true),
            right: policy(false),
        })
        .collect()
}

// === Parts ===

pub(super) fn millis(ms: u64) -> Timeout {
    Timeout::new(Duration::from_millis(ms)).unwrap()
}

pub(super) fn fixed(ms: u64) -> TimeoutPolicy {
    TimeoutPolicy::new(Setting::Fixed(millis(ms)))
}

pub(super) fn learned(floor_ms: u64, ceiling_ms: u64) -> Setting<Timeout> {
    Setting::Learn {
        floor: millis(floor_ms),
        ceiling: millis(ceiling_ms),
    }
}

pub(super) fn share(share: f64) -> Share {
    Share::new(share).unwrap()
}

pub(super) fn count(count: u32) -> Count {
    Count::new(count).unwrap()
}

pub(super) fn attempts(attempts: u8) -> Attempts {
    Attempts::new(attempts).unwrap()
}

pub(super) fn admission(permits: u32) -> AdmissionPolicy {
    AdmissionPolicy::new(Setting::Fixed(count(permits)), millis(50))
}

/// A service with one route: 200 permits, 300 requests a second, 500 ms.
pub(super) fn one_route() -> Policy {
    let mut policy = Policy::default();
    policy.admissions.insert("http".into(), admission(200));
    policy.timeouts.insert("page".into(), fixed(500));
    policy.routes.insert("/orders".into(), route(300.0));
    policy
}

pub(super) fn route(rate: f64) -> Route {
    let mut route = Route::new(["GET"]);
    route.rate = Some(Rate::per_second(rate).unwrap());
    route.timeout = Some("page".into());
    route.admission = Some("http".into());
    route
}

/// A service that calls one dependency: 100 calls a second, 100 ms.
pub(super) fn one_dependency(methods: [&str; 1]) -> Policy {
    let mut policy = Policy::default();
    policy.timeouts.insert("call".into(), fixed(100));
    let mut dependency = Dependency::new(methods);
    dependency.rate = Some(Rate::per_second(100.0).unwrap());
    dependency.timeout = Some("call".into());
    policy.dependencies.insert("payments".into(), dependency);
    policy
}

pub(super) fn payments(policy: &mut Policy) -> &mut Dependency {
    policy.dependencies.get_mut("payments").unwrap()
}

pub(super) fn orders(policy: &mut Policy) -> &mut Route {
    policy.routes.get_mut("/orders").unwrap()
}

pub(super) fn with_breaker(rule: impl FnOnce(&mut BreakerPolicy)) -> Policy {
    let mut policy = one_dependency(["GET"]);
    let mut breaker = BreakerPolicy::new();
    rule(&mut breaker);
    policy.breakers.insert("careful".into(), breaker);
    payments(&mut policy).breaker = Some("careful".into());
    policy
}

pub(super) fn with_retry(methods: [&str; 1]) -> Policy {
    let mut policy = one_dependency(methods);
    let retry = RetryPolicy::new(attempts(3), share(0.1));
    policy.retries.insert("twice more".into(), retry);
    payments(&mut policy).retry = Some("twice more".into());
    policy
}

pub(super) fn with_hedge(methods: [&str; 1], delay: Setting<Timeout>) -> Policy {
    let mut policy = one_dependency(methods);
    policy
        .hedges
        .insert("tail".into(), HedgePolicy::new(delay, share(0.02)));
    payments(&mut policy).hedge = Some("tail".into());
    policy
}

pub(super) fn with_guarantees(core: f64, default: f64) -> Policy {
    let mut policy = one_route();
    let admission = policy.admissions.get_mut("http").unwrap();
    admission.guaranteed.insert(Tier::CORE, share(core));
    admission.guaranteed.insert(Tier::DEFAULT, share(default));
    policy
}

pub(super) fn with_stream() -> Policy {
    let mut policy = one_route();
    let budget = StreamPolicy::new(count(500), millis(60_000));
    policy.streams.insert("live".into(), budget);
    let mut events = Route::new(["GET"]);
    events.kind = RouteKind::Stream;
    events.stream = Some("live".into());
    policy.routes.insert("/events".into(), events);
    policy
}

// === Examples ===

fn stalled_route(wrong: bool) -> Policy {
    let mut policy = one_route();
    orders(&mut policy).rate = Some(Rate::per_second(500.0).unwrap());
    let timeout = fixed(if wrong { 1_000 } else { 400 });
    policy.timeouts.insert("page".into(), timeout);
    policy
}

fn too_many_attempts(wrong: bool) -> Policy {
    let mut policy = with_retry(["GET"]);
    let timeout = fixed(if wrong { 200 } else { 100 });
    policy.timeouts.insert("call".into(), timeout);
    policy.timeouts.insert("page".into(), fixed(500));
    policy.admissions.insert("http".into(), admission(200));
    let mut orders = route(100.0);
    orders.calls.push("payments".into());
    policy.routes.insert("/orders".into(), orders);
    policy
}

fn few_probes(wrong: bool) -> Policy {
    with_breaker(|breaker| {
        breaker.failure_share = Some(share(0.25));
        breaker.half_open = count(if wrong { 3 } else { 5 });
    })
}

fn promised_too_much(wrong: bool) -> Policy {
    with_guarantees(0.7, if wrong { 0.5 } else { 0.3 })
}

fn never_slow(wrong: bool) -> Policy {
    with_breaker(|breaker| {
        breaker.slow = Some(SlowCalls {
            over: millis(if wrong { 250 } else { 50 }),
            share: share(0.5),
        });
    })
}

fn quiet_dependency(wrong: bool) -> Policy {
    let mut policy = with_breaker(|breaker| {
        breaker.failure_share = Some(share(0.25));
        breaker.window = millis(if wrong { 10_000 } else { 40_000 });
    });
    payments(&mut policy).rate = Some(Rate::per_second(0.5).unwrap());
    policy
}

fn misspelt(wrong: bool) -> Policy {
    let mut policy = one_route();
    policy.timeouts.insert("report".into(), fixed(500));
    let mut reports = route(10.0);
    reports.timeout = Some("report".into());
    reports.admission = Some(if wrong { "htpp" } else { "http" }.into());
    policy.routes.insert("/reports".into(), reports);
    policy
}

fn unused(wrong: bool) -> Policy {
    let mut policy = one_route();
    if wrong {
        policy.timeouts.insert("export".into(), fixed(30_000));
    }
    policy
}

fn retried_post(wrong: bool) -> Policy {
    let mut policy = with_retry(["POST"]);
    payments(&mut policy).idempotency_key = !wrong;
    policy
}

fn hedge_without_budget(wrong: bool) -> Policy {
    let mut policy = with_hedge(["GET"], Setting::Fixed(millis(20)));
    if wrong {
        policy.hedges.get_mut("tail").unwrap().budget = None;
    }
    policy
}

fn retry_without_budget(wrong: bool) -> Policy {
    let mut policy = with_retry(["GET"]);
    if wrong {
        policy.retries.get_mut("twice more").unwrap().budget = None;
    }
    policy
}

fn retries_in_two_layers(wrong: bool) -> Policy {
    let mut policy = with_retry(["GET"]);
    payments(&mut policy).attempts_inside = attempts(if wrong { 3 } else { 1 });
    policy
}

fn swapped_bounds(wrong: bool) -> Policy {
    let mut policy = one_route();
    let timeout = if wrong {
        learned(300, 50)
    } else {
        learned(50, 300)
    };
    policy
        .timeouts
        .insert("page".into(), TimeoutPolicy::new(timeout));
    policy
}

fn early_deadline(wrong: bool) -> Policy {
    let mut policy = one_route();
    policy
        .timeouts
        .insert("page".into(), TimeoutPolicy::new(learned(200, 2_000)));
    orders(&mut policy).deadline = Some(millis(if wrong { 150 } else { 1_000 }));
    policy
}

fn long_queue(wrong: bool) -> Policy {
    let mut policy = one_route();
    policy.admissions.get_mut("http").unwrap().queue_wait = millis(if wrong { 1_000 } else { 50 });
    policy
}

fn core_below(wrong: bool) -> Policy {
    if wrong {
        with_guarantees(0.2, 0.6)
    } else {
        with_guarantees(0.6, 0.2)
    }
}

fn cut_stream(wrong: bool) -> Policy {
    let mut policy = with_stream();
    let events = policy.routes.get_mut("/events").unwrap();
    events.timeout = wrong.then(|| "page".into());
    policy
}

fn tiny_guarantee(wrong: bool) -> Policy {
    with_guarantees(0.6, if wrong { 0.004 } else { 0.005 })
}

fn high_floor(wrong: bool) -> Policy {
    let mut policy = one_route();
    let timeout = learned(if wrong { 500 } else { 300 }, 2_000);
    policy
        .timeouts
        .insert("page".into(), TimeoutPolicy::new(timeout));
    policy
}

fn stalled_together(wrong: bool) -> Policy {
    let mut policy = one_dependency(["GET"]);
    let timeout = fixed(if wrong { 400 } else { 300 });
    policy.timeouts.insert("call".into(), timeout);
    policy.timeouts.insert("page".into(), fixed(450));
    policy.admissions.insert("http".into(), admission(200));
    for name in ["/orders", "/carts"] {
        let mut route = route(300.0);
        route.calls.push("payments".into());
        policy.routes.insert(name.into(), route);
    }
    policy
}

fn hedged_post(wrong: bool) -> Policy {
    let method = if wrong { "POST" } else { "PUT" };
    with_hedge([method], Setting::Fixed(millis(20)))
}

fn late_hedge(wrong: bool) -> Policy {
    with_hedge(["GET"], learned(if wrong { 100 } else { 10 }, 100))
}

fn idle_breaker(wrong: bool) -> Policy {
    with_breaker(|breaker| {
        breaker.consecutive = (!wrong).then(|| count(5));
    })
}

fn endless(wrong: bool) -> Policy {
    let mut policy = one_route();
    let mut reports = route(10.0);
    if wrong {
        reports.timeout = None;
    }
    policy.routes.insert("/reports".into(), reports);
    policy
}

fn claimed_twice(wrong: bool) -> Policy {
    let mut policy = one_route();
    let mut all = route(1.0);
    all.methods = if wrong { vec!["GET".into()] } else { vec![] };
    policy.routes.insert("/orders".into(), all);
    policy.routes.insert("GET /orders".into(), route(300.0));
    policy
}

fn unbounded_stream(wrong: bool) -> Policy {
    let mut policy = with_stream();
    if wrong {
        policy.routes.get_mut("/events").unwrap().stream = None;
        policy.streams.clear();
    }
    policy
}

fn stream_policy_of_response(wrong: bool) -> Policy {
    let mut policy = with_stream();
    if wrong {
        let events = policy.routes.get_mut("/events").unwrap();
        events.kind = RouteKind::Response;
        events.timeout = Some("page".into());
    }
    policy
}

fn never_idle(wrong: bool) -> Policy {
    let mut policy = with_stream();
    let total = millis(if wrong { 60_000 } else { 3_600_000 });
    policy.streams.get_mut("live").unwrap().total = Some(total);
    policy
}

fn never_growing(wrong: bool) -> Policy {
    with_breaker(|breaker| {
        breaker.consecutive = Some(count(5));
        breaker.open = millis(if wrong { 90_000 } else { 1_000 });
    })
}

fn hard_drain(wrong: bool) -> Policy {
    let mut policy = one_route();
    policy.drain.not_ready = Some(millis(if wrong { 15_000 } else { 5_000 }));
    policy
}

fn cut_at_deploy(wrong: bool) -> Policy {
    let mut policy = one_route();
    policy.timeouts.insert("page".into(), fixed(8_000));
    orders(&mut policy).rate = Some(Rate::per_second(10.0).unwrap());
    if !wrong {
        policy.drain.lower = millis(8_000);
    }
    policy
}

fn everybody_is_a_proxy(wrong: bool) -> Policy {
    let mut policy = one_route();
    let proxies = if wrong { "0.0.0.0/0" } else { "10.0.0.0/8" };
    policy.trust.proxies = vec![proxies.parse().unwrap()];
    policy
}

fn hops_without_proxies(wrong: bool) -> Policy {
    let mut policy = one_route();
    policy.trust.hops = count(2);
    if !wrong {
        policy.trust.proxies = vec!["10.0.0.0/8".parse().unwrap()];
    }
    policy
}

fn in_shadow(wrong: bool) -> Policy {
    let mut policy = one_route();
    policy.admissions.get_mut("http").unwrap().shadow = wrong;
    policy
}

fn long_name(wrong: bool) -> Policy {
    let mut policy = one_route();
    let orders = policy.routes.remove("/orders").unwrap();
    let by = match wrong {
        true => "customer-number-and-the-day-of-delivery-as-printed-on-the-invoice",
        false => "customer",
    };
    let template = format!("/orders/{{order_number}}/deliveries/by/{{{by}}}");
    policy.routes.insert(template, orders);
    policy
}

// === Tests ===

#[test]
fn rules_are_numbered_in_order_and_each_has_an_example() {
    let rules: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
    let numbers: Vec<String> = (1..=RULES.len()).map(|n| format!("P{n:03}")).collect();
    let shown: Vec<&str> = examples().iter().map(|example| example.rule).collect();

    assert_eq!(rules, numbers);
    assert_eq!(shown, rules);
}

#[test]
fn each_wrong_example_is_found_by_its_rule_alone() {
    for example in examples() {
        let found: BTreeSet<&str> = lint(&example.wrong)
            .iter()
            .map(|found| found.rule)
            .collect();

        assert_eq!(found, BTreeSet::from([example.rule]), "{}", example.rule);
    }
}

#[test]
fn no_rule_finds_anything_in_a_right_example() {
    for example in examples() {
        assert_eq!(lint(&example.right), [], "{}", example.rule);
    }
}

#[test]
fn each_finding_points_at_a_field_or_at_where_one_is_missing() {
    for example in examples() {
        let fields = example.wrong.fields();
        let within = |path: &FieldPath| {
            fields
                .iter()
                .any(|(field, _)| field.segments().starts_with(path.segments()))
        };
        for finding in lint(&example.wrong) {
            let table = finding.path.parent().unwrap();
            assert!(within(&finding.path) || within(&table), "{finding}");
        }
    }
}

#[test]
fn findings_read_as_a_sentence() {
    for finding in examples().iter().flat_map(|example| lint(&example.wrong)) {
        for part in [&finding.message, &finding.fix] {
            assert!(!part.ends_with('.') && !part.is_empty(), "{finding}");
            assert!(
                !part.starts_with(char::is_uppercase) || part.starts_with("POST"),
                "{finding}"
            );
        }
    }
}
