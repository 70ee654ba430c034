//! A policy as a list of fields, for comparing and for showing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use super::parts::{
    AdmissionPolicy, BreakerPolicy, HedgePolicy, RatePolicy, RetryPolicy, StreamPolicy,
    TimeoutPolicy,
};
use super::path::FieldPath;
use super::service::{DrainPolicy, TrustPolicy};
use super::users::{Dependency, Policy, Route};
use super::values::{Setting, Timeout};

/// Tells how one field of a policy differs from another policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// The field.
    pub path: FieldPath,
    /// What it was, or `None` if it was not there.
    pub before: Option<String>,
    /// What it is, or `None` if it is gone.
    pub after: Option<String>,
}

impl Policy {
    /// Lists every value, each with its path, and as a document writes it.
    ///
    /// In the order of a document: tables by name, fields as they are declared. What is not set is
    /// not listed, and what has its default is.
    #[must_use]
    pub fn fields(&self) -> Vec<(FieldPath, String)> {
        let mut fields = Fields(Vec::new());
        fields.tables("admissions", &self.admissions, admission);
        fields.tables("timeouts", &self.timeouts, timeout);
        fields.tables("rates", &self.rates, rate);
        fields.tables("breakers", &self.breakers, breaker);
        fields.tables("retries", &self.retries, retry);
        fields.tables("hedges", &self.hedges, hedge);
        fields.tables("streams", &self.streams, stream);
        fields.tables("routes", &self.routes, route);
        fields.tables("dependencies", &self.dependencies, dependency);
        fields.table("trust", &self.trust, trust);
        fields.table("drain", &self.drain, drain);
        fields.0
    }

    /// Lists what is different in `after`, by path; nothing if the two are equal.
    #[must_use]
    pub fn changes(&self, after: &Self) -> Vec<FieldChange> {
        let before: BTreeMap<FieldPath, String> = self.fields().into_iter().collect();
        let after: BTreeMap<FieldPath, String> = after.fields().into_iter().collect();
        let paths: BTreeSet<&FieldPath> = before.keys().chain(after.keys()).collect();
        paths
            .into_iter()
            .filter(|path| before.get(path) != after.get(path))
            .map(|path| FieldChange {
                path: path.clone(),
                before: before.get(path).cloned(),
                after: after.get(path).cloned(),
            })
            .collect()
    }

    /// Writes the policy as a TOML document, in the order of [`fields`](Self::fields). `trust` and
    /// `drain` are left out where all of them is default.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut fields = self.fields();
        fields.retain(|(path, _)| match path.segments()[0].as_str() {
            "trust" => self.trust != TrustPolicy::default(),
            "drain" => self.drain != DrainPolicy::default(),
            _ => true,
        });
        Self::toml_of(&fields)
    }

    /// Writes fields as a TOML document; those of one table stand together.
    #[must_use]
    pub fn toml_of(fields: &[(FieldPath, String)]) -> String {
        let mut document = String::new();
        let mut table: Option<FieldPath> = None;
        for (path, value) in fields {
            let parent = path.parent();
            if parent != table {
                if table.is_some() {
                    document.push('\n');
                }
                let header: Vec<String> = parent
                    .iter()
                    .flat_map(FieldPath::segments)
                    .map(|segment| toml_key(segment))
                    .collect();
                // Writing to a string does not fail.
                let _ = writeln!(document, "[{}]", header.join("."));
                table = parent;
            }
            let key = path.segments().last().map(|key| toml_key(key));
            let _ = writeln!(document, "{} = {value}", key.unwrap_or_default());
        }
        document
    }
}

struct Fields(Vec<(FieldPath, String)>);

impl Fields {
    fn tables<T>(
        &mut self,
        section: &str,
        parts: &BTreeMap<String, T>,
        list: fn(&mut Table<'_>, &T),
    ) {
        for (name, part) in parts {
            let at = FieldPath::new([section, name]);
            list(&mut Table { fields: self, at }, part);
        }
    }

    fn table<T>(&mut self, section: &str, part: &T, list: fn(&mut Table<'_>, &T)) {
        let at = FieldPath::new([section]);
        list(&mut Table { fields: self, at }, part);
    }
}

struct Table<'a> {
    fields: &'a mut Fields,
    at: FieldPath,
}

impl Table<'_> {
    fn put(&mut self, key: &str, value: impl ToString) {
        self.fields.0.push((self.at.join(key), value.to_string()));
    }

    fn text(&mut self, key: &str, value: impl ToString) {
        self.put(key, quoted(&value.to_string()));
    }

