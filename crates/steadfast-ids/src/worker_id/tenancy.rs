//! What a generator and the task that renews its lease share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use steadfast_core::decide::vigil::{Timing, Vigil};
use steadfast_core::report::{self, Collector, MetricDoc};
use steadfast_core::{clock, rng};
use steadfast_store::{Dialect, Store, binds};
use tokio::sync::{Notify, watch};

use super::{LeaseConfig, keeper, micros, millis, signed};
use crate::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use crate::error::{Error, Repr};
use crate::generator::{No, Refusal, refuse, start};
use crate::snowflake::{Anchor, Refused, Snowflake};
use crate::sql::{WORKER_LOOK, WORKER_RELEASE, WORKER_RENEW, WORKER_TAKE};

/// How much more time is reserved than a lease and a lead: 1 s. So far the wall clock may run ahead between two
/// renewals and be followed without a second one.
const SLACK: Duration = Duration::from_secs(1);

const COARSE_LAG_NS: u64 = clock::COARSE_LAG.as_nanos() as u64;

/// How often a start looks again when it lost a race for the last free worker id: 10 times.
const RACES_MAX: u32 = 10;

/// One worker id after the other, as the store gives them.
pub(crate) struct Tenancy {
    store: Store,
    config: LeaseConfig,
    /// Drawn at the start and kept nowhere else.
    holder: String,
    /// Looked after by the keeper alone: it goes forward only as far as time is reserved.
    anchor: Anchor,
    current: ArcSwap<Tenure>,
    pub(super) books: Books,
    pub(super) leaving: Notify,
    pub(super) left: watch::Sender<bool>,
}

/// One lease of one worker id.
pub(super) struct Tenure {
    pub(super) ids: Snowflake,
    pub(super) term: i64,
    /// Until when ids may be made, as [`clock::nanos`] counts, which is the quicker clock to read for each id. When the host
    /// sleeps it stands still, and the keeper ends the tenure soon after; what is made until then is below the mark.
    pub(super) fence_at: AtomicU64,
}

#[derive(Default)]
pub(super) struct Books {
    pub(super) renewals: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) losses: AtomicU64,
    /// How far the clock of this host is ahead of that of the database.
    pub(super) off_ms: AtomicI64,
    /// When the store is asked for another lease.
    pub(super) retry_at: AtomicU64,
}

/// What the store gave.
pub(super) struct Granted {
    worker: u64,
    pub(super) term: i64,
    from_ms: i64,
    mark_ms: i64,
}

/// Until when the ids of a lease went that is over: by the one who made them.
#[derive(Clone, Copy)]
pub(super) struct Ended {
    pub(super) worker: u64,
    pub(super) term: i64,
    pub(super) end_ns: u64,
}

impl Tenancy {
    /// Leases a worker id, and has it renewed.
    pub(super) async fn start(store: &Store, config: &LeaseConfig) -> Result<Arc<Self>, Error> {
        let (anchor, _) = start(&config.layout, config.lead).map_err(Repr::Start)?;
        let holder = format!("{:016x}{:016x}", rng::bits(), rng::bits());
        let mut vigil = Vigil::new(timing(config), clock::lease_nanos());
        let asker = Asker {
            store,
            config,
            holder: &holder,
        };
        let (granted, asked_at, off_ms) = asker.take(&anchor, None).await?;
        vigil.granted(asked_at);
        let by = Duration::from_millis(off_ms.unsigned_abs());
        if by > config.skew {
            // Nothing was made, so nothing stays reserved.
            asker
                .give_back(granted.worker, granted.term, granted.from_ms)
                .await?;
            let most = config.skew;
            return Err(Repr::Skew { by, most }.into());
        }
        let fence_at = awake(vigil.fence_at().unwrap_or_default());
        let tenure = Tenure::new(config, &granted, None, fence_at)?;
        let tenancy = Arc::new(Self {
            store: store.clone(),
            config: config.clone(),
            holder,
            anchor,
            current: ArcSwap::from_pointee(tenure),
            books: Books::default(),
            leaving: Notify::new(),
            left: watch::Sender::new(false),
        });
        tenancy.books.off_ms.store(off_ms, Relaxed);
        // One too many to be seen is no reason not to work.
        let _ = report::register("ids lease", &tenancy);
        keeper::told_leased(&tenancy, &granted);
        steadfast_core::spawn(
            "worker id",
            keeper::keep(keeper::Left(tenancy.clone()), vigil),
        );
        Ok(tenancy)
    }

