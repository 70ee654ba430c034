//! Claims begin near their own time, and leave nothing behind that comes in below.

use std::time::Duration;

use steadfast_core::{Cancel, Cause, clock, spawn};
use steadfast_jobs::{JobId, Jobs, Options};
use steadfast_store::{Store, binds};

use super::support::{Act, PATIENCE, sql, until_state, worker};

/// Enqueues by hand with a rank from so many seconds ago, and wakes nobody.
async fn insert(store: &Store, seconds: i64) -> JobId {
    let rows = sql(
        store,
        "INSERT INTO steadfast_job (queue, kind, state, due_us, payload, created_us)
         VALUES ('default', 'act', 'pending', CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?1 * 1000000, '\"Succeed\"', 0) RETURNING id",
        "INSERT INTO steadfast.job (queue, kind, state, due_us, payload, created_us)
         VALUES ('default', 'act', 'pending', steadfast.now_us() - $1 * 1000000, '\"Succeed\"', 0) RETURNING id",
        binds![seconds],
    )
    .await;
    let id: i64 = rows.one().unwrap().get(0).unwrap();
    JobId::new(id.unsigned_abs()).unwrap()
}

steadfast_store::on_every_store! {
    /// The worker is woken all the while by jobs that come in at the upper end, so that it never polls.
    async fn what_comes_in_far_below_is_run_although_nobody_tells_of_it(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let running = worker(&jobs).build().unwrap().start();
        let over = Cancel::new();
        let (until, busy) = (over.clone(), jobs.clone());
        let busy = spawn("keep busy", async move {
            while !until.is_cancelled() {
                busy.enqueue(&Act::Succeed, Options::new()).await.unwrap();
                clock::sleep(Duration::from_millis(5)).await;
            }
        });

        for seconds in [0, 2, 600, 1_000_000] {
            let id = insert(&store, seconds).await;
            until_state(&store, id, "completed").await;
        }

        over.cancel(Cause::Shutdown);
        busy.await.unwrap();
        running.stop(PATIENCE).await;
    }

    /// Each of these has a rank from long ago, and nobody looks at the clock meanwhile.
    async fn what_comes_back_is_run_again(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let running = worker(&jobs).build().unwrap().start();
        let first = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        until_state(&store, first, "completed").await;

        let urgent = jobs.enqueue(&Act::Succeed, Options::new().priority(100)).await.unwrap();
        until_state(&store, urgent, "completed").await;

        jobs.pause("default", "for a while").await.unwrap();
        let paused = insert(&store, 600).await;
        let usual = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        jobs.resume("default").await.unwrap();
        until_state(&store, paused, "completed").await;
        until_state(&store, usual, "completed").await;

        let mut tx = store.begin().await.unwrap();
        let held = jobs.enqueue_in(&mut tx, &Act::Succeed, Options::new()).await.unwrap();
        let id = i64::try_from(held.id().get()).unwrap();
        tx.sql(
            match store.dialect() {
                steadfast_store::Dialect::Sqlite => "UPDATE steadfast_job SET due_us = due_us - 600000000 WHERE id = ?1",
                steadfast_store::Dialect::Postgres => "UPDATE steadfast.job SET due_us = due_us - 600000000 WHERE id = $1",
            },
            binds![id],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        until_state(&store, held.send(), "completed").await;
        running.stop(PATIENCE).await;
    }
}
