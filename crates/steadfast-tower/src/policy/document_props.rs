//! Every policy can be written down and read again, and no document is too strange to be told about.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use steadfast_core::context::Tier;
use steadfast_core::decide::policy::*;
use steadfast_core::settings;

use super::{PolicyDocument, read};

fn time() -> BoxedStrategy<Timeout> {
    (1_000_000..=3_600_000_000_000_u64)
        .prop_map(|nanos| Timeout::new(Duration::from_nanos(nanos)).unwrap())
        .boxed()
}

fn count() -> BoxedStrategy<Count> {
    (1..=1_000_000_u32)
        .prop_map(|number| Count::new(number).unwrap())
        .boxed()
}

fn attempts() -> impl Strategy<Value = Attempts> {
    (1..=10_u8).prop_map(|number| Attempts::new(number).unwrap())
}

fn share() -> impl Strategy<Value = Share> {
    (0.0..=1.0).prop_map(|share| Share::new(share).unwrap())
}

fn per_second() -> impl Strategy<Value = Rate> {
    prop_oneof![1e-9..=1e6, (1..=1_000_000_u32).prop_map(f64::from)]
        .prop_map(|rate| Rate::per_second(rate).unwrap())
}

fn tier() -> impl Strategy<Value = Tier> {
    (0..8_u8).prop_map(|number| Tier::new(number).unwrap())
}

fn setting<T: Copy + std::fmt::Debug + 'static>(
    one: BoxedStrategy<T>,
) -> impl Strategy<Value = Setting<T>> {
    let learned = (one.clone(), one.clone());
    prop_oneof![
        one.prop_map(Setting::Fixed),
        learned.prop_map(|(floor, ceiling)| Setting::Learn { floor, ceiling }),
    ]
}

fn name() -> impl Strategy<Value = String> {
    "[a-z\"'\\\\.#=é订{}]{1,8}"
}

fn named<T: std::fmt::Debug>(
    one: impl Strategy<Value = T>,
) -> impl Strategy<Value = BTreeMap<String, T>> {
    btree_map(name(), one, 0..3)
}

fn admissions() -> impl Strategy<Value = AdmissionPolicy> {
    let guaranteed = btree_map(tier(), share(), 0..4);
    (setting(count()), count(), time(), guaranteed, any::<bool>()).prop_map(
        |(permits, queue, queue_wait, guaranteed, shadow)| AdmissionPolicy {
            permits,
            queue,
            queue_wait,
            guaranteed,
            shadow,
        },
    )
}

fn timeouts() -> impl Strategy<Value = TimeoutPolicy> {
    let bodies = (time(), of(time()), any::<bool>());
    let query = of("[ -~é]{0,40}[!-~]");
    (setting(time()), share(), 0.0..=1.0, query, bodies).prop_map(
        |(timeout, permit_share, start, query, bodies)| {
            let mut policy = TimeoutPolicy::new(timeout);
            if timeout.is_learned() {
                policy.permit_share = permit_share;
                policy.start_query = query;
            }
            if let Setting::Learn { floor, ceiling } = timeout {
                let (floor, ceiling) = (floor.get(), ceiling.get());
                // Bounds may be swapped here; the linter finds that, not the reader.
                policy.start = ceiling
                    .checked_sub(floor)
                    .and_then(|between| Timeout::new(floor + between.mul_f64(start)).ok());
            }
            (policy.body_idle, policy.body_total, policy.shadow) = bodies;
            policy
        },
    )
}

fn rates() -> impl Strategy<Value = RatePolicy> {
    (count(), time(), count(), any::<bool>(), any::<bool>()).prop_map(
        |(requests, period, burst, per_client, shadow)| RatePolicy {
            requests,
            period,
            burst,
            per_client,
            shadow,
        },
    )
}

fn breakers() -> impl Strategy<Value = BreakerPolicy> {
    let slow = (time(), share()).prop_map(|(over, share)| SlowCalls { over, share });
    let trips = (of(share()), of(slow), of(count()));
    let window = (count(), time(), count());
    let open = (time(), time(), time(), any::<bool>());
    (trips, window, open).prop_map(|(trips, window, open)| {
        let mut policy = BreakerPolicy::new();
        (policy.failure_share, policy.slow, policy.consecutive) = trips;
        (policy.min_calls, policy.window, policy.half_open) = window;
        (policy.open, policy.open_longest, policy.ramp, policy.shadow) = open;
        policy
    })
}

fn retries() -> impl Strategy<Value = RetryPolicy> {
    let parts = (attempts(), of(share()), time(), time(), any::<bool>());
    parts.prop_map(
        |(attempts, budget, first_wait, longest_wait, unsafe_methods)| RetryPolicy {
            attempts,
            budget,
            first_wait,
            longest_wait,
            unsafe_methods,
        },
    )
}

