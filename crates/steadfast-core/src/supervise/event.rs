//! What happens in a group, for observers and for the log.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::end::{ChildEnd, GroupEnd, word};
use super::error::GroupError;
use crate::cancel::Cause;
use crate::context::{Name, TraceId};
use crate::decide::restart::{ChildId, Intensity};
use crate::report::EventDoc;

/// Something that happened in a group.
///
/// Each is also a `tracing` event of the target `steadfast::supervise`. Observers hear them in
/// the order in which they happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// The name of the group.
    pub group: Name,
    /// The child, unless it concerns the whole group.
    pub child: Option<ChildRef>,
    /// What happened.
    pub kind: EventKind,
}

/// Names one life of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildRef {
    /// The child, unique in its group.
    pub id: ChildId,
    /// Its name.
    pub name: Name,
    /// Where in the source it was described.
    pub place: &'static Location<'static>,
    /// Which of its lives, counted from 1; 0 when it was not started yet.
    pub run: u64,
    /// The trace id of that life.
    pub trace_id: Option<TraceId>,
}

/// What happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EventKind {
    /// The child was started.
    Started,
    /// The child is ready.
    Ready,
    /// The child was asked to stop.
    Stopping {
        /// As its token has it.
        cause: Cause,
    },
    /// The child was aborted: it gets no time to stop, did not stop in time, or was not ready in
    /// time.
    Aborted {
        /// Which of these.
        cause: Cause,
    },
    /// The child did not end although it was aborted; or it is a group that has ended, and a child
    /// inside of it did not. What it holds may be held for as long as the process lives.
    WrittenOff,
    /// Nothing of the child lives any more.
    Ended {
        /// How it ended.
        end: ChildEnd,
        /// Whether it was being stopped, or about to be.
        expected: bool,
    },
    /// The child is to be restarted, by the strategy perhaps with others.
    Restarting {
        /// The backoff.
        after: Duration,
        /// How many restarts count against the intensity now, this one included.
        restarts: u32,
        /// The intensity.
        intensity: Intensity,
    },
    /// The child is not started again, by its terms.
    GivenUp,
    /// The child ended before it was ready, and whoever asked for it is told.
    StartFailed,
    /// The child is not part of the group any more.
    Removed,
    /// Every child is ready or at rest: the start of the group is complete.
    GroupReady,
    /// The group cannot go on and stops all its children.
    Escalated(GroupError),
    /// The group has ended: nothing of it lives but what was written off.
    GroupEnded(GroupEnd),
}

/// Hears the events of a group.
pub(super) type Observer = Box<dyn Fn(&Event) + Send + Sync>;

impl EventKind {
    /// Gives a short stable word for labels and log fields.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Stopping { .. } => "stopping",
            Self::Aborted { .. } => "aborted",
            Self::WrittenOff => "written_off",
            Self::Ended { .. } => "ended",
            Self::Restarting { .. } => "restarting",
            Self::GivenUp => "given_up",
            Self::StartFailed => "start_failed",
            Self::Removed => "removed",
            Self::GroupReady => "group_ready",
            Self::Escalated(_) => "escalated",
            Self::GroupEnded(_) => "group_ended",
        }
    }
}

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new("steadfast::supervise", &["info"], "child started", &["child", "group", "place", "run", "trace_id"]).when("A life of a child begins.").action("Nothing."),
    EventDoc::new("steadfast::supervise", &["info"], "child is ready", &["child", "group", "place", "run", "trace_id"]).when("A child says that it is ready, or is so at once.").action("Nothing."),
    EventDoc::new("steadfast::supervise", &["info"], "child was asked to stop", &["child", "group", "place", "reason", "run", "trace_id"]).when("A child is told to stop, and may take its time limit for it.").action("Nothing."),
    EventDoc::new("steadfast::supervise", &["warn"], "child was aborted", &["child", "group", "place", "reason", "run", "trace_id"]).when("A child did not stop within its time limit.").action("Make it watch its token, or raise its limit."),
    EventDoc::new("steadfast::supervise", &["error"], "child, or one inside of it, was aborted and does not end; what it holds stays held", &["child", "group", "place", "run", "trace_id"]).when("A child blocks its thread, or keeps on in a drop.").action("Find what blocks at the place told; until then the process should be replaced."),
    EventDoc::new("steadfast::supervise", &["info"], "child ended", &["child", "end", "group", "lived_s", "place", "reason", "run", "trace_id"]).when("A child ended as it was told to.").action("Nothing."),
    EventDoc::new("steadfast::supervise", &["warn"], "child panicked while it was being stopped", &["child", "end", "group", "lived_s", "place", "reason", "run", "trace_id"]).when("The code that ends a child panicked.").action("Look for the event of the panic under the same trace id."),
    EventDoc::new("steadfast::supervise", &["info"], "child is done", &["child", "end", "group", "lived_s", "place", "reason", "run", "trace_id"]).when("A child ended by itself, and well.").action("Nothing."),
    EventDoc::new("steadfast::supervise", &["warn"], "child ended abnormally", &["child", "end", "group", "lived_s", "place", "reason", "run", "trace_id"]).when("A child ended with an error, or was aborted from outside.").action("The reason is the error of the child."),
    EventDoc::new("steadfast::supervise", &["error"], "child panicked", &["child", "end", "group", "lived_s", "place", "reason", "run", "trace_id"]).when("A child panicked.").action("Look for the event of the panic under the same trace id."),
    EventDoc::new("steadfast::supervise", &["warn"], "child will be restarted", &["after_s", "child", "group", "place", "restarts", "restarts_max", "run", "trace_id", "within_s"]).when("A child ended abnormally, and its terms want it back.").action("When `restarts` comes near `restarts_max`, the group is about to fail."),
    EventDoc::new("steadfast::supervise", &["info"], "child is not restarted, by its terms", &["child", "group", "place", "run", "trace_id"]).when("A transient child ended well, or a temporary one ended.").action("Nothing."),
    EventDoc::new("steadfast::supervise", &["warn"], "child ended before it was ready", &["child", "group", "place", "run", "trace_id"]).when("A start failed.").action("The event before tells the reason."),
    EventDoc::new("steadfast::supervise", &["debug"], "child was removed", &["child", "group", "place", "run", "trace_id"]).when("A child was taken out of its group.").action("Nothing."),
    EventDoc::new("steadfast::supervise", &["info"], "group is ready", &["child", "group", "place", "run", "trace_id"]).when("All children are ready.").action("Nothing."),
    EventDoc::new("steadfast::supervise", &["error"], "group failed", &["child", "group", "place", "reason", "run", "trace_id"]).when("More restarts than the intensity allows, or a start that failed for good.").action("What is above restarts the group, or ends the process: find out why the child keeps failing."),
    EventDoc::new("steadfast::supervise", &["info", "error"], "group ended", &["child", "group", "outcome", "place", "reason", "run", "trace_id"]).when("A group is over, with all of its children.").action("At error level: as `group failed`."),
    EventDoc::new("steadfast::supervise", &["warn"], "group is missing from reports", &["error", "group"]).when("There are 1,024 sources already.").action("Fewer groups, pools and guards, or longer lives of them."),
];

