//! From tables to a [`Policy`].
//!
//! Where a value is missing or wrong, the problem is noted and a stand-in is taken, so that reading
//! goes on: a document with a problem is refused, and the stand-ins are seen by nobody.

use std::time::Duration;

use steadfast_core::context::{Name, Tier};
use steadfast_core::decide::policy::{
    AdmissionPolicy, Attempts, BreakerPolicy, Clients, Count, Dependency, DrainPolicy, HedgePolicy,
    Network, Policy, Rate, RatePolicy, RetryPolicy, Route, RouteKind, Setting, Share, SlowCalls,
    StreamPolicy, Timeout, TimeoutPolicy, TrustPolicy, nearest_name,
};
use steadfast_core::settings::{Table, Value, Wrong};

/// The most tables of a section: 1,000. Rules look at routes and what they call in pairs, so that
/// ten times as many would take a hundred times as long.
pub(super) const TABLES_MAX: usize = 1_000;

/// The most dependencies that one route names: 32, each a reason for it to fail.
const CALLS_MAX: usize = 32;

/// The most methods of one route: 16, more than HTTP has.
const METHODS_MAX: usize = 16;

const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
];

const GUARANTEES: [&str; Tier::COUNT] = [
    "guaranteed_core",
    "guaranteed_tier1",
    "guaranteed_tier2",
    "guaranteed_tier3",
    "guaranteed_tier4",
    "guaranteed_tier5",
    "guaranteed_tier6",
    "guaranteed_tier7",
];

pub(super) fn policy(root: &mut Table<'_, '_>) -> Policy {
    let mut policy = Policy::default();
    sections(root, "admissions", |name, table| {
        policy.admissions.insert(name, admission(table));
    });
    sections(root, "timeouts", |name, table| {
        policy.timeouts.insert(name, timeout(table));
    });
    sections(root, "rates", |name, table| {
        policy.rates.insert(name, rate(table));
    });
    sections(root, "breakers", |name, table| {
        policy.breakers.insert(name, breaker(table));
    });
    sections(root, "retries", |name, table| {
        policy.retries.insert(name, retry(table));
    });
    sections(root, "hedges", |name, table| {
        policy.hedges.insert(name, hedge(table));
    });
    sections(root, "streams", |name, table| {
        policy.streams.insert(name, stream(table));
    });
    root.each_in("routes", TABLES_MAX, route_name, |name, table| {
        let route = route(name, table);
        policy.routes.insert(name.to_owned(), route);
    });
    sections(root, "dependencies", |name, table| {
        policy.dependencies.insert(name, dependency(table));
    });
    policy.trust = root.table("trust", trust);
    policy.drain = root.table("drain", drain);
    policy
}

fn sections<'d>(
    root: &mut Table<'d, '_>,
    section: &'d str,
    mut read: impl FnMut(String, &mut Table<'d, '_>),
) {
    root.each_in(section, TABLES_MAX, plain_name, |name, table| {
        read(name.to_owned(), table);
    });
}

// === Sections ===

fn admission(table: &mut Table<'_, '_>) -> AdmissionPolicy {
    let keys = ["permits", "permits_floor", "permits_ceiling"];
    let permits = setting(table, keys, count, known_count());
    let wait = table.required("queue_wait", time);
    let mut admission = AdmissionPolicy::new(permits, wait.unwrap_or(known_time()));
    set(&mut admission.queue, table.optional("queue", count));
    for (number, key) in (0..).zip(GUARANTEES) {
        if let (Some(tier), Some(share)) = (Tier::new(number), table.optional(key, share)) {
            admission.guaranteed.insert(tier, share);
        }
    }
    set(&mut admission.shadow, table.optional("shadow", flag));
    admission
}

fn timeout(table: &mut Table<'_, '_>) -> TimeoutPolicy {
    let keys = ["timeout", "timeout_floor", "timeout_ceiling"];
    let mut timeout = TimeoutPolicy::new(setting(table, keys, time, known_time()));
    let permit_share = table.optional("permit_share", share);
    if permit_share.is_some() && !timeout.timeout.is_learned() {
        let wrong = Wrong::new("a fixed timeout has no share: only a learned one is capped by it");
        let fix = "write timeout = \"learn\", or remove permit_share";
        table.refuse("permit_share", wrong.with_fix(fix));
    }
    set(&mut timeout.permit_share, permit_share);
    start(table, &mut timeout);
    set(&mut timeout.body_idle, table.optional("body_idle", time));
    timeout.body_total = table.optional("body_total", time);
    set(&mut timeout.shadow, table.optional("shadow", flag));
    timeout
}

