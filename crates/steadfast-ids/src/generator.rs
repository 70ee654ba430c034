//! A snowflake with a clock: what a process makes its ids with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use steadfast_core::clock::{self, Timestamp};
use steadfast_core::report::{self, Collector, MetricDoc, Source};

use crate::atomic::{AtomicU64, Ordering::Relaxed};
use crate::id::Id;
use crate::snowflake::{Anchor, Batch, Layout, Refused, Snowflake, WorkerTooLarge};

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
///   its own worker id is up to you.
/// - A process that restarts with its worker id repeats nothing, *if* the wall clock was not set back meanwhile.
///   Nobody can see that without a memory outside of the process.
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

/// Sets a [`Generator`] up.
#[derive(Clone, Debug)]
#[must_use = "a generator is made by `build`"]
pub struct GeneratorBuilder {
    layout: Layout,
    worker: u64,
    lead: Duration,
}

/// Says why a generator cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct StartError(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Worker(#[from] WorkerTooLarge),
    #[error(
        "the wall clock shows {now_ms} ms since 1970, before the epoch of the layout at {epoch_ms} ms: set the clock"
    )]
    Clock { now_ms: i64, epoch_ms: i64 },
    #[error("a lead of {0:?} is over {most:?}", most = GeneratorBuilder::LONGEST_LEAD)]
    Lead(Duration),
    #[error("the layout ended {0} days ago: ids need another one")]
    Ended(i64),
    #[error(transparent)]
    Report(#[from] report::FullError),
}

/// Says why there is no id now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct NextError(#[from] No);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum No {
    #[error("the ids are as far ahead of the time as they may; there are more in {0:?}")]
    Ahead(Duration),
    #[error(transparent)]
    EndOfLife(#[from] EndOfLife),
}

/// Says that the time of a layout has no more bits: it never gives an id again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the layout has no ids after {} ms since 1970: move to one with more bits of time", .at.unix_millis())]
pub struct EndOfLife {
    /// When it ended.
    pub at: Timestamp,
}

struct Shared {
    ids: Snowflake,
    anchor: Anchor,
    waits: AtomicU64,
}

// === impl Generator ===

impl Generator {
    /// Starts to set up the generator of a worker, with [`Layout::DEFAULT`].
    pub fn builder(worker: u64) -> GeneratorBuilder {
        GeneratorBuilder {
            layout: Layout::DEFAULT,
            worker,
            lead: GeneratorBuilder::DEFAULT_LEAD,
        }
    }

    /// Makes the next id; waits if the ids are too far ahead of the time. The first of a generator is there a
    /// tick after its start, so that a restart within a tick repeats nothing.
    ///
    /// # Errors
    /// [`EndOfLife`]; trying again fails again.
    ///
    /// # Panics
    /// When it has to wait outside a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing; at most an id is never used.
    pub async fn next(&self) -> Result<Id, EndOfLife> {
        self.when_there(|now| self.shared.ids.next(now)).await
    }

    /// Makes the next id, whose gene is the low bits of `key`; otherwise as [`next`](Self::next).
    ///
    /// Of a layout without genes it is any id. Ids that [`next`](Self::next) makes with such a layout have
    /// the genes in turn.
    ///
    /// # Errors
    /// [`EndOfLife`]; trying again fails again.
    ///
    /// # Panics
    /// When it has to wait outside a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing; at most an id is never used.
    pub async fn next_for(&self, key: u64) -> Result<Id, EndOfLife> {
        self.when_there(|now| self.shared.ids.next_for(now, key))
            .await
    }

    /// Makes up to `count` ids in a row, at least one; otherwise as [`next`](Self::next). It reads the clock
    /// once for all of them.
    ///
    /// # Errors
    /// [`EndOfLife`]; trying again fails again.
    ///
    /// # Panics
    /// When it has to wait outside a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing; at most some ids are never used.
    pub async fn batch(&self, count: u32) -> Result<Batch, EndOfLife> {
        self.when_there(|now| self.shared.ids.batch(now, count))
            .await
    }

    /// Makes the next id if there is one now.
    ///
    /// # Errors
    /// [`NextError`]: ahead of the time, as right after the start, which passes; or the end of life.
    pub fn try_next(&self) -> Result<Id, NextError> {
        let now = self.shared.now_ns();
        let next = self.shared.ids.next(now);
        next.map_err(|refused| self.shared.refuse(refused, now).into())
    }

    /// Makes up to `count` ids in a row, at least one, if there are some now.
    ///
    /// # Errors
    /// [`NextError`]: ahead of the time, as right after the start, which passes; or the end of life.
    pub fn try_batch(&self, count: u32) -> Result<Batch, NextError> {
        let now = self.shared.now_ns();
        let batch = self.shared.ids.batch(now, count);
        batch.map_err(|refused| self.shared.refuse(refused, now).into())
    }

