//! What a project depends on, and what that says of traps.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Check, Finding, Verdict, check, fail, ok, warn};
use super::{Metadata, source};

pub(super) static VERSIONS: Check = check(
    "project.versions",
    "whether a crate whose types or state have to be one is there in two versions: axum, http, hyper, rustls, sqlx, tower warn; tokio, tracing-core and steadfast-core fail",
);
pub(super) static SQLITE: Check = check(
    "project.sqlite",
    "whether the SQLite that is compiled in is older than 3.51.3, in which a checkpoint can lose pages of another process",
);
pub(super) static TEST_UTIL: Check = check(
    "project.test-util",
    "whether the feature `test-util`, with faults and clocks moved by hand, is in what is released",
);
pub(super) static LIMITS: Check = check(
    "project.limits",
    "whether limits and buffers of tower are used beside axum: around routes they hold nothing back ([T1](../traps/t01-layers-per-connection.md) to [T4](../traps/t04-rate-of-each-connection.md)), around a guard they hide who waits ([T28](../traps/t28-waiters-out-of-sight.md))",
);
pub(super) static CATCH: Check = check(
    "project.catch",
    "whether a service with axum has anything that answers a panic ([T6](../traps/t06-panic-without-a-layer.md))",
);
pub(super) static IDS_IN_LINES: Check = check(
    "project.lines",
    "whether lines of JSON are written without the feature `log` of steadfast, which puts the trace id into each ([T12](../traps/t12-lines-without-an-id.md))",
);
pub(super) static RETRIES: Check = check(
    "project.retries",
    "whether two things in one package retry: their attempts multiply ([T14](../traps/t14-retries-that-multiply.md))",
);
pub(super) static TIMERS: Check = check(
    "project.timers",
    "whether a timer in the process is used as a schedule: a crate that is one, or in the source an `interval` or a `sleep` of half a day or more whose length is written down ([T20](../traps/t20-timer-in-the-process.md))",
);
pub(super) static WORKER_IDS: Check = check(
    "project.worker-ids",
    "whether ids are made with worker ids that nobody leases, so that two processes may have one ([T21](../traps/t21-ids-that-come-again.md))",
);

/// Crates of which there should be one version, how bad another one is, and why.
const ONE_VERSION: &[(&str, Verdict, &str)] = &[
    (
        "axum",
        Verdict::Warn,
        "handlers and layers of one do not fit the other",
    ),
    (
        "http",
        Verdict::Warn,
        "its types are those of every request, and do not fit the other",
    ),
    (
        "hyper",
        Verdict::Warn,
        "two pools of connections, and types that do not fit",
    ),
    (
        "rustls",
        Verdict::Warn,
        "each wants its own crypto provider",
    ),
    (
        "sqlx",
        Verdict::Warn,
        "two pools, and transactions that do not fit",
    ),
    (
        "tower",
        Verdict::Warn,
        "layers of one do not stack with the other",
    ),
    (
        "tokio",
        Verdict::Fail,
        "what belongs to one runtime panics in the other",
    ),
    (
        "tracing-core",
        Verdict::Fail,
        "events of one reach no subscriber of the other",
    ),
    (
        "steadfast-core",
        Verdict::Fail,
        "each has a context, a panic hook and a report of its own",
    ),
];

/// The oldest `libsqlite3-sys` with an SQLite that is safe.
const SQLITE_LEAST: (u64, u64) = (0, 37);

const RETRIERS: &[&str] = &[
    "again",
    "backoff",
    "backon",
    "reqwest-retry",
    "tokio-retry",
    "tokio-retry2",
    "tower-resilience-retry",
];

const TIMERS_IN_PROCESS: &[&str] = &[
    "clokwerk",
    "cron_job",
    "delay_timer",
    "job_scheduler",
    "job_scheduler_ng",
    "tokio-cron-scheduler",
    "tokio_schedule",
];

const SNOWFLAKES: &[&str] = &[
    "ferroid",
    "rs-snowflake",
    "rustflake",
    "snowflake_me",
    "snowflaked",
    "sonyflake",
];

/// What is released: everything that members reach, except by way of tests and build scripts.
#[derive(Default)]
pub(super) struct Graph {
    /// The versions of each crate, each with who depends on it.
    versions: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    members: Vec<Member>,
}

/// A package of the project, with what it names as its dependencies, and the features that it names.
pub(super) struct Member {
    name: String,
    uses: BTreeMap<String, BTreeSet<String>>,
    /// Where its source has a timer with the period of a schedule.
    timers: Vec<String>,
}

