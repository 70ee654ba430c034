use tracing::Level;
use tracing::span::Span;

use super::report::{CleanupEntry, CleanupReport};
use super::stack::Meta;
use super::{CleanupStatus, OnReport, Verdict};
use crate::cancel::Cause;
use crate::clock::{self, Instant};
use crate::context::{Context, Node, ScopePath};
use crate::report::EventDoc;
use crate::{panic, recover, voice};

/// Emits the one end event of a scope, and its report.
pub(super) struct End {
    span: Span,
    /// Absent when nobody looks: two clock readings cost as much as three cleanups.
    start: Option<Instant>,
    on_report: Option<OnReport>,
}

/// Collects what the cleanups do.
pub(super) struct Recorder {
    entries: Vec<CleanupEntry>,
    /// When the cleanup at hand started; absent when nobody looks.
    last: Option<Instant>,
    /// Why the body was cancelled.
    pub(super) cause: Option<Cause>,
    pub(super) reaped: bool,
    pub(super) children_left: usize,
    ran: usize,
}

impl End {
    pub(super) fn start(node: &Node, on_report: Option<OnReport>) -> Self {
        // Bad ends are told to those who listen to nothing else.
        let listened = tracing::enabled!(target: "steadfast::scope", Level::ERROR);
        let span = if listened && tracing::enabled!(target: "steadfast::scope", Level::INFO) {
            start_event(node)
        } else {
            Span::none()
        };
        Self {
            span,
            start: (listened || on_report.is_some()).then(clock::now),
            on_report,
        }
    }

    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    pub(super) fn recorder(&self) -> Recorder {
        Recorder {
            entries: Vec::new(),
            last: self.start.map(|_| clock::now()),
            cause: None,
            reaped: false,
            children_left: 0,
            ran: 0,
        }
    }

    /// Tells the end; `ended` gives the verdict and the reason, if anybody is to know.
    pub(super) fn finish(
        self,
        node: &Node,
        recorder: &mut Recorder,
        ended: impl FnOnce() -> (Verdict, Option<String>),
    ) {
        // Entries are kept when somebody looks, and always when they are troubles.
        if self.start.is_none() && recorder.entries.is_empty() {
            return;
        }
        // An error that is shown is the code of others.
        let ended = recover(ended);
        let (verdict, reason) = ended.unwrap_or((Verdict::Panicked, None));
        let report = CleanupReport {
            path: ScopePath::of(Some(node)),
            verdict,
            reason,
            cause: recorder.cause.take(),
            reaped: recorder.reaped,
            children_left: recorder.children_left,
            entries: std::mem::take(&mut recorder.entries),
        };
        // From here on it is the code of others that runs: subscribers, errors that are shown,
        // the callback. The hook reports its panics; they must not change the outcome.
        let span = self.span.entered();
        for entry in report.troubles() {
            let _ = recover(|| trouble_event(&report.path, &node.block, entry));
        }
        if let Some(start) = self.start {
            let took = clock::now().saturating_duration_since(start);
            let _ = recover(|| end_event(&report, &node.block, recorder.ran, took.as_secs_f64()));
        }
        drop(span);
        if let Some(on_report) = self.on_report {
            let _ = recover(|| on_report(&report));
        }
        panic::drop_contained(report);
    }
}

impl Recorder {
    /// Starts the clock of the next cleanup: the time of the body, or of the wait for children, is
    /// not its.
    pub(super) fn restart(&mut self) {
        self.last = self.last.map(|_| clock::now());
    }

    #[inline]
    pub(super) fn record(&mut self, meta: Meta, status: CleanupStatus) {
        self.ran += 1;
        if self.last.is_some() || !status.is_ok() {
            self.keep(meta, status);
        }
    }

