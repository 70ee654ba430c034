//! A snowflake with a clock: what a process makes its ids with.

mod builder;
mod error;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use steadfast_core::clock;
use steadfast_core::context::Name;
use steadfast_core::report::{self, Collector, MetricDoc};

use crate::atomic::{AtomicU64, Ordering::Relaxed};
use crate::id::Id;
use crate::snowflake::{Anchor, Batch, Layout, Refused, Snowflake};
#[cfg(feature = "sql")]
use crate::worker_id::Tenancy;

pub use builder::{GeneratorBuilder, StartError};
#[cfg(feature = "sql")]
pub(crate) use builder::{Refusal, start};
pub(crate) use error::No;
pub use error::{EndOfLife, NextError};

/// Makes ids that are unique among all workers and rise in each. A cheap handle: clones share the worker.
///
/// The time comes from the monotonic clock, anchored to the wall clock: a wall clock that is set back changes
/// nothing, one that is ahead is followed. When ids are wanted faster than the layout has them, they borrow
/// from the time to come, up to [the lead](GeneratorBuilder::lead); beyond, [`next`](Self::next) waits, without
/// blocking its thread.
///
/// # What is promised
/// - No id of one generator repeats, and each is greater than the one before, whatever the clocks do.
/// - No id of two generators is the same if their layouts are and their worker ids differ. Giving each process
///   its own worker id is up to you, or up to a store: `Ids::lease` with the feature `sql`.
/// - A process that restarts with its worker id repeats nothing, *if* the wall clock was not set back meanwhile.
///   Nobody can see that without a memory outside of the process, which a store is.
/// - Between workers ids order by time as well as the clocks of their machines agree.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use steadfast_ids::Generator;
///
/// let ids = Generator::builder(7).build()?;
///
/// let first = ids.next().await?;
/// let second = ids.next().await?;
///
/// assert!(first < second);
/// assert_eq!(ids.layout().decode(first)?.worker, 7);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Generator {
    shared: Arc<Shared>,
}

struct Shared {
    source: Source,
    waits: AtomicU64,
}

/// Whose the worker id is.
pub(crate) enum Source {
    /// This process's own, as somebody said.
    Own { ids: Snowflake, anchor: Anchor },
    /// Leased.
    #[cfg(feature = "sql")]
    Leased(Arc<Tenancy>),
}

// === impl Generator ===

impl Generator {
    /// Starts to set up the generator of a worker, with [`Layout::DEFAULT`].
    pub fn builder(worker: u64) -> GeneratorBuilder {
        GeneratorBuilder::new(worker)
    }

    pub(crate) fn new(source: Source) -> Self {
        let shared = Arc::new(Shared {
            source,
            waits: AtomicU64::new(0),
        });
        // One too many to be seen is no reason not to work.
        let _ = report::register("ids", &shared);
        Self { shared }
    }

    /// Makes the next id; waits if the ids are too far ahead of the time. The first of a generator is there a
    /// tick after its start, so that a restart within a tick repeats nothing.
    ///
    /// # Errors
    /// [`NextError`], at once: fenced, which passes, or the end of life. Never ahead of the time.
    ///
    /// # Panics
    /// When it has to wait outside a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing; at most an id is never used.
    pub async fn next(&self) -> Result<Id, NextError> {
        self.when_there(Snowflake::next).await
    }

    /// Makes the next id, whose gene is the low bits of `key`; otherwise as [`next`](Self::next).
    ///
    /// Of a layout without genes it is any id. Ids that [`next`](Self::next) makes with such a layout have
    /// the genes in turn.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    ///
    /// # Panics
    /// When it has to wait outside a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing; at most an id is never used.
    pub async fn next_for(&self, key: u64) -> Result<Id, NextError> {
        self.when_there(|ids, now| ids.next_for(now, key)).await
    }

