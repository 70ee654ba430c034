use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use steadfast_core::batch::{Batch, BatchId, BatchWriter, Look, Permits, Sink, WriteError};
use steadfast_core::clock::Instant;
use steadfast_core::decide::batch::{Constraint, Lag, Pressure, UnknownLag};
use steadfast_core::rng;
use steadfast_store::sink::{DatabaseLook, Replicas};
use steadfast_store::testing::{Cluster, Database, Kind as Place};
use steadfast_store::{Config, Fault, Faults, Store};

use tokio::sync::mpsc;

use super::*;

/// A server, and one that follows it by logical replication.
pub(super) struct Pair {
    pub(super) store: Store,
    pub(super) subscriber: PgConnection,
    _clusters: [Cluster; 2],
}

impl Pair {
    pub(super) async fn start() -> Self {
        let clusters = tokio::task::block_in_place(|| {
            [
                Cluster::start_with(&["wal_level = logical", "wal_receiver_status_interval = 1s"]),
                Cluster::start_with(&["wal_receiver_status_interval = 1s"]),
            ]
        });
        let config = Config {
            connections_max: 12,
            ..Config::postgres(clusters[0].url("postgres"))
        };
        let store = Store::open(config).await.unwrap();
        let mut subscriber = PgConnection::connect(&clusters[1].url("postgres"))
            .await
            .unwrap();
        let table = "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL, hits BIGINT NOT NULL DEFAULT 1)";
        run(&store, table).await;
        run(&store, "CREATE PUBLICATION all_items FOR TABLE item").await;
        sqlx::raw_sql(table).execute(&mut subscriber).await.unwrap();
        let subscribe = format!(
            "CREATE SUBSCRIPTION items CONNECTION '{}' PUBLICATION all_items",
            clusters[0].url("postgres")
        );
        sqlx::raw_sql(AssertSqlSafe(subscribe))
            .execute(&mut subscriber)
            .await
            .unwrap();
        // What copies the table at first is a replica of which nothing is known, and may wait for a lock, too.
        until("the subscriber follows", async || {
            let text = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate = 'r'";
            let row: (i64,) = sqlx::query_as(text)
                .fetch_one(&mut subscriber)
                .await
                .unwrap();
            row.0 == 1
        })
        .await;
        Self {
            store,
            subscriber,
            _clusters: clusters,
        }
    }