    fn keep(&mut self, meta: Meta, status: CleanupStatus) {
        let took = self.last.map(|last| {
            let now = clock::now();
            self.last = Some(now);
            now.saturating_duration_since(last)
        });
        self.entries.push(CleanupEntry {
            name: meta.name,
            place: meta.place,
            status,
            took,
        });
    }
}

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new("steadfast::scope", &["debug"], "scope started", &["scope"]).when("A named scope begins.").action("Nothing."),
    EventDoc::new("steadfast::scope", &["info", "warn", "error"], "scope ended", &["cause", "children_left", "cleanups", "duration_s", "outcome", "reaped", "reason", "scope", "span_id", "trace_id", "troubles"]).when("A named scope is over, in whatever way: info when it went well, warn when it failed or was cancelled, error when it panicked.").action("`reason` is the error or the panic, `cause` why it was stopped; `reaped` says that its future was dropped."),
    EventDoc::new("steadfast::scope", &["warn"], "a cleanup did not end well", &["cleanup", "duration_s", "place", "reason", "scope", "status", "trace_id"]).when("A cleanup failed, panicked, took too long, or lost its runtime.").action("What it should have undone may still be there: look at `reason`."),
    EventDoc::new("steadfast::scope", &["warn"], "cleanup was registered after the end of its scope and runs at once", &["cleanup", "place", "scope"]).when("Code kept the handle of a scope beyond its end.").action("At `place`: register earlier, or give the work a scope of its own."),
    EventDoc::new("steadfast::scope", &["error"], "a deferred block panicked", &["place"]).when("A `defer!` block panicked.").action("Look for the event of the panic; what the block should have undone may still be there."),
];

fn start_event(node: &Node) -> Span {
    let context = &node.block;
    let span = tracing::info_span!(
        target: "steadfast::scope",
        "scope",
        scope = node.name.as_str(),
        trace_id = context.trace_id().map(tracing::field::display),
        span_id = context.span_id().map(tracing::field::display),
    );
    tracing::debug!(target: "steadfast::scope", parent: &span, scope = %ScopePath::of(Some(node)), "scope started");
    span
}

/// Tells how a cleanup went of which no report tells, unless it ended well.
pub(super) fn tell_trouble(node: &Node, meta: Meta, status: CleanupStatus) {
    let entry = CleanupEntry {
        name: meta.name,
        place: meta.place,
        status,
        took: None,
    };
    if !entry.status.is_ok() {
        let path = ScopePath::of(Some(node));
        let _ = recover(|| trouble_event(&path, &node.block, &entry));
    }
    panic::drop_contained(entry);
}

fn trouble_event(path: &ScopePath, context: &Context, entry: &CleanupEntry) {
    voice::tell(|| {
        tracing::warn!(
            target: "steadfast::scope",
            scope = %path,
            cleanup = entry.name.as_str(),
            status = entry.status.as_str(),
            reason = %entry.status,
            place = %format_args!("{}:{}", entry.place.file(), entry.place.line()),
            duration_s = entry.took.map(|took| took.as_secs_f64()),
            trace_id = context.trace_id().map(tracing::field::display),
            "a cleanup did not end well"
        );
    });
}

fn end_event(report: &CleanupReport, context: &Context, cleanups: usize, duration_s: f64) {
    macro_rules! event {
        ($level:expr) => {
            tracing::event!(
                target: "steadfast::scope",
                $level,
                scope = %report.path,
                outcome = report.verdict.as_str(),
                reason = report.reason.as_deref(),
                cause = report.cause.as_ref().map(tracing::field::display),
                duration_s,
                cleanups,
                troubles = report.troubles().count(),
                reaped = report.reaped,
                children_left = report.children_left,
                trace_id = context.trace_id().map(tracing::field::display),
                span_id = context.span_id().map(tracing::field::display),
                "scope ended"
            )
        };
    }
    match report.verdict {
        Verdict::Ok => event!(Level::INFO),
        Verdict::Err | Verdict::Cancelled => event!(Level::WARN),
        Verdict::Panicked => event!(Level::ERROR),
    }
}