pub(super) fn gather(metadata: &Metadata) -> Graph {
    let packages: BTreeMap<_, _> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package))
        .collect();
    let nodes: BTreeMap<_, _> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| (&node.id, node))
        .collect();
    let mut graph = Graph::default();
    let mut seen: BTreeSet<&String> = metadata.workspace_members.iter().collect();
    let mut next: Vec<&String> = seen.iter().copied().collect();
    while let Some(id) = next.pop() {
        let (Some(node), Some(package)) = (nodes.get(id), packages.get(id)) else {
            continue;
        };
        for edge in &node.deps {
            let is_released = edge.dep_kinds.iter().any(|kind| kind.kind.is_none());
            let Some(used) = packages.get(&edge.pkg).filter(|_| is_released) else {
                continue;
            };
            let versions = graph.versions.entry(used.name.clone()).or_default();
            versions
                .entry(used.version.clone())
                .or_default()
                .insert(package.name.clone());
            if seen.insert(&edge.pkg) {
                next.push(&edge.pkg);
            }
        }
    }
    for id in &metadata.workspace_members {
        let Some(package) = packages.get(id) else {
            continue;
        };
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for declared in &package.dependencies {
            // One that is optional is part of nothing until a feature says so, which others decide.
            if declared.kind.is_none() && !declared.optional {
                let features = uses.entry(declared.name.clone()).or_default();
                features.extend(declared.features.iter().cloned());
            }
        }
        let name = package.name.clone();
        let timers = source::timers(package);
        graph.members.push(Member { name, uses, timers });
    }
    graph
}

/// Says what is wrong with a package of these, if anything is.
type Rule = fn(&Member, &[Member]) -> Option<Finding>;

pub(super) fn judge(graph: &Graph) -> Vec<Finding> {
    let mut findings = versions(graph);
    findings.push(sqlite(graph));
    let rules: [(&'static Check, &str, Rule); 7] = [
        (
            &TEST_UTIL,
            "nothing that is only for tests is released",
            test_util,
        ),
        (
            &LIMITS,
            "no limit of tower stands where it does nothing",
            limits,
        ),
        (&CATCH, "whatever serves by axum can answer a panic", catch),
        (&IDS_IN_LINES, "no line of JSON loses its trace id", lines),
        (&RETRIES, "no package retries in two ways", retries),
        (
            &TIMERS,
            "no crate of timers in the process, and no `interval` or `sleep` of half a day or more in the source",
            timers,
        ),
        (&WORKER_IDS, "no worker id is made up", worker_ids),
    ];
    for (check, well, rule) in rules {
        let found: Vec<_> = graph
            .members
            .iter()
            .filter_map(|member| rule(member, &graph.members))
            .collect();
        match found.is_empty() {
            true => findings.push(ok(check, well)),
            false => findings.extend(found),
        }
    }
    findings
}

fn versions(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, verdict, why) in ONE_VERSION {
        let Some(versions) = graph
            .versions
            .get(*name)
            .filter(|versions| versions.len() > 1)
        else {
            continue;
        };
        let told = versions.iter().map(|(version, by)| {
            let by: Vec<&str> = by.iter().take(3).map(String::as_str).collect();
            format!("{version} (by {})", by.join(", "))
        });
        let told = told.collect::<Vec<_>>().join(" and ");
        let oldest = versions.keys().min_by_key(|version| parsed(version));
        let oldest = oldest.map_or("", String::as_str);
        findings.push(Finding {
            verdict: *verdict,
            ..warn(
                &VERSIONS,
                format!("{name} is there as {told}: {why}"),
                format!("raise what brings the older one: `cargo tree -i {name}@{oldest}` shows the way to it"),
            )
        });
    }
    if findings.is_empty() {
        findings.push(ok(
            &VERSIONS,
            "one version of each crate that has to be one",
        ));
    }
    findings
}

fn sqlite(graph: &Graph) -> Finding {
    let versions = graph.versions.get("libsqlite3-sys");
    let old = versions.and_then(|versions| {
        versions.iter().find(|(version, _)| {
            let (major, minor, _) = parsed(version);
            (major, minor) < SQLITE_LEAST
        })
    });
    match old {
        None => ok(&SQLITE, "no SQLite that can lose pages"),
        Some((version, by)) => fail(
            &SQLITE,
            format!(
                "libsqlite3-sys {version} (by {}) has an SQLite older than 3.51.3: a checkpoint can lose what another process writes",
                by.iter().next().map_or("", String::as_str)
            ),
            "raise it to 0.37: sqlx 0.9 has it",
        ),
    }
}

/// The numbers of a version; nothing for what is none.
fn parsed(version: &str) -> (u64, u64, u64) {
    let mut parts = version
        .split(['.', '-', '+'])
        .map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

impl Member {
    fn has(&self, name: &str) -> bool {
        self.uses.contains_key(name)
    }

    /// Gives which of these features it names of a dependency.
    fn named<'f>(&self, name: &str, features: &[&'f str]) -> Vec<&'f str> {
        let Some(named) = self.uses.get(name) else {
            return Vec::new();
        };
        features
            .iter()
            .copied()
            .filter(|feature| named.contains(*feature))
            .collect()
    }

    fn any<'n>(&self, names: &[&'n str]) -> Vec<&'n str> {
        names
            .iter()
            .copied()
            .filter(|name| self.has(name))
            .collect()
    }

    fn has_guard(&self) -> bool {
        self.has("steadfast-tower") || !self.named("steadfast", &["tower", "axum"]).is_empty()
    }
}