    fn time(&mut self, key: &str, value: Timeout) {
        self.text(key, spelled(value.get()));
    }

    fn time_if_set(&mut self, key: &str, value: Option<Timeout>) {
        if let Some(value) = value {
            self.time(key, value);
        }
    }

    fn name(&mut self, key: &str, value: &Option<String>) {
        if let Some(name) = value {
            self.text(key, name);
        }
    }

    fn list(&mut self, key: &str, values: &[String]) {
        if !values.is_empty() {
            let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
            self.put(key, format!("[{}]", values.join(", ")));
        }
    }

    fn setting<T: Copy>(&mut self, key: &str, value: &Setting<T>, put: fn(&mut Self, &str, T)) {
        match *value {
            Setting::Fixed(value) => put(self, key, value),
            Setting::Learn { floor, ceiling } => {
                self.text(key, "learn");
                put(self, &format!("{key}_floor"), floor);
                put(self, &format!("{key}_ceiling"), ceiling);
            }
        }
    }
}

fn admission(table: &mut Table<'_>, admission: &AdmissionPolicy) {
    table.setting("permits", &admission.permits, |table, key, value| {
        table.put(key, value);
    });
    table.put("queue", admission.queue);
    table.time("queue_wait", admission.queue_wait);
    for (tier, share) in &admission.guaranteed {
        let key = format!("guaranteed_{}", tier_key(tier.number()));
        table.put(&key, share.get());
    }
    table.put("shadow", admission.shadow);
}

fn timeout(table: &mut Table<'_>, timeout: &TimeoutPolicy) {
    table.setting("timeout", &timeout.timeout, Table::time);
    if timeout.timeout.is_learned() {
        table.put("permit_share", timeout.permit_share.get());
        table.time_if_set("timeout_start", timeout.start);
        table.name("timeout_start_query", &timeout.start_query);
    }
    table.time("body_idle", timeout.body_idle);
    table.time_if_set("body_total", timeout.body_total);
    table.put("shadow", timeout.shadow);
}

fn rate(table: &mut Table<'_>, rate: &RatePolicy) {
    table.put("requests", rate.requests);
    table.time("period", rate.period);
    table.put("burst", rate.burst);
    table.put("per_client", rate.per_client);
    table.put("shadow", rate.shadow);
}

fn breaker(table: &mut Table<'_>, breaker: &BreakerPolicy) {
    if let Some(share) = breaker.failure_share {
        table.put("failure_share", share.get());
    }
    if let Some(slow) = breaker.slow {
        table.time("slow_over", slow.over);
        table.put("slow_share", slow.share.get());
    }
    if let Some(consecutive) = breaker.consecutive {
        table.put("consecutive", consecutive);
    }
    table.put("min_calls", breaker.min_calls);
    table.time("window", breaker.window);
    table.put("half_open", breaker.half_open);
    table.time("open", breaker.open);
    table.time("open_longest", breaker.open_longest);
    table.time("ramp", breaker.ramp);
    table.put("shadow", breaker.shadow);
}

fn retry(table: &mut Table<'_>, retry: &RetryPolicy) {
    table.put("attempts", retry.attempts);
    if let Some(budget) = retry.budget {
        table.put("budget", budget.get());
    }
    table.time("first_wait", retry.first_wait);
    table.time("longest_wait", retry.longest_wait);
    table.put("unsafe_methods", retry.unsafe_methods);
}

fn hedge(table: &mut Table<'_>, hedge: &HedgePolicy) {
    table.setting("delay", &hedge.delay, Table::time);
    if let Some(budget) = hedge.budget {
        table.put("budget", budget.get());
    }
}

fn stream(table: &mut Table<'_>, stream: &StreamPolicy) {
    table.put("connections", stream.connections);
    table.time("idle", stream.idle);
    table.time_if_set("total", stream.total);
    table.put("shadow", stream.shadow);
}

fn route(table: &mut Table<'_>, route: &Route) {
    let name = table.at.segments().last().map(String::as_str);
    let (method, _) = Route::split_name(name.unwrap_or_default());
    // Said by its name already.
    if method.is_none_or(|method| route.methods != [method]) {
        table.list("methods", &route.methods);
    }
    table.text("kind", route.kind.as_str());
    table.text("tier", tier_key(route.tier.number()));
    if let Some(rate) = route.rate {
        table.put("rate", rate.get());
    }
    table.time_if_set("deadline", route.deadline);
    table.name("timeout", &route.timeout);
    table.name("admission", &route.admission);
    table.name("quota", &route.quota);
    table.name("stream", &route.stream);
    table.list("calls", &route.calls);
}

