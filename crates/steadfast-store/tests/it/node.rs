//! Who is alive, on every database.

use std::time::Duration;

use steadfast_core::cancel::Cause;
use steadfast_store::{Error, LockConfig, NodeConfig, Store, binds, on_every_store};

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
        let node = store.join(quick()).await.unwrap();
        let life = node.incarnation().unwrap();

        // Twice the lease: without beats it would be over.
        steadfast_core::clock::sleep(quick().lease * 2).await;
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
            lease: Duration::from_millis(900),
            poll: Duration::from_millis(50),
        };
        let lock = store.lock("report", config.clone()).await.unwrap();

        steadfast_core::clock::sleep(config.lease * 2).await;

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
