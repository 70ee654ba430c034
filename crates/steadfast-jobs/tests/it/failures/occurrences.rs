//! Processes that are killed around the moment at which an occurrence becomes a job.

use std::time::Duration;

use steadfast_core::clock;
use steadfast_jobs::Options;
use steadfast_jobs::schedule::{Plan, Rule, Schedule, Schedules};
use steadfast_store::binds;

use super::role::{Deed, Part, Role};
use super::{Arena, BOTH, scenarios};

scenarios! {
    processes_are_killed_around_them on BOTH;
}

/// How many schedules each process finds due: enough to be killed before, in and after the making of some.
const EACH: usize = 6;

/// How many processes are killed at once.
const LANES: usize = 4;

async fn processes_are_killed_around_them(arena: Arena) -> String {
    let kills = arena.form.of(12, 1_000);
    let schedules = Schedules::new(&arena.jobs);
    let due = clock::timestamp();
    let role = Role {
        part: Part::Occur,
        tells: false,
        ..arena.role()
    };
    let (mut killed, mut made) = (0, 0);
    while killed < kills {
        let lanes = LANES.min(kills - killed);
        let mut processes: Vec<_> = (0..lanes).map(|_| arena.start(&role)).collect();
        for process in &mut processes {
            process.says("looking", 1).await;
        }
        // They race for these, and die while they do.
        for _ in 0..EACH {
            let plan = Plan::builder(Rule::once(due)).build().unwrap();
            let schedule = Schedule::new(
                format!("occurrence-{made}"),
                plan,
                &Deed::Quick,
                Options::new(),
            );
            schedules.register(&schedule.unwrap()).await.unwrap();
            made += 1;
            if arena.random(EACH as u64) == 0 {
                break;
            }
        }
        for process in &mut processes {
            clock::sleep(Duration::from_micros(arena.random(4_000))).await;
            process.kill();
            killed += 1;
        }
    }

    schedules.occur().await.unwrap();
    let jobs = arena.sql(
        "SELECT schedule, count(*) FROM steadfast_schedule_occurrence AS o JOIN steadfast_job AS j ON j.id = o.job_id GROUP BY schedule",
        "SELECT schedule, count(*) FROM steadfast.schedule_occurrence AS o JOIN steadfast.job AS j ON j.id = o.job_id GROUP BY schedule",
        binds![],
    );
    let jobs = jobs.await;
    assert_eq!(jobs.len(), made, "each has its job");
    assert!(
        jobs.iter().all(|row| row.get::<i64>(1).unwrap() == 1),
        "and none has two"
    );
    let all = arena.number(
        "SELECT count(*) FROM steadfast_job",
        "SELECT count(*) FROM steadfast.job",
    );
    assert_eq!(all.await as usize, made, "no job but theirs");
    let running = arena.work().await;
    let live = || {
        arena.number(
            "SELECT count(*) FROM steadfast_job",
            "SELECT count(*) FROM steadfast.job",
        )
    };
    let until = clock::now() + super::PATIENCE;
    while live().await > 0 {
        assert!(clock::now() < until, "they do not end");
        clock::sleep(Duration::from_millis(20)).await;
    }
    running.stop(super::PATIENCE).await;
    arena.ends().await;
    format!("{killed} kills, {made} occurrences, one job each")
}
