//! A row that somebody has locked keeps its own end waiting, and nobody else's.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use steadfast_core::clock;
use steadfast_jobs::{Job, Jobs, Kind, Options, Run};
use steadfast_store::testing::{Database, Kind as On};
use steadfast_store::{Store, Tx, batch, binds};

use super::fence::{Told, claim_up_to, exchange};
use super::support::{Act, PATIENCE, look, node, statement, until_state, worker};

/// Completes a run in a transaction that nobody ends.
async fn complete_in_open(store: &Store, id: i64, term: i64, incarnation: i64) -> Tx<'static> {
    let mut tx = store.begin().await.unwrap();
    let binds = binds![id, term, incarnation, None::<String>];
    tx.run(statement("complete_in"), binds).await.unwrap();
    tx
}

/// Retries runs, as (id, term); gives what is told of them.
async fn retry(store: &Store, runs: &[(i64, i64)], incarnation: i64) -> Vec<(i64, i64)> {
    let ids: Vec<i64> = runs.iter().map(|(id, _)| *id).collect();
    let terms: Vec<i64> = runs.iter().map(|(_, term)| *term).collect();
    let count = runs.len();
    let runs = batch![
        ids,
        terms,
        vec![0_i64; count],
        vec![true; count],
        vec![true; count],
        vec![None::<String>; count]
    ];
    let rows = store.run(statement("put_back"), binds![runs, incarnation]);
    let rows = rows.await.unwrap();
    let mut told: Vec<(i64, i64)> = rows
        .iter()
        .map(|row| (row.get(0).unwrap(), row.get(1).unwrap()))
        .collect();
    told.sort_unstable();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn no_end_waits_for_a_row_that_somebody_has_locked() {
    let database = Database::make(On::Postgres).await;
    let store = database.open().await;
    let jobs = Jobs::open(&store).await.unwrap();
    let ours = node(&store).await;
    for how in ["completed", "cancelled", "retried"] {
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap());
        }
        let mut held = claim_up_to(&store, ours, 4).await;
        held.sort_unstable();
        let [a, b, c, d] = held[..] else {
            panic!("{how}: not claimed");
        };
        let tx = complete_in_open(&store, a.0, a.1, ours).await;
        // One that somebody had locked, and one that is not ours any more.
        let undone = complete_in_open(&store, b.0, b.1, ours).await;
        undone.roll_back().await.unwrap();
        let stale = (d.0, d.1 - 1);

        let told = match how {
            "retried" => {
                let told = retry(&store, &[a, b, c, stale], ours).await;
                assert_eq!(told, [(a.0, 2), (b.0, 0), (c.0, 0)], "{how}");
                tx.roll_back().await.unwrap();
                retry(&store, &[a], ours).await
            }
            state => {
                let ends = [a, b, c, stale].map(|(id, term)| (id, term, state));
                let mut told = exchange(&store, ours, &ends, 0).await;
                told.ended.sort_unstable();
                let expected = Told {
                    ended: vec![b.0, c.0],
                    locked: vec![a.0],
                    claimed: Vec::new(),
                };
                assert_eq!(told, expected, "{how}");
                tx.roll_back().await.unwrap();
                let told = exchange(&store, ours, &[(a.0, a.1, state)], 0).await;
                told.ended.iter().map(|id| (*id, 0)).collect()
            }
        };

        assert_eq!(told, [(a.0, 0)], "{how}: once nobody has it locked");
        for id in ids {
            jobs.cancel(id, "done with it").await.unwrap();
        }
        let rest = exchange(&store, ours, &[(d.0, d.1, "cancelled")], 0).await;
        assert_eq!(rest.ended, [d.0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_claim_locks_is_not_taken_for_locked() {
    let database = Database::make(On::Postgres).await;
    let store = database.open().await;
    let jobs = Jobs::open(&store).await.unwrap();
    let ours = node(&store).await;
    let id = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
    claim_up_to(&store, ours, 1).await;

    let rows = store
        .read(async |mut tx| {
            tx.sql(
                "SELECT count(*) FROM steadfast.job WHERE xmax IN ('0', xmin)",
                binds![],
            )
            .await
        })
        .await;
    let rows: steadfast_store::Rows = rows.map_err(|error: steadfast_store::Error| error).unwrap();

    assert_eq!(look(&store, id).await.unwrap().state, "running");
    assert_eq!(rows.one().unwrap().get::<i64>(0).unwrap(), 1);
}

#[derive(Serialize, Deserialize)]
struct Hangs;

impl Job for Hangs {
    const KIND: &'static str = "hangs";
}

/// What it did is in a transaction that somebody else has, who does not end it.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_whose_transaction_hangs_keeps_no_other_end_waiting() {
    let database = Database::make(On::Postgres).await;
    let store = database.open().await;
    let jobs = Jobs::open(&store).await.unwrap();
    let open: Arc<Mutex<Option<Tx<'static>>>> = Arc::default();
    let (kept, begins) = (open.clone(), store.clone());
    let hangs = Kind::new(move |run: Run, _: Hangs| {
        let (kept, begins) = (kept.clone(), begins.clone());
        async move {
            if run.attempt() > 1 {
                return Ok(());
            }
            let mut tx = begins.begin().await?;
            run.complete_within(&mut tx, &()).await?;
            *kept.lock().unwrap() = Some(tx);
            Err("it does not know how that ended".into())
        }
    });
    let running = worker(&jobs).kind(hangs).build().unwrap().start();

    let id = jobs.enqueue(&Hangs, Options::new()).await.unwrap();
    let begun = async {
        while open.lock().unwrap().is_none() {
            clock::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    clock::timeout(PATIENCE, begun).await.unwrap();
    for turn in 0..20 {
        let neighbor = jobs.enqueue(&Act::FailOnce, Options::new()).await.unwrap();
        let seen = until_state(&store, neighbor, "completed").await;
        assert_eq!(seen.attempt, 2, "{turn}");
    }
    assert_eq!(look(&store, id).await.unwrap().state, "running");

    let tx = open.lock().unwrap().take().unwrap();
    tx.roll_back().await.unwrap();
    assert_eq!(until_state(&store, id, "completed").await.attempt, 2);
    running.stop(PATIENCE).await;
}