    pub(super) async fn followed(&mut self) -> i64 {
        let row: (i64,) = sqlx::query_as("SELECT count(*) FROM item")
            .fetch_one(&mut self.subscriber)
            .await
            .unwrap();
        row.0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_whose_worker_waits_for_a_lock_stops_the_writer_until_it_goes_on() {
    let mut pair = Pair::start().await;
    let look = DatabaseLook::new(&pair.store, Replicas::AtLeast(1));
    let lag = async || match look.look().await.lag {
        Lag::Known(lag) => Some(lag),
        Lag::AtLeast(_) | Lag::Unknown => None,
    };
    let mut config = BatchConfig::new("followed");
    config.linger = Duration::from_millis(1);
    config.queue_max = 100_000;
    let limit = Duration::from_secs(2);
    config.size.lag_max = Some(limit);
    // Longer than this test takes, so that nothing passes while it is paused.
    config.size.pause_max = Duration::from_secs(3_600);
    config.size.unknown_lag = UnknownLag::Pause;
    let writer = BatchWriter::builder(config, sink(&pair.store, items()))
        .looking(DatabaseLook::new(&pair.store, Replicas::AtLeast(1)))
        .start()
        .unwrap();
    all(send(&writer, (0..100).map(item)).await).await;
    until("the subscriber has caught up", async || {
        pair.followed().await == 100
    })
    .await;
    until("the lag says so", async || {
        lag().await.is_some_and(|lag| lag < limit)
    })
    .await;

    // Somebody holds the table on the subscriber, and the apply worker waits. It tells nothing meanwhile.
    sqlx::raw_sql("BEGIN; LOCK TABLE item IN SHARE MODE")
        .execute(&mut pair.subscriber)
        .await
        .unwrap();
    let mut next = 100;
    let mut receipts = Vec::new();
    until("the writer stops because of the lag", async || {
        receipts.push(writer.send(item(next)).await.unwrap());
        next += 1;
        let stats = writer.stats();
        stats.is_paused && stats.constraint == Constraint::Lag
    })
    .await;
    until("others see it too", async || {
        lag().await.is_some_and(|lag| lag >= limit)
    })
    .await;
    receipts.extend(send(&writer, (next..next + 500).map(item)).await);
    next += 500;
    // More than two looks later nothing has been written.
    let written = writer.stats().written;
    clock::sleep(Duration::from_millis(500)).await;
    assert_eq!(writer.stats().written, written);

    sqlx::raw_sql("COMMIT")
        .execute(&mut pair.subscriber)
        .await
        .unwrap();
    all(receipts).await;

    assert!(!writer.stats().is_paused);
    until("the subscriber has everything", async || {
        pair.followed().await == next
    })
    .await;
}

/// A look of one writer among several, which notes how late it is.
struct Told {
    look: DatabaseLook,
    limit: Duration,
    is_over: Arc<AtomicBool>,
    /// By how much a lag was over the limit when it was told.
    late: mpsc::UnboundedSender<Duration>,
    slowness: Slowness,
}

impl Look for Told {
    async fn look(&self) -> Pressure {
        // Given up where the machine is too slow for it, too.
        let took = Took(clock::now(), self.slowness.clone());
        let pressure = self.look.look().await;
        drop(took);
        if let Lag::Known(lag) = pressure.lag {
            let is_over = lag >= self.limit;
            if is_over && !self.is_over.load(SeqCst) {
                let _ = self.late.send(lag - self.limit);
            }
            self.is_over.store(is_over, SeqCst);
        }
        pressure
    }

    fn permits(&self) -> Option<Permits> {
        self.look.permits()
    }
}

/// What the machine makes late that all of this runs on.
#[derive(Clone, Default)]
struct Slowness(Arc<Mutex<Duration>>);

/// Notes how long a look took, when it is dropped.
struct Took(Instant, Slowness);

impl Drop for Took {
    fn drop(&mut self) {
        self.1.note(clock::now() - self.0);
    }
}

impl Slowness {
    fn note(&self, late: Duration) {
        let mut most = self.0.lock().unwrap();
        *most = most.max(late);
    }

    fn most(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    /// Notes how late timers are that are due as often as looks.
    async fn watch(self) {
        loop {
            let due = clock::now() + Duration::from_millis(100);
            clock::sleep_until(due).await;
            self.note(clock::now() - due);
        }
    }
}

/// A sink that counts what it begins after its writer has been told of a lag over the limit.
struct Counted {
    sink: TableSink<Item>,
    is_over: Arc<AtomicBool>,
    begun: Arc<AtomicU32>,
}

impl Sink<Item> for Counted {
    async fn write(&self, batch: Batch<'_, Item>) -> Result<(), WriteError> {
        if self.is_over.load(SeqCst) {
            self.begun.fetch_add(1, SeqCst);
        }
        self.sink.write(batch).await
    }

    async fn settle(&self, id: BatchId) -> Result<bool, WriteError> {
        self.sink.settle(id).await
    }

    fn is_same_key(&self, earlier: &Item, later: &Item) -> bool {
        self.sink.is_same_key(earlier, later)
    }
}

/// Several writers on hot rows that share a look, and with it the permits, while a subscriber falls behind: each stops
/// within two looks of a lag over the limit, what has stood in line for a permit included, and goes on afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_share_permits_stop_when_a_subscriber_lags_and_none_starves() {
    const WRITERS: usize = 6;
    const KEYS: i64 = 50;
    let mut pair = Pair::start().await;
    let shared = DatabaseLook::new(&pair.store, Replicas::AtLeast(1));
    let limit = Duration::from_secs(2);
    let (late, mut lateness) = mpsc::unbounded_channel();
    let slowness = Slowness::default();
    drop(spawn("slowness", slowness.clone().watch()));
    let begun = Arc::new(AtomicU32::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let mut config = BatchConfig::new("followed");
            config.linger = Duration::from_millis(1);
            config.queue_max = 500;
            config.size.rows_max = 20;
            config.size.lag_max = Some(limit);
            config.size.pause_max = Duration::from_secs(3_600);
            config.size.unknown_lag = UnknownLag::Pause;
            let table = items().upsert_with(["id"], "hits = item.hits + 1").once();
            let is_over = Arc::new(AtomicBool::new(false));
            let counted = Counted {
                sink: sink(&pair.store, table),
                is_over: is_over.clone(),
                begun: begun.clone(),
            };
            let told = Told {
                look: shared.clone(),
                limit,
                is_over,
                late: late.clone(),
                slowness: slowness.clone(),
            };
            BatchWriter::builder(config, counted)
                .keyed(|item: &Item| item.id)
                .looking(told)
                .start()
                .unwrap()
        })
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = writers
        .iter()
        .map(|writer| {
            let (writer, stop) = (writer.clone(), stop.clone());
            spawn("sender", async move {
                let mut sent = 0;
                while !stop.load(SeqCst) {
                    let row = item((rng::bits() % KEYS as u64) as i64);
                    drop(writer.send(row).await.unwrap());
                    sent += 1;
                    // Slow enough for the subscriber to follow.
                    if sent % 20 == 0 {
                        clock::sleep(Duration::from_millis(10)).await;
                    }
                }
                sent
            })
        })
        .collect();
    let written = || {
        writers
            .iter()
            .map(|writer| writer.stats().written)
            .collect::<Vec<_>>()
    };
    until("all write, by turns", async || {
        written().iter().all(|written| *written > 500)
    })
    .await;

    sqlx::raw_sql("BEGIN; LOCK TABLE item IN SHARE MODE")
        .execute(&mut pair.subscriber)
        .await
        .unwrap();
    // A look that the machine has no time for knows nothing, which stops them as well.
    until("all have been told of the lag, and stopped", async || {
        let mut stats = writers.iter().map(BatchWriter::stats);
        lateness.len() >= WRITERS
            && stats
                .all(|stats| matches!(stats.constraint, Constraint::Lag | Constraint::UnknownLag))
    })
    .await;
    let stopped = written();
    // Longer than any of them waits for a permit.
    clock::sleep(Duration::from_millis(2_500)).await;
    // What was in flight when it was told is all that came since.
    let (since, begun) = (written(), begun.load(SeqCst));
    let mut told = Vec::new();
    while let Ok(late) = lateness.try_recv() {
        told.push(late);
    }
    assert!(told.len() >= WRITERS, "{told:?}");
    // What a look has told is acted upon a moment later, in which a batch may begin.
    assert!(
        begun as usize <= 2 * told.len(),
        "{begun} batches were begun by those who had been told"
    );
    for (stopped, since) in stopped.iter().zip(&since) {
        assert!(since - stopped <= 20, "{stopped} and then {since}");
    }
    for late in told {
        let (two_looks, machine) = (Duration::from_millis(200), slowness.most());
        assert!(
            late <= two_looks + 4 * machine,
            "{late:?} late, of which the machine has {machine:?}"
        );
    }

    sqlx::raw_sql("COMMIT")
        .execute(&mut pair.subscriber)
        .await
        .unwrap();
    until("all write again", async || {
        written()
            .iter()
            .zip(&since)
            .all(|(now, then)| *now > then + 500)
    })
    .await;
    stop.store(true, SeqCst);
    let mut sent = 0;
    for sender in senders {
        sent += sender.await.unwrap();
    }
    for writer in &writers {
        let report = writer.drain(clock::now() + Duration::from_secs(120)).await;
        assert_eq!((report.dead, report.left), (0, 0));
    }
    let hits = "SELECT sum(hits)::bigint FROM item";
    assert_eq!(number(&pair.store, hits).await, sent);
    until("the subscriber has everything", async || {
        let row: (i64,) = sqlx::query_as(hits)
            .fetch_one(&mut pair.subscriber)
            .await
            .unwrap();
        row.0 == sent
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_is_gone_is_behind_and_one_that_never_was_is_unknown() {
    let mut pair = Pair::start().await;
    let look = DatabaseLook::new(&pair.store, Replicas::AtLeast(1));
    let both = DatabaseLook::new(&pair.store, Replicas::AtLeast(2));
    let unwatched = DatabaseLook::new(&pair.store, Replicas::Unwatched);
    run(
        &pair.store,
        "INSERT INTO item SELECT i, '' FROM generate_series(1, 100) i",
    )
    .await;
    until("the subscriber has caught up", async || {
        pair.followed().await == 100
    })
    .await;
    until("it is known", async || {
        matches!(look.look().await.lag, Lag::Known(_))
    })
    .await;
    assert_eq!(both.look().await.lag, Lag::Unknown);
    assert_eq!(unwatched.look().await.lag, Lag::Unknown);

    sqlx::raw_sql("ALTER SUBSCRIPTION items DISABLE")
        .execute(&mut pair.subscriber)
        .await
        .unwrap();
    run(
        &pair.store,
        "INSERT INTO item SELECT i, '' FROM generate_series(101, 200) i",
    )
    .await;
    until(
        "its slot is seen to be behind, which may be behind what the subscriber has told itself",
        async || {
            matches!(
                look.look().await.lag,
                Lag::Known(lag) | Lag::AtLeast(lag) if lag > Duration::from_secs(1)
            )
        },
    )
    .await;
    // Who begins to look only now does not know since when.
    let new = DatabaseLook::new(&pair.store, Replicas::AtLeast(1));
    assert_eq!(new.look().await.lag, Lag::AtLeast(Duration::ZERO));
    until(
        "it is known to be behind for longer than a limit",
        async || matches!(new.look().await.lag, Lag::AtLeast(lag) if lag > Duration::from_secs(1)),
    )
    .await;

    sqlx::raw_sql("ALTER SUBSCRIPTION items ENABLE")
        .execute(&mut pair.subscriber)
        .await
        .unwrap();
    until(
        "it has caught up",
        async || matches!(look.look().await.lag, Lag::Known(lag) if lag < Duration::from_secs(1)),
    )
    .await;
    assert_eq!(pair.followed().await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_lock_is_counted() {
    let database = Database::make(Place::Postgres).await;
    let store = database.open().await;
    run(
        &store,
        "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL)",
    )
    .await;
    run(&store, "INSERT INTO item VALUES (1, '')").await;
    let look = DatabaseLook::new(&store, Replicas::Unwatched);
    assert_eq!(look.look().await.lock_waiters, Some(0));

    let mut holder = PgConnection::connect(&database.direct_url()).await.unwrap();
    sqlx::raw_sql("BEGIN; UPDATE item SET name = 'held'")
        .execute(&mut holder)
        .await
        .unwrap();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let store = store.clone();
            spawn("waiter", async move {
                run(&store, "UPDATE item SET name = 'waited'").await
            })
        })
        .collect();
    until("all three wait", async || {
        look.look().await.lock_waiters == Some(3)
    })
    .await;

    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    for waiter in waiters {
        waiter.await.unwrap();
    }
    // A look may have been told what was seen just before.
    until("nobody waits", async || {
        look.look().await.lock_waiters == Some(0)
    })
    .await;
}

/// A server that is slow to answer is asked once for all, and not by each in turn, most of whom would give up before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_look_while_somebody_asks_are_told_the_same() {
    let database = Database::make(Place::Postgres).await;
    let faults = Faults::new();
    let config = Config {
        faults: faults.clone(),
        ..database.config()
    };
    let store = database.open_with(config).await;
    let look = DatabaseLook::new(&store, Replicas::Unwatched);
    // Until all of them have begun, also on a slow machine.
    let slow = Fault::Delay(Duration::from_secs(5));
    faults.on_name("batch_look", slow);

    let mut looks = Vec::new();
    for _ in 0..8 {
        let look = look.clone();
        looks.push(spawn("look", async move { look.look().await.lock_waiters }));
        // Longer than what was seen is told for.
        clock::sleep(Duration::from_millis(60)).await;
    }
    for seen in looks {
        assert_eq!(seen.await.unwrap(), Some(0));
    }

    assert_eq!(faults.hits(), 1);
}

/// A server so far away that it answers no look before the next one is due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_slow_to_answer_is_seen_all_the_same() {
    let database = Database::make(Place::Postgres).await;
    let faults = Faults::new();
    let config = Config {
        faults: faults.clone(),
        ..database.config()
    };
    let store = database.open_with(config).await;
    let slow = Fault::Delay(Duration::from_millis(150));
    faults.on_name("batch_look", slow);
    let writer = BatchWriter::builder(BatchConfig::new("far"), sink(&store, items()))
        .looking(DatabaseLook::new(&store, Replicas::Unwatched))
        .start()
        .unwrap();

    until("it is seen", async || {
        writer.stats().lock_waiters == Some(0)
    })
    .await;

    assert!(faults.hits() > 0);
}
