//! Whatever is told is described, and whatever is described is told.
//!
//! Metrics and events are an interface: people make dashboards and alerts of them. Each package
//! keeps tables of them beside the code (`METRICS`, `EVENTS`), which its `catalogue` puts together.
//! Here the tables are compared with the sources, and the reference is made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use steadfast::ids::catalogue as ids;
use steadfast::jobs::catalogue as jobs;
use steadfast::report::{EventDoc, MetricDoc, MetricKind, catalogue as core};
use steadfast::store::catalogue as store;
use steadfast::tower::catalogue as tower;

use super::assert_none;
use super::repository;
use super::source::{group_len, without_tests};
use super::tokens::{Token, lex_with_literals};

/// A package that tells, with its tables.
struct Catalogue {
    folder: &'static str,
    title: &'static str,
    metrics: Vec<&'static MetricDoc>,
    events: Vec<&'static EventDoc>,
}

fn catalogues() -> [Catalogue; 5] {
    [
        Catalogue {
            folder: "crates/steadfast-core/src",
            title: "The kernel",
            metrics: core::metrics().collect(),
            events: core::events().collect(),
        },
        Catalogue {
            folder: "crates/steadfast-tower/src",
            title: "Requests and calls",
            metrics: tower::metrics().collect(),
            events: tower::events().collect(),
        },
        Catalogue {
            folder: "crates/steadfast-store/src",
            title: "The store",
            metrics: store::metrics().collect(),
            events: store::events().collect(),
        },
        Catalogue {
            folder: "crates/steadfast-ids/src",
            title: "Ids",
            metrics: ids::metrics().collect(),
            events: ids::events().collect(),
        },
        Catalogue {
            folder: "crates/steadfast-jobs/src",
            title: "Jobs and schedules",
            metrics: jobs::metrics().collect(),
            events: jobs::events().collect(),
        },
    ]
}

/// An event as it is emitted.
#[derive(Debug, Default, PartialEq)]
struct Emitted {
    place: String,
    target: Option<String>,
    level: Option<String>,
    message: Option<String>,
    fields: BTreeSet<String>,
    /// Further fields have names that are parameters of a macro.
    open: bool,
    /// By a macro of the file, which adds target and fields.
    local: Option<&'static str>,
    /// At a level that is a parameter.
    any_level: bool,
}

/// A metric as it is told.
#[derive(Debug, PartialEq)]
struct Told {
    place: String,
    name: String,
    kind: MetricKind,
}

const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

/// Macros of files that emit through one of `tracing` in the same file; `ended` through `log`.
const LOCAL: &[&str] = &["event", "log", "ended"];

fn shipped(text: &str) -> Vec<Token> {
    without_tests(&lex_with_literals(text)).0
}

/// Finds what a file emits, with what its local macros add.
fn emitted(path: &Path, tokens: &[Token]) -> Vec<Emitted> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        if text(at + 1) != "!" || text(at + 2) != "(" {
            continue;
        }
        let is_parameter = at > 0 && text(at - 1) == "$";
        let before = at - usize::from(is_parameter);
        let of_tracing = before > 2 && text(before - 3) == "tracing" && text(before - 1) == ":";
        let name = text(at);
        let emits = match of_tracing {
            true => is_parameter || name == "event" || LEVELS.contains(&name),
            false => LOCAL.contains(&name),
        };
        if emits {
            let group = &tokens[at + 2..];
            let mut event = arguments(&group[1..group_len(group) - 1]);
            event.place = format!("{}:{}", path.display(), tokens[at].line);
            event.local = LOCAL
                .iter()
                .find(|local| !of_tracing && **local == name)
                .copied();
            if of_tracing && !is_parameter && LEVELS.contains(&name) {
                event.level = Some(name.to_owned());
            }
            found.push(event);
        }
    }
    let (bases, mut events): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|event| event.message.is_none());
    for event in events.iter_mut().filter(|event| event.local.is_some()) {
        let adds = |base: &&Emitted| match base.local {
            None => true,
            Some(local) => base.any_level && local == "log" && event.local == Some("ended"),
        };
        for base in bases.iter().filter(adds).collect::<Vec<_>>() {
            event.target = event.target.take().or(base.target.clone());
            event.fields.extend(base.fields.iter().cloned());
        }
    }
    events
}

