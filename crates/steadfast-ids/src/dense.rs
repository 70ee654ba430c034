//! Dense ids out of a store: the shell over [`segment`](crate::segment).

use std::fmt;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast_core::report::{self, Collector, EventDoc, MetricDoc};
use steadfast_core::{clock, rng};
use steadfast_store::{Store, binds};
use tokio::sync::Notify;

use crate::error::{Error, Repr};
use crate::id::Id;
use crate::ids::Ids;
use crate::segment::{Fetch, Segments, SegmentsConfig};
use crate::sql::{SEGMENT_TAKE, SEQUENCE_LOOK, SEQUENCE_TAKE};

/// How long somebody waits for a range that is on its way: 1 s. A store that has not answered by then is as
/// good as away; the range is there for those who come later.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The longest tag: 100 bytes. Tags are columns of an index, and labels of metrics.
const TAG_BYTES_MAX: usize = 100;

/// Makes the dense ids of one tag: 1, 2, 3 and so on, each once, whoever asks on however many servers. A cheap
/// handle.
///
/// A range of them is taken from the store at a time, ahead of need; in between nobody waits for it. While the
/// store is away, what is there is served to the last id, and then there is an error at once.
///
/// # What is promised, and what is not
/// - No id comes twice: not on two servers, not after a crash, not after an answer that was lost.
/// - The ids of one handle rise. Those of two servers alternate by range: an id that was made later may be smaller.
/// - There are holes: what a process has left of its ranges when it ends is nobody's. Where the law wants numbers
///   without holes (invoices, say), give them in the transaction that needs them, one after the other.
#[derive(Clone)]
pub struct Dense {
    shared: Arc<Shared>,
}

/// How dense ids are taken from the store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DenseConfig {
    /// Where a tag begins that is new: 1 unless set. What is known of a tag that is there wins.
    pub first: u64,
    /// How large ranges are, and when they are fetched.
    pub segments: SegmentsConfig,
}

struct Shared {
    tag: String,
    store: Store,
    source: Source,
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Clone, Copy)]
enum Source {
    /// The row of the tag.
    Row { first: i64 },
    /// A sequence of PostgreSQL, whose values are so far apart.
    Sequence,
}

struct State {
    segments: Segments,
    /// Why the last fetch failed.
    cause: Option<Error>,
    fetches: u64,
    failures: u64,
}

/// What there is for somebody who wants ids.
enum Taken<T> {
    There(T),
    OnItsWay,
    None(Error),
}

// === impl Ids ===

impl Ids {
    /// Serves the dense ids of a tag, by a row of the store; gives it once the first range is there.
    ///
    /// # Errors
    /// When the tag (1 to 100 bytes) or the config is out of range (SF-1305), or the store gives no range.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropped half-way, a range may be nobody's.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// # use steadfast_store::{Config, Store};
    /// # #[tokio::main] async fn main() -> Result<(), steadfast_core::BoxError> {
    /// # let folder = std::env::temp_dir().join(format!("ids-doc-dense-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// use steadfast_ids::{DenseConfig, Ids};
    ///
    /// let store = Store::open(Config::sqlite(folder.join("shop.db"))).await?;
    /// let invoices = Ids::open(&store).await?.segments("invoice", DenseConfig::default()).await?;
    ///
    /// assert_eq!(invoices.next().await?.get(), 1);
    /// assert_eq!(invoices.next().await?.get(), 2);
    /// # store.close().await;
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok(()) } main().unwrap(); }
    /// ```
    pub async fn segments(&self, tag: &str, config: DenseConfig) -> Result<Dense, Error> {
        let first = i64::try_from(config.first).ok().filter(|first| *first >= 1);
        let Some(first) = first else {
            return refused("first", "must be from 1 to 2^63 - 1");
        };
        self.dense(tag, Source::Row { first }, config.segments)
            .await
    }

    /// Serves dense ids by a sequence of PostgreSQL, made with `INCREMENT BY` what a range is to be: `nextval` takes a
    /// range. It locks no row and is not undone by anything, which is faster where very many servers take ranges of one
    /// tag, and its step cannot adapt.
    ///
    /// The name is as in SQL: `shop.invoice_id`, in double quotes where it has upper case.
    ///
    /// # Errors
    /// When there is no such sequence, or it is one that goes down, begins anew at its end, or has values below 1
    /// (SF-1305); on SQLite, which has none; or the store gives no range.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropped half-way, a range may be nobody's.
    pub async fn sequence(&self, name: &str) -> Result<Dense, Error> {
        let found = self.store().ask(&SEQUENCE_LOOK, binds![name]).await?;
        let Some(row) = found.first() else {
            return refused(
                "sequence",
                "is not there: make it with CREATE SEQUENCE … INCREMENT BY 1000",
            );
        };
        let (step, least): (i64, i64) = (row.get(0)?, row.get(2)?);
        let Some(step) = u64::try_from(step).ok().filter(|step| *step >= 1) else {
            return refused("sequence", "goes down");
        };
        if row.get(1)? {
            return refused(
                "sequence",
                "begins anew at its end (CYCLE), so ids would come twice",
            );
        }
        if least < 1 {
            return refused("sequence", "has values below 1");
        }
        let config = SegmentsConfig {
            step_min: step,
            step_max: step,
            ..SegmentsConfig::default()
        };
        self.dense(name, Source::Sequence, config).await
    }

    async fn dense(
        &self,
        tag: &str,
        source: Source,
        config: SegmentsConfig,
    ) -> Result<Dense, Error> {
        if !(1..=TAG_BYTES_MAX).contains(&tag.len()) || tag.contains('\0') {
            return refused("tag", "must have 1 to 100 bytes, without NUL");
        }
        let segments = Segments::new(config).map_err(Repr::Segments)?;
        let dense = Dense {
            shared: Arc::new(Shared {
                tag: tag.to_owned(),
                store: self.store().clone(),
                source,
                state: Mutex::new(State {
                    segments,
                    cause: None,
                    fetches: 0,
                    failures: 0,
                }),
                arrived: Notify::new(),
            }),
        };
        // One too many to be seen is no reason not to work.
        let _ = report::register("ids segments", &dense.shared);
        dense.shared.fetch_first().await?;
        Ok(dense)
    }
}

