//! Tables that an older program has made, and what stands in them.

use std::time::Duration;

use steadfast_jobs::schedule::Schedules;
use steadfast_jobs::{JobId, Jobs, PACKAGE};
use steadfast_store::testing::Database;
use steadfast_store::{Package, Store, binds};

use super::support::{kill, node, sql, until_state, worker};

/// One that is due, one that waits, one whose process has died, and one that was discarded; in the words of
/// the first of all schemas.
async fn fill(store: &Store) -> Vec<JobId> {
    let dead = node(store).await;
    kill(store, dead).await;
    let live = sql(
        store,
        "INSERT INTO steadfast_job (queue, kind, state, due_us, payload, created_us, term, incarnation, claimed_us) VALUES
             ('default', 'act', 'pending', 1, '\"Succeed\"', 1, 0, NULL, NULL),
             ('default', 'act', 'waiting', 1, '\"Succeed\"', 1, 0, NULL, NULL),
             ('default', 'act', 'running', 1, '\"Succeed\"', 1, 1, ?1, 1) RETURNING id",
        "INSERT INTO steadfast.job (queue, kind, state, due_us, payload, created_us, term, incarnation, claimed_us) VALUES
             ('default', 'act', 'pending', 1, '\"Succeed\"', 1, 0, NULL, NULL),
             ('default', 'act', 'waiting', 1, '\"Succeed\"', 1, 0, NULL, NULL),
             ('default', 'act', 'running', 1, '\"Succeed\"', 1, 1, $1, 1) RETURNING id",
        binds![dead],
    );
    let ended = sql(
        store,
        "INSERT INTO steadfast_job_history (id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes,
             held, term, created_us, finished_us, min_version)
         VALUES (900, 'default', 'act', 'discarded', 0, 1, '\"Succeed\"', 2, 2, 0, 0, 2, 1, 1, 0) RETURNING id",
        "INSERT INTO steadfast.job_history (id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes,
             held, term, created_us, finished_us, min_version)
         VALUES (900, 'default', 'act', 'discarded', 0, 1, '\"Succeed\"', 2, 2, 0, 0, 2, 1, 1, 0) RETURNING id",
        binds![],
    );
    let (live, ended) = (live.await, ended.await);
    let ids = live.iter().chain(ended.iter());
    ids.map(|row| JobId::new(row.get::<i64>(0).unwrap() as u64).unwrap())
        .collect()
}

/// Adds a schedule as the first program with schedules did.
async fn add(store: &Store, name: &str, revision: i64) {
    sql(
        store,
        "INSERT INTO steadfast_schedule (name, rule, zone, missed, overlap, queue, kind, payload, revision, created_us, updated_us)
         VALUES (?1, '0 1 * * *', 'UTC', 'run_once', 'skip', 'default', 'act', 'null', ?2, 1, 1) RETURNING revision",
        "INSERT INTO steadfast.schedule (name, rule, zone, missed, overlap, queue, kind, payload, revision, created_us, updated_us)
         VALUES ($1, '0 1 * * *', 'UTC', 'run_once', 'skip', 'default', 'act', 'null', $2, 1, 1) RETURNING revision",
        binds![name, revision],
    )
    .await;
}

steadfast_store::on_every_store! {
    async fn what_is_in_the_tables_of_each_older_program_is_done_by_this_one(database) {
        assert!(PACKAGE.migrations.len() > 1);
        for steps in 1..PACKAGE.migrations.len() {
            let database = Database::make(database.kind()).await;
            let store = database.open().await;
            let older = Package { migrations: &PACKAGE.migrations[..steps], ..PACKAGE };
            store.migrate(&older).await.unwrap();
            let ids = fill(&store).await;

            let jobs = Jobs::open(&store).await.unwrap();
            assert_eq!(jobs.redrive(&ids).await.unwrap().jobs, ids[3..]);
            let running = worker(&jobs).build().unwrap().start();
            for id in &ids {
                until_state(&store, *id, "completed").await;
            }
            running.stop(Duration::from_secs(60)).await;
        }
    }

    async fn what_an_older_program_does_to_a_schedule_changes_its_revision_too(database) {
        let store = database.open().await;
        let steps = PACKAGE.migrations.iter().position(|step| step.name() == "0006_changed").unwrap();
        store.migrate(&Package { migrations: &PACKAGE.migrations[..steps], ..PACKAGE }).await.unwrap();
        add(&store, "busy", 40).await;
        add(&store, "quiet", 1).await;

        let schedules = Schedules::new(&Jobs::open(&store).await.unwrap());
        let revision = async |name: &str| schedules.find(name).await.unwrap().unwrap().revision;
        let seen = revision("busy").await;
        // None that the older ones have told means something else now.
        assert!(seen > 40 && revision("quiet").await > 40);
        sql(
            &store,
            "UPDATE steadfast_schedule SET rule = '0 2 * * *', revision = revision + 1 WHERE name = 'busy'",
            "UPDATE steadfast.schedule SET rule = '0 2 * * *', revision = revision + 1 WHERE name = 'busy'",
            binds![],
        )
        .await;
        let changed = revision("busy").await;
        assert!(changed > seen);
        sql(
            &store,
            "UPDATE steadfast_schedule SET next_us = 7, look_us = 7, revision = revision + 1 WHERE name = 'busy'",
            "UPDATE steadfast.schedule SET next_us = 7, look_us = 7, revision = revision + 1 WHERE name = 'busy'",
            binds![],
        )
        .await;
        assert_eq!(revision("busy").await, changed);
        add(&store, "new", 1).await;
        assert!(revision("new").await > changed);
    }
}