    /// Takes what there is now. The clock is read and the fence asked for each id: what was read before a process stood
    /// still must not count after it.
    pub(crate) fn take<T>(
        &self,
        take: &impl Fn(&Snowflake, u64) -> Result<T, Refused>,
    ) -> Result<T, No> {
        let tenure = self.current.load();
        let coarse_ns = clock::nanos_coarse();
        // By as much earlier as that clock may be behind.
        if coarse_ns.saturating_add(COARSE_LAG_NS) < tenure.fence_at.load(Relaxed)
            && let Ok(taken) = take(&tenure.ids, self.anchor.since_epoch_ns(coarse_ns))
        {
            return Ok(taken);
        }
        self.take_exactly(take, tenure)
    }

    /// As [`take`](Self::take), by the exact clock: at the end of a lease, of a tick, or of what is reserved.
    fn take_exactly<T>(
        &self,
        take: &impl Fn(&Snowflake, u64) -> Result<T, Refused>,
        mut tenure: Guard<Arc<Tenure>>,
    ) -> Result<T, No> {
        loop {
            let monotonic_ns = clock::nanos();
            if monotonic_ns >= tenure.fence_at.load(Relaxed) {
                return Err(self.fenced(monotonic_ns));
            }
            // Whoever is stopped right here makes an id all the same when it goes on: below the mark, which is
            // where the next one begins.
            let now_ns = self.anchor.since_epoch_ns(monotonic_ns);
            match take(&tenure.ids, now_ns) {
                Ok(taken) => return Ok(taken),
                Err(Refused::Beyond) => return Err(self.fenced(monotonic_ns)),
                Err(Refused::Closed) => {
                    let newer = self.current.load();
                    if Arc::ptr_eq(&newer, &tenure) {
                        return Err(self.fenced(monotonic_ns));
                    }
                    tenure = newer;
                }
                Err(refused) => return Err(refuse(&tenure.ids, refused, now_ns)),
            }
        }
    }

    #[cold]
    fn fenced(&self, now: u64) -> No {
        if *self.left.borrow() {
            return No::Closed;
        }
        let wait = self.books.retry_at.load(Relaxed).saturating_sub(now);
        No::Fenced(Duration::from_nanos(wait).max(Duration::from_millis(1)))
    }

    pub(crate) fn with<T>(&self, look: impl Fn(&Snowflake, u64) -> T) -> T {
        look(&self.current.load().ids, self.now_ns())
    }

    pub(crate) fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    pub(crate) fn group(&self) -> &str {
        &self.config.group
    }

    pub(crate) fn term(&self) -> i64 {
        self.current.load().term
    }

    pub(crate) fn is_held(&self) -> bool {
        clock::nanos() < self.current.load().fence_at.load(Relaxed)
    }

    /// Has it given back, without waiting.
    pub(crate) fn leave(&self) {
        self.leaving.notify_one();
    }

    pub(crate) async fn release(&self) {
        let mut left = self.left.subscribe();
        self.leave();
        let _ = left.wait_for(|left| *left).await;
        // Nobody has done so if it ended with its runtime.
        self.end();
    }

    fn now_ns(&self) -> u64 {
        self.anchor.since_epoch_ns(clock::nanos())
    }