/// Reads the arguments of a macro that emits.
fn arguments(tokens: &[Token]) -> Emitted {
    let mut event = Emitted::default();
    for argument in split(tokens) {
        let words: Vec<&str> = argument.iter().map(|token| token.text.as_str()).collect();
        match words.as_slice() {
            ["target", ":", literal] => event.target = Some(unquoted(literal)),
            ["parent", ":", ..] => {}
            [literal] if literal.starts_with('"') => {
                event.message = Some(unquoted(literal));
                break;
            }
            [level] if LEVELS.contains(level) => event.level = Some((*level).to_owned()),
            ["Level", ":", ":", level] => event.level = Some(level.to_lowercase()),
            ["$", _, "=", ..] => event.open = true,
            ["$", "level"] => event.any_level = true,
            ["$", ..] | [] => {}
            [name, "=", ..] => {
                event.fields.insert((*name).to_owned());
            }
            [name] | ["%" | "?", name] => {
                event.fields.insert((*name).to_owned());
            }
            _ => {}
        }
    }
    event
}

fn split(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0_i32;
    tokens
        .split(|token| {
            depth += match token.text.as_str() {
                "(" | "[" | "{" => 1,
                ")" | "]" | "}" => -1,
                _ => 0,
            };
            depth == 0 && token.text == ","
        })
        .collect()
}

fn unquoted(literal: &str) -> String {
    literal.trim_matches('"').to_owned()
}

fn told(path: &Path, tokens: &[Token]) -> Vec<Told> {
    let calls = tokens.windows(4).filter_map(|window| {
        let [dot, method, open, name] = window else {
            return None;
        };
        let kind = match method.text.as_str() {
            "counter" | "sum" => MetricKind::Counter,
            "gauge" | "armed" => MetricKind::Gauge,
            "histogram" => MetricKind::Histogram,
            _ => return None,
        };
        let is_call = dot.text == "." && open.text == "(" && name.text.starts_with('"');
        is_call.then(|| Told {
            place: format!("{}:{}", path.display(), name.line),
            name: unquoted(&name.text),
            kind,
        })
    });
    calls.collect()
}

/// Gives the literals of a file that stand elsewhere than first in `MetricDoc::gauge(` and the like.
fn literals(tokens: &[Token]) -> impl Iterator<Item = String> {
    let literals = tokens.iter().enumerate();
    let literals = literals.filter(|(_, token)| token.text.starts_with('"'));
    let outside = literals.filter(|(at, _)| {
        let before = |count: usize| at.checked_sub(count).map_or("", |at| &tokens[at].text);
        let kinds = ["counter", "gauge", "histogram"];
        !(before(1) == "(" && kinds.contains(&before(2)) && before(3) == ":")
    });
    outside.map(|(_, token)| unquoted(&token.text))
}

fn differing_events(docs: &[&EventDoc], emitted: &[Emitted]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut known = BTreeSet::new();
    for event in emitted {
        let place = &event.place;
        let message = event.message.as_deref().unwrap_or_default();
        let Some(target) = &event.target else {
            violations.push(format!("{place}: the event has no target"));
            continue;
        };
        let found = docs
            .iter()
            .find(|doc| doc.target == target && doc.message == message);
        let Some(doc) = found else {
            violations.push(format!(
                "{place}: {target} {message:?} is emitted and not described: add it to EVENTS"
            ));
            continue;
        };
        known.insert((doc.target, doc.message));
        let described: BTreeSet<String> = doc.fields.iter().map(|s| (*s).to_owned()).collect();
        let same = match event.open {
            true => event.fields.is_subset(&described),
            false => event.fields == described,
        };
        if !same {
            violations.push(format!(
                "{place}: {message:?} is emitted with {:?}, described with {described:?}",
                event.fields
            ));
        }
        let level = event.level.as_deref();
        if level.is_some_and(|level| !doc.levels.contains(&level)) {
            violations.push(format!(
                "{place}: {message:?} is described at another level"
            ));
        }
    }
    for doc in docs {
        if !known.contains(&(doc.target, doc.message)) {
            let EventDoc {
                target, message, ..
            } = doc;
            violations.push(format!("{target} {message:?} is described and not emitted"));
        }
        if doc.when.is_empty() || doc.action.is_empty() {
            violations.push(format!(
                "{:?}: says neither when nor what to do",
                doc.message
            ));
        }
    }
    violations
}