/// What a learned timeout starts from.
fn start(table: &mut Table<'_, '_>, timeout: &mut TimeoutPolicy) {
    timeout.start = table.optional("timeout_start", time);
    timeout.start_query = table.optional("timeout_start_query", query);
    let (floor, ceiling) = match timeout.timeout {
        Setting::Learn { floor, ceiling } => (floor, ceiling),
        Setting::Fixed(_) => {
            for key in ["timeout_start", "timeout_start_query"] {
                if table.has(key) {
                    let wrong = Wrong::new("a fixed timeout starts from nothing else");
                    let fix = format!("write timeout = \"learn\", or remove {key}");
                    table.refuse(key, wrong.with_fix(fix));
                }
            }
            return;
        }
    };
    if timeout
        .start
        .is_some_and(|start| start < floor || start > ceiling)
    {
        let wrong = Wrong::new("it starts outside of its bounds");
        let fix = "write a time from timeout_floor to timeout_ceiling";
        table.refuse("timeout_start", wrong.with_fix(fix));
    }
}

fn query(value: &Value<'_>) -> Result<String, Wrong> {
    let query = value.text()?;
    if query.trim().is_empty() {
        return Err(Wrong::new("the query is empty"));
    }
    if query.len() > TimeoutPolicy::START_QUERY_BYTES_MAX {
        return Err(Wrong::new("a query has at most 1024 bytes"));
    }
    Ok(query.to_owned())
}

fn rate(table: &mut Table<'_, '_>) -> RatePolicy {
    let mut rate = RatePolicy::new(
        table.required("requests", count).unwrap_or(known_count()),
        table.required("period", time).unwrap_or(known_time()),
        table.required("burst", count).unwrap_or(known_count()),
    );
    set(&mut rate.per_client, table.optional("per_client", flag));
    set(&mut rate.shadow, table.optional("shadow", flag));
    rate
}

fn breaker(table: &mut Table<'_, '_>) -> BreakerPolicy {
    let mut breaker = BreakerPolicy::new();
    breaker.failure_share = table.optional("failure_share", share);
    breaker.slow = slow(table);
    breaker.consecutive = table.optional("consecutive", count);
    set(&mut breaker.min_calls, table.optional("min_calls", count));
    set(&mut breaker.window, table.optional("window", time));
    set(&mut breaker.half_open, table.optional("half_open", count));
    set(&mut breaker.open, table.optional("open", time));
    let longest = table.optional("open_longest", time);
    set(&mut breaker.open_longest, longest);
    set(&mut breaker.ramp, table.optional("ramp", time));
    set(&mut breaker.shadow, table.optional("shadow", flag));
    breaker
}

/// A threshold without a share means nothing, and neither does a share without a threshold.
fn slow(table: &mut Table<'_, '_>) -> Option<SlowCalls> {
    if !table.has("slow_over") && !table.has("slow_share") {
        table.optional("slow_over", time);
        table.optional("slow_share", share);
        return None;
    }
    let over = table.required("slow_over", time)?;
    let share = table.required("slow_share", share)?;
    Some(SlowCalls { over, share })
}

fn retry(table: &mut Table<'_, '_>) -> RetryPolicy {
    let attempts = table.required("attempts", attempts);
    let mut retry = RetryPolicy::new(attempts.unwrap_or(Attempts::ONE), known_share());
    retry.budget = table.optional("budget", share);
    set(&mut retry.first_wait, table.optional("first_wait", time));
    let longest = table.optional("longest_wait", time);
    set(&mut retry.longest_wait, longest);
    let unsafe_methods = table.optional("unsafe_methods", flag);
    set(&mut retry.unsafe_methods, unsafe_methods);
    retry
}

fn hedge(table: &mut Table<'_, '_>) -> HedgePolicy {
    let keys = ["delay", "delay_floor", "delay_ceiling"];
    let delay = setting(table, keys, time, known_time());
    let mut hedge = HedgePolicy::new(delay, known_share());
    hedge.budget = table.optional("budget", share);
    hedge
}

fn stream(table: &mut Table<'_, '_>) -> StreamPolicy {
    let connections = table.required("connections", count);
    let idle = table.required("idle", time);
    let mut stream = StreamPolicy::new(
        connections.unwrap_or(known_count()),
        idle.unwrap_or(known_time()),
    );
    stream.total = table.optional("total", time);
    set(&mut stream.shadow, table.optional("shadow", flag));
    stream
}