    fn asker(&self) -> Asker<'_> {
        Asker {
            store: &self.store,
            config: &self.config,
            holder: &self.holder,
        }
    }

    /// Stops making ids under the present lease, for good; gives where they ended, once.
    pub(super) fn end(&self) -> Option<Ended> {
        let tenure = self.current.load();
        tenure.fence_at.store(0, Relaxed);
        Some(Ended {
            worker: tenure.ids.worker(),
            term: tenure.term,
            end_ns: tenure.ids.close()?,
        })
    }

    /// Takes another lease in the place of one that has ended.
    pub(super) async fn take_again(
        &self,
        vigil: &mut Vigil,
        before: Option<Ended>,
    ) -> Result<Granted, Error> {
        let (granted, asked_at, off_ms) = self.asker().take(&self.anchor, before).await?;
        vigil.granted(asked_at);
        self.books.off_ms.store(off_ms, Relaxed);
        let fence_at = awake(vigil.fence_at().unwrap_or_default());
        let tenure = Tenure::new(&self.config, &granted, before, fence_at)?;
        self.current.store(Arc::new(tenure));
        Ok(granted)
    }

    /// Renews the lease, and reserves more time; `false` if it is over.
    pub(super) async fn renew(&self, vigil: &mut Vigil) -> Result<bool, Error> {
        let Some((asked_at, off_ms)) = self.reserve(self.now_ns()).await? else {
            return Ok(false);
        };
        vigil.granted(asked_at);
        let fence_at = awake(vigil.fence_at().unwrap_or_default());
        self.current.load().fence_at.store(fence_at, Relaxed);
        self.books.off_ms.store(off_ms, Relaxed);
        self.books.renewals.fetch_add(1, Relaxed);
        if Duration::from_millis(off_ms.unsigned_abs()) > self.config.skew {
            keeper::told_off(self, off_ms);
            return Ok(true);
        }
        self.follow().await
    }

    /// Follows the wall clock, as far as time is reserved; one that has run far ahead has time reserved first.
    async fn follow(&self) -> Result<bool, Error> {
        let wall_ms = clock::timestamp().unix_millis();
        let wall_ns = self.config.layout.since_epoch_ns(wall_ms);
        let ahead_ns = wall_ns.saturating_sub(self.now_ns());
        if Duration::from_nanos(ahead_ns) > SLACK && self.reserve(wall_ns).await?.is_none() {
            return Ok(false);
        }
        // What it shows by now may be more than was reserved.
        let later_ms = clock::timestamp().unix_millis();
        self.anchor
            .note(clock::nanos(), later_ms.min(wall_ms + millis(SLACK) / 2));
        Ok(true)
    }

    /// Reserves what a holder at this time can use until its lease ends; `None` if it is over.
    async fn reserve(&self, now_ns: u64) -> Result<Option<(u64, i64)>, Error> {
        let tenure = self.current.load_full();
        let Some((mark_ms, asked_at, off_ms)) = self.asker().renew(&tenure, now_ns).await? else {
            return Ok(None);
        };
        let mark_ns = self.config.layout.since_epoch_ns(mark_ms);
        tenure.ids.reserve(mark_ns);
        Ok(Some((asked_at, off_ms)))
    }

    /// Tells the store that the worker id is free, if it is still this holder's.
    pub(super) async fn give_back(&self, ended: Ended) -> Result<(), Error> {
        let mark_ms = self.config.layout.unix_ms_after(ended.end_ns);
        let asker = self.asker();
        let given = asker.give_back(ended.worker, ended.term, mark_ms);
        let limit = self.store.config().statement_timeout;
        // Not told, it ends with its lease.
        clock::timeout(limit, given).await.unwrap_or(Ok(()))
    }
}

impl fmt::Debug for Tenancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenancy")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Tenure {
    /// Begins where the store says, or where this process itself ended with the same worker id; and in any case
    /// behind all ids that it has made, so that they go on to rise.
    fn new(
        config: &LeaseConfig,
        granted: &Granted,
        before: Option<Ended>,
        fence_at: u64,
    ) -> Result<Self, Error> {
        let layout = config.layout;
        let is_next =
            |before: &Ended| before.worker == granted.worker && before.term + 1 == granted.term;
        let from_ns = match before {
            Some(before) if is_next(&before) => before.end_ns,
            Some(before) => layout.since_epoch_ns(granted.from_ms).max(before.end_ns),
            None => layout.since_epoch_ns(granted.from_ms),
        };
        let (lead_ns, until_ns) = (
            config.lead.as_nanos() as u64,
            layout.since_epoch_ns(granted.mark_ms),
        );
        let ids = Snowflake::reserved(layout, granted.worker, lead_ns, from_ns, until_ns);
        Ok(Self {
            ids: ids.map_err(|error| Repr::Start(Refusal::from(error)))?,
            term: granted.term,
            fence_at: AtomicU64::new(fence_at),
        })
    }
}