fn dependency(table: &mut Table<'_>, dependency: &Dependency) {
    table.list("methods", &dependency.methods);
    table.put("idempotency_key", dependency.idempotency_key);
    if let Some(rate) = dependency.rate {
        table.put("rate", rate.get());
    }
    table.put("attempts_inside", dependency.attempts_inside);
    table.name("timeout", &dependency.timeout);
    table.name("admission", &dependency.admission);
    table.name("breaker", &dependency.breaker);
    table.name("retry", &dependency.retry);
    table.name("hedge", &dependency.hedge);
}

fn trust(table: &mut Table<'_>, trust: &TrustPolicy) {
    table.text("clients", trust.clients.as_str());
    let proxies: Vec<String> = trust.proxies.iter().map(ToString::to_string).collect();
    table.list("proxies", &proxies);
    table.put("hops", trust.hops);
}

fn drain(table: &mut Table<'_>, drain: &DrainPolicy) {
    table.time_if_set("not_ready", drain.not_ready);
    table.time("lower", drain.lower);
    table.time("core", drain.core);
    table.time("hard", drain.hard);
}

/// The name of a tier in a document: `core`, or `tier1` and so on.
pub(super) fn tier_key(number: u8) -> String {
    match number {
        0 => "core".to_owned(),
        number => format!("tier{number}"),
    }
}

