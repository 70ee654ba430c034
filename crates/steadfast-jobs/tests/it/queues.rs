//! Looking at queues.

use std::time::Duration;

use steadfast_core::{clock, report};
use steadfast_jobs::{Batch, COUNT_CAP, Jobs, Options, QueueInfo};

use super::support::{Act, PATIENCE, until_state, worker};

steadfast_store::on_every_store! {
    async fn queues_are_listed_with_who_has_paused_them_their_limits_and_what_is_in_them(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let mut batch = Batch::new();
        for _ in 0..COUNT_CAP + 5 {
            batch.push(&Act::Succeed, Options::new().queue("many")).unwrap();
        }
        batch.push(&Act::Succeed, Options::new().queue("one")).unwrap();
        let later = Options::new().queue("later").delay(PATIENCE);
        batch.push(&Act::Succeed, later).unwrap();
        batch.push(&Act::Hang, Options::new().queue("busy")).unwrap();
        let ids = jobs.enqueue_batch(batch).await.unwrap();
        jobs.pause("one", "a freeze").await.unwrap();
        jobs.pause("typo", "a mistake").await.unwrap();
        jobs.pause("again", "for a while").await.unwrap();
        jobs.resume("again").await.unwrap();
        jobs.limit("limited", Some(7), Some(2)).await.unwrap();
        let worker = worker(&jobs).queue("busy", 1).build().unwrap().start();
        until_state(&store, *ids.last().unwrap(), "running").await;

        let all = jobs.queues("", 100).await.unwrap();

        let names: Vec<&str> = all.iter().map(|queue| queue.name.as_str()).collect();
        assert_eq!(names, ["again", "busy", "limited", "many", "one", "typo"]);
        let find = |name: &str| all.iter().find(|queue| queue.name == name).unwrap();
        let why = |queue: &QueueInfo| queue.paused.as_ref().map(|(_, why)| why.clone());
        assert_eq!(why(find("one")).as_deref(), Some("a freeze"));
        assert_eq!(why(find("again")), None);
        assert_eq!((find("one").pending, find("one").running), (1, 0));
        assert_eq!((find("busy").pending, find("busy").running), (0, 1));
        assert_eq!(find("many").pending, COUNT_CAP);
        let limits = (find("limited").max_running, find("limited").max_running_per_key);
        assert_eq!(limits, (Some(7), Some(2)));
        let page = jobs.queues("busy", 2).await.unwrap();
        let names: Vec<&str> = page.iter().map(|queue| queue.name.as_str()).collect();
        assert_eq!(names, ["limited", "many"]);
        assert!(page[1].oldest >= find("many").oldest && find("many").oldest > Duration::ZERO);
        assert_eq!((find("busy").oldest, find("limited").oldest), (Duration::ZERO, Duration::ZERO));
        assert_eq!(jobs.queues("typo", 2).await.unwrap(), []);
        assert_eq!(jobs.paused().await.unwrap(), ["one", "typo"]);
        worker.stop(Duration::ZERO).await;
    }

    async fn a_worker_tells_how_much_waits_and_since_when_also_in_queues_that_nobody_serves(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let name = format!("told-lost-{:?}", database.kind());
        let mut batch = Batch::new();
        for seconds in [0, 100] {
            let due = clock::timestamp().unix_millis() - seconds * 1_000;
            let due = clock::Timestamp::from_unix_millis(due);
            batch.push(&Act::Succeed, Options::new().queue(&name).due_at(due)).unwrap();
        }
        jobs.enqueue_batch(batch).await.unwrap();
        let own = format!("told-empty-{:?}", database.kind());
        let worker = worker(&jobs).queue(&own, 1).build().unwrap().start();
        let told = |metric: &str, name: &str| {
            let begin = format!("steadfast_jobs_queue_{metric}{{queue=\"{name}\"}} ");
            let text = report::prometheus::text(&report::snapshot());
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(&begin)?.parse::<f64>().ok())
        };

        let seen = async {
            while told("pending", &name).is_none() {
                clock::sleep(Duration::from_millis(5)).await;
            }
        };
        clock::timeout(PATIENCE, seen).await.unwrap();

        assert_eq!(told("pending", &name), Some(2.0));
        assert!(told("oldest_seconds", &name).unwrap() > 90.0);
        assert_eq!((told("pending", &own), told("oldest_seconds", &own)), (Some(0.0), Some(0.0)));
        worker.stop(PATIENCE).await;
    }

    async fn a_worker_tells_which_of_its_queues_are_paused(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        jobs.pause("told-paused", "a freeze").await.unwrap();
        let worker = worker(&jobs).queue("told-paused", 1).queue("told-open", 1);
        let worker = worker.build().unwrap().start();
        let told = |name: &str, value: u8| {
            let line = format!("steadfast_jobs_queue_paused{{queue=\"{name}\"}} {value}\n");
            report::prometheus::text(&report::snapshot()).contains(&line)
        };

        let paused = async {
            while !told("told-paused", 1) || !told("told-open", 0) {
                clock::sleep(Duration::from_millis(5)).await;
            }
        };

        clock::timeout(PATIENCE, paused).await.unwrap();
        worker.stop(PATIENCE).await;
    }
}
