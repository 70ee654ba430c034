//! Kinds that no node handles.

use std::time::Duration;

use steadfast_core::clock;
use steadfast_jobs::schedule::{Plan, Rule, Schedule, Schedules};
use steadfast_jobs::{Batch, Jobs, Options};
use steadfast_store::{Store, batch, binds};

use super::support::{Act, node, sql, statement, worker};

const RESCUE: Duration = Duration::from_secs(30);

/// Has a node handle a kind, as its worker says.
async fn handles(store: &Store, incarnation: i64, kind: &str) {
    let said = batch![vec![kind.to_owned()], vec![1_i64], vec![true], vec![1_i64]];
    let said = store.run(statement("longest"), binds![incarnation, said]);
    said.await.unwrap();
}

/// Has it end so many seconds ago.
async fn ended(store: &Store, incarnation: i64, seconds: i64) {
    sql(
        store,
        "UPDATE steadfast_node SET ended_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?2 WHERE id = ?1",
        "UPDATE steadfast.node SET ended_us = steadfast.now_us() - $2 WHERE id = $1",
        binds![incarnation, seconds * 1_000_000],
    )
    .await;
}

/// The kinds that are told.
async fn told(jobs: &Jobs) -> Vec<String> {
    jobs.unhandled(RESCUE).await.unwrap().into_keys().collect()
}

steadfast_store::on_every_store! {
    async fn a_kind_is_told_once_no_node_has_handled_it_for_longer_than_a_rescue_takes(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        // Behind the only one of its kind so many others that no page of the newest has it.
        jobs.enqueue_kind("lost", "null", Options::new()).await.unwrap();
        let mut others = Batch::new();
        for _ in 0..600 {
            others.push(&Act::Succeed, Options::new()).unwrap();
        }
        jobs.enqueue_batch(others).await.unwrap();
        let stays = node(&store).await;
        handles(&store, stays, "act").await;
        assert_eq!(told(&jobs).await, ["lost"], "nobody ever had it");

        let first = node(&store).await;
        handles(&store, first, "lost").await;
        assert_eq!(told(&jobs).await, [""; 0], "it has one now");
        ended(&store, first, 29).await;
        // Whoever is started meanwhile forgets none of it.
        handles(&store, stays, "act").await;
        assert_eq!(told(&jobs).await, [""; 0], "that may be on its way back");
        ended(&store, first, 31).await;
        let found = jobs.unhandled(RESCUE).await.unwrap();
        assert_eq!(found["lost"].jobs, 1);

        let second = node(&store).await;
        handles(&store, second, "lost").await;
        assert_eq!(told(&jobs).await, [""; 0]);
        ended(&store, second, 31).await;
        jobs.pause("default", "a freeze").await.unwrap();
        assert_eq!(told(&jobs).await, [""; 0], "what is paused waits for something else");
    }

    async fn a_schedule_that_makes_jobs_of_such_a_kind_is_told_and_one_that_makes_none_is_not(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let schedules = Schedules::new(&jobs);
        for name in ["yearly", "paused", "handled"] {
            let plan = Plan::builder(Rule::cron("0 1 1 1 *").unwrap()).build().unwrap();
            let kind = format!("kind of {name}");
            let schedule = Schedule::of_kind(name, plan, &kind, "null", Options::new()).unwrap();
            schedules.register(&schedule).await.unwrap();
        }
        schedules.pause("paused", "a freeze").await.unwrap();
        let stays = node(&store).await;
        handles(&store, stays, "kind of handled").await;

        let found = jobs.unhandled(RESCUE).await.unwrap();

        assert_eq!(found.keys().collect::<Vec<_>>(), ["kind of yearly"]);
        assert_eq!(found["kind of yearly"].schedules, ["yearly"]);
        assert_eq!(found["kind of yearly"].jobs, 0);
    }

    async fn a_queue_is_told_once_no_node_has_claimed_from_it_for_longer_than_a_rescue_takes(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        jobs.enqueue_kind("act", "null", Options::new().queue("lost")).await.unwrap();
        jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        let told = async || jobs.unserved(RESCUE).await.unwrap().into_keys().collect::<Vec<_>>();
        let serves = async |incarnation: i64, queue: &str| {
            let said = store.run(statement("serve"), binds![incarnation, vec![queue.to_owned()]]);
            said.await.unwrap();
        };
        let stays = node(&store).await;
        handles(&store, stays, "act").await;
        assert_eq!(told().await, [""; 0], "an older program, which does not say from where it claims");
        assert!(jobs.is_served("lost").await.unwrap());
        serves(stays, "default").await;
        assert_eq!(told().await, ["lost"], "nobody ever did");
        assert!(!jobs.is_served("lost").await.unwrap() && jobs.is_served("default").await.unwrap());

        let first = node(&store).await;
        serves(first, "lost").await;
        assert_eq!(told().await, [""; 0], "one does now");
        ended(&store, first, 29).await;
        serves(stays, "default").await;
        assert_eq!(told().await, [""; 0], "that may be on its way back");
        ended(&store, first, 31).await;
        assert_eq!(jobs.unserved(RESCUE).await.unwrap()["lost"], 1);

        jobs.pause("lost", "a freeze").await.unwrap();
        assert_eq!(told().await, [""; 0], "what is paused waits for something else");
    }

    async fn a_worker_says_from_which_queues_it_claims(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        assert!(!jobs.is_served("mine").await.unwrap());
        let worker = worker(&jobs).queue("mine", 1).build().unwrap().start();

        let said = async {
            while !jobs.is_served("mine").await.unwrap() || jobs.is_served("other").await.unwrap() {
                clock::sleep(Duration::from_millis(5)).await;
            }
        };

        clock::timeout(Duration::from_secs(60), said).await.unwrap();
        worker.stop(Duration::from_secs(60)).await;
    }

    async fn of_nodes_that_have_all_just_been_started_nothing_is_told(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        jobs.enqueue_kind("lost", "null", Options::new()).await.unwrap();
        assert_eq!(told(&jobs).await, ["lost"], "there is nobody at all");
        let starts = node(&store).await;
        sql(
            &store,
            "UPDATE steadfast_node SET started_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER) WHERE id = ?1",
            "UPDATE steadfast.node SET started_us = steadfast.now_us() WHERE id = $1",
            binds![starts],
        )
        .await;

        assert_eq!(told(&jobs).await, [""; 0]);
    }
}
