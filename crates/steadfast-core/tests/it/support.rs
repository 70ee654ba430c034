//! What the tests share: a log of what happened, events, values that misbehave, processes.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, LazyLock, Mutex};

use steadfast_core::CleanupReport;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// What happened, in order; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn say(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    /// Makes a cleanup that says this.
    pub(crate) fn saying(&self, line: &str) -> impl FnOnce() + Send + 'static + use<> {
        let log = self.clone();
        let line = line.to_owned();
        move || log.say(line)
    }

    #[track_caller]
    pub(crate) fn expect(&self, lines: &[&str]) {
        assert_eq!(*self.0.lock().unwrap(), lines);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Keeps the text of a report, and what it said about each cleanup.
#[derive(Clone, Default)]
pub(crate) struct Reports(Arc<Mutex<Vec<Kept>>>);

#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) path: String,
    pub(crate) verdict: &'static str,
    pub(crate) reaped: bool,
    pub(crate) children_left: usize,
    pub(crate) entries: Vec<(String, &'static str)>,
    pub(crate) text: String,
}

impl Reports {
    pub(crate) fn keep(&self) -> impl FnOnce(&CleanupReport) + Send + 'static + use<> {
        let reports = self.clone();
        move |report| {
            let entries = report.entries.iter();
            reports.0.lock().unwrap().push(Kept {
                path: report.path.to_string(),
                verdict: report.verdict.as_str(),
                reaped: report.reaped,
                children_left: report.children_left,
                entries: entries
                    .map(|entry| (entry.name.to_string(), entry.status.as_str()))
                    .collect(),
                text: report.to_string(),
            });
        }
    }

    pub(crate) fn all(&self) -> Vec<Kept> {
        self.0.lock().unwrap().clone()
    }

    /// Gives the only one there is.
    #[track_caller]
    pub(crate) fn only(&self) -> Kept {
        let all = self.all();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    }
}

impl Kept {
    #[track_caller]
    pub(crate) fn expect(&self, entries: &[(&str, &str)]) {
        let found: Vec<_> = self.entries.iter().map(|(n, s)| (n.as_str(), *s)).collect();
        assert_eq!(found, entries);
    }
}

/// Panics when it is dropped.
#[derive(Debug)]
pub(crate) struct Bomb(pub(crate) &'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// One event of tracing.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) target: String,
    pub(crate) level: tracing::Level,
    pub(crate) message: String,
    pub(crate) fields: BTreeMap<String, String>,
    /// The `scope` fields of the spans around, outermost first.
    pub(crate) spans: Vec<String>,
}

impl Event {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// Keeps a second subscriber, from the first call on. While there is only one, a line that another test's
/// thread writes first would be disabled for all.
pub(crate) fn several_subscribers() {
    static SECOND: LazyLock<tracing::Dispatch> =
        LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));
    LazyLock::force(&SECOND);
}

/// Collects the events of the thread that calls [`Events::listen`].
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<Event>>>);

impl Events {
    pub(crate) fn listen(&self) -> tracing::subscriber::DefaultGuard {
        self.listen_from(tracing::Level::TRACE)
    }

    pub(crate) fn listen_from(&self, level: tracing::Level) -> tracing::subscriber::DefaultGuard {
        several_subscribers();
        let filter = tracing_subscriber::filter::LevelFilter::from_level(level);
        let layer = Collect(self.clone()).with_filter(filter);
        tracing::subscriber::set_default(tracing_subscriber::registry().with(layer))
    }

    pub(crate) fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn with_message(&self, message: &str) -> Vec<Event> {
        let all = self.all().into_iter();
        all.filter(|event| event.message == message).collect()
    }
}

struct Collect(Events);

struct SpanFields(BTreeMap<String, String>);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collect {
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        id: &tracing::span::Id,
        context: Context<'_, S>,
    ) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let span = context.span(id).unwrap();
        span.extensions_mut().insert(SpanFields(fields.0));
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut spans = Vec::new();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanFields(fields)) = span.extensions().get() {
                spans.insert(0, fields.get("scope").cloned().unwrap_or_default());
            }
        }
        let message = fields.0.remove("message").unwrap_or_default();
        self.0.0.lock().unwrap().push(Event {
            target: event.metadata().target().to_owned(),
            level: *event.metadata().level(),
            message,
            fields: fields.0,
            spans,
        });
    }
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

/// Runs the body of a test in a process of its own, for what a process has once: its panic hook,
/// the counts of its reporter. `test` is the path of the test that calls.
#[allow(clippy::print_stderr, reason = "the hook of the process may be silent")]
pub(crate) fn in_own_process(test: &str, body: impl FnOnce()) {
    const MARK: &str = "STEADFAST_TEST_ALONE";
    if std::env::var_os(MARK).is_some_and(|alone| alone == test) {
        // Not by a catch of ours, which would install the hook before the test does.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(body)) {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref().copied());
            let text: &str = text.unwrap_or("a payload that is not a text");
            eprintln!("{text}");
            resume_unwind(payload);
        }
        return;
    }
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MARK, test)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{}\n{stdout}\n{stderr}",
        output.status
    );
}
