//! A timer in the process never fires when deploys are more frequent, and fires in every replica when they are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use steadfast::jobs::schedule::{Plan, Rule, Schedule, Schedules};
use steadfast::jobs::{Filter, Job, Jobs, Options};
use steadfast::store::testing::{Database, Kind};
use steadfast::store::{Error, binds};

use crate::support::{Side, seen};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn every_week(ran: Arc<AtomicUsize>) {
    let mut ticks = tokio::time::interval(DAY * 7);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        ran.fetch_add(1, Ordering::Relaxed);
    }
}

/// Eight weeks of two replicas that are started anew so often.
async fn eight_weeks(deployed_every: Duration) -> usize {
    let ran = Arc::new(AtomicUsize::new(0));
    let mut left = DAY * 7 * 8;
    while !left.is_zero() {
        let replicas = [
            tokio::spawn(every_week(ran.clone())),
            tokio::spawn(every_week(ran.clone())),
        ];
        let time = deployed_every.min(left);
        // A second more, for the last tick of the time.
        tokio::time::sleep(time + Duration::from_secs(1)).await;
        left -= time;
        for replica in replicas {
            replica.abort();
        }
    }
    ran.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn the_usual_assembly_fails() {
    let deployed = eight_weeks(DAY).await;
    let left_alone = eight_weeks(DAY * 7 * 8).await;

    assert_eq!((deployed, left_alone), (0, 16));
    seen(
        "t20",
        Side::Usual,
        "in eight weeks of two replicas that are deployed every day, the weekly report ran 0 times; without deploys it ran 16 times",
    );
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Report {}

impl Job for Report {
    const KIND: &'static str = "report";
}

#[tokio::test]
async fn ours_holds() {
    let database = Database::make(Kind::Sqlite).await;
    let jobs = Jobs::open(&database.open().await).await.unwrap();
    let plan = Plan::builder(Rule::cron("0 6 * * MON").unwrap())
        .build()
        .unwrap();
    let weekly = Schedule::new("report", plan, &Report {}, Options::new()).unwrap();
    Schedules::new(&jobs).register(&weekly).await.unwrap();
    // Nobody was there when it was due, an hour ago.
    let hour_ago = "UPDATE steadfast_schedule SET next_us = next_us - 7 * 86400000000 * 2, look_us = 1 WHERE name = ?1";
    let moved: Result<_, Error> = jobs
        .store()
        .write(async |mut tx| tx.sql(hour_ago, binds!["report"]).await)
        .await;
    moved.unwrap();

    // Both are back, and both register it and look.
    for _ in 0..2 {
        let replica = Schedules::new(&Jobs::open(&database.open().await).await.unwrap());
        replica.register(&weekly).await.unwrap();
        replica.occur().await.unwrap();
    }

    let made = jobs
        .list(&Filter::live().kind(Report::KIND), 10)
        .await
        .unwrap();
    assert_eq!(made.jobs.len(), 1);
    seen(
        "t20",
        Side::Ours,
        "an occurrence that fell into a deploy of both replicas was made up for by the first that was back, as one job",
    );
}