/// Spells a length of time in the largest unit in which it is whole.
fn spelled(time: Duration) -> String {
    let nanos = time.as_nanos();
    let units = [
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    units
        .into_iter()
        .find(|(_, unit)| nanos.is_multiple_of(*unit))
        .map(|(name, unit)| format!("{}{name}", nanos / unit))
        .unwrap_or_default()
}

fn toml_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        quoted(key)
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Tier;
    use crate::decide::policy::parts::SlowCalls;
    use crate::decide::policy::service::Clients;
    use crate::decide::policy::users::RouteKind;
    use crate::decide::policy::values::{Attempts, Count, Rate, Share};

    fn millis(ms: u64) -> Timeout {
        Timeout::new(Duration::from_millis(ms)).unwrap()
    }

    fn share(share: f64) -> Share {
        Share::new(share).unwrap()
    }

    fn everything() -> Policy {
        let mut policy = Policy::default();
        let mut admission = AdmissionPolicy::new(
            Setting::Learn {
                floor: Count::new(10).unwrap(),
                ceiling: Count::new(200).unwrap(),
            },
            millis(50),
        );
        admission.guaranteed.insert(Tier::CORE, share(0.6));
        admission.guaranteed.insert(Tier::DEFAULT, share(0.2));
        policy.admissions.insert("http".into(), admission);
        let mut fixed = TimeoutPolicy::new(Setting::Fixed(millis(1_500)));
        fixed.body_total = Some(millis(90_000));
        policy.timeouts.insert("fixed".into(), fixed);
        let learned = TimeoutPolicy::new(Setting::Learn {
            floor: millis(50),
            ceiling: millis(2_000),
        });
        policy.timeouts.insert("learned".into(), learned);
        let rate = RatePolicy::new(Count::known(100), millis(1_000), Count::known(20));
        policy.rates.insert("public".into(), rate);
        let mut breaker = BreakerPolicy::new();
        breaker.failure_share = Some(share(0.25));
        breaker.slow = Some(SlowCalls {
            over: millis(800),
            share: share(0.5),
        });
        breaker.consecutive = Some(Count::known(5));
        policy.breakers.insert("default".into(), breaker);
        let retry = RetryPolicy::new(Attempts::new(3).unwrap(), share(0.1));
        policy.retries.insert("default".into(), retry);
        let hedge = HedgePolicy::new(Setting::Fixed(millis(30)), share(0.02));
        policy.hedges.insert("quick".into(), hedge);
        let mut stream = StreamPolicy::new(Count::known(100), millis(60_000));
        stream.total = Some(millis(3_600_000));
        policy.streams.insert("events".into(), stream);
        policy.trust.clients = Clients::Inside;
        policy.trust.proxies = vec!["10.0.0.0/8".parse().unwrap()];
        policy.drain.not_ready = Some(millis(5_000));
        let mut stock = Route::new(["PUT"]);
        stock.timeout = Some("learned".into());
        policy.routes.insert("PUT /stock".into(), stock);
        let mut route = Route::new(["GET", "POST"]);
        route.kind = RouteKind::Stream;
        route.tier = Tier::CORE;
        route.rate = Some(Rate::per_second(0.5).unwrap());
        route.deadline = Some(millis(3_000));
        route.timeout = Some("fixed".into());
        route.admission = Some("http".into());
        route.quota = Some("public".into());
        route.stream = Some("events".into());
        route.calls = vec!["pay\"ments".into()];
        policy.routes.insert("/orders/{id}".into(), route);
        let mut dependency = Dependency::new(["POST"]);
        dependency.rate = Some(Rate::per_second(100.0).unwrap());
        dependency.timeout = Some("learned".into());
        dependency.admission = Some("http".into());
        dependency.breaker = Some("default".into());
        dependency.retry = Some("default".into());
        dependency.hedge = Some("quick".into());
        policy.dependencies.insert("pay\"ments".into(), dependency);
        policy
    }

    #[test]
    fn a_policy_is_written_as_toml() {
        let expect = r#"[admissions.http]
permits = "learn"
permits_floor = 10
permits_ceiling = 200
queue = 100
queue_wait = "50ms"
guaranteed_core = 0.6
guaranteed_tier1 = 0.2
shadow = false

[timeouts.fixed]
timeout = "1500ms"
body_idle = "30s"
body_total = "90s"
shadow = false

[timeouts.learned]
timeout = "learn"
timeout_floor = "50ms"
timeout_ceiling = "2s"
permit_share = 0.5
body_idle = "30s"
shadow = false

[rates.public]
requests = 100
period = "1s"
burst = 20
per_client = false
shadow = false

[breakers.default]
failure_share = 0.25
slow_over = "800ms"
slow_share = 0.5
consecutive = 5
min_calls = 20
window = "10s"
half_open = 10
open = "5s"
open_longest = "60s"
ramp = "10s"
shadow = false

[retries.default]
attempts = 3
budget = 0.1
first_wait = "50ms"
longest_wait = "1s"
unsafe_methods = false

[hedges.quick]
delay = "30ms"
budget = 0.02

[streams.events]
connections = 100
idle = "60s"
total = "3600s"
shadow = false

[routes."/orders/{id}"]
methods = ["GET", "POST"]
kind = "stream"
tier = "core"
rate = 0.5
deadline = "3s"
timeout = "fixed"
admission = "http"
quota = "public"
stream = "events"
calls = ["pay\"ments"]

[routes."PUT /stock"]
kind = "response"
tier = "tier1"
timeout = "learned"

[dependencies."pay\"ments"]
methods = ["POST"]
idempotency_key = false
rate = 100
attempts_inside = 1
timeout = "learned"
admission = "http"
breaker = "default"
retry = "default"
hedge = "quick"

[trust]
clients = "inside"
proxies = ["10.0.0.0/8"]
hops = 1

[drain]
not_ready = "5s"
lower = "5s"
core = "10s"
hard = "25s"
"#;

        assert_eq!(everything().to_toml(), expect);
    }

    #[test]
    fn each_field_has_a_path_of_its_own() {
        let fields = everything().fields();
        let mut paths: Vec<&FieldPath> = fields.iter().map(|(path, _)| path).collect();
        let all = paths.len();

        paths.sort();
        paths.dedup();

        assert_eq!(paths.len(), all);
        assert!(all > 40, "{all}");
    }

    #[test]
    fn changes_name_what_came_what_went_and_what_differs() {
        let (before, mut after) = (everything(), everything());
        after.retries.clear();
        after
            .hedges
            .insert("late".into(), before.hedges["quick"].clone());
        if let Some(route) = after.routes.get_mut("/orders/{id}") {
            route.deadline = Some(millis(2_000));
        }

        let changes = before.changes(&after);

        let lines: Vec<String> = changes
            .iter()
            .filter(|change| !change.path.segments()[0].starts_with("retries"))
            .map(|change| format!("{} {:?} {:?}", change.path, change.before, change.after))
            .collect();
        assert_eq!(
            lines,
            [
                r#"hedges.late.budget None Some("0.02")"#,
                r#"hedges.late.delay None Some("\"30ms\"")"#,
                r#"routes./orders/{id}.deadline Some("\"3s\"") Some("\"2s\"")"#,
            ]
        );
        let gone = changes.iter().filter(|change| change.after.is_none());
        assert_eq!(gone.count(), 5, "all fields of the retry policy");
        assert_eq!(before.changes(&before), []);
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(quoted("a\n\\\u{7f}"), "\"a\\u000A\\\\\\u007F\"");
        assert_eq!(toml_key(""), "\"\"");
    }
}