fn refused<T>(what: &'static str, why: &'static str) -> Result<T, Error> {
    Err(Repr::Config { what, why }.into())
}

// === impl Dense ===

impl Dense {
    /// Gives the next id. Waits only when all are used up and a range is on its way, and for a second at most.
    ///
    /// # Errors
    /// When all are used up and the store gives no others (SF-1309), at once, with the cause and
    /// [when to come back](Error::retry_after).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&self) -> Result<Id, Error> {
        self.when_there(|segments, now| segments.next(now).ok())
            .await
    }

    /// Gives up to `count` ids, at least one: as many as are there without the store. They rise, and are in a row but
    /// where one range ends. Otherwise as [`next`](Self::next).
    ///
    /// # Errors
    /// As [`next`](Self::next).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn batch(&self, count: u32) -> Result<Vec<Id>, Error> {
        self.when_there(|segments, now| {
            let ids: Vec<Id> = (0..count.max(1))
                .map_while(|_| segments.next(now).ok())
                .collect();
            (!ids.is_empty()).then_some(ids)
        })
        .await
    }

    /// Gives the tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.shared.tag
    }

    /// Tells how many ids are there without the store.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.shared.state().segments.left()
    }

    /// Tells how large the next range is.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.shared.state().segments.step()
    }

    async fn when_there<T>(
        &self,
        take: impl Fn(&mut Segments, u64) -> Option<T>,
    ) -> Result<T, Error> {
        loop {
            // Before it is looked, so that what arrives in between is not missed.
            let mut arrived = pin!(self.shared.arrived.notified());
            arrived.as_mut().enable();
            match self.take(&take) {
                Taken::There(taken) => return Ok(taken),
                Taken::None(error) => return Err(error),
                Taken::OnItsWay => {
                    if clock::timeout(WAIT_MAX, arrived).await.is_err() {
                        let error = Repr::NoAnswer { waited: WAIT_MAX };
                        return Err(self.shared.used_up(Some(error.into()), Duration::ZERO));
                    }
                }
            }
        }
    }

    fn take<T>(&self, take: &impl Fn(&mut Segments, u64) -> Option<T>) -> Taken<T> {
        let now = clock::nanos();
        let mut state = self.shared.state();
        let taken = take(&mut state.segments, now);
        if let Some(fetch) = state.segments.fetch(now) {
            let fetching = Fetching::new(self.shared.clone());
            steadfast_core::spawn("segment", fetching.run(fetch.step));
        }
        match taken {
            Some(taken) => Taken::There(taken),
            None if state.segments.is_coming() => Taken::OnItsWay,
            None => {
                let wait = state.segments.fetch_from_ns().saturating_sub(now);
                let cause = state.cause.clone();
                drop(state);
                Taken::None(self.shared.used_up(cause, Duration::from_nanos(wait)))
            }
        }
    }
}

impl fmt::Debug for Dense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dense")
            .field("tag", &self.shared.tag)
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}

