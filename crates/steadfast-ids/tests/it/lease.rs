//! Worker ids of a store.

use std::collections::HashSet;
use std::time::Duration;

use steadfast_core::testing::Clock;
use steadfast_core::{Timestamp, clock, spawn};
use steadfast_ids::snowflake::LayoutConfig;
use steadfast_ids::{Ids, Layout, LeaseConfig};
use steadfast_store::testing::{Database, Kind};
use steadfast_store::{Config, Dialect, Fault, Faults, Store, binds};

use super::support::{Union, lasting, long, make, restless, until};

/// Three bits of worker id: eight of them.
fn eight() -> Layout {
    Layout::new(LayoutConfig {
        worker_bits: 3,
        sequence_bits: 19,
        ..LayoutConfig::default()
    })
    .unwrap()
}

/// One to which the mark of a worker id is no reason to pass it over: what is left is whether somebody has it.
fn unmarked() -> LeaseConfig {
    LeaseConfig {
        skew: LeaseConfig::LEASE_MAX,
        ..lasting()
    }
}

async fn sql(store: &Store, sqlite: &'static str, postgres: &'static str) {
    let text = match store.dialect() {
        Dialect::Sqlite => sqlite,
        Dialect::Postgres => postgres,
    };
    let ran: Result<_, steadfast_store::Error> = store
        .write(async |mut tx| tx.sql(text, binds![]).await)
        .await;
    ran.unwrap();
}

/// Nothing else runs meanwhile, as in a process that is stopped: what is left to refuse is the fence itself, since the
/// mark is further away.
#[tokio::test]
async fn a_thread_that_stands_still_past_the_lease_makes_no_id_when_it_goes_on() {
    let database = Database::make(Kind::Sqlite).await;
    let ids = Ids::open(&database.open().await).await.unwrap();
    let lease = Duration::from_secs(1);
    let held = ids
        .lease(LeaseConfig {
            lease,
            ..restless()
        })
        .await
        .unwrap();
    let leased = clock::now();

    while clock::now() < leased + lease {
        std::thread::yield_now();
    }

    let error = held.try_next().unwrap_err();
    assert!(error.is_fenced() && !held.is_held(), "{error}");
    // And then it gets another one.
    make(&held, 1).await;
}

