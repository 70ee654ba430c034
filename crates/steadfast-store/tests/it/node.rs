//! Who is alive, on every database.

use std::time::Duration;

use steadfast_core::cancel::Cause;
use steadfast_store::testing::{Database, Kind, SleepyHost};
use steadfast_store::{
    Config, Error, Fault, Faults, LockConfig, NodeConfig, Store, binds, on_every_store,
};

use crate::process;

/// Short enough that a test does not wait for long, long enough for a machine that is busy.
fn quick() -> NodeConfig {
    NodeConfig::new("test", "1").with_lease(Duration::from_millis(1_500))
}

async fn ended(store: &Store, id: i64) -> bool {
    let text = match store.dialect() {
        steadfast_store::Dialect::Sqlite => "SELECT ended_us FROM steadfast_node WHERE id = ?1",
        steadfast_store::Dialect::Postgres => "SELECT ended_us FROM steadfast.node WHERE id = $1",
    };
    let rows = store
        .read(async |mut tx| tx.sql(text, binds![id]).await)
        .await
        .unwrap();
    rows.one().unwrap().get::<Option<i64>>(0).unwrap().is_some()
}

on_every_store! {
    async fn a_node_beats_until_it_leaves(database) {
        let store = database.open().await;
        let config = NodeConfig::new("test", "1").with_lease(Duration::from_secs(6));
        let node = store.join(config.clone()).await.unwrap();
        let life = node.incarnation().unwrap();

        // Without beats it would be over.
        steadfast_core::clock::sleep(config.lease + config.beat).await;
        assert!(life.is_held());
        assert_eq!(node.end_expired().await.unwrap(), [0_i64; 0]);
        assert!(!ended(&store, life.id()).await);

        node.leave().await;
        assert!(!life.is_held());
        assert!(matches!(life.cancel().cause(), Some(Cause::Shutdown)));
        assert!(ended(&store, life.id()).await);
        assert!(node.alive().await.is_none());
    }

    async fn a_life_that_was_ended_by_others_is_lost_and_begun_anew(database) {
        let store = database.open().await;
        let node = store.join(quick()).await.unwrap();
        let first = node.incarnation().unwrap();

        let text = match store.dialect() {
            steadfast_store::Dialect::Sqlite => "UPDATE steadfast_node SET ended_us = 1",
            steadfast_store::Dialect::Postgres => "UPDATE steadfast.node SET ended_us = 1",
        };
        store.write(async |mut tx| tx.sql(text, binds![]).await).await.unwrap();
        let cause = first.cancel().cancelled().await;

        assert!(matches!(cause, Cause::LeaseLost));
        let second = node.alive().await.unwrap();
        assert!(second.id() > first.id());
        assert!(!first.is_held() && second.is_held());
        node.leave().await;
    }

    async fn nodes_are_listed_the_latest_first_with_who_has_ended(database) {
        let store = database.open().await;
        let first = store.join(quick()).await.unwrap();
        let id = first.incarnation().unwrap().id();
        first.leave().await;
        let second = store.join(NodeConfig::new("shop", "7")).await.unwrap();

        let nodes = store.nodes(None, 10).await.unwrap();
        let page = store.nodes(None, 1).await.unwrap();
        let rest = store.nodes(Some(page[0].id), 10).await.unwrap();

        assert_eq!(nodes.len(), 2);
        assert_eq!((nodes[0].service.as_str(), nodes[0].version.as_str()), ("shop", "7"));
        assert_eq!(nodes[0].pid, i64::from(std::process::id()));
        assert_eq!(nodes[0].ended, None);
        assert!(nodes[1].ended.is_some());
        assert_eq!((page.len(), rest.len(), rest[0].id), (1, 1, id));
        second.leave().await;
    }

    async fn a_lock_has_one_holder_and_a_term_that_grows(database) {
        let store = database.open().await;
        let lock = store.lock("report", LockConfig::default()).await.unwrap();

        assert!(store.try_lock("report", LockConfig::default()).await.unwrap().is_none());
        let other = store.try_lock("another", LockConfig::default()).await.unwrap().unwrap();
        assert!(other.term() > lock.term());

        let term = lock.term();
        let cancel = lock.cancel().clone();
        lock.release().await;
        assert!(cancel.is_cancelled());
        let next = store.try_lock("report", LockConfig::default()).await.unwrap().unwrap();
        assert!(next.term() > other.term() && next.term() > term);
    }

    async fn a_lock_is_renewed_while_it_is_held(database) {
        let store = database.open().await;
        let config = LockConfig {
            lease: Duration::from_secs(6),
            poll: Duration::from_millis(50),
        };
        let lock = store.lock("report", config.clone()).await.unwrap();

        // Without renewals it would be over.
        steadfast_core::clock::sleep(config.lease * 5 / 4).await;

        assert!(lock.is_held());
        assert!(store.try_lock("report", config).await.unwrap().is_none());
    }

    async fn nodes_out_of_range_are_refused(database) {
        let store = database.open().await;
        let beat = NodeConfig { beat: Duration::from_millis(1), ..quick() };
        let lease = NodeConfig { lease: quick().beat, ..quick() };

        for config in [beat, lease] {
            let refused: Error = store.join(config).await.unwrap_err();
            assert_eq!(refused.code(), "SF-1114");
        }
        assert_eq!(store.try_lock("", LockConfig::default()).await.unwrap_err().code(), "SF-1114");
    }
}