fn differing_metrics(
    docs: &[&MetricDoc],
    told: &[Told],
    literals: &BTreeSet<String>,
) -> Vec<String> {
    let mut violations = Vec::new();
    for Told { place, name, kind } in told {
        match docs.iter().find(|doc| doc.name == name) {
            None => violations.push(format!(
                "{place}: {name} is told and not described: add it to METRICS"
            )),
            Some(doc) if doc.kind != *kind => violations.push(format!(
                "{place}: {name} is told as {kind}, described as {}",
                doc.kind
            )),
            Some(_) => {}
        }
    }
    let mut names = BTreeMap::new();
    for doc in docs {
        let name = doc.name;
        if !literals.contains(name) {
            violations.push(format!("{name} is described and not told"));
        }
        let is_total = name.ends_with("_total");
        if is_total != (doc.kind == MetricKind::Counter) {
            violations.push(format!(
                "{name}: counters, and nothing else, end in `_total`"
            ));
        }
        if !doc.help.ends_with('.') || doc.help.contains('\n') {
            violations.push(format!("{name}: its help is one sentence"));
        }
        *names.entry(name).or_insert(0) += 1;
    }
    let twice = names.into_iter().filter(|(_, times)| *times > 1);
    violations.extend(twice.map(|(name, _)| format!("{name} is described twice")));
    violations
}

