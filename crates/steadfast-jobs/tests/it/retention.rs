use std::time::Duration;

use steadfast_core::clock;
use steadfast_jobs::{Batch, Job, JobId, Jobs, Kind, Options, Retention, Worker};
use steadfast_store::{Store, binds};

use super::support::{Act, PATIENCE, act, look, sql, until_state};

const HOUR: Duration = Duration::from_secs(3_600);

#[derive(serde::Serialize, serde::Deserialize)]
struct Ledger;

impl Job for Ledger {
    const KIND: &'static str = "ledger";
}

/// Has all jobs ended by cancel that many hours ago.
async fn ended(store: &Store, jobs: &Jobs, id: JobId, hours: i64) {
    jobs.cancel(id, "old").await.unwrap();
    sql(
        store,
        "UPDATE steadfast_job_history SET finished_us = finished_us - ?2 * 3600000000 WHERE id = ?1",
        "UPDATE steadfast.job_history SET finished_us = finished_us - $2 * 3600000000 WHERE id = $1",
        binds![id.get() as i64, hours],
    )
    .await;
}

fn keep(cancelled: Duration) -> Retention {
    Retention {
        cancelled,
        ..Retention::default()
    }
}

steadfast_store::on_every_store! {
    async fn each_way_to_end_is_kept_for_its_time(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let mut ids = Vec::new();
        for state in ["completed", "cancelled", "discarded", "quarantined"] {
            for hours in [1, 23, 25, 29 * 24, 31 * 24] {
                let id = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
                ended(&store, &jobs, id, hours).await;
                sql(
                    &store,
                    "UPDATE steadfast_job_history SET state = ?2 WHERE id = ?1",
                    "UPDATE steadfast.job_history SET state = $2 WHERE id = $1",
                    binds![id.get() as i64, state],
                )
                .await;
                ids.push((state, hours, id));
            }
        }

        assert_eq!(jobs.prune(Retention::default()).await.unwrap(), 8);

        for (state, hours, id) in ids {
            let days = if matches!(state, "completed" | "cancelled") { 1 } else { 30 };
            let kept = look(&store, id).await.is_some();
            assert_eq!(kept, hours < days * 24, "{state} for {hours} hours");
        }
    }

    async fn a_kind_is_kept_for_its_own_time_by_nodes_that_do_not_know_it(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let (mut plain, mut ledger) = (Vec::new(), Vec::new());
        // More than one look takes, and those that are kept are in front.
        let mut batch = Batch::new();
        for _ in 0..1_200 {
            batch.push(&Ledger, Options::new()).unwrap();
        }
        jobs.enqueue_batch(batch).await.unwrap();
        let old = jobs.enqueue(&Ledger, Options::new()).await.unwrap();
        sql(
            &store,
            "INSERT INTO steadfast_job_history (id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, created_us, finished_us, min_version)
             SELECT id, queue, kind, 'cancelled', priority, due_us, payload, 0, max_attempts, 0, 0, 0, created_us, created_us - 50 * 3600000000, 0 FROM steadfast_job",
            "INSERT INTO steadfast.job_history (id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, created_us, finished_us, min_version)
             SELECT id, queue, kind, 'cancelled', priority, due_us, payload, 0, max_attempts, 0, 0, 0, created_us, created_us - 50 * 3600000000, 0 FROM steadfast.job",
            binds![],
        )
        .await;
        sql(&store, "DELETE FROM steadfast_job", "DELETE FROM steadfast.job", binds![]).await;
        for hours in [1, 30] {
            plain.push(jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap());
            ended(&store, &jobs, plain[plain.len() - 1], hours).await;
            ledger.push(jobs.enqueue(&Ledger, Options::new()).await.unwrap());
            ended(&store, &jobs, ledger[ledger.len() - 1], hours).await;
        }
        // A worker that knows the kind says so; it prunes once it has joined.
        let kinds = |retention| {
            let ledger = Kind::new(async |_: steadfast_jobs::Run, _: Ledger| Ok(()));
            Worker::builder(&jobs).kind(Kind::new(act)).kind(match retention {
                Some(retention) => ledger.retention(retention),
                None => ledger,
            })
        };
        let running = kinds(Some(keep(100 * HOUR))).build().unwrap().start();
        until_retentions(&store, 1).await;

        // By nobody's time in particular.
        jobs.prune(keep(24 * HOUR)).await.unwrap();
        assert!(look(&store, old).await.is_some());
        assert!(look(&store, plain[0]).await.is_some() && look(&store, plain[1]).await.is_none());
        assert!(look(&store, ledger[0]).await.is_some() && look(&store, ledger[1]).await.is_some());
        running.stop(PATIENCE).await;

        let running = kinds(Some(keep(2 * HOUR))).build().unwrap().start();
        let pruned = async {
            while look(&store, ledger[1]).await.is_some() {
                jobs.prune(keep(24 * HOUR)).await.unwrap();
                clock::sleep(Duration::from_millis(20)).await;
            }
        };
        clock::timeout(PATIENCE, pruned).await.unwrap();
        assert!(look(&store, ledger[0]).await.is_some() && look(&store, old).await.is_none());
        running.stop(PATIENCE).await;

        // One that says nothing takes it away.
        let running = kinds(None).build().unwrap().start();
        until_retentions(&store, 0).await;
        let id = jobs.enqueue(&Ledger, Options::new()).await.unwrap();
        until_state(&store, id, "completed").await;
        running.stop(PATIENCE).await;
    }
}

async fn until_retentions(store: &Store, wanted: i64) {
    let known = async {
        loop {
            let rows = sql(
                store,
                "SELECT count(*) FROM steadfast_job_retention",
                "SELECT count(*) FROM steadfast.job_retention",
                binds![],
            );
            if rows.await.one().unwrap().get::<i64>(0).unwrap() == wanted {
                return;
            }
            clock::sleep(Duration::from_millis(5)).await;
        }
    };
    clock::timeout(PATIENCE, known).await.unwrap();
}