fn url(database: &steadfast_store::testing::Database) -> String {
    match database.kind() {
        Kind::Sqlite => format!("sqlite:{}", database.file().display()),
        _ => database.direct_url(),
    }
}

async fn a_process_that_is_killed_is_known_at_once(kind: Kind) {
    let database = Database::make(kind).await;
    let store = database.open().await;
    let mut child = process::start(
        "be_a_node",
        &[("URL", &url(&database)), ("LEASE_MS", "600000")],
    );
    let id: i64 = child.says("alive").parse().unwrap();
    let node = store.join(quick()).await.unwrap();

    child.signal("KILL");
    let death = steadfast_core::clock::timeout(Duration::from_secs(30), node.death()).await;

    death.expect("long before its lease is over");
    assert!(ended(&store, id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_is_known_at_once_on_sqlite() {
    a_process_that_is_killed_is_known_at_once(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_is_known_at_once_on_postgres() {
    a_process_that_is_killed_is_known_at_once(Kind::Postgres).await;
}

async fn a_process_that_was_frozen_relies_on_nothing(kind: Kind) {
    let database = Database::make(kind).await;
    let store = database.open().await;
    let mut child = process::start(
        "be_a_node",
        &[("URL", &url(&database)), ("LEASE_MS", "1000")],
    );
    let id: i64 = child.says("alive").parse().unwrap();
    let node = store.join(quick()).await.unwrap();

    child.signal("STOP");
    let death = node.death();
    while !node.end_expired().await.unwrap().contains(&id) {
        steadfast_core::clock::sleep(Duration::from_millis(50)).await;
    }
    let told = steadfast_core::clock::timeout(Duration::from_secs(30), death).await;
    assert!(told.is_ok(), "it was waited for before");
    child.signal("CONT");

    assert_eq!(child.says("fenced"), id.to_string());
    let next: i64 = child.says("alive").parse().unwrap();
    assert!(next > id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_frozen_relies_on_nothing_on_sqlite() {
    a_process_that_was_frozen_relies_on_nothing(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_frozen_relies_on_nothing_on_postgres() {
    a_process_that_was_frozen_relies_on_nothing(Kind::Postgres).await;
}

/// Its monotonic clock stands meanwhile; that of the database goes on.
async fn whoever_is_on_a_host_that_has_slept_relies_on_nothing(kind: Kind) {
    let database = Database::make(kind).await;
    // Far longer than this test takes: nothing else ends it.
    let lease = Duration::from_secs(3_600);
    let host = SleepyHost::new();
    let mut told = vec![
        ("URL", url(&database)),
        ("LEASE_MS", lease.as_millis().to_string()),
    ];
    told.extend(host.environment());
    let told: Vec<_> = told
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let mut node = process::start("be_a_node", &told);
    let mut lock = process::start("hold_a_lock", &told);
    let id: i64 = node.says("alive").parse().unwrap();
    lock.says("held");
    // Those who go on as if nothing had happened would be waited for without end.
    let processes = [node.id(), lock.id()];
    drop(steadfast_core::spawn("patience", async move {
        steadfast_core::clock::sleep(Duration::from_secs(120)).await;
        for process in processes {
            process::signal(process.into(), "KILL");
        }
    }));

    host.sleep(lease * 2);

    assert_eq!(node.says("fenced"), id.to_string());
    let next: i64 = node.says("alive").parse().unwrap();
    assert!(next > id);
    lock.says("lost");
    lock.says("cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_on_a_host_that_has_slept_relies_on_nothing_on_sqlite() {
    whoever_is_on_a_host_that_has_slept_relies_on_nothing(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_on_a_host_that_has_slept_relies_on_nothing_on_postgres() {
    whoever_is_on_a_host_that_has_slept_relies_on_nothing(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_is_blocked_gets_no_beats() {
    let database = Database::make(Kind::Postgres).await;
    let store = database.open().await;
    let watcher = store.join(quick()).await.unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    let config = database.config();
    let blocked = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = Store::open(config).await.unwrap();
            let node = store.join(quick()).await.unwrap();
            let life = node.incarnation().unwrap();
            send.send(life.id()).unwrap();
            // Nothing on this runtime runs meanwhile; its beats could, from their thread.
            steadfast_core::clock::block(quick().lease * 3);
            assert!(!life.is_held());
            let next = node.alive().await.unwrap();
            assert!(next.id() > life.id());
            node.leave().await;
        });
    });
    let id = receive.recv().unwrap();

    while !ended(&store, id).await {
        watcher.end_expired().await.unwrap();
        steadfast_core::clock::sleep(Duration::from_millis(50)).await;
    }

    tokio::task::block_in_place(|| blocked.join().unwrap());
}

#[test]
fn a_lock_whose_runtime_has_ended_is_lost_and_given_back_without_waiting_for_anybody() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let first = runtime();
    let (_database, lock) = first.block_on(async {
        let database = Database::make(Kind::Sqlite).await;
        let store = database.open().await;
        let lock = store.lock("report", LockConfig::default()).await.unwrap();
        (database, lock)
    });
    // What renews has not even begun.
    drop(first);

    assert!(!lock.is_held());
    assert!(matches!(lock.cancel().cause(), Some(Cause::LeaseLost)));
    runtime().block_on(async {
        let limit = Duration::from_secs(60);
        let released = steadfast_core::clock::timeout(limit, lock.release()).await;
        assert!(released.is_ok(), "nobody gives it back");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_stops_before_others_take_over() {
    let database = Database::make(Kind::Postgres).await;
    let faults = Faults::new();
    let cut_off = database
        .open_with(Config {
            faults: faults.clone(),
            ..database.config()
        })
        .await;
    let others = database.open().await;
    let node = cut_off.join(quick()).await.unwrap();
    let watcher = others.join(quick()).await.unwrap();
    let life = node.incarnation().unwrap();

    faults.on_name("node_beat", Fault::Before);
    faults.on_name("node_join", Fault::Before);
    // Asked in this order, so that it holds however late this task itself runs.
    while !ended(&others, life.id()).await {
        watcher.end_expired().await.unwrap();
        steadfast_core::clock::sleep(Duration::from_millis(1)).await;
    }
    assert!(
        !life.is_held(),
        "others took over while it still relied on its lease"
    );
    let cause = life.cancel().cancelled().await;
    assert!(matches!(cause, Cause::LeaseLost));
    assert!(node.health().failures > 0);

    faults.clear();
    assert!(node.alive().await.unwrap().id() > life.id());
}

/// What is asked beside beats must not keep the thread that beats from looking at the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_on_something_else_keeps_no_lease_alive() {
    let database = Database::make(Kind::Sqlite).await;
    let faults = Faults::new();
    let config = Config {
        faults: faults.clone(),
        ..database.config()
    };
    let store = database.open_with(config).await;
    let node = store.join(quick()).await.unwrap();
    let life = node.incarnation().unwrap();

    faults.on_name("node_peers", Fault::Delay(Duration::from_secs(3_600)));
    let lost = life.cancel().cancelled();
    let cause = steadfast_core::clock::timeout(Duration::from_secs(60), lost).await;

    assert!(matches!(cause.unwrap(), Cause::LeaseLost));
    faults.clear();
    assert!(node.alive().await.unwrap().id() > life.id());
}

/// Whatever it is that panics: nobody relies on what no longer beats, the cause has a name, and somebody beats again.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_what_beats_ends_the_life_and_another_one_begins() {
    let database = Database::make(Kind::Sqlite).await;
    let faults = Faults::new();
    let config = Config {
        faults: faults.clone(),
        ..database.config()
    };
    let store = database.open_with(config).await;
    // Nothing else ends a life within this test.
    let config = NodeConfig {
        beat: Duration::from_millis(100),
        stall: Duration::from_secs(300),
        ..NodeConfig::new("test", "1").with_lease(Duration::from_secs(600))
    };
    let node = store.join(config).await.unwrap();
    for name in ["node_beat", "node_peers", "node_join"] {
        let life = node.alive().await.unwrap();
        faults.on_name(name, Fault::Panic);
        if name == "node_join" {
            faults.on_name("node_beat", Fault::Panic);
        }
        let lost = life.cancel().cancelled();
        let cause = steadfast_core::clock::timeout(Duration::from_secs(60), lost).await;
        assert!(matches!(cause, Ok(Cause::LeaseLost)), "{name}: {cause:?}");
        let health = node.health();
        let (_, why) = health.last_failure.unwrap();
        assert!(
            why.starts_with("what beats has panicked: a test has \"node_"),
            "{why}"
        );
        assert!(!life.is_held());

        faults.clear();
        let next = steadfast_core::clock::timeout(Duration::from_secs(60), node.alive()).await;
        assert!(next.expect("it is not gone").unwrap().id() > life.id());
    }

    // Also while it panics again and again.
    faults.on_name("node_join", Fault::Panic);
    faults.on_name("node_beat", Fault::Panic);
    let life = node.alive().await.unwrap();
    life.cancel().cancelled().await;
    let left = steadfast_core::clock::timeout(Duration::from_secs(60), node.leave()).await;
    assert!(left.is_ok(), "nobody leaves");
    assert!(ended(&store, life.id()).await);
}