steadfast_store::on_every_store! {
    async fn each_process_gets_a_worker_id_of_its_own_and_gives_it_back(database) {
        let one = Ids::open(&database.open().await).await.unwrap();
        let other = Ids::open(&database.open().await).await.unwrap();
        let layout = eight();
        let config = || LeaseConfig { layout, ..lasting() };

        let mut held = Vec::new();
        for turn in 0..8 {
            let ids = if turn % 2 == 0 { &one } else { &other };
            held.push(ids.lease(config()).await.unwrap());
        }
        let workers: HashSet<u64> = held.iter().map(|ids| ids.worker()).collect();
        assert_eq!(workers.len(), 8);
        let mut union = Union::default();
        for ids in &held {
            union.add(make(ids, 100).await);
        }

        // There is no ninth, and the error says how it is.
        let error = other.lease(config()).await.unwrap_err();
        assert_eq!((error.code(), error.is_taken()), ("SF-1301", true));
        assert!(error.retry_after().unwrap() > Duration::from_secs(300), "{error}");
        assert!(error.to_string().contains("none of the 8 worker ids"), "{error}");
        // Other groups have their own.
        let elsewhere = LeaseConfig { group: "invoices".into(), ..config() };
        one.lease(elsewhere).await.unwrap().release().await;

        // One goes, and its worker id comes to the next, with a higher term and other ids.
        let gone = held.pop().unwrap();
        let (worker, term) = (gone.worker(), gone.term().unwrap());
        gone.release().await;
        let error = gone.try_next().unwrap_err();
        assert_eq!((error.is_retryable(), error.is_fenced()), (false, false), "{error}");
        let next = until(async || other.lease(config()).await.ok()).await;
        assert_eq!(next.worker(), worker);
        assert!(next.term().unwrap() > term);
        union.add(make(&next, 100).await);
        assert_eq!(union.len(), 900);
    }

    async fn the_1025th_node_on_ten_bits_is_told_and_gets_one_later(database) {
        let store = database.open().await;
        let ids = Ids::open(&store).await.unwrap();
        // Many at a time, as a fleet starts.
        let mut held = Vec::new();
        for _ in 0..32 {
            let starting: Vec<_> = (0..32)
                .map(|_| {
                    let ids = ids.clone();
                    spawn("start", async move { ids.lease(lasting()).await })
                })
                .collect();
            for start in starting {
                held.push(start.await.unwrap().unwrap());
            }
        }
        let workers: HashSet<u64> = held.iter().map(|ids| ids.worker()).collect();
        assert_eq!((held.len(), workers.len()), (1_024, 1_024));

        let error = ids.lease(unmarked()).await.unwrap_err();
        assert_eq!(error.code(), "SF-1301");
        let said = error.to_string();
        assert!(said.contains("none of the 1024 worker ids of the group \"default\" is free: 1024 are leased"), "{said}");
        assert!(error.fix().contains("fewer processes"));

        held.pop().unwrap().release().await;
        until(async || ids.lease(lasting()).await.ok()).await;
    }

    async fn a_worker_id_rests_before_it_is_somebody_elses(database) {
        let ids = Ids::open(&database.open().await).await.unwrap();
        let layout = eight();
        let config = LeaseConfig { layout, skew: Duration::from_secs(300), ..lasting() };
        for _ in 0..8 {
            ids.lease(config.clone()).await.unwrap().release().await;
        }

        let error = ids.lease(config.clone()).await.unwrap_err();

        assert!(error.to_string().contains("0 are leased, 8 rest"), "{error}");
        // Twice the skew, less what the eight took.
        let wait = error.retry_after().unwrap();
        assert!(wait > Duration::from_secs(400) && wait <= config.rest(), "{wait:?}");
        // One that is known is the same service that comes back.
        let known = LeaseConfig { worker: Some(5), ..config };
        assert_eq!(ids.lease(known).await.unwrap().worker(), 5);
    }

    async fn a_worker_id_that_is_known_is_nobody_elses(database) {
        let ids = Ids::open(&database.open().await).await.unwrap();
        let known = LeaseConfig { worker: Some(0), ..unmarked() };
        let holder = ids.lease(known.clone()).await.unwrap();

        let error = ids.lease(known.clone()).await.unwrap_err();
        assert_eq!(error.code(), "SF-1301");
        assert!(error.to_string().contains("worker id 0 of the group \"default\" is leased by another"), "{error}");
        assert!(error.retry_after().is_some());
        // Those that take any pass it over.
        assert_ne!(ids.lease(lasting()).await.unwrap().worker(), 0);

        let mut union = Union::default();
        union.add(make(&holder, 1_000).await);
        holder.release().await;
        let again = until(async || ids.lease(known.clone()).await.ok()).await;
        assert_eq!(again.worker(), 0);
        union.add(make(&again, 1_000).await);

        let most = LeaseConfig { worker: Some(1_024), ..lasting() };
        assert_eq!(ids.lease(most).await.unwrap_err().code(), "SF-1305");
    }

    async fn a_store_that_is_away_for_longer_than_the_lease_fences_and_ids_go_on_to_rise(database) {
        let faults = Faults::new();
        let store = database.open_with(Config { faults: faults.clone(), ..database.config() }).await;
        let ids = Ids::open(&store).await.unwrap();
        let lease = Duration::from_secs(1);
        faults.on_name("worker_renew", Fault::Before);
        let held = ids.lease(LeaseConfig { lease, ..restless() }).await.unwrap();
        let leased = clock::now();
        faults.on_name("worker_take", Fault::Before);
        let (worker, term) = (held.worker(), held.term().unwrap());

        // It makes ids for as long as the lease may be relied on, and not an instant longer.
        let mut made = Vec::new();
        let fenced = loop {
            let before = clock::now();
            match held.try_next() {
                Ok(id) => {
                    made.push(id);
                    assert!(before < leased + lease - lease / 10, "an id {:?} into the lease", before - leased);
                }
                Err(error) if error.is_fenced() => break error,
                Err(error) => clock::sleep(error.retry_after().unwrap()).await,
            }
        };
        assert!(fenced.is_retryable() && !held.is_held());
        assert!(held.next().await.unwrap_err().is_fenced(), "at once, and not when it is over");

        // Another one has the worker id by now.
        let other = Ids::open(&database.open().await).await.unwrap();
        let known = LeaseConfig { worker: Some(worker), ..lasting() };
        let taken = until(async || other.lease(known.clone()).await.ok()).await;
        assert!(taken.term().unwrap() > term);
        let theirs = make(&taken, 1_000).await;

        // The store is back: with another worker id.
        faults.clear();
        let again = make(&held, 1_000).await;
        assert_ne!(held.worker(), worker);
        assert!(made.last() < again.first(), "ids of one generator rise");
        let mut union = Union::default();
        for some in [made, theirs, again] {
            assert!(some.is_sorted());
            union.add(some);
        }
    }

    async fn an_answer_that_is_lost_costs_no_worker_id_and_no_order(database) {
        let faults = Faults::new();
        let store = database.open_with(Config { faults: faults.clone(), ..database.config() }).await;
        let ids = Ids::open(&store).await.unwrap();
        let held = ids.lease(LeaseConfig { lease: Duration::from_millis(300), ..restless() }).await.unwrap();
        let mut made = make(&held, 100).await;

        for fault in [Fault::After, Fault::Before] {
            faults.on_name("worker_renew", fault);
            faults.on_name("worker_take", fault);
            let worker = held.worker();
            until(async || (!held.is_held()).then_some(())).await;
            faults.clear();
            made.extend(make(&held, 100).await);
            if fault == Fault::Before {
                assert_eq!(held.worker(), worker, "nobody has had it since");
            }
        }

        assert!(made.is_sorted_by(|one, next| one < next));
    }

    async fn another_layout_is_refused_unless_its_ids_are_greater_than_all_there_are(database) {
        let ids = Ids::open(&database.open().await).await.unwrap();
        let (narrow, wide) = (eight(), Layout::DEFAULT);
        // Of as many bits behind the time: numbers of the one are numbers of the other.
        let held = ids.lease(LeaseConfig { layout: narrow, ..lasting() }).await.unwrap();
        let refused = async |layout| {
            let error = ids.lease(LeaseConfig { layout, ..lasting() }).await.unwrap_err();
            assert_eq!(error.code(), "SF-1304");
            error.to_string()
        };
        let said = refused(wide).await;
        assert!(said.contains("41+3+19+0=63") && said.contains("are leased with it"), "{said}");
        make(&held, 10).await;
        held.release().await;
        until(async || (!refused(later()).await.contains("are leased with it")).then_some(())).await;

        // An hour later an epoch makes the numbers of the hour before again; an hour earlier none.
        let said = refused(later()).await;
        assert!(said.contains("may be ids that there are"), "{said}");
        let layout = earlier();
        let moved = ids.lease(LeaseConfig { layout, ..lasting() }).await.unwrap();
        assert!(held.try_next().is_err());
        make(&moved, 10).await;
        // And the way back is closed.
        moved.release().await;
        until(async || (!refused(narrow).await.contains("are leased with it")).then_some(())).await;
        assert!(refused(narrow).await.contains("may be ids that there are"));
    }

    async fn many_restarts_with_new_addresses_leave_worker_ids_for_the_next(database) {
        let store = database.open().await;
        let faults = Faults::new();
        let faulty = database.open_with(Config { faults: faults.clone(), ..database.config() }).await;
        let (clean, dying) = (Ids::open(&store).await.unwrap(), Ids::open(&faulty).await.unwrap());
        // What a process that dies does not say.
        faults.on_name("worker_release", Fault::Before);
        faults.on_name("worker_renew", Fault::Before);
        let layout = eight();
        let config = LeaseConfig { layout, lease: LeaseConfig::LEASE_MIN, ..restless() };
        let restarts = if long() { 10_000 } else { 100 };

        let mut union = Union::default();
        for restart in 0..restarts {
            // One of five dies; nobody knows it by its name or address.
            let ids = if restart % 5 == 0 { &dying } else { &clean };
            let held = until(async || ids.lease(config.clone()).await.ok()).await;
            union.add(held.try_batch(5).into_iter().flatten());
            union.add(make(&held, 5).await);
        }

        assert!(union.len() >= restarts * 5);
    }
}