    /// Makes up to `count` ids in a row, at least one; otherwise as [`next`](Self::next). It reads the clock
    /// once for all of them.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    ///
    /// # Panics
    /// When it has to wait outside a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing; at most some ids are never used.
    pub async fn batch(&self, count: u32) -> Result<Batch, NextError> {
        self.when_there(|ids, now| ids.batch(now, count)).await
    }

    /// Makes the next id if there is one now.
    ///
    /// # Errors
    /// [`NextError`]: ahead of the time, as right after the start, or fenced, both of which pass; or the end of
    /// life.
    pub fn try_next(&self) -> Result<Id, NextError> {
        Ok(self.shared.source.take(&Snowflake::next)?)
    }

    /// Makes up to `count` ids in a row, at least one, if there are some now.
    ///
    /// # Errors
    /// As [`try_next`](Self::try_next).
    pub fn try_batch(&self, count: u32) -> Result<Batch, NextError> {
        Ok(self
            .shared
            .source
            .take(&|ids: &Snowflake, now| ids.batch(now, count))?)
    }

    /// Gives the layout of its ids.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.shared.source.with(|ids, _| ids.layout())
    }

    /// Gives its worker id; that of the present lease, where it is leased.
    #[must_use]
    pub fn worker(&self) -> u64 {
        self.shared.source.with(|ids, _| ids.worker())
    }

    /// Tells how far the last id is ahead of the generator's time.
    #[must_use]
    pub fn lead(&self) -> Duration {
        let ns = self.shared.source.with(|ids, now_ns| ids.lead_ns(now_ns));
        Duration::from_nanos(ns)
    }

    /// Tells how far the generator's time is ahead of the wall clock: by what that was set back since the
    /// start, as of the last look, which is at most 100 ms of ids ago, or as old as the last renewal of a lease.
    #[must_use]
    pub fn ahead_of_wall_clock(&self) -> Duration {
        Duration::from_nanos(self.shared.source.anchor().ahead_ns())
    }

    async fn when_there<T>(
        &self,
        take: impl Fn(&Snowflake, u64) -> Result<T, Refused>,
    ) -> Result<T, NextError> {
        loop {
            match self.shared.source.take(&take) {
                Ok(taken) => return Ok(taken),
                Err(No::Ahead(wait)) => {
                    self.shared.waits.fetch_add(1, Relaxed);
                    clock::sleep(wait).await;
                }
                Err(no) => return Err(no.into()),
            }
        }
    }
}

#[cfg(feature = "sql")]
impl Generator {
    /// Gives the fencing term of the present lease: it grows with each lease of a worker id. `None` where the
    /// worker id is not leased.
    #[must_use]
    pub fn term(&self) -> Option<i64> {
        self.tenancy().map(|tenancy| tenancy.term())
    }

    /// Tells whether the lease may be relied on at this moment; always so where the worker id is not leased.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.tenancy().is_none_or(|tenancy| tenancy.is_held())
    }

    /// Gives the worker id back, and waits until the store has been told, at most for the time of a statement:
    /// no id is made any more. Does nothing where the worker id is not leased.
    ///
    /// Dropping the last clone does the same, and does not wait.
    ///
    /// # Cancel safety
    /// Dropped half-way, it is given back all the same.
    pub async fn release(&self) {
        if let Some(tenancy) = self.tenancy() {
            tenancy.release().await;
        }
    }

    fn tenancy(&self) -> Option<&Arc<Tenancy>> {
        match &self.shared.source {
            Source::Own { .. } => None,
            Source::Leased(tenancy) => Some(tenancy),
        }
    }
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("worker", &self.worker())
            .field("layout", &self.layout())
            .finish_non_exhaustive()
    }
}

// === impl Source ===