fn route(name: &str, table: &mut Table<'_, '_>) -> Route {
    let (said, _) = Route::split_name(name);
    let methods = table.optional("methods", methods);
    if let (Some(said), Some(_)) = (said, &methods) {
        let wrong = Wrong::new(format!("the name of the route says {said} already"));
        table.refuse("methods", wrong.with_fix("remove methods"));
    }
    let said = said.map(|said| vec![said.to_owned()]);
    let mut route = Route::new(said.or(methods).unwrap_or_default());
    set(&mut route.kind, table.optional("kind", kind));
    set(&mut route.tier, table.optional("tier", tier));
    route.rate = table.optional("rate", per_second);
    route.deadline = table.optional("deadline", time);
    route.timeout = table.optional("timeout", name_of);
    route.admission = table.optional("admission", name_of);
    route.quota = table.optional("quota", name_of);
    route.stream = table.optional("stream", name_of);
    let calls = table.optional("calls", |value| value.list(CALLS_MAX, name_of));
    set(&mut route.calls, calls);
    route
}

fn dependency(table: &mut Table<'_, '_>) -> Dependency {
    let methods = table.optional("methods", methods);
    let mut dependency = Dependency::new(methods.unwrap_or_default());
    let idempotency_key = table.optional("idempotency_key", flag);
    set(&mut dependency.idempotency_key, idempotency_key);
    dependency.rate = table.optional("rate", per_second);
    let inside = table.optional("attempts_inside", attempts);
    set(&mut dependency.attempts_inside, inside);
    dependency.timeout = table.optional("timeout", name_of);
    dependency.admission = table.optional("admission", name_of);
    dependency.breaker = table.optional("breaker", name_of);
    dependency.retry = table.optional("retry", name_of);
    dependency.hedge = table.optional("hedge", name_of);
    dependency
}

fn trust(table: &mut Table<'_, '_>) -> TrustPolicy {
    let mut trust = TrustPolicy::default();
    set(&mut trust.clients, table.optional("clients", clients));
    let proxies = table.optional("proxies", |value| {
        value.list(TrustPolicy::PROXIES_MAX, |value| {
            Ok(value.text()?.parse::<Network>()?)
        })
    });
    set(&mut trust.proxies, proxies);
    set(&mut trust.hops, table.optional("hops", count));
    trust
}

fn drain(table: &mut Table<'_, '_>) -> DrainPolicy {
    let mut drain = DrainPolicy {
        not_ready: table.optional("not_ready", time),
        ..DrainPolicy::default()
    };
    set(&mut drain.lower, table.optional("lower", time));
    set(&mut drain.core, table.optional("core", time));
    set(&mut drain.hard, table.optional("hard", time));
    drain
}