impl Default for DenseConfig {
    fn default() -> Self {
        Self {
            first: 1,
            segments: SegmentsConfig::default(),
        }
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used_up(&self, cause: Option<Error>, retry_after: Duration) -> Error {
        let tag = self.tag.clone();
        let retry_after = retry_after.max(Duration::from_millis(1));
        let cause = cause.map(Box::new);
        Repr::UsedUp {
            tag,
            retry_after,
            cause,
        }
        .into()
    }

    /// Fetches the first range, and has the second one fetched behind it.
    async fn fetch_first(self: &Arc<Self>) -> Result<(), Error> {
        let fetch = self.state().segments.fetch(clock::nanos());
        if let Some(fetch) = fetch {
            let mut fetching = Fetching::new(self.clone());
            if let Some(next) = fetching.once(fetch.step).await? {
                steadfast_core::spawn("segment", fetching.run(next.step));
            }
        }
        Ok(())
    }

    /// Takes a range from the store.
    async fn ask(&self, step: u64) -> Result<Range<u64>, Error> {
        let count = super::worker_id::signed(step);
        let rows = match self.source {
            Source::Row { first } => {
                let binds = binds![self.tag.as_str(), count, first];
                self.store.run(&SEGMENT_TAKE, binds).await?
            }
            Source::Sequence => {
                self.store
                    .run(&SEQUENCE_TAKE, binds![self.tag.as_str()])
                    .await?
            }
        };
        let row = rows
            .first()
            .ok_or_else(|| Repr::TagEnded(self.tag.clone()))?;
        let start = row.get::<i64>(0)?.unsigned_abs();
        Ok(start..start.saturating_add(step))
    }
}

/// A fetch on its way. One that is dropped (its runtime ends) has failed.
struct Fetching {
    shared: Arc<Shared>,
    done: bool,
}

impl Fetching {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            done: false,
        }
    }

    /// Fetches until there is enough, or the store gives none.
    async fn run(mut self, mut step: u64) {
        while let Ok(Some(next)) = self.once(step).await {
            step = next.step;
        }
    }

    /// Fetches a range, and says what to fetch after it.
    async fn once(&mut self, step: u64) -> Result<Option<Fetch>, Error> {
        self.done = false;
        let asked = self.shared.ask(step).await;
        let next = {
            let mut state = self.shared.state();
            let now = clock::nanos();
            state.fetches += 1;
            let taken = asked.and_then(|range| {
                let taken = state.segments.fetched(now, range);
                taken.map_err(|error| Repr::BadRange(error).into())
            });
            if let Err(error) = &taken {
                // A range that was refused has failed already.
                if !error.is_bad_range() {
                    state.segments.failed(now, rng::bits());
                }
                state.failures += 1;
                told_not_fetched(&self.shared.tag, error);
            }
            state.cause = taken.as_ref().err().cloned();
            taken.map(|()| state.segments.fetch(now))
        };
        self.done = !matches!(next, Ok(Some(_)));
        self.shared.arrived.notify_waiters();
        next
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        if !self.done {
            self.shared
                .state()
                .segments
                .failed(clock::nanos(), rng::bits());
            self.shared.arrived.notify_waiters();
        }
    }
}

fn told_not_fetched(tag: &str, error: &Error) {
    tracing::warn!(target: "steadfast::ids", tag, %error, "no range of ids from the store");
}

pub(crate) const EVENTS: &[EventDoc] = &[EventDoc::new(
    "steadfast::ids",
    &["warn"],
    "no range of ids from the store",
    &["error", "tag"],
)
.when("A range of dense ids could not be fetched; it is tried again when ids are wanted. Those that are there are served.")
.action("See the error; `steadfast_ids_segment_left` says how many are there without the store.")];

pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_ids_segment_left",
        &["tag"],
        "Dense ids that are there without the store.",
    ),
    MetricDoc::gauge(
        "steadfast_ids_segment_step",
        &["tag"],
        "How many ids the next range has.",
    ),
    MetricDoc::counter(
        "steadfast_ids_segment_fetches_total",
        &["tag"],
        "Ranges that the store was asked for.",
    ),
    MetricDoc::counter(
        "steadfast_ids_segment_fetch_failures_total",
        &["tag"],
        "Ranges that the store was asked for and did not give.",
    ),
];

impl report::Source for Shared {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        let (left, step, fetches, failures) = {
            let state = self.state();
            let segments = &state.segments;
            (
                segments.left(),
                segments.step(),
                state.fetches,
                state.failures,
            )
        };
        to.labels([("tag", self.tag.clone().into())])
            .gauge("steadfast_ids_segment_left", left as f64)
            .gauge("steadfast_ids_segment_step", step as f64)
            .counter("steadfast_ids_segment_fetches_total", fetches)
            .counter("steadfast_ids_segment_fetch_failures_total", failures);
    }
}
