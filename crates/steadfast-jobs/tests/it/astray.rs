//! What a living node holds beyond any time is taken from that node, and from no other.

use steadfast_core::{clock, spawn};
use steadfast_jobs::{Jobs, Options};
use steadfast_store::testing::{Database, Kind as On};
use steadfast_store::{Store, batch, binds};

use super::fence::claim_up_to;
use super::support::{Act, PATIENCE, look, node, sql, statement};

/// Has a worker of a node say how long it leaves runs alone.
async fn say(store: &Store, incarnation: i64, minutes: i64, fixed: bool) {
    let said = batch![
        vec!["act".to_owned()],
        vec![minutes * 60_000_000],
        vec![fixed],
        vec![0_i64]
    ];
    let noted = store.run(statement("longest"), binds![incarnation, said]);
    noted.await.unwrap();
}

steadfast_store::on_every_store! {
    async fn workers_that_share_a_node_have_runs_left_alone_for_the_longest_of_their_times(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        let alive = node(&store).await;
        assert_eq!(claim_up_to(&store, alive, 1).await.len(), 1);
        let ran = async |minutes: i64| {
            sql(
                &store,
                "UPDATE steadfast_job SET claimed_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?1 * 60000000, run_us_max = 60000000",
                "UPDATE steadfast.job SET claimed_us = steadfast.now_us() - $1 * 60000000, run_us_max = 60000000",
                binds![minutes],
            )
            .await;
            let rows = store.run(statement("rescue"), binds![10_i64, true]).await;
            rows.unwrap().len()
        };

        say(&store, alive, 5, true).await;
        say(&store, alive, 15, false).await;
        assert_eq!(ran(29).await, 0, "as long as any job of the second may take");
        say(&store, alive, 20, true).await;
        say(&store, alive, 1, true).await;
        assert_eq!(ran(39).await, 0, "the longest stays");
        assert_eq!(ran(41).await, 1);
    }
}

/// The look may be over before the row is locked.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_just_got_another_holder_is_not_taken_from_that_one() {
    let database = Database::make(On::Postgres).await;
    let store = database.open().await;
    let jobs = Jobs::open(&store).await.unwrap();
    let id = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
    let (first, second) = (node(&store).await, node(&store).await);
    let [(raw, term)] = claim_up_to(&store, first, 1).await[..] else {
        panic!("not claimed");
    };
    for text in [
        "UPDATE steadfast.job SET claimed_us = claimed_us - 3600000000",
        "INSERT INTO steadfast.job_longest (incarnation, kind, run_us, is_fixed, extra_us)
         SELECT id, 'act', 60000000, true, 0 FROM steadfast.node",
        // What asks for the time first waits, with all that it can see already seen.
        "CREATE SEQUENCE asked",
        "CREATE OR REPLACE FUNCTION steadfast.now_us() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
         BEGIN
             IF nextval('asked') = 1 THEN PERFORM pg_advisory_xact_lock(1); END IF;
             RETURN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
         END $$",
    ] {
        sql(&store, "", text, binds![]).await;
    }
    let mut gate = store.begin().await.unwrap();
    gate.sql("SELECT pg_advisory_xact_lock(1)::text", binds![])
        .await
        .unwrap();

    let theirs = store.clone();
    let rescue = spawn("rescue", async move {
        let rows = theirs.run(statement("rescue"), binds![10_i64, true]).await;
        rows.unwrap().len()
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let asked = async {
        let waiting = async || {
            let rows = sql(&store, "", waits, binds![]).await;
            rows.one().unwrap().get::<i64>(0).unwrap()
        };
        while waiting().await == 0 {
            tokio::task::yield_now().await;
        }
    };
    let asked = clock::timeout(PATIENCE, asked).await;
    asked.expect("it asks for the time");
    let back = batch![
        vec![raw],
        vec![term],
        vec![0_i64],
        vec![false],
        vec![false],
        vec![None::<String>]
    ];
    store
        .run(statement("put_back"), binds![back, first])
        .await
        .unwrap();
    assert_eq!(claim_up_to(&store, second, 1).await, [(raw, term + 1)]);
    gate.commit().await.unwrap();

    assert_eq!(rescue.await.unwrap(), 0);
    let seen = look(&store, id).await.unwrap();
    assert_eq!((seen.term, seen.incarnation), (term + 1, Some(second)));
}