fn test_util(member: &Member, _: &[Member]) -> Option<Finding> {
    let family = member
        .uses
        .iter()
        .filter(|(name, _)| name.starts_with("steadfast"));
    let with: Vec<_> = family
        .filter(|(_, features)| features.contains("test-util"))
        .map(|(name, _)| name.as_str())
        .collect();
    (!with.is_empty()).then(|| {
        fail(
            &TEST_UTIL,
            format!(
                "{} has the feature test-util of {} in what is released",
                member.name,
                with.join(", ")
            ),
            "name the feature under [dev-dependencies] only",
        )
    })
}

fn limits(member: &Member, _: &[Member]) -> Option<Finding> {
    let named = member.named("tower", &["buffer", "full", "limit", "load-shed"]);
    if named.is_empty() || !member.has("axum") {
        return None;
    }
    let (name, named) = (&member.name, named.join(", "));
    Some(match member.has_guard() {
        true => warn(
            &LIMITS,
            format!(
                "{name} has {named} of tower beside the guard: a limit or a buffer outside of the guard hides who waits, and tiers never act (T28)"
            ),
            "limit by an [admissions] of the policy, and take the feature out of tower",
        ),
        false => warn(
            &LIMITS,
            format!(
                "{name} has {named} of tower beside axum: around routes each connection or route has a limit of its own, and nothing is shed (T1 to T4)"
            ),
            "limit by the guard of steadfast, whose state belongs to the limit, or keep these layers to clients",
        ),
    })
}

fn catch(member: &Member, _: &[Member]) -> Option<Finding> {
    let caught = member.has_guard()
        || !member
            .named("tower-http", &["catch-panic", "full"])
            .is_empty();
    (member.has("axum") && !caught).then(|| {
        warn(
            &CATCH,
            format!("{} serves by axum, and nothing in it catches a panic: the client sees a closed connection, and no line tells of it (T6)", member.name),
            "put the guard of steadfast around the router: docs/guide/protect-a-route.md",
        )
    })
}

fn lines(member: &Member, members: &[Member]) -> Option<Finding> {
    let is_json = !member.named("tracing-subscriber", &["json"]).is_empty();
    // One that sets up the log of another has its lines completed by that.
    let has_ids = members
        .iter()
        .filter(|other| other.name == member.name || other.has(&member.name))
        .any(|other| !other.named("steadfast", &["log"]).is_empty());
    (is_json && !has_ids).then(|| {
        warn(
            &IDS_IN_LINES,
            format!(
                "{} writes lines of JSON, in which tasks and handlers lose the trace id (T12)",
                member.name
            ),
            "take steadfast with its feature `log`, and write through `context::lines`",
        )
    })
}

fn retries(member: &Member, _: &[Member]) -> Option<Finding> {
    let mut retriers = member.any(RETRIERS);
    retriers.extend(
        member
            .named("tower", &["retry"])
            .iter()
            .map(|_| "tower (retry)"),
    );
    if member.has_guard() {
        retriers.push("the guard of steadfast");
    }
    (retriers.len() > 1).then(|| {
        warn(
            &RETRIES,
            format!("{} can retry by {}: one around the other, attempts multiply (T14)", member.name, retriers.join(" and by ")),
            "leave retries to one of them: `guard.client(\"name\")` has a budget that routes and targets share",
        )
    })
}

fn timers(member: &Member, _: &[Member]) -> Option<Finding> {
    let found = member.any(TIMERS_IN_PROCESS);
    let found = found
        .into_iter()
        .chain(member.timers.iter().map(String::as_str));
    let found: Vec<&str> = found.take(5).collect();
    (!found.is_empty()).then(|| {
        warn(
            &TIMERS,
            format!("{} has a timer in its process, {}: each replica runs it, and what is due during a deploy is lost (T20)", member.name, found.join(", ")),
            "make it a schedule: `steadfast::jobs::schedule`, or [schedules] of `steadfast serve`",
        )
    })
}

fn worker_ids(member: &Member, _: &[Member]) -> Option<Finding> {
    let found = member.any(SNOWFLAKES);
    (!found.is_empty()).then(|| {
        warn(
            &WORKER_IDS,
            format!("{} makes ids by {}, which is told its worker id: two processes with one make the same ids (T21)", member.name, found.join(", ")),
            "have the worker id leased: `steadfast::ids`, docs/migration/from-snowflake-crates.md",
        )
    })
}