/// The epoch of others, a year before or after.
fn later() -> Layout {
    with_epoch(365 * 86_400_000)
}

fn earlier() -> Layout {
    with_epoch(-365 * 86_400_000)
}

fn with_epoch(by_ms: i64) -> Layout {
    Layout::new(LayoutConfig {
        epoch: Timestamp::from_unix_millis(Layout::EPOCH_UNIX_MS + by_ms),
        ..eight().config()
    })
    .unwrap()
}

#[tokio::test]
async fn a_copy_of_the_file_hands_nothing_out_until_it_is_said_to_be_the_one() {
    let database = Database::make(Kind::Sqlite).await;
    let store = database.open().await;
    let ids = Ids::open(&store).await.unwrap();
    let held = ids.lease(lasting()).await.unwrap();
    let mut union = Union::default();
    union.add(make(&held, 100).await);
    let copy = database.file().with_extension("copy");
    store.close().await;
    std::fs::copy(database.file(), &copy).unwrap();

    let copied = database.open_with(Config::sqlite(&copy)).await;
    let error = Ids::open(&copied).await.unwrap_err();
    assert_eq!(error.code(), "SF-1306");
    assert!(error.fix().contains("Ids::adopt"));
    // The file itself still is what it was.
    Ids::open(&database.open().await).await.unwrap();

    let adopted = Ids::adopt(&copied).await.unwrap();
    let same = LeaseConfig {
        worker: Some(held.worker()),
        ..unmarked()
    };
    let error = adopted.lease(same).await.unwrap_err();
    assert!(
        error.is_taken(),
        "the lease is in the copy, its holder is not: {error}"
    );
    let next = adopted.lease(lasting()).await.unwrap();
    assert_ne!(next.worker(), held.worker());
    union.add(make(&next, 100).await);
    Ids::open(&copied).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_off_that_of_the_database_gets_no_worker_id() {
    let database = Database::make(Kind::Postgres).await;
    let ids = Ids::open(&database.open().await).await.unwrap();
    let config = LeaseConfig {
        skew: Duration::from_secs(300),
        ..lasting()
    };
    for by_ms in [-3_600_000, 3_600_000] {
        let time = Clock::start();
        let now_ms = clock::timestamp().unix_millis();
        time.set_timestamp(Timestamp::from_unix_millis(now_ms + by_ms));

        let error = ids.lease(config.clone()).await.unwrap_err();

        assert_eq!(error.code(), "SF-1303", "{error}");
        assert!(
            error.to_string().contains("off that of the database"),
            "{error}"
        );
    }
    // It leaves no mark of the hour to come.
    let known = LeaseConfig {
        worker: Some(0),
        ..config
    };
    let held = until(async || ids.lease(known.clone()).await.ok()).await;
    assert!(held.next().await.is_ok());
}

steadfast_store::on_every_store! {
    async fn a_clock_behind_what_is_reserved_is_told_by_how_much(database) {
        let store = database.open().await;
        let ids = Ids::open(&store).await.unwrap();
        let layout = eight();
        let config = LeaseConfig { layout, ..lasting() };
        ids.lease(config.clone()).await.unwrap().release().await;
        // As one leaves it whose clock was a year ahead.
        sql(
            &store,
            "UPDATE steadfast_id_worker SET mark_ms = 31536000000 + CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            "UPDATE steadfast.id_worker SET mark_ms = 31536000000 + steadfast.now_us() / 1000",
        )
        .await;

        let error = until(async || {
            let error = ids.lease(config.clone()).await.unwrap_err();
            (error.code() == "SF-1302").then_some(error)
        })
        .await;

        assert!(error.retry_after().unwrap() > Duration::from_secs(300 * 86_400), "{error}");
    }
}

steadfast_store::on_every_store! {
    async fn ids_begin_behind_what_was_reserved_and_stay_below_what_is(database) {
        let store = database.open().await;
        let ids = Ids::open(&store).await.unwrap();
        // A lead that reaches behind the mark of somebody whose clock was two seconds ahead, so that nobody waits.
        let config = LeaseConfig {
            worker: Some(3),
            skew: Duration::from_secs(300),
            lead: Duration::from_secs(10),
            ..lasting()
        };
        ids.lease(config.clone()).await.unwrap().release().await;
        sql(
            &store,
            "UPDATE steadfast_id_worker SET mark_ms = 2000 + CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            "UPDATE steadfast.id_worker SET mark_ms = 2000 + steadfast.now_us() / 1000",
        )
        .await;
        let marks = async || {
            let text = match store.dialect() {
                Dialect::Sqlite => "SELECT mark_ms, from_ms FROM steadfast_id_worker WHERE worker = 3",
                Dialect::Postgres => "SELECT mark_ms, from_ms FROM steadfast.id_worker WHERE worker = 3",
            };
            let rows: Result<_, steadfast_store::Error> =
                store.read(async |mut tx| tx.sql(text, binds![]).await).await;
            let rows = rows.unwrap();
            let row = rows.one().unwrap();
            (row.get::<i64>(0).unwrap(), row.get::<i64>(1).unwrap())
        };
        let (before, _) = marks().await;

        let held = until(async || ids.lease(config.clone()).await.ok()).await;
        let made = make(&held, 1_000).await;

        let (mark, from) = marks().await;
        assert_eq!(from, before);
        let times = made.iter().map(|id| held.layout().decode(*id).unwrap().time.unix_millis());
        let times: Vec<i64> = times.collect();
        assert!(times[0] >= before, "{} is before {before}", times[0]);
        assert!(times[999] < mark, "{} is behind {mark}", times[999]);
        // Given back, it says how far it came.
        held.release().await;
        assert_eq!(marks().await.0, times[999] + 1);
    }
}

#[tokio::test]
async fn a_holder_whose_runtime_hangs_makes_no_id_past_its_lease() {
    let database = Database::make(Kind::Sqlite).await;
    let ids = Ids::open(&database.open().await).await.unwrap();
    let lease = Duration::from_millis(300);
    let held = ids
        .lease(LeaseConfig {
            lease,
            ..restless()
        })
        .await
        .unwrap();
    let leased = clock::now();

    // Nothing is awaited from here on, and there is one thread: whoever renews, or notices, does not run.
    let mut last = leased;
    loop {
        let before = clock::now();
        match held.try_next() {
            Ok(_) => last = before,
            Err(error) if error.is_fenced() => break,
            Err(_) => {}
        }
        clock::block(Duration::from_millis(1));
    }

    assert!(
        last < leased + lease - lease / 10,
        "an id {:?} after the lease",
        last - leased
    );
    assert!(!held.is_held());
}

#[test]
fn a_worker_id_whose_runtime_has_ended_is_given_up_without_waiting_for_anybody() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let first = runtime();
    let (_database, held) = first.block_on(async {
        let database = Database::make(Kind::Sqlite).await;
        let ids = Ids::open(&database.open().await).await.unwrap();
        let held = ids.lease(restless()).await.unwrap();
        (database, held)
    });
    // What renews has not even begun.
    drop(first);

    runtime().block_on(async {
        let released = clock::timeout(Duration::from_secs(60), held.release()).await;
        assert!(released.is_ok(), "nobody gives it back");
    });

    assert!(!held.is_held());
    assert!(!held.try_next().unwrap_err().is_fenced(), "that would pass");
}
