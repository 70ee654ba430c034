//! A rescue by the time since the claim runs long jobs twice, and leaves those of dead processes for as long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::{PgPool, Row};
use steadfast::BoxError;
use steadfast::jobs::{Job, Jobs, Kind, Options, Run, Running, State, What, Worker};
use steadfast::store::testing::{Database, Kind as On};
use steadfast::store::{Error, NodeConfig, binds};

use crate::support::{Side, seen, soon};

const CLAIM: &str = "UPDATE job SET state = 'running', locked_at = now() WHERE id = (
    SELECT id FROM job
    WHERE state = 'waiting' OR (state = 'running' AND locked_at < now() - interval '30 minutes')
    LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id";

async fn claim(pool: &PgPool) -> Option<i64> {
    let claimed = sqlx::query(CLAIM).fetch_optional(pool).await.unwrap();
    claimed.map(|row| row.get(0))
}

async fn pass(pool: &PgPool, minutes: i32) {
    let pass = "UPDATE job SET locked_at = locked_at - make_interval(mins => $1)";
    sqlx::query(pass).bind(minutes).execute(pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_assembly_fails() {
    let database = Database::make(On::Postgres).await;
    let pool = PgPool::connect(&database.direct_url()).await.unwrap();
    sqlx::query("CREATE TABLE job (id bigint, state text, locked_at timestamptz)")
        .execute(&pool)
        .await
        .unwrap();
    let enqueue = |id: i64| sqlx::query("INSERT INTO job VALUES ($1, 'waiting', NULL)").bind(id);

    // One works for an hour, and lives.
    enqueue(1).execute(&pool).await.unwrap();
    let first = claim(&pool).await;
    pass(&pool, 31).await;
    let second = claim(&pool).await;
    assert_eq!((first, second), (Some(1), Some(1)));
    sqlx::query("DELETE FROM job").execute(&pool).await.unwrap();
    // One is dead after a second.
    enqueue(2).execute(&pool).await.unwrap();
    assert_eq!(claim(&pool).await, Some(2));
    pass(&pool, 29).await;
    assert_eq!(claim(&pool).await, None);
    pass(&pool, 2).await;
    assert_eq!(claim(&pool).await, Some(2));

    seen(
        "t25",
        Side::Usual,
        "the job of an hour was run by two workers at once, and the one of the dead process waits half an hour for another",
    );
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Import {
    millis: u64,
}

impl Job for Import {
    const KIND: &'static str = "import";
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_holds() {
    let database = Database::make(On::Postgres).await;
    let jobs = Jobs::open(&database.open().await).await.unwrap();
    let lease = Duration::from_secs(1);
    let runs = Arc::new(AtomicUsize::new(0));
    let work = |runs: Arc<AtomicUsize>| {
        let kind = Kind::new(move |_: Run, job: Import| {
            let runs = runs.clone();
            async move {
                runs.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(job.millis)).await;
                Ok::<_, BoxError>(())
            }
        });
        Worker::builder(&jobs)
            .kind(kind)
            .rescue_every(Duration::from_millis(100))
            .join(NodeConfig::new("t25", "0").with_lease(lease))
    };
    let done = async |id| {
        loop {
            let job = jobs.find(id).await.unwrap().unwrap();
            if job.info.state == State::Completed {
                return job.info;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };

    // Of a dead process: its node is not there any more.
    let orphan = jobs
        .enqueue(&Import { millis: 0 }, Options::new())
        .await
        .unwrap();
    let held = "UPDATE steadfast.job SET state = 'running', term = 1, incarnation = 4711, claimed_us = 1 WHERE id = $1";
    let dead = "INSERT INTO steadfast.node (id, service, version, host, pid, boot, lock, started_us, beat_us, lease_until_us)
        OVERRIDING SYSTEM VALUE VALUES (4711, 'dead', '0', 'elsewhere', 1, 'none', '', 0, 0, 1)";
    let given: Result<(), Error> = jobs
        .store()
        .write(async |mut tx| {
            tx.sql(dead, binds![]).await?;
            tx.sql(held, binds![i64::try_from(orphan.get()).unwrap()])
                .await?;
            Ok(())
        })
        .await;
    given.unwrap();
    let workers = [
        work(runs.clone()).build().unwrap().start(),
        work(runs.clone()).build().unwrap().start(),
    ];
    let rescued = soon(done(orphan)).await;
    assert_eq!(rescued.crashes, 1);

    // Three times the lease of those who would take over too early. A busy machine may have taken the lease away, which
    // is told; then that says nothing, and it is tried again.
    let mut told: Vec<_> = workers.iter().map(Running::events).collect();
    let mut lost = true;
    for _ in 0..20 {
        let before = runs.load(Ordering::Relaxed);
        let long = jobs
            .enqueue(&Import { millis: 3_000 }, Options::new())
            .await
            .unwrap();
        let long = soon(done(long)).await;
        lost = false;
        for events in &mut told {
            while let Ok(event) = events.try_recv() {
                lost |= matches!(event.what, What::LeaseLost | What::Rescued { .. });
            }
        }
        if !lost {
            assert_eq!((long.term, long.crashes), (1, 0));
            assert_eq!(runs.load(Ordering::Relaxed), before + 1);
            break;
        }
    }
    assert!(
        !lost,
        "this machine lets no process keep a lease of a second"
    );

    for running in workers {
        running.stop(Duration::from_secs(60)).await;
    }
    seen(
        "t25",
        Side::Ours,
        "a job that took three times the lease ran once, and one whose process had died was run by another one",
    );
}
