//! The facts of the context in every line of the log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use steadfast_core::context::{self, Context, Tag, Tier, TraceId};
use steadfast_core::{scope, spawn};
use tracing::Subscriber;
use tracing::subscriber::with_default;
use tracing_subscriber::fmt::{MakeWriter, fmt};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// What was written, write by write.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<String>>>);

impl Written {
    fn text(&self) -> String {
        self.0.lock().unwrap().concat()
    }

    fn make(&self) -> impl for<'a> MakeWriter<'a> + Send + Sync + use<> {
        let written = self.clone();
        context::lines(move || written.clone())
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        self.0.lock().unwrap().push(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn request() -> Context {
    Context::new()
        .with_trace_id(TRACE.parse().unwrap())
        .with_span_id(SPAN.parse().unwrap())
        .with_route("/orders/{id}")
        .with_tier(Tier::CORE)
}

/// Gives what a subscriber writes while `f` runs.
fn written<S>(subscriber: impl FnOnce(&Written) -> S, f: impl FnOnce()) -> String
where
    S: Subscriber + Send + Sync + 'static,
{
    let written = Written::default();
    let subscriber = subscriber(&written);
    // While there is only one, a line that another test's thread writes first would be disabled
    // for all.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    with_default(subscriber, f);
    written.text()
}

fn full(written: &Written) -> impl Subscriber + Send + Sync + use<> {
    fmt().with_ansi(false).with_writer(written.make()).finish()
}

fn colored(written: &Written) -> impl Subscriber + Send + Sync + use<> {
    fmt().with_ansi(true).with_writer(written.make()).finish()
}

fn compact(written: &Written) -> impl Subscriber + Send + Sync + use<> {
    let fmt = fmt().with_ansi(false).with_writer(written.make());
    fmt.compact().finish()
}

fn pretty(written: &Written) -> impl Subscriber + Send + Sync + use<> {
    let fmt = fmt().with_ansi(false).with_writer(written.make());
    fmt.pretty().finish()
}

fn json(written: &Written) -> impl Subscriber + Send + Sync + use<> {
    fmt().with_writer(written.make()).json().finish()
}

fn flat_json(written: &Written) -> impl Subscriber + Send + Sync + use<> {
    let fmt = fmt().with_writer(written.make()).json();
    fmt.flatten_event(true).finish()
}

fn pay() {
    context::put("order", "4711").unwrap();
    tracing::info!(amount = 3, "paid");
}

const FACTS: &str = "trace_id=0af7651916cd43dd8448eb211c80319c span_id=b7ad6b7169203331 \
                     route=/orders/{id} tier=0 order=4711";

#[test]
fn lines_of_text_end_with_the_facts() {
    for line in [
        written(full, || request().run(pay)),
        written(compact, || request().run(pay)),
        written(colored, || request().run(pay)),
    ] {
        assert!(line.contains("paid"), "{line}");
        assert!(line.ends_with(&format!(" {FACTS}\n")), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn an_event_of_several_lines_has_the_facts_in_its_last_one() {
    let text = written(pretty, || {
        request().run(pay);
        tracing::info!("outside");
    });

    let plain = written(pretty, || {
        pay_without_context();
        tracing::info!("outside");
    });
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), plain.lines().count(), "{text}");
    assert_eq!(text.matches(FACTS).count(), 1, "{text}");
    let last = lines.iter().position(|line| line.ends_with(FACTS)).unwrap();
    assert_eq!(lines[last + 1], "", "{text}");
}

fn pay_without_context() {
    tracing::info!(amount = 3, "paid");
}

#[test]
fn objects_of_json_get_members() {
    for line in [
        written(json, || request().run(pay)),
        written(flat_json, || request().run(pay)),
    ] {
        let object: Value = serde_json::from_str(&line).unwrap();

        assert!(line.ends_with("}\n"), "{line}");
        assert_eq!(object["trace_id"], TRACE);
        assert_eq!(object["span_id"], SPAN);
        assert_eq!(object["route"], "/orders/{id}");
        assert_eq!(object["tier"], 0);
        assert_eq!(object["order"], "4711");
        assert_eq!(object["level"], "INFO");
    }
}

#[test]
fn without_a_context_a_line_stays_as_it_is() {
    for line in [
        written(full, pay_without_context),
        written(json, pay_without_context),
        // A tier alone is no context: everything has one.
        written(full, || Context::new().run(pay_without_context)),
    ] {
        assert!(!line.contains("tier"), "{line}");
        assert!(
            line.ends_with("amount=3\n") || line.ends_with("}\n"),
            "{line}"
        );
    }
}

#[test]
fn what_a_line_has_already_is_not_said_again() {
    let say = || {
        request().run(|| {
            let span = tracing::info_span!("request", trace_id = TRACE, route = %"/orders/{id}");
            span.in_scope(|| tracing::info!(tier = 7, order = "mine", "paid"));
        });
    };

    let text = written(full, say);
    let object: Value = serde_json::from_str(&written(flat_json, say)).unwrap();

    assert_eq!(text.matches("trace_id").count(), 1, "{text}");
    assert_eq!(text.matches("route").count(), 1, "{text}");
    // Another value is another fact.
    assert!(
        text.ends_with(&format!("span_id={SPAN} tier=0\n")),
        "{text}"
    );
    assert_eq!(object["tier"], 7);
    assert_eq!(object["order"], "mine");
    assert_eq!(
        object["trace_id"], TRACE,
        "one inside of another member is not a member"
    );
}

#[test]
fn no_value_forges_a_line_a_field_or_a_member() {
    let say = || {
        request().run(|| {
            context::put("note", "x\"}\n{\"level\":\"INFO\"\u{1b}[2J").unwrap();
            context::put("a key\n", "tier=7").unwrap();
            context::put("trace_id", "forged").unwrap();
            tracing::info!("paid");
        });
    };

    let text = written(full, say);
    let line = written(json, say);
    let object: Value = serde_json::from_str(&line).unwrap();

    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(text.contains(r#""a key\n"="tier=7""#), "{text}");
    assert!(!text.contains("forged"), "{text}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert_eq!(object["note"], "x\"}\n{\"level\":\"INFO\"\u{1b}[2J");
    assert_eq!(object["a key\n"], "tier=7");
    assert_eq!(object["trace_id"], TRACE);
}

#[test]
fn a_message_that_looks_like_json_is_text() {
    let bare = |written: &Written| {
        let fmt = fmt().with_ansi(false).with_writer(written.make());
        fmt.without_time()
            .with_level(false)
            .with_target(false)
            .finish()
    };

    let text = written(bare, || request().run(|| tracing::info!("{{name}}")));
    let object = written(bare, || request().run(|| tracing::info!("{{\"a\":1}}")));

    assert!(text.starts_with("{name} trace_id="), "{text}");
    let object: Value = serde_json::from_str(&object).unwrap();
    assert_eq!(
        (&object["a"], &object["trace_id"]),
        (&1.into(), &TRACE.into())
    );
}

#[test]
fn the_facts_of_jobs_and_customers_are_there_as_well() {
    let job = Context::new()
        .with_tenant(Tag::new("acme corp").unwrap())
        .with_job(17, 3)
        .with_change(42);

    let text = written(full, || job.run(pay_without_context));

    let facts = r#" tier=1 tenant="acme corp" job=17 attempt=3 change=42"#;
    assert!(text.ends_with(&format!("{facts}\n")), "{text}");
}

#[test]
fn scopes_tasks_and_what_is_started_in_them_are_told_apart_in_one_trace() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let text = written(full, || {
        let trace = Context::new().with_trace_id(TRACE.parse::<TraceId>().unwrap());
        runtime.block_on(trace.wrap(async {
            context::put("order", "4711").unwrap();
            let task = spawn("aside", async { tracing::info!("in a task") });
            task.await.unwrap();
            let ended = scope("pay").run(async |_| {
                tracing::info!("in a scope");
                Ok(())
            });
            ended.await.unwrap();
        }));
    });

    let mut spans = Vec::new();
    for part in ["in a task", "in a scope"] {
        let line = text.lines().find(|line| line.contains(part)).unwrap();
        assert!(line.contains(&format!("trace_id={TRACE}")), "{line}");
        assert!(line.ends_with("order=4711"), "{line}");
        let (_, span) = line.split_once("span_id=").unwrap();
        spans.push(&span[..16]);
    }
    assert_ne!(spans[0], spans[1]);
}

#[test]
fn a_line_that_comes_in_parts_is_completed_once_at_its_end() {
    let target = Written::default();
    let make = target.make();

    request().run(|| {
        let mut writer = make.make_writer();
        writer.write_all(b"one ").unwrap();
        assert_eq!(target.text(), "");
        writer.write_all(b"line\n").unwrap();
        writer.write_all(b"\n").unwrap();
        writer.write_all(b"no end").unwrap();
        drop(writer);
    });

    let facts = FACTS.replace(" order=4711", "");
    let text = target.text();
    assert_eq!(text, format!("one line {facts}\n\nno end {facts}"));
    // Each in one piece, as other writers in the same place need it.
    assert_eq!(target.0.lock().unwrap().len(), 3);
}

#[test]
fn a_line_without_end_is_not_held_back_for_ever() {
    let target = Written::default();
    let make = target.make();
    let part = [b'x'; 1 << 16];

    let mut writer = make.make_writer();
    for _ in 0..17 {
        writer.write_all(&part).unwrap();
    }

    assert_eq!(target.text().len(), 17 << 16);
}