fn hedges() -> impl Strategy<Value = HedgePolicy> {
    (setting(time()), of(share())).prop_map(|(delay, budget)| HedgePolicy { delay, budget })
}

fn streams() -> impl Strategy<Value = StreamPolicy> {
    (count(), time(), of(time()), any::<bool>()).prop_map(|(connections, idle, total, shadow)| {
        StreamPolicy {
            connections,
            idle,
            total,
            shadow,
        }
    })
}

fn routes() -> impl Strategy<Value = (String, Route)> {
    let methods = proptest::sample::subsequence(vec!["GET", "POST", "LOCK"], 0..=3);
    let plain = ("/[a-z{}.\"]{0,6}", methods)
        .prop_map(|(template, methods)| (template, Route::new(methods)));
    let said = ("(GET|PUT|POST)", "/[a-z{}]{0,6}")
        .prop_map(|(method, template)| (format!("{method} {template}"), Route::new([method])));
    let facts = (tier(), any::<bool>(), of(per_second()), of(time()));
    let policies = (of(name()), of(name()), of(name()), of(name()));
    let calls = vec(name(), 0..3);
    (prop_oneof![plain, said], facts, policies, calls).prop_map(
        |((name, mut route), facts, policies, calls)| {
            let (tier, stream, rate, deadline) = facts;
            if stream {
                route.kind = RouteKind::Stream;
            }
            (route.tier, route.rate, route.deadline) = (tier, rate, deadline);
            (route.timeout, route.admission, route.quota, route.stream) = policies;
            route.calls = calls;
            (name, route)
        },
    )
}

fn dependencies() -> impl Strategy<Value = Dependency> {
    let facts = (any::<bool>(), of(per_second()), attempts());
    let names = (of(name()), of(name()), of(name()), of(name()), of(name()));
    (facts, names).prop_map(|(facts, names)| {
        let mut dependency = Dependency::new(["POST"]);
        (
            dependency.idempotency_key,
            dependency.rate,
            dependency.attempts_inside,
        ) = facts;
        (
            dependency.timeout,
            dependency.admission,
            dependency.breaker,
            dependency.retry,
            dependency.hedge,
        ) = names;
        dependency
    })
}

fn trust() -> impl Strategy<Value = TrustPolicy> {
    let network = (any::<u32>(), 0..=32_u8).prop_map(|(bits, prefix)| {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        Network::new(Ipv4Addr::from(bits & mask).into(), prefix).unwrap()
    });
    let clients = prop_oneof![Just(Clients::Edge), Just(Clients::Inside)];
    (clients, vec(network, 0..3), count()).prop_map(|(clients, proxies, hops)| TrustPolicy {
        clients,
        proxies,
        hops,
    })
}

fn drain() -> impl Strategy<Value = DrainPolicy> {
    (of(time()), time(), time(), time()).prop_map(|(not_ready, lower, core, hard)| DrainPolicy {
        not_ready,
        lower,
        core,
        hard,
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let limits = (named(admissions()), named(timeouts()), named(rates()));
    let calls = (named(breakers()), named(retries()), named(hedges()));
    let users = (named(streams()), vec(routes(), 0..3), named(dependencies()));
    (limits, calls, users, trust(), drain()).prop_map(|(limits, calls, users, trust, drain)| {
        let (admissions, timeouts, rates) = limits;
        let (breakers, retries, hedges) = calls;
        let (streams, routes, dependencies) = users;
        Policy {
            admissions,
            timeouts,
            rates,
            breakers,
            retries,
            hedges,
            streams,
            routes: routes.into_iter().collect(),
            dependencies,
            trust,
            drain,
        }
    })
}

/// Lines that are nearly right, in any order.
const STRANGE: &str = concat!(
    "(\\[(timeouts|routes|trust|drain)(\\.(a|\"GET /x\"|\"\\\\u0000\"))?\\]\n",
    "|(timeout|methods|proxies|hops|x) = ",
    "(1|\"learn\"|nan|1e999|\"9h\"|\\[\\[1\\]\\]|\\{a=1\\}|'''|-0|0x7f|1979-05-27)\r?\n){0,12}",
);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read_again(policy in policies()) {
        let text = policy.to_toml();
        let source = settings::Source::new("policy.toml", &text).unwrap();

        let (read, _) = settings::read(&source, read::policy)
            .map_err(|problems| TestCaseError::fail(format!("{problems}\n{text}")))?;

        prop_assert_eq!(&read, &policy, "{}", text);
        prop_assert_eq!(read.to_toml(), text);
    }

    #[test]
    fn no_document_is_too_strange(text in STRANGE) {
        if let Err(problems) = PolicyDocument::new("policy.toml", &text) {
            prop_assert!(problems.has_errors());
        }
    }
}