impl Source {
    /// Takes what there is now. The coarse clock is read, once, and the exact one when that has no more.
    fn take<T>(&self, take: &impl Fn(&Snowflake, u64) -> Result<T, Refused>) -> Result<T, No> {
        match self {
            Self::Own { ids, anchor } => {
                if let Ok(taken) = take(ids, now_ns(anchor, clock::nanos_coarse())) {
                    return Ok(taken);
                }
                // Of the last milliseconds there may be more.
                let now_ns = now_ns(anchor, clock::nanos());
                take(ids, now_ns).map_err(|refused| refuse(ids, refused, now_ns))
            }
            #[cfg(feature = "sql")]
            Self::Leased(tenancy) => tenancy.take(take),
        }
    }

    fn with<T>(&self, look: impl Fn(&Snowflake, u64) -> T) -> T {
        match self {
            Self::Own { ids, anchor } => look(ids, now_ns(anchor, clock::nanos())),
            #[cfg(feature = "sql")]
            Self::Leased(tenancy) => tenancy.with(look),
        }
    }

    /// Which ids they are unique among; nothing where the worker id is not leased.
    fn group(&self) -> Name {
        match self {
            Self::Own { .. } => "".into(),
            #[cfg(feature = "sql")]
            Self::Leased(tenancy) => tenancy.group().to_owned().into(),
        }
    }

    fn anchor(&self) -> &Anchor {
        match self {
            Self::Own { anchor, .. } => anchor,
            #[cfg(feature = "sql")]
            Self::Leased(tenancy) => tenancy.anchor(),
        }
    }
}

fn now_ns(anchor: &Anchor, monotonic_ns: u64) -> u64 {
    if anchor.looks(monotonic_ns) {
        look_at_the_wall_clock(anchor, monotonic_ns);
    }
    anchor.since_epoch_ns(monotonic_ns)
}

#[cold]
fn look_at_the_wall_clock(anchor: &Anchor, monotonic_ns: u64) {
    anchor.note(monotonic_ns, clock::timestamp().unix_millis());
}

/// Says what a refusal means to whoever wants an id.
pub(crate) fn refuse(ids: &Snowflake, refused: Refused, now_ns: u64) -> No {
    match refused {
        Refused::Ahead { until_ns } => {
            No::Ahead(Duration::from_nanos(until_ns.saturating_sub(now_ns)))
        }
        Refused::EndOfLife => No::EndOfLife(EndOfLife {
            at: ids.layout().end(),
        }),
        Refused::Beyond | Refused::Closed => No::Closed,
    }
}

pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_ids_days_left",
        &["group", "worker"],
        "Days until the layout has no more ids.",
    ),
    MetricDoc::gauge(
        "steadfast_ids_lead_seconds",
        &["group", "worker"],
        "How far the last id is ahead of the generator's time.",
    ),
    MetricDoc::gauge(
        "steadfast_ids_ahead_of_wall_clock_seconds",
        &["group", "worker"],
        "By how much the wall clock was set back since the start.",
    ),
    MetricDoc::counter(
        "steadfast_ids_waits_total",
        &["group", "worker"],
        "Waits for an id, because more were wanted than the layout has.",
    ),
];

impl report::Source for Shared {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        let (layout, worker, lead_ns) = self
            .source
            .with(|ids, now_ns| (ids.layout(), ids.worker(), ids.lead_ns(now_ns)));
        let ahead_ns = self.source.anchor().ahead_ns();
        to.labels([
            ("group", self.source.group()),
            ("worker", worker.to_string().into()),
        ])
        .gauge(
            "steadfast_ids_days_left",
            layout.days_left(clock::timestamp()) as f64,
        )
        .gauge(
            "steadfast_ids_lead_seconds",
            Duration::from_nanos(lead_ns).as_secs_f64(),
        )
        .gauge(
            "steadfast_ids_ahead_of_wall_clock_seconds",
            Duration::from_nanos(ahead_ns).as_secs_f64(),
        )
        .counter("steadfast_ids_waits_total", self.waits.load(Relaxed));
    }
}

#[cfg(feature = "sql")]
impl Drop for Shared {
    fn drop(&mut self) {
        if let Source::Leased(tenancy) = &self.source {
            tenancy.leave();
        }
    }
}
