use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::clock;
use steadfast_jobs::{Batch, Job, Jobs, Kind, Options, Run, Running};
use steadfast_store::{Store, binds};

use super::fence::{claim_up_to, end};
use super::support::{Act, PATIENCE, kill, look, node, sql, statement, until_state, worker};

#[derive(Serialize, Deserialize)]
struct Busy {
    key: usize,
}

impl Job for Busy {
    const KIND: &'static str = "busy";
}

/// Claims jobs of kind `act` from the queue `default`, which has limits; gives (id, term).
async fn claim_limited(store: &Store, incarnation: i64, want: i64) -> Vec<(i64, i64)> {
    let kinds = vec!["act".to_owned()];
    let binds = binds![incarnation, "default", want, kinds, 0_i64];
    let rows = store.run(statement("claim_limited"), binds).await.unwrap();
    rows.iter()
        .filter(|row| row.get::<i64>(0).unwrap() == 2)
        .map(|row| (row.get(1).unwrap(), row.get(2).unwrap()))
        .collect()
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

    async fn what_ran_before_a_limit_was_set_counts_against_it(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let (ours, theirs) = (node(&store).await, node(&store).await);
        for _ in 0..3 {
            jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        }
        let running = claim_up_to(&store, ours, 2).await;

        jobs.limit("default", Some(2), None).await.unwrap();

        assert_eq!(claim_limited(&store, theirs, 5).await, []);
        let (id, term) = running[0];
        assert!(end(&store, "completed", id, term, ours).await);
        assert_eq!(claim_limited(&store, theirs, 5).await.len(), 1);
        assert_eq!(claim_limited(&store, theirs, 5).await, []);
    }

    async fn what_was_claimed_while_a_limit_was_set_counts_once_its_node_knows(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let running = worker(&jobs).queue("default", 2).build().unwrap().start();
        let id = jobs.enqueue(&Act::Hang, Options::new()).await.unwrap();
        until_state(&store, id, "running").await;

        // As if the claim had been under way: nobody has marked the row.
        sql(
            &store,
            "INSERT INTO steadfast_job_queue (name, max_running) VALUES ('default', 1)",
            "INSERT INTO steadfast.job_queue (name, max_running) VALUES ('default', 1)",
            binds![],
        )
        .await;

        let marked = async {
            loop {
                let rows = sql(
                    &store,
                    "SELECT count(*) FROM steadfast_job WHERE limit_key = ''",
                    "SELECT count(*) FROM steadfast.job WHERE limit_key = ''",
                    binds![],
                );
                if rows.await.one().unwrap().get::<i64>(0).unwrap() == 1 {
                    return;
                }
                clock::sleep(Duration::from_millis(5)).await;
            }
        };
        clock::timeout(PATIENCE, marked).await.unwrap();
        running.stop(Duration::ZERO).await;
    }

    async fn jobs_that_nobody_here_can_run_stand_in_no_ones_way(database) {
        #[derive(Serialize, Deserialize)]
        struct Foreign;
        impl Job for Foreign {
            const KIND: &'static str = "foreign";
        }
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        jobs.limit("default", Some(5), Some(1)).await.unwrap();
        let mut batch = Batch::new();
        for _ in 0..1_500 {
            batch.push(&Foreign, Options::new().limit_key("theirs")).unwrap();
        }
        for _ in 0..200 {
            batch.push(&Act::Succeed, Options::new().min_version(9)).unwrap();
        }
        jobs.enqueue_batch(batch).await.unwrap();
        let ours = jobs.enqueue(&Act::Succeed, Options::new().limit_key("ours")).await.unwrap();

        let claimed = claim_limited(&store, node(&store).await, 1).await;

        assert_eq!(claimed, [(i64::try_from(ours.get()).unwrap(), 1)]);
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

    async fn what_is_held_back_in_front_does_not_slow_down_what_is_behind(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        jobs.limit("default", None, Some(1)).await.unwrap();
        let first = jobs.enqueue(&Act::Hang, Options::new().limit_key("one")).await.unwrap();
        let running = worker(&jobs).queue("default", 2).build().unwrap().start();
        until_state(&store, first, "running").await;

        // Each look gets past a hundred of them: the looks of an idle node would take minutes.
        let mut batch = Batch::new();
        for _ in 0..8_000 {
            batch.push(&Act::Hang, Options::new().limit_key("one")).unwrap();
        }
        batch.push(&Act::Succeed, Options::new().limit_key("two")).unwrap();
        let ids = jobs.enqueue_batch(batch).await.unwrap();

        until_state(&store, *ids.last().unwrap(), "completed").await;
        assert_eq!(look(&store, ids[0]).await.unwrap().state, "waiting");
        running.stop(Duration::ZERO).await;
    }

    async fn however_many_of_a_key_wait_no_more_run_than_its_limit_says(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        jobs.limit("default", None, Some(2)).await.unwrap();
        let ours = node(&store).await;
        let mut batch = Batch::new();
        for _ in 0..600 {
            batch.push(&Act::Succeed, Options::new().limit_key("one")).unwrap();
        }
        jobs.enqueue_batch(batch).await.unwrap();
        jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();

        let mut claimed = Vec::new();
        for _ in 0..10 {
            claimed.push(claim_limited(&store, ours, 3).await.len());
        }

        assert_eq!((claimed[0], claimed.iter().sum::<usize>()), (2, 3), "and one without a key: {claimed:?}");
    }

    async fn where_a_queue_is_full_nothing_is_held_back(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        jobs.limit("default", Some(1), Some(1)).await.unwrap();
        for _ in 0..3 {
            jobs.enqueue(&Act::Succeed, Options::new().limit_key("one")).await.unwrap();
        }
        let (ours, dead) = (node(&store).await, node(&store).await);
        kill(&store, dead).await;
        let kinds = || vec!["act".to_owned()];
        let claim = async |incarnation: i64| {
            let binds = binds![incarnation, "default", 5_i64, kinds(), 0_i64];
            let rows = store.run(statement("claim_limited"), binds).await.unwrap();
            rows.iter().map(|row| row.get::<i64>(0).unwrap()).collect::<Vec<_>>()
        };

        assert_eq!(claim(dead).await, Vec::<i64>::new());
        let mut first = claim(ours).await;
        first.sort_unstable();
        assert_eq!(first, [2, 3]);
        let counted = jobs.enqueue(&Act::Succeed, Options::new().limit_key("one")).await.unwrap();
        assert_eq!(claim(ours).await, Vec::<i64>::new());
        assert_eq!(look(&store, counted).await.unwrap().state, "pending");
    }

    async fn a_key_behind_many_that_are_full_is_let_go_of_when_it_has_room(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        jobs.limit("default", None, Some(1)).await.unwrap();
        let ours = node(&store).await;
        let mut batch = Batch::new();
        for number in 0..30 {
            let key = format!("key {:02}", number / 3);
            batch.push(&Act::Succeed, Options::new().limit_key(key)).unwrap();
        }
        let ids = jobs.enqueue_batch(batch).await.unwrap();
        let running = claim_limited(&store, ours, 30).await;
        assert_eq!(running.len(), 10);
        let last = i64::try_from(ids[27].get()).unwrap();
        let (id, term) = *running.iter().find(|(id, _)| *id == last).unwrap();
        assert!(end(&store, "completed", id, term, ours).await);

        // From key to key, four at a time, as its worker does.
        let (mut from, mut seen) = (String::new(), Vec::new());
        loop {
            let rows = store.run(statement("unblock"), binds!["default", from, 4_i64]).await.unwrap();
            let row = rows.one().unwrap();
            seen.push(row.get::<i64>(1).unwrap());
            match row.get::<Option<String>>(0).unwrap() {
                Some(key) => from = key,
                None => break,
            }
        }

        assert_eq!(seen, [4, 4, 2]);
        let next = i64::try_from(ids[28].get()).unwrap();
        assert_eq!(claim_limited(&store, ours, 30).await, [(next, 1)]);
    }
}