/// Asks the store on behalf of one holder.
struct Asker<'a> {
    store: &'a Store,
    config: &'a LeaseConfig,
    holder: &'a str,
}

impl Asker<'_> {
    /// Takes a worker id; gives it with the time before the store was asked, and how far the clock of this host
    /// is ahead of the database's.
    async fn take(
        &self,
        anchor: &Anchor,
        last: Option<Ended>,
    ) -> Result<(Granted, u64, i64), Error> {
        let mut races = 0;
        loop {
            let now_ns = anchor.since_epoch_ns(clock::nanos());
            let (asked_at, before) = (clock::lease_nanos(), clock::timestamp().unix_millis());
            let LeaseConfig { group, layout, .. } = self.config;
            let host = self.store.host_clock();
            let binds = binds![
                group.as_str(),
                layout.to_string(),
                self.holder,
                micros(self.config.lease),
                layout.unix_ms_after(now_ns),
                millis(self.config.skew),
                self.mark_ms(now_ns),
                self.rest_us(),
                self.config.worker.map(signed),
                self.worker_max(),
                host.boot,
                host.us,
                last.map(|last| signed(last.worker)),
                last.map(|last| last.term)
            ];
            let rows = self.store.run(&WORKER_TAKE, binds).await?;
            if let Some(row) = rows.first() {
                let granted = Granted {
                    worker: row.get::<i64>(0)?.unsigned_abs(),
                    term: row.get(1)?,
                    from_ms: row.get(2)?,
                    mark_ms: row.get(3)?,
                };
                return Ok((granted, asked_at, self.off_ms(before, row.get(4)?)));
            }
            match self.why(now_ns).await? {
                Some(why) => return Err(why),
                // Somebody else had just locked the last ones, and may not have taken them.
                None if races == RACES_MAX => return Err(self.none_free(0, 0, 0, Duration::ZERO)),
                None => races += 1,
            }
            clock::sleep(Duration::from_millis(1 + rng::bits() % 20)).await;
        }
    }

    /// Renews a lease; gives the mark, the time before the store was asked and the difference of the clocks.
    async fn renew(&self, tenure: &Tenure, now_ns: u64) -> Result<Option<(i64, u64, i64)>, Error> {
        let (asked_at, before) = (clock::lease_nanos(), clock::timestamp().unix_millis());
        let host = self.store.host_clock();
        let binds = binds![
            self.config.group.as_str(),
            signed(tenure.ids.worker()),
            self.holder,
            tenure.term,
            micros(self.config.lease),
            self.mark_ms(now_ns),
            host.boot,
            host.us
        ];
        let rows = self.store.run(&WORKER_RENEW, binds).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some((
            row.get(0)?,
            asked_at,
            self.off_ms(before, row.get(1)?),
        )))
    }

    async fn give_back(&self, worker: u64, term: i64, mark_ms: i64) -> Result<(), Error> {
        let (group, worker) = (self.config.group.as_str(), signed(worker));
        let us = self.store.host_clock().us;
        let binds = binds![group, worker, self.holder, term, mark_ms, us];
        self.store.run(&WORKER_RELEASE, binds).await?;
        Ok(())
    }

    /// Says why there was no worker id; `None` if there is one by now.
    async fn why(&self, now_ns: u64) -> Result<Option<Error>, Error> {
        let LeaseConfig { group, layout, .. } = self.config;
        let host = self.store.host_clock();
        let binds = binds![
            group.as_str(),
            layout.unix_ms_after(now_ns),
            millis(self.config.skew),
            self.rest_us(),
            self.config.worker.map(signed),
            self.worker_max(),
            host.boot,
            host.us
        ];
        let rows = self.store.ask(&WORKER_LOOK, binds).await?;
        let row = rows.one()?;
        let stored: String = row.get(6)?;
        if stored != layout.to_string() {
            let (group, why) = (
                group.clone(),
                "which another process has given it meanwhile",
            );
            return Ok(Some(Repr::Layout { group, stored, why }.into()));
        }
        let (leased, resting, behind): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let all: i64 = row.get(5)?;
        if leased + resting + behind < all {
            return Ok(None);
        }
        if behind > 0 {
            let by = Duration::from_millis(row.get::<i64>(4)?.unsigned_abs());
            let group = group.clone();
            return Ok(Some(Repr::Behind { group, by }.into()));
        }
        let next = Duration::from_micros(row.get::<i64>(3)?.unsigned_abs());
        Ok(Some(self.none_free(all, leased, resting, next)))
    }

    fn none_free(&self, all: i64, leased: i64, resting: i64, next: Duration) -> Error {
        let group = self.config.group.clone();
        let retry_after = next.max(Duration::from_millis(1));
        match self.config.worker {
            Some(worker) => Repr::Held {
                group,
                worker,
                retry_after,
            },
            None => Repr::NoneFree {
                group,
                all,
                leased,
                resting,
                retry_after,
            },
        }
        .into()
    }

    /// Until when a holder at this time reserves: what it can use before its lease ends, and a little more.
    fn mark_ms(&self, now_ns: u64) -> i64 {
        let ahead = self.config.lease + self.config.lead + SLACK;
        let ahead_ns = u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX);
        self.config
            .layout
            .unix_ms_after(now_ns.saturating_add(ahead_ns))
    }

    /// One that is known does not rest: what its ids begin at is all it needs.
    fn rest_us(&self) -> i64 {
        match self.config.worker {
            Some(_) => 0,
            None => micros(self.config.rest()),
        }
    }

    fn worker_max(&self) -> i64 {
        signed(self.config.layout.worker_max())
    }

    /// How far the clock of this host is ahead of that of the database, which was read at some time between
    /// `before` and now.
    fn off_ms(&self, before: i64, database_ms: i64) -> i64 {
        let after = clock::timestamp().unix_millis();
        match self.store.dialect() {
            Dialect::Sqlite => 0,
            Dialect::Postgres if database_ms < before => before - database_ms,
            Dialect::Postgres if database_ms > after => after - database_ms,
            Dialect::Postgres => 0,
        }
    }
}

