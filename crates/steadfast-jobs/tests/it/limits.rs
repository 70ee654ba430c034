use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::clock;
use steadfast_jobs::{Batch, Job, Jobs, Kind, Options, Run, Running};

use super::support::{PATIENCE, look, until_state, worker};

#[derive(Serialize, Deserialize)]
struct Busy {
    key: usize,
}

impl Job for Busy {
    const KIND: &'static str = "busy";
}

/// How many run at once, and how many did at most, for each key and in all.
#[derive(Default)]
struct Gauge {
    now: [AtomicUsize; 4],
    most: [AtomicUsize; 4],
}

impl Gauge {
    fn enter(&self, place: usize) {
        let now = self.now[place].fetch_add(1, Ordering::SeqCst) + 1;
        self.most[place].fetch_max(now, Ordering::SeqCst);
    }

    fn leave(&self, place: usize) {
        self.now[place].fetch_sub(1, Ordering::SeqCst);
    }

    fn most(&self, place: usize) -> usize {
        self.most[place].load(Ordering::SeqCst)
    }
}

fn busy(jobs: &Jobs, gauge: &Arc<Gauge>) -> Running {
    let gauge = gauge.clone();
    let kind = Kind::new(move |_: Run, job: Busy| {
        let gauge = gauge.clone();
        async move {
            gauge.enter(job.key);
            gauge.enter(3);
            clock::sleep(Duration::from_millis(2)).await;
            gauge.leave(3);
            gauge.leave(job.key);
            Ok(())
        }
    });
    worker(jobs)
        .kind(kind)
        .join(steadfast_store::NodeConfig::new("test", "0"))
        .build()
        .unwrap()
        .start()
}

steadfast_store::on_every_store! {
    async fn of_a_queue_and_of_each_key_no_more_run_than_its_limit_says(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        jobs.limit("default", Some(5), Some(2)).await.unwrap();
        let mut batch = Batch::new();
        for number in 0..60 {
            // Most of one key, which must not hold up the others.
            let key = if number < 40 { 0 } else { number % 3 };
            let options = Options::new().limit_key(format!("key {key}"));
            batch.push(&Busy { key }, options).unwrap();
        }
        let ids = jobs.enqueue_batch(batch).await.unwrap();
        let gauge = Arc::new(Gauge::default());

        let workers = [busy(&jobs, &gauge), busy(&jobs, &gauge)];
        for id in ids {
            until_state(&store, id, "completed").await;
        }

        for key in 0..3 {
            assert!((1..=2).contains(&gauge.most(key)), "key {key}: {}", gauge.most(key));
        }
        assert!(gauge.most(3) <= 5, "{}", gauge.most(3));
        for running in workers {
            running.stop(PATIENCE).await;
        }
    }

    async fn a_limit_that_is_taken_away_holds_nothing_back(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        jobs.limit("default", None, Some(1)).await.unwrap();
        let mut batch = Batch::new();
        for _ in 0..20 {
            batch.push(&Busy { key: 0 }, Options::new().limit_key("one")).unwrap();
        }
        let ids = jobs.enqueue_batch(batch).await.unwrap();
        let gauge = Arc::new(Gauge::default());
        let running = busy(&jobs, &gauge);
        until_state(&store, ids[0], "completed").await;

        jobs.limit("default", None, None).await.unwrap();

        for id in ids {
            let seen = until_state(&store, id, "completed").await;
            assert_eq!(seen.attempt, 1);
            assert!(look(&store, id).await.is_some());
        }
        running.stop(PATIENCE).await;
    }
}