// === Values ===

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Reads what is written down, or learned between the two bounds beside it.
fn setting<'d, T: Copy>(
    table: &mut Table<'d, '_>,
    [key, floor, ceiling]: [&'d str; 3],
    one: fn(&Value<'d>) -> Result<T, Wrong>,
    stand_in: T,
) -> Setting<T> {
    let said = table.required(key, |value| match value.text() {
        Ok("learn") => Ok(None),
        Ok(text) if nearest_name(text, ["learn"]).is_some() => {
            Err(Wrong::new(format!("{text:?} is unknown")).with_fix("write \"learn\""))
        }
        _ => one(value).map(Some),
    });
    if matches!(said, Some(None)) {
        let floor = table.required(floor, one).unwrap_or(stand_in);
        let ceiling = table.required(ceiling, one).unwrap_or(stand_in);
        return Setting::Learn { floor, ceiling };
    }
    for bound in [floor, ceiling] {
        table.optional(bound, one);
        if table.has(bound) && matches!(said, Some(Some(_))) {
            let wrong = Wrong::new(format!("a fixed {key} has no {bound}"));
            let fix = format!("write {key} = \"learn\", or remove {bound}");
            table.refuse(bound, wrong.with_fix(fix));
        }
    }
    Setting::Fixed(said.flatten().unwrap_or(stand_in))
}

fn time(value: &Value<'_>) -> Result<Timeout, Wrong> {
    Ok(Timeout::new(value.time()?)?)
}

fn count(value: &Value<'_>) -> Result<Count, Wrong> {
    Ok(Count::try_from(value.integer()?)?)
}

fn attempts(value: &Value<'_>) -> Result<Attempts, Wrong> {
    Ok(Attempts::try_from(value.integer()?)?)
}

fn share(value: &Value<'_>) -> Result<Share, Wrong> {
    let share = value.share()?;
    Share::new(share).map_err(|refused| match share {
        1.0..=100.0 => Wrong::from(refused).with_fix(format!("write \"{share} %\"")),
        _ => Wrong::from(refused),
    })
}

fn per_second(value: &Value<'_>) -> Result<Rate, Wrong> {
    Ok(Rate::per_second(value.number()?)?)
}

fn flag(value: &Value<'_>) -> Result<bool, Wrong> {
    value.flag()
}

fn name_of(value: &Value<'_>) -> Result<String, Wrong> {
    let name = value.text()?;
    plain_name(name)?;
    Ok(name.to_owned())
}

fn kind(value: &Value<'_>) -> Result<RouteKind, Wrong> {
    let kinds = [RouteKind::Response, RouteKind::Stream];
    one_of(value, kinds.map(|kind| (kind.as_str(), kind)))
}

fn clients(value: &Value<'_>) -> Result<Clients, Wrong> {
    let clients = [Clients::Edge, Clients::Inside];
    one_of(value, clients.map(|clients| (clients.as_str(), clients)))
}

fn tier(value: &Value<'_>) -> Result<Tier, Wrong> {
    let word = |key: &'static str| key.trim_start_matches("guaranteed_");
    let tiers: [_; Tier::COUNT] = std::array::from_fn(|number| {
        let tier = Tier::new(number as u8).unwrap_or_default();
        (word(GUARANTEES[number]), tier)
    });
    one_of(value, tiers)
}

fn one_of<T, const N: usize>(value: &Value<'_>, known: [(&'static str, T); N]) -> Result<T, Wrong> {
    let text = value.text()?;
    let words = known.each_ref().map(|(word, _)| *word);
    let found = known.into_iter().find(|(word, _)| *word == text);
    let wrong = || {
        let wrong = Wrong::new(format!("{text:?} is unknown"));
        match nearest_name(text, words) {
            Some(near) => wrong.with_fix(format!("write {near:?}")),
            None => wrong.with_fix(format!("write one of {}", words.join(", "))),
        }
    };
    found.map(|(_, value)| value).ok_or_else(wrong)
}

fn methods(value: &Value<'_>) -> Result<Vec<String>, Wrong> {
    value.list(METHODS_MAX, |value| {
        let text = value.text()?;
        method(text)?;
        Ok(text.to_owned())
    })
}

/// Methods of extensions pass; what is nearly one of HTTP's own is a slip.
fn method(text: &str) -> Result<(), Wrong> {
    if METHODS.contains(&text) {
        return Ok(());
    }
    let wrong = Wrong::new(format!("{text:?} is not a method"));
    if let Some(near) = nearest_name(&text.to_ascii_uppercase(), METHODS) {
        return Err(wrong.with_fix(format!("write {near:?}")));
    }
    let token = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
    match !text.is_empty() && text.len() <= 32 && text.bytes().all(token) {
        true => Ok(()),
        false => Err(wrong.with_fix("write it in capitals, as in a request")),
    }
}

// === Names ===

/// Names stand in logs, labels and the names of limits.
fn plain_name(name: &str) -> Result<(), Wrong> {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let wrong = if name.is_empty() {
        "a name has at least one character"
    } else if name.len() > Name::DYNAMIC_BYTES_MAX {
        "a name has at most 96 bytes, as many as a label keeps"
    } else if name.chars().any(hidden) {
        "a name has no characters that cannot be seen"
    } else if name.trim() != name {
        "a name begins and ends with a character that can be seen"
    } else {
        return Ok(());
    };
    Err(Wrong::new(wrong))
}

fn route_name(name: &str) -> Result<(), Wrong> {
    plain_name(name)?;
    let (said, template) = Route::split_name(name);
    if let Some(said) = said {
        method(said)?;
        plain_name(template)?;
    }
    match template.split_once(" /") {
        None => Ok(()),
        Some((before, _)) => {
            method(before.trim_end())?;
            let wrong = Wrong::new(format!("{name:?} is not a method and a template"));
            let fix = "write one method, one space and the template: \"GET /orders\"";
            Err(wrong.with_fix(fix))
        }
    }
}

// === Stand-ins ===

fn known_time() -> Timeout {
    Timeout::new(Duration::from_secs(1)).expect("a second is in range")
}

fn known_count() -> Count {
    Count::new(1).expect("one is in range")
}

fn known_share() -> Share {
    Share::new(0.0).expect("nothing is a share")
}
