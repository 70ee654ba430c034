//! What a group and its children are doing, at one moment.

use std::fmt;
use std::panic::Location;

use super::end::{ChildEnd, GroupEnd, word};
use super::event::Place;
use crate::clock::Instant;
use crate::context::{Name, TraceId};
use crate::decide::restart::{ChildId, Intensity, Restart, Strategy};
use crate::report::{Collector, MetricDoc};

/// A group at one moment: taken under one lock, so that it never mixes two moments.
///
/// `Display` shows it as a tree, one child a line.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// The name of the group.
    pub name: Name,
    /// What the group is doing.
    pub state: GroupState,
    /// Who is affected by a restart.
    pub strategy: Strategy,
    /// How many restarts within how long it survives.
    pub intensity: Intensity,
    /// How many restarts count against the intensity at this moment.
    pub restarts: u32,
    /// The children, in the order in which they are started.
    pub children: Vec<ChildSnapshot>,
    /// When it was taken.
    pub at: Instant,
}

/// What a group is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum GroupState {
    /// Its first children are being started, in order.
    Starting,
    /// Its start is complete.
    Running,
    /// It is stopping its children, for this reason, and starts nothing any more.
    Stopping(GroupEnd),
    /// It has ended.
    Ended(GroupEnd),
}

/// A child at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChildSnapshot {
    /// The child, unique in its group; requests name it.
    pub id: ChildId,
    /// Its name.
    pub name: Name,
    /// Where in the source it was described.
    pub place: &'static Location<'static>,
    /// When it is restarted.
    pub restart: Restart,
    /// What it is doing.
    pub state: ChildState,
    /// Since when it has been doing that.
    pub since: Instant,
    /// How often it was started, for whatever reason.
    pub runs: u64,
    /// How often its own end has led to a restart.
    pub restarts: u64,
    /// How many of its ends in a row its backoff counts.
    pub failures: u32,
    /// How its last life ended.
    pub last_end: Option<ChildEnd>,
    /// The trace id of its present life.
    pub trace_id: Option<TraceId>,
    /// The group inside, if the child is one and lives.
    pub group: Option<Snapshot>,
}

/// What a child is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildState {
    /// It does not live, and is started only for a reason from outside.
    AtRest,
    /// It does not live and will be started, in its turn.
    Waiting {
        /// The end of the backoff; its turn may come later.
        not_before: Instant,
    },
    /// It lives and is not ready yet.
    Starting,
    /// It lives and is ready.
    Running,
    /// It lives and was asked to stop, or was aborted.
    Stopping,
    /// Its future has ended by itself; what it held is being dropped, and its cleanups run.
    Ending,
    /// It was aborted and did not end in time; it may still live. A group that has ended is shown
    /// so while that is true of a child inside of it.
    WrittenOff,
}

impl ChildState {
    /// Gives a short stable word for labels and log fields.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AtRest => "at_rest",
            Self::Waiting { .. } => "waiting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Ending => "ending",
            Self::WrittenOff => "written_off",
        }
    }

    const WORDS: [&'static str; 7] = [
        "at_rest",
        "waiting",
        "starting",
        "running",
        "stopping",
        "ending",
        "written_off",
    ];
}

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_supervise_running",
        &["group"],
        "1 while all children of the group are meant to run, 0 while it starts, stops or is over.",
    ),
    MetricDoc::gauge(
        "steadfast_supervise_restarts_counted",
        &["group"],
        "Restarts that count for the intensity now.",
    ),
    MetricDoc::gauge(
        "steadfast_supervise_restarts_max",
        &["group"],
        "Restarts within the window that the group bears; one more, and it escalates.",
    ),
    MetricDoc::gauge(
        "steadfast_supervise_children",
        &["group", "state"],
        "Children in each state.",
    ),
    MetricDoc::counter(
        "steadfast_supervise_starts_total",
        &["group", "child"],
        "Lives of a child, the present one included.",
    ),
    MetricDoc::counter(
        "steadfast_supervise_restarts_total",
        &["group", "child"],
        "Lives of a child after its first one.",
    ),
];

impl GroupState {
    /// Gives a short stable word for labels and log fields.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping(_) => "stopping",
            Self::Ended(_) => "ended",
        }
    }
}

impl Snapshot {
    /// Finds a child by its name: the first one, if several have it.
    pub fn child(&self, name: &str) -> Option<&ChildSnapshot> {
        self.children
            .iter()
            .find(|child| child.name.as_str() == name)
    }

    /// Tells the numbers of the group, without those of the groups inside: they tell their own.
    pub(super) fn collect(&self, to: &mut Collector) {
        let group = ("group", self.name);
        let is_up = matches!(self.state, GroupState::Running);
        to.labels([group])
            .armed("steadfast_supervise_running", is_up)
            .gauge("steadfast_supervise_restarts_counted", self.restarts.into())
            .gauge(
                "steadfast_supervise_restarts_max",
                self.intensity.restarts().into(),
            );
        for state in ChildState::WORDS {
            let in_state = |child: &&ChildSnapshot| child.state.as_str() == state;
            let count = self.children.iter().filter(in_state).count();
            to.labels([group, ("state", Name::new(state))])
                .gauge("steadfast_supervise_children", count as f64);
        }
        for child in &self.children {
            to.labels([group, ("child", child.name)])
                .counter("steadfast_supervise_starts_total", child.runs)
                .counter("steadfast_supervise_restarts_total", child.restarts);
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let strategy = match self.strategy {
            Strategy::OneForOne => "one for one",
            Strategy::OneForAll => "one for all",
            Strategy::RestForOne => "rest for one",
        };
        let allowed = self.intensity.restarts();
        // The one too many is counted, and not carried out.
        let more = match self.restarts > allowed {
            true => ", and one more needed",
            false => "",
        };
        write!(
            f,
            "{} {} ({strategy}, {} of {allowed} restarts within {:?}{more})",
            self.name,
            self.state.as_str(),
            self.restarts.min(allowed),
            self.intensity.within()
        )?;
        for child in &self.children {
            write!(f, "\n{:indent$}", "", indent = 2 * (depth + 1))?;
            child.write(f, self.at, depth + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl ChildSnapshot {
    fn write(&self, f: &mut fmt::Formatter<'_>, at: Instant, depth: usize) -> fmt::Result {
        let state = self.state.as_str().replace('_', " ");
        let age = at.saturating_duration_since(self.since);
        write!(f, "{} {state} for {age:.1?}, run {}", self.name, self.runs)?;
        if let ChildState::Waiting { not_before } = self.state {
            let left = not_before.saturating_duration_since(at);
            write!(f, ", starts in {left:.1?}")?;
        }
        if let Some(end) = &self.last_end {
            let ago = at.saturating_duration_since(end.at());
            write!(
                f,
                ", last end {} {ago:.1?} ago [{}]",
                word(end.kind()),
                Place(self.place)
            )?;
        }
        if let Some(group) = &self.group {
            write!(f, "\n{:indent$}", "", indent = 2 * (depth + 1))?;
            group.write(f, depth + 1)?;
        }
        Ok(())
    }
}