#[test]
fn whatever_is_told_is_described_and_the_other_way_round() {
    let mut violations = Vec::new();
    for catalogue in catalogues() {
        let (mut events, mut metrics, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (path, text) in repository::texts("rs") {
            let is_test = path.components().any(|part| {
                let part = part.as_os_str().to_string_lossy();
                part == "tests" || part.ends_with("tests.rs") || part == "testing"
            });
            if path.starts_with(catalogue.folder) && !is_test {
                let tokens = shipped(&text);
                events.extend(emitted(path, &tokens));
                metrics.extend(told(path, &tokens));
                names.extend(literals(&tokens));
            }
        }
        violations.extend(differing_events(&catalogue.events, &events));
        violations.extend(differing_metrics(&catalogue.metrics, &metrics, &names));
    }
    assert_none(&violations);
}

#[test]
fn the_reference_has_what_the_catalogue_has() {
    let path = repository::root().join("docs/reference/events.md");
    let page = page(&catalogues());
    if std::env::var_os("STEADFAST_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let is = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        is == page,
        "docs/reference/events.md differs from the catalogue; STEADFAST_BLESS=1 writes it"
    );
}

fn page(catalogues: &[Catalogue]) -> String {
    let mut page = String::from(HEAD);
    page.push_str("\n## Metrics\n");
    for catalogue in catalogues {
        let _ = write!(page, "\n### {}\n\n{METRICS_HEAD}", catalogue.title);
        let mut metrics = catalogue.metrics.clone();
        metrics.sort_by_key(|doc| doc.name);
        for doc in metrics {
            let labels = doc.labels.iter().map(|label| format!("`{label}`"));
            let labels = labels.collect::<Vec<_>>().join(", ");
            let (name, kind, unit, help) = (doc.name, doc.kind, doc.unit(), doc.help);
            let _ = writeln!(page, "| `{name}` | {kind} | {unit} | {labels} | {help} |");
        }
    }
    page.push_str("\n## Events\n");
    let mut events: Vec<_> = catalogues.iter().flat_map(|one| &one.events).collect();
    events.sort_by_key(|doc| doc.target);
    let mut target = "";
    for doc in events {
        if doc.target != target {
            target = doc.target;
            let _ = write!(page, "\n### `{target}`\n\n{EVENTS_HEAD}");
        }
        let fields = doc.fields.iter().map(|field| format!("`{field}`"));
        let fields = fields.collect::<Vec<_>>().join(", ");
        let levels = doc.levels.join(", ");
        let (message, when, action) = (doc.message.replace('|', "\\|"), doc.when, doc.action);
        let _ = writeln!(
            page,
            "| {levels} | {message} | {fields} | {when} | {action} |"
        );
    }
    page
}

const HEAD: &str = "\
# Events and metrics

Everything that steadfast tells, made from the tables beside the code, which a test compares with the
code. Names, labels, targets, messages and fields are stable: a change of them is in the
[changelog](../../CHANGELOG.md).

Metrics are in `steadfast::report`, and as text for Prometheus in `report::prometheus`: see
[how to scrape and alert](../how-to/prometheus.md). Units are in the names; labels come from bounded
sets: a route is a template of the router, never a path. A metric is there once its part is in use.

Events are those of `tracing`. Beside them there are two spans: `request` (target
`steadfast::request`), around all that is done for a request, and `scope` (target `steadfast::scope`),
around a named scope. With the layer of `context::lines`, every line, ours and yours, has the trace
id, route, tier and keys of the request it belongs to: see [how to log](../how-to/logs.md).
";

const METRICS_HEAD: &str = "| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n";

const EVENTS_HEAD: &str =
    "| level | message | fields | when | what to do |\n|---|---|---|---|---|\n";

#[test]
fn events_are_found_with_target_level_message_and_fields() {
    let source = r#"
        tracing::warn!(target: "steadfast::a", %error, count = since, place = %f("{}", x), "said: {}", y);
        #[cfg(test)]
        mod tests { fn a() { tracing::warn!("in a test"); } }
        fn b() {
            macro_rules! log {
                ($level:ident, $($field:tt)*) => {
                    tracing::$level!(target: "steadfast::b", group = self.group, $($field)*)
                };
            }
            log!(info, restarts, "again");
            tracing::$level!(target: "steadfast::b", kind, $name = $value, "{event}");
        }
    "#;

    let found = emitted(Path::new("a.rs"), &shipped(source));

    let found: Vec<_> = found
        .iter()
        .map(|event| {
            let fields: Vec<_> = event.fields.iter().map(String::as_str).collect();
            let level = event.level.as_deref().unwrap_or("-");
            let (target, message) = (event.target.as_deref(), event.message.as_deref());
            let (target, message) = (target.unwrap(), message.unwrap());
            format!("{level} {target} {message:?} {fields:?} {}", event.open)
        })
        .collect();
    assert_eq!(
        found,
        [
            r#"warn steadfast::a "said: {}" ["count", "error", "place"] false"#,
            r#"info steadfast::b "again" ["group", "restarts"] false"#,
            r#"- steadfast::b "{event}" ["kind"] true"#,
        ]
    );
}

#[test]
fn an_event_that_differs_from_its_description_is_seen() {
    const DOCS: [EventDoc; 2] = [
        EventDoc::new("a", &["warn"], "one", &["x"])
            .when("W.")
            .action("A."),
        EventDoc::new("a", &["warn"], "two", &[])
            .when("W.")
            .action("A."),
    ];
    let check = |source: &str| {
        let found = emitted(Path::new("a.rs"), &shipped(source));
        differing_events(&[&DOCS[0], &DOCS[1]], &found).join("; ")
    };
    let good = r#"tracing::warn!(target: "a", x, "one"); tracing::warn!(target: "a", "two");"#;

    assert_eq!(check(good), "");
    for (what, expected) in [
        (good.replace("x, ", "y, "), "emitted with {\"y\"}"),
        (
            good.replace("warn!(target: \"a\", x", "info!(target: \"a\", x"),
            "another level",
        ),
        (
            good.replace("two", "three"),
            "\"two\" is described and not emitted",
        ),
        (
            good.replace("two", "three"),
            "\"three\" is emitted and not described",
        ),
        (good.replace("target: \"a\", x,", "x,"), "has no target"),
    ] {
        assert!(check(&what).contains(expected), "{}", check(&what));
    }
}

#[test]
fn a_metric_that_differs_from_its_description_is_seen() {
    const DOCS: [MetricDoc; 2] = [
        MetricDoc::counter("a_total", &[], "A."),
        MetricDoc::gauge("b", &[], "B."),
    ];
    let check = |source: &str| {
        let tokens = shipped(source);
        let names = literals(&tokens).collect();
        let told = told(Path::new("a.rs"), &tokens);
        differing_metrics(&[&DOCS[0], &DOCS[1]], &told, &names).join("; ")
    };
    let good = r#"MetricDoc::gauge("b", &[], "B."); to.counter("a_total", 1).armed("b", true);"#;

    assert_eq!(check(good), "");
    for (what, expected) in [
        (
            good.replace(r#".armed("b", true)"#, ""),
            "b is described and not told",
        ),
        (
            good.replace("armed", "sum"),
            "b is told as counter, described as gauge",
        ),
        (
            good.replace("armed(\"b", "armed(\"c"),
            "c is told and not described",
        ),
    ] {
        assert!(check(&what).contains(expected), "{}", check(&what));
    }
}