/// One line for people.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group `{}`", self.group)?;
        if let Some(child) = &self.child {
            write!(f, ", child `{}`, run {}", child.name, child.run)?;
        }
        f.write_str(": ")?;
        match &self.kind {
            EventKind::Started => f.write_str("started"),
            EventKind::Ready => f.write_str("ready"),
            EventKind::Stopping { cause } => write!(f, "asked to stop: {cause}"),
            EventKind::Aborted { cause } => write!(f, "aborted: {cause}"),
            EventKind::WrittenOff => f.write_str("aborted, and does not end"),
            EventKind::Ended { end, .. } => write!(f, "ended: {end}"),
            EventKind::Restarting {
                after,
                restarts,
                intensity,
            } => write!(
                f,
                "will be restarted after {after:.1?}, restart {restarts} of {} within {:?}",
                intensity.restarts(),
                intensity.within()
            ),
            EventKind::GivenUp => f.write_str("not restarted, by its terms"),
            EventKind::StartFailed => f.write_str("ended before it was ready"),
            EventKind::Removed => f.write_str("removed"),
            EventKind::GroupReady => f.write_str("all are ready"),
            EventKind::Escalated(error) => write!(f, "{error}"),
            EventKind::GroupEnded(end) => write!(f, "ended: {end}"),
        }
    }
}

impl Event {
    /// Writes it to the log.
    pub(super) fn log(&self) {
        macro_rules! log {
            ($level:ident, $($field:tt)*) => {
                tracing::$level!(
                    target: "steadfast::supervise",
                    group = self.group.as_str(),
                    child = self.child.map(|child| child.name.as_str()),
                    run = self.child.map(|child| child.run),
                    place = self.child.map(|child| tracing::field::display(Place(child.place))),
                    trace_id = self.child.and_then(|child| child.trace_id).map(tracing::field::display),
                    $($field)*
                )
            };
        }
        match &self.kind {
            EventKind::Started => log!(info, "child started"),
            EventKind::Ready => log!(info, "child is ready"),
            EventKind::Stopping { cause } => log!(info, reason = %cause, "child was asked to stop"),
            EventKind::Aborted { cause } => log!(warn, reason = %cause, "child was aborted"),
            EventKind::WrittenOff => log!(
                error,
                "child, or one inside of it, was aborted and does not end; what it holds stays held"
            ),
            EventKind::Ended { end, expected } => {
                macro_rules! ended {
                    ($level:ident, $message:literal) => {
                        log!(
                            $level,
                            end = word(end.kind()),
                            reason = %end,
                            lived_s = end.lived().as_secs_f64(),
                            $message
                        )
                    };
                }
                match (*expected, end.panic().is_some()) {
                    (true, false) => ended!(info, "child ended"),
                    (true, true) => ended!(warn, "child panicked while it was being stopped"),
                    (false, false) if end.kind().is_normal() => ended!(info, "child is done"),
                    (false, false) => ended!(warn, "child ended abnormally"),
                    (false, true) => ended!(error, "child panicked"),
                }
            }
            EventKind::Restarting {
                after,
                restarts,
                intensity,
            } => log!(
                warn,
                after_s = after.as_secs_f64(),
                restarts,
                restarts_max = intensity.restarts(),
                within_s = intensity.within().as_secs_f64(),
                "child will be restarted"
            ),
            EventKind::GivenUp => log!(info, "child is not restarted, by its terms"),
            EventKind::StartFailed => log!(warn, "child ended before it was ready"),
            EventKind::Removed => log!(debug, "child was removed"),
            EventKind::GroupReady => log!(info, "group is ready"),
            EventKind::Escalated(error) => log!(error, reason = %error, "group failed"),
            EventKind::GroupEnded(GroupEnd::Failed(error)) => {
                log!(error, outcome = "failed", reason = %error, "group ended");
            }
            EventKind::GroupEnded(end) => {
                log!(info, outcome = end.as_str(), reason = %end, "group ended");
            }
        }
    }
}

/// A place as file and line.
pub(super) struct Place(pub(super) &'static Location<'static>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.file(), self.0.line())
    }
}