/// Converts a time of the lease to what [`clock::nanos`] will show then, if the host does not sleep before.
pub(super) fn awake(lease_ns: u64) -> u64 {
    let now_ns = clock::nanos();
    now_ns.saturating_add(lease_ns.saturating_sub(clock::lease_nanos()))
}

/// Three renewals in a lease, and a tenth of it before its end it is not relied on, as for nodes.
fn timing(config: &LeaseConfig) -> Timing {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Timing {
        renew: nanos(config.lease / 3),
        lease: nanos(config.lease),
        margin: nanos(config.lease / 10),
        retry: nanos(config.lease / 30),
    }
}

pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_ids_lease_left_seconds",
        &["group"],
        "For how long ids may be made with the leased worker id without another renewal; 0 when fenced.",
    ),
    MetricDoc::counter(
        "steadfast_ids_lease_renewals_total",
        &["group"],
        "Renewals that reached the store.",
    ),
    MetricDoc::counter(
        "steadfast_ids_lease_failures_total",
        &["group"],
        "Renewals and attempts to get another worker id that did not.",
    ),
    MetricDoc::counter(
        "steadfast_ids_lease_losses_total",
        &["group"],
        "Leases of a worker id that were lost.",
    ),
    MetricDoc::gauge(
        "steadfast_ids_ahead_of_database_seconds",
        &["group"],
        "How far the clock of this host is ahead of that of the database, as of the last renewal; negative when behind.",
    ),
];

impl report::Source for Tenancy {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        let fence_at = self.current.load().fence_at.load(Relaxed);
        let left = Duration::from_nanos(fence_at.saturating_sub(clock::nanos()));
        let books = &self.books;
        to.labels([("group", self.config.group.clone().into())])
            .gauge("steadfast_ids_lease_left_seconds", left.as_secs_f64())
            .counter(
                "steadfast_ids_lease_renewals_total",
                books.renewals.load(Relaxed),
            )
            .counter(
                "steadfast_ids_lease_failures_total",
                books.failures.load(Relaxed),
            )
            .counter(
                "steadfast_ids_lease_losses_total",
                books.losses.load(Relaxed),
            )
            .gauge(
                "steadfast_ids_ahead_of_database_seconds",
                books.off_ms.load(Relaxed) as f64 / 1_000.0,
            );
    }
}