    /// Gives the layout of its ids.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.shared.ids.layout()
    }

    /// Gives its worker id.
    #[must_use]
    pub fn worker(&self) -> u64 {
        self.shared.ids.worker()
    }

    /// Tells how far the last id is ahead of the generator's time.
    #[must_use]
    pub fn lead(&self) -> Duration {
        Duration::from_nanos(self.shared.ids.lead_ns(self.shared.now_ns()))
    }

    /// Tells how far the generator's time is ahead of the wall clock: by what that was set back since the
    /// start, as of the last look, which is at most 100 ms of ids ago.
    #[must_use]
    pub fn ahead_of_wall_clock(&self) -> Duration {
        Duration::from_nanos(self.shared.anchor.ahead_ns())
    }

    async fn when_there<T>(
        &self,
        take: impl Fn(u64) -> Result<T, Refused>,
    ) -> Result<T, EndOfLife> {
        loop {
            let now = self.shared.now_ns();
            let refused = match take(now) {
                Ok(taken) => return Ok(taken),
                Err(refused) => refused,
            };
            match self.shared.refuse(refused, now) {
                No::EndOfLife(end) => return Err(end),
                No::Ahead(wait) => {
                    self.shared.waits.fetch_add(1, Relaxed);
                    clock::sleep(wait).await;
                }
            }
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

// === impl GeneratorBuilder ===

impl GeneratorBuilder {
    /// How far ids may run ahead of the time unless told otherwise: 10 ms.
    ///
    /// A burst of ten times what a tick has goes through without a wait, and order between workers is not
    /// worse than what the clocks of their machines make it.
    pub const DEFAULT_LEAD: Duration = Duration::from_millis(10);

    /// The longest lead: 10 s. A restart has to leave it out, and ids of the future confuse people.
    pub const LONGEST_LEAD: Duration = Duration::from_secs(10);

    /// Sets the layout; [`Layout::DEFAULT`] unless set.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Sets how far ids may run ahead of the time; [`DEFAULT_LEAD`](Self::DEFAULT_LEAD) unless set. Rounded up
    /// to ticks.
    pub fn lead(mut self, lead: Duration) -> Self {
        self.lead = lead;
        self
    }

    /// Makes the generator, and has it tell about itself in [`report`].
    ///
    /// # Errors
    /// [`StartError`]: the worker id has no room in the layout, the wall clock shows a time before the epoch
    /// or after the end of the layout, the lead is too long, or too many parts tell about themselves.
    pub fn build(self) -> Result<Generator, StartError> {
        let (layout, lead) = (self.layout, self.lead);
        if lead > Self::LONGEST_LEAD {
            return Err(Refusal::Lead(lead).into());
        }
        let (monotonic_ns, wall_ms) = (clock::nanos(), clock::timestamp().unix_millis());
        let epoch_ms = layout.epoch().unix_millis();
        if wall_ms < epoch_ms {
            let now_ms = wall_ms;
            return Err(Refusal::Clock { now_ms, epoch_ms }.into());
        }
        let over_ms = wall_ms.saturating_sub(layout.end().unix_millis());
        if over_ms >= 0 {
            return Err(Refusal::Ended(over_ms / 86_400_000).into());
        }
        let anchor = Anchor::new(epoch_ms, monotonic_ns, wall_ms);
        let now_ns = anchor.since_epoch_ns(monotonic_ns);
        let ids = Snowflake::new(layout, self.worker, lead.as_nanos() as u64, now_ns);
        let shared = Arc::new(Shared {
            ids: ids.map_err(Refusal::from)?,
            anchor,
            waits: AtomicU64::new(0),
        });
        report::register("ids", &shared).map_err(Refusal::from)?;
        Ok(Generator { shared })
    }
}

// === impl NextError ===

impl NextError {
    /// Tells whether the same call works later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retry_after().is_some()
    }

    /// Tells when there are ids again; `None` after the end of life.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0 {
            No::Ahead(wait) => Some(wait),
            No::EndOfLife(_) => None,
        }
    }
}

// === impl Shared ===

impl Shared {
    fn now_ns(&self) -> u64 {
        let monotonic_ns = clock::nanos();
        if self.anchor.looks(monotonic_ns) {
            let wall_ms = clock::timestamp().unix_millis();
            self.anchor.note(monotonic_ns, wall_ms);
        }
        self.anchor.since_epoch_ns(monotonic_ns)
    }

    fn refuse(&self, refused: Refused, now_ns: u64) -> No {
        match refused {
            Refused::Ahead { until_ns } => {
                No::Ahead(Duration::from_nanos(until_ns.saturating_sub(now_ns)))
            }
            Refused::EndOfLife => {
                let at = self.ids.layout().end();
                No::EndOfLife(EndOfLife { at })
            }
        }
    }
}

pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_ids_days_left",
        &["worker"],
        "Days until the layout has no more ids.",
    ),
    MetricDoc::gauge(
        "steadfast_ids_lead_seconds",
        &["worker"],
        "How far the last id is ahead of the generator's time.",
    ),
    MetricDoc::gauge(
        "steadfast_ids_ahead_of_wall_clock_seconds",
        &["worker"],
        "By how much the wall clock was set back since the start.",
    ),
    MetricDoc::counter(
        "steadfast_ids_waits_total",
        &["worker"],
        "Waits for an id, because more were wanted than the layout has.",
    ),
];

impl Source for Shared {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        let layout = self.ids.layout();
        let lead = Duration::from_nanos(self.ids.lead_ns(self.now_ns()));
        let ahead = Duration::from_nanos(self.anchor.ahead_ns());
        to.labels([("worker", self.ids.worker().to_string().into())])
            .gauge(
                "steadfast_ids_days_left",
                layout.days_left(clock::timestamp()) as f64,
            )
            .gauge("steadfast_ids_lead_seconds", lead.as_secs_f64())
            .gauge(
                "steadfast_ids_ahead_of_wall_clock_seconds",
                ahead.as_secs_f64(),
            )
            .counter("steadfast_ids_waits_total", self.waits.load(Relaxed));
    }
}
