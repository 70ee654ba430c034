//! Schedules in a store: one job for each occurrence, whoever looks, and wherever they die.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::task::Poll;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::{Timestamp, clock, rng};
use steadfast_jobs::schedule::{
    Missed, Outcome, Overlap, Plan, PlanBuilder, RanNow, Registered, Rule, Schedule, Schedules,
};
use steadfast_jobs::{Cancelled, Error, Job, JobId, Jobs, Kind as JobKind, Options, Run, Worker};
use steadfast_store::testing::{Database, Kind};
use steadfast_store::{Config, Dialect, Fault, Faults, Store, binds, on_every_store};

use super::support::PATIENCE;

#[derive(Serialize, Deserialize)]
struct Settle {
    currency: String,
}

impl Job for Settle {
    const KIND: &'static str = "settle";
}

/// A process with its own connections to the store.
struct Node {
    store: Store,
    jobs: Jobs,
    schedules: Schedules,
}

impl Node {
    async fn of(database: &Database) -> Self {
        Self::at(database.config()).await
    }

    async fn at(config: Config) -> Self {
        let store = Store::open(config).await.unwrap();
        let jobs = Jobs::open(&store).await.unwrap();
        let schedules = Schedules::new(&jobs);
        Self {
            store,
            jobs,
            schedules,
        }
    }

    async fn register(&self, name: &str, plan: PlanBuilder) -> Registered {
        self.schedules
            .register(&schedule(name, plan))
            .await
            .unwrap()
    }

    /// Runs one of two texts, as the database needs it.
    async fn sql(
        &self,
        sqlite: &'static str,
        postgres: &'static str,
        binds: steadfast_store::Binds,
    ) -> Vec<i64> {
        let text = match self.store.dialect() {
            Dialect::Sqlite => sqlite,
            Dialect::Postgres => postgres,
        };
        let rows = self
            .store
            .write(async |mut tx| tx.sql(text, binds).await)
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0).unwrap()).collect()
    }

    /// The nominal times that have a job, in seconds; as many as there are jobs.
    async fn made(&self, name: &str) -> Vec<i64> {
        let seconds = self
            .sql(
                "SELECT o.nominal_us / 1000000 FROM steadfast_schedule_occurrence AS o
                 JOIN (SELECT id FROM steadfast_job UNION ALL SELECT id FROM steadfast_job_history) AS j ON j.id = o.job_id
                 WHERE o.schedule = ?1 ORDER BY 1",
                "SELECT o.nominal_us / 1000000 FROM steadfast.schedule_occurrence AS o
                 JOIN (SELECT id FROM steadfast.job UNION ALL SELECT id FROM steadfast.job_history) AS j ON j.id = o.job_id
                 WHERE o.schedule = $1 ORDER BY 1",
                binds![name],
            )
            .await;
        // Nor is there a job that no occurrence knows.
        let jobs = self
            .sql(
                "SELECT count(*) FROM steadfast_job WHERE payload->>'currency' = ?1",
                "SELECT count(*) FROM steadfast.job WHERE payload->>'currency' = $1",
                binds![name],
            )
            .await[0];
        let ended = self
            .sql(
                "SELECT count(*) FROM steadfast_job_history WHERE payload->>'currency' = ?1",
                "SELECT count(*) FROM steadfast.job_history WHERE payload->>'currency' = $1",
                binds![name],
            )
            .await[0];
        assert_eq!(seconds.len() as i64, jobs + ended, "{name}");
        seconds
    }

    /// Moves the next due time, as if nobody had looked for long, or somebody put it off.
    async fn next_is(&self, name: &str, second: i64) {
        let us = second * 1_000_000;
        self.sql(
            "UPDATE steadfast_schedule SET next_us = ?2, look_us = ?2, decided_us = NULL WHERE name = ?1 RETURNING 1",
            "UPDATE steadfast.schedule SET next_us = $2, look_us = $2, decided_us = NULL WHERE name = $1 RETURNING 1::bigint",
            binds![name, us],
        )
        .await;
    }

    /// Has nobody wait until it is looked at again.
    async fn look_now(&self, name: &str) {
        self.sql(
            "UPDATE steadfast_schedule SET look_us = 0 WHERE name = ?1 RETURNING 1",
            "UPDATE steadfast.schedule SET look_us = 0 WHERE name = $1 RETURNING 1::bigint",
            binds![name],
        )
        .await;
    }

    async fn job_of(&self, name: &str) -> JobId {
        let far = Timestamp::from_unix_millis(i64::MAX / 1_000_000);
        let past = self.schedules.history(name, far, 100).await.unwrap();
        let job = past.iter().find_map(|past| match past.outcome {
            Outcome::Made { job, .. } => Some(job),
            Outcome::Skipped { .. } => None,
        });
        job.expect("a job was made")
    }

    async fn skipped(&self, name: &str) -> Vec<(i64, i64, u64, String)> {
        let far = Timestamp::from_unix_millis(i64::MAX / 1_000_000);
        let past = self.schedules.history(name, far, 100).await.unwrap();
        let skipped = past.into_iter().filter_map(|past| match past.outcome {
            Outcome::Skipped {
                until,
                count,
                reason,
            } => Some((
                past.nominal.unix_millis() / 1000,
                until.unix_millis() / 1000,
                count,
                reason,
            )),
            Outcome::Made { .. } => None,
        });
        skipped.collect()
    }
}

fn schedule(name: &str, plan: PlanBuilder) -> Schedule {
    let job = Settle {
        currency: name.to_owned(),
    };
    Schedule::new(name, plan.build().unwrap(), &job, Options::new()).unwrap()
}

fn plan(rule: &str) -> PlanBuilder {
    Plan::builder(rule.parse().unwrap())
}

fn now() -> i64 {
    clock::timestamp().unix_millis() / 1000
}

/// Every hour, with half an hour gone since the last.
fn hourly() -> (Rule, i64) {
    let last = now() - 1800;
    let anchor = Timestamp::from_unix_millis(last * 1000);
    (
        Rule::every(Duration::from_secs(3600)).unwrap().from(anchor),
        last,
    )
}

/// Due once, at this second of the past.
fn once(second: i64) -> PlanBuilder {
    Plan::builder(Rule::once(Timestamp::from_unix_millis(second * 1000)))
}

/// Polls a future a number of times and drops it then, as if its process had died there.
async fn killed_after<F: Future>(polls: u64, future: F) {
    let mut future = pin!(Some(future));
    let mut left = polls;
    poll_fn(|cx| {
        let Some(running) = future.as_mut().as_pin_mut() else {
            return Poll::Ready(());
        };
        if running.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        if left == 0 {
            future.set(None);
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

on_every_store! {
    async fn workers_make_the_jobs_by_themselves_and_tell_what_a_run_is_about(database) {
        let (one, two) = (Node::of(database).await, Node::of(database).await);
        let second = now();
        one.register("nightly", once(second)).await;
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let worker = |node: &Node| {
            let (told, schedules) = (told.clone(), node.schedules.clone());
            let settle = move |run: Run, settle: Settle| {
                let (told, schedules) = (told.clone(), schedules.clone());
                async move {
                    let of = schedules.occurrence_of(run.id()).await?;
                    let _ = told.send((settle.currency, of));
                    Ok(())
                }
            };
            Worker::builder(&node.jobs).kind(JobKind::new(settle)).build().unwrap().start()
        };

        let running = [worker(&one), worker(&two)];

        let heard = clock::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
        assert_eq!(heard.0, "nightly");
        let of = heard.1.unwrap();
        assert_eq!((of.schedule.as_str(), of.nominal.unix_millis() / 1000, of.by_hand), ("nightly", second, false));
        for running in running {
            running.stop(PATIENCE).await;
        }
        assert_eq!(one.made("nightly").await, [second]);
    }

    async fn what_is_the_same_already_shifts_nothing(database) {
        let node = Node::of(database).await;
        let weekly = || plan("0 6 * * mon");
        assert_eq!(node.register("weekly", weekly()).await, Registered::Added);
        let next = node.schedules.find("weekly").await.unwrap().unwrap().next;
        let later = next.unwrap().unix_millis() / 1000 + 7 * 86_400;
        node.next_is("weekly", later).await;

        assert_eq!(node.register("weekly", weekly()).await, Registered::Same);

        let found = node.schedules.find("weekly").await.unwrap().unwrap();
        assert_eq!(found.next.unwrap().unix_millis() / 1000, later);
        assert_eq!(found.schedule, schedule("weekly", weekly()));
        // Another plan of the same rule keeps the due time, too; another rule does not.
        let jittered = weekly().jitter(Duration::from_secs(5));
        assert_eq!(node.register("weekly", jittered).await, Registered::Changed);
        let found = node.schedules.find("weekly").await.unwrap().unwrap();
        assert_eq!(found.next.unwrap().unix_millis() / 1000, later);
        assert_eq!(node.register("weekly", plan("0 7 * * mon")).await, Registered::Changed);
        let found = node.schedules.find("weekly").await.unwrap().unwrap();
        assert!(found.next.unwrap().unix_millis() / 1000 < later);
    }

    async fn a_change_of_what_was_seen_is_made_and_one_of_what_has_changed_since_is_not(database) {
        let world = Node::of(database).await;
        let plan = |rule: &str| Plan::builder(Rule::cron(rule).unwrap()).build().unwrap();
        let say = |rule: &str| {
            Schedule::of_kind("nightly", plan(rule), "act", "null", Options::new()).unwrap()
        };

        let (first, second) = (say("0 1 * * *"), say("0 2 * * *"));
        assert!(world.schedules.if_at(7).register(&first).await.unwrap_err().is_changed());
        assert_eq!(world.schedules.if_at(0).register(&first).await.unwrap(), Registered::Added);
        let seen = world.schedules.find("nightly").await.unwrap().unwrap().revision;
        world.schedules.register(&second).await.unwrap();

        let late = world.schedules.if_at(seen).register(&first).await;

        assert!(late.unwrap_err().is_changed());
        let now = world.schedules.find("nightly").await.unwrap().unwrap();
        assert_eq!(now.schedule, second);
        assert!(now.revision > seen);
        let changed = world.schedules.if_at(now.revision).register(&first).await.unwrap();
        assert_eq!(changed, Registered::Changed);
    }

    async fn whatever_is_done_to_a_schedule_that_has_changed_since_it_was_seen_is_not_done(database) {
        let world = Node::of(database).await;
        let yearly = Plan::builder(Rule::cron("0 1 1 1 *").unwrap());
        world.register("yearly", yearly).await;
        let view = async || world.schedules.find("yearly").await.unwrap().unwrap();
        let first = world.schedules.if_at(view().await.revision);
        first.pause("yearly", "a freeze").await.unwrap();
        let paused = view().await.revision;

        let minute_ago = Timestamp::from_unix_millis(clock::timestamp().unix_millis() - 60_000);
        let late = [
            first.pause("yearly", "another one").await.err(),
            first.resume("yearly").await.err(),
            first.run_now("yearly").await.err(),
            first.delete("yearly").await.err(),
            first.backfill("yearly", minute_ago, clock::timestamp(), 1).await.err(),
            world.schedules.if_at(0).delete("yearly").await.err(),
            world.schedules.if_at(1).delete("no-such").await.err(),
        ];

        assert!(late.iter().all(|error| error.as_ref().is_some_and(Error::is_changed)), "{late:?}");
        assert_eq!(view().await.revision, paused);
        // Of two who have seen the same one passes, whichever is first.
        let seen = world.schedules.if_at(paused);
        let (resumed, deleted) = tokio::join!(seen.resume("yearly"), seen.delete("yearly"));
        assert_ne!(resumed.is_ok(), deleted.is_ok(), "{resumed:?} {deleted:?}");
        let error = resumed.err().or(deleted.err()).unwrap();
        assert!(error.is_changed(), "{error}");
    }

    async fn an_occurrence_leaves_the_revision_that_was_seen(database) {
        let node = Node::of(database).await;
        let plan = once(now()).overlap(Overlap::Allow);
        let (_, seen) = node.schedules.put(&schedule("busy", plan)).await.unwrap();

        while node.made("busy").await.is_empty() {
            node.schedules.occur().await.unwrap();
        }
        node.schedules.run_now("busy").await.unwrap();

        let view = node.schedules.find("busy").await.unwrap().unwrap();
        assert_eq!(view.revision, seen.revision);
        assert_ne!(view.next, seen.next);
        let at = node.schedules.if_at(seen.revision);
        at.pause("busy", "a freeze").await.unwrap();
        assert!(at.resume("busy").await.unwrap_err().is_changed());
    }

    async fn no_revision_comes_again_under_the_name_of_a_deleted_schedule(database) {
        let node = Node::of(database).await;
        let daily = || schedule("daily", Plan::builder(Rule::cron("0 1 * * *").unwrap()));
        let (_, first) = node.schedules.put(&daily()).await.unwrap();

        assert!(node.schedules.delete("daily").await.unwrap());
        let (registered, second) = node.schedules.put(&daily()).await.unwrap();

        assert_eq!(registered, Registered::Added);
        assert!(second.revision > first.revision);
        let stale = node.schedules.if_at(first.revision).delete("daily").await;
        assert!(stale.unwrap_err().is_changed());
    }

    async fn what_is_given_of_a_change_is_what_it_has_left(database) {
        let (node, other) = (Node::of(database).await, Node::of(database).await);
        let plan = |rule: &str| Plan::builder(Rule::cron(rule).unwrap());
        node.register("daily", plan("0 1 * * *")).await;
        let changed = schedule("daily", plan("0 2 * * *"));

        let (registered, view) = node.schedules.put(&changed).await.unwrap();
        let again = node.schedules.put(&changed).await.unwrap();
        other.register("daily", plan("0 3 * * *")).await;

        assert_eq!(registered, Registered::Changed);
        assert_eq!(view.schedule, changed);
        assert_eq!((again.0, again.1.revision), (Registered::Same, view.revision));
        let late = node.schedules.if_at(view.revision).delete("daily").await;
        assert!(late.unwrap_err().is_changed());
    }

    async fn nodes_that_race_make_one_job_of_each_occurrence(database) {
        let nodes = [Node::of(database).await, Node::of(database).await, Node::of(database).await];
        for node in &nodes {
            // So that none has to connect when it comes to the race.
            node.schedules.occur().await.unwrap();
        }
        let second = now();
        for number in 0..15 {
            nodes[0].register(&format!("race-{number}"), once(second)).await;
        }

        let [one, two, three] = &nodes;
        let looks = tokio::join!(one.schedules.occur(), two.schedules.occur(), three.schedules.occur());
        one.schedules.occur().await.unwrap();

        let made = [looks.0, looks.1, looks.2].map(|look| look.unwrap().made);
        assert_eq!(made.iter().sum::<usize>(), 15, "{made:?}");
        for number in 0..15 {
            assert_eq!(one.made(&format!("race-{number}")).await, [second]);
        }
    }

    async fn a_thousand_kills_around_the_occurrence_leave_one_job_of_each(database) {
        let nodes = [
            Node::of(database).await, Node::of(database).await,
            Node::of(database).await, Node::of(database).await,
        ];
        // A quarter of a thousand where each round costs more.
        let rounds = if database.kind() == Kind::Pgbouncer { 60 } else { 250 };
        let second = now();
        for round in 0..rounds {
            let name = format!("killed-{round}");
            nodes[round % 4].register(&name, once(second)).await;

            let [one, two, three, four] = &nodes;
            let kill = |node: &'_ Node| {
                let schedules = node.schedules.clone();
                killed_after(1 + rng::bits() % 48, Box::pin(async move { schedules.occur().await }))
            };
            tokio::join!(kill(one), kill(two), kill(three), kill(four));
        }

        // Whoever is left makes those that died with their node.
        nodes[0].schedules.occur().await.unwrap();
        for round in 0..rounds {
            assert_eq!(nodes[0].made(&format!("killed-{round}")).await, [second]);
        }
    }

    async fn a_store_that_fails_at_any_operation_leaves_one_job_of_each_occurrence(database) {
        let faults = Faults::new();
        let config = Config {
            faults: faults.clone(),
            ..database.config()
        };
        let (failing, sound) = (Node::at(config).await, Node::of(database).await);
        let second = now();
        for fault in [Fault::Before, Fault::After] {
            for n in 1.. {
                let name = format!("{fault:?}-{n}");
                // With an earlier run that is to be cancelled, so that every statement has its turn.
                sound.register(&name, once(second - 1).overlap(Overlap::CancelOther)).await;
                sound.schedules.occur().await.unwrap();
                sound.next_is(&name, second).await;

                faults.on(n, fault);
                let _ = failing.schedules.occur().await;
                let hits = faults.hits();
                faults.clear();
                sound.schedules.occur().await.unwrap();
                let queued = sound.schedules.find(&name).await.unwrap().unwrap().queued;
                assert_eq!(queued.map(|at| at.unix_millis() / 1000), Some(second), "{name}");
                sound.look_now(&name).await;
                failing.schedules.occur().await.unwrap();

                assert_eq!(sound.made(&name).await, [second - 1, second], "{name}");
                if hits == 0 {
                    assert!(n > 8, "{n} operations");
                    break;
                }
            }
        }
    }

    async fn after_an_outage_over_three_occurrences_none_one_or_all_run(database) {
        let node = Node::of(database).await;
        let (rule, last) = hourly();
        let first = last - 2 * 3600;
        let day = Duration::from_secs(86_400);
        for (name, missed) in [("skip", Missed::Skip), ("once", Missed::RunOnce), ("all", Missed::RunAll(day))] {
            node.register(name, Plan::builder(rule.clone()).missed(missed)).await;
            node.next_is(name, first).await;
        }

        node.schedules.occur().await.unwrap();

        assert_eq!(node.made("skip").await, [] as [i64; 0]);
        assert_eq!(node.made("once").await, [last]);
        assert_eq!(node.made("all").await, [first, first + 3600, last]);
        let missed = |until, count| vec![(first, until, count, "missed".to_owned())];
        assert_eq!(node.skipped("skip").await, missed(last, 3));
        assert_eq!(node.skipped("once").await, missed(first + 3600, 2));
        assert_eq!(node.skipped("all").await, vec![]);
        for name in ["skip", "once", "all"] {
            let next = node.schedules.find(name).await.unwrap().unwrap().next.unwrap();
            assert_eq!(next.unix_millis() / 1000, last + 3600);
        }
    }

    async fn a_run_that_is_not_over_is_met_as_the_plan_says(database) {
        let node = Node::of(database).await;
        let (rule, last) = hourly();
        let overlaps = [Overlap::Allow, Overlap::Skip, Overlap::QueueOne, Overlap::CancelOther];
        for overlap in overlaps {
            let name = overlap.as_str();
            node.register(name, Plan::builder(rule.clone()).overlap(overlap)).await;
            node.next_is(name, last - 3600).await;
        }
        // The first run of each: the last due time.
        node.schedules.occur().await.unwrap();
        for overlap in overlaps {
            assert_eq!(node.made(overlap.as_str()).await, [last]);
            // The next is due an hour ahead of its time.
            node.next_is(overlap.as_str(), last + 60).await;
        }

        node.schedules.occur().await.unwrap();

        let second = last + 60;
        assert_eq!(node.made("allow").await, [last, second]);
        assert_eq!(node.made("skip").await, [last]);
        assert_eq!(node.skipped("skip").await[0], (second, second, 1, "overlap".into()));
        for name in ["queue_one", "cancel_other"] {
            assert_eq!(node.made(name).await, [last], "it waits");
            let queued = node.schedules.find(name).await.unwrap().unwrap().queued.unwrap();
            assert_eq!(queued.unix_millis() / 1000, second);
        }
        // The first run ends: by itself, or because it was cancelled.
        let first = node.job_of("queue_one").await;
        assert_eq!(node.jobs.cancel(first, "it is over").await.unwrap(), Cancelled::Now);
        let cancelled = node.job_of("cancel_other").await;
        let again = node.jobs.cancel(cancelled, "again").await.unwrap();
        assert!(matches!(again, Cancelled::Ended(_)), "{again:?}");
        for name in ["queue_one", "cancel_other"] {
            node.look_now(name).await;
        }
        node.schedules.occur().await.unwrap();
        for name in ["queue_one", "cancel_other"] {
            assert_eq!(node.made(name).await, [last, second]);
        }
    }

    async fn of_a_change_in_the_moment_of_an_occurrence_the_old_or_the_new_one_runs(database) {
        let (one, two) = (Node::of(database).await, Node::of(database).await);
        for round in 0..12 {
            let (rule, last) = hourly();
            let name = format!("changed-{round}");
            one.register(&name, Plan::builder(rule.clone())).await;
            one.next_is(&name, last).await;
            let edited = schedule(&name, Plan::builder(rule).jitter(Duration::from_secs(1)));
            let edit = async {
                match round % 3 {
                    0 => drop(two.schedules.register(&edited).await.unwrap()),
                    1 => two.schedules.pause(&name, "not now").await.unwrap(),
                    _ => drop(two.schedules.delete(&name).await.unwrap()),
                }
            };

            let (look, ()) = tokio::join!(one.schedules.occur(), edit);
            look.unwrap();
            let after = one.made(&name).await;
            two.schedules.occur().await.unwrap();
            one.schedules.occur().await.unwrap();

            let made = one.made(&name).await;
            match round % 3 {
                0 => assert_eq!(made, [last], "the old or the new one, never both"),
                _ => assert!(made == after && (made.is_empty() || made == [last]), "{made:?} after {after:?}"),
            }
        }
    }

    async fn a_paused_schedule_makes_nothing_and_goes_on_from_now(database) {
        let node = Node::of(database).await;
        let (rule, last) = hourly();
        node.register("paused", Plan::builder(rule)).await;
        node.next_is("paused", last).await;
        node.schedules.pause("paused", "the bank is closed").await.unwrap();

        node.schedules.occur().await.unwrap();

        assert_eq!(node.made("paused").await, [] as [i64; 0]);
        assert_eq!(node.skipped("paused").await, [(last, last, 1, "paused".to_owned())]);
        let view = node.schedules.find("paused").await.unwrap().unwrap();
        assert_eq!(view.paused.unwrap().1, "the bank is closed");
        node.schedules.resume("paused").await.unwrap();
        node.schedules.occur().await.unwrap();
        assert_eq!(node.made("paused").await, [] as [i64; 0]);
        let view = node.schedules.find("paused").await.unwrap().unwrap();
        assert_eq!(view.next.unwrap().unix_millis() / 1000, last + 3600);
        let unknown = node.schedules.pause("nobody", "x").await.unwrap_err();
        assert!(unknown.is_unknown_schedule());
    }

    async fn a_run_by_hand_and_a_range_that_is_filled_in(database) {
        let node = Node::of(database).await;
        let (rule, last) = hourly();
        node.register("filled", Plan::builder(rule)).await;

        let RanNow::Made(job) = node.schedules.run_now("filled").await.unwrap() else {
            panic!("nothing runs yet");
        };
        assert_eq!(node.schedules.run_now("filled").await.unwrap(), RanNow::Busy(job));
        let of = node.schedules.occurrence_of(job).await.unwrap().unwrap();
        assert_eq!((of.schedule.as_str(), of.by_hand), ("filled", true));

        let at = |second: i64| Timestamp::from_unix_millis(second * 1000);
        let (from, to) = (at(last - 3 * 3600), at(last + 10 * 3600));
        let dry = node.schedules.missing("filled", from, to, 1_000).await.unwrap();
        assert_eq!((dry.count, dry.had, dry.rest), (4, 0, None));
        assert_eq!((dry.first, dry.last), (Some(from), Some(at(last))));
        let filled = node.schedules.backfill("filled", from, to, 3).await.unwrap();
        assert_eq!((filled.made, filled.had, filled.rest), (3, 0, Some(at(last))));
        let dry = node.schedules.missing("filled", from, to, 1_000).await.unwrap();
        assert_eq!((dry.count, dry.had, dry.first), (1, 3, Some(at(last))));
        let rest = node.schedules.backfill("filled", from, to, 1_000).await.unwrap();
        assert_eq!((rest.made, rest.had, rest.rest), (1, 3, None));
        let again = node.schedules.backfill("filled", from, to, 1_000).await.unwrap();
        assert_eq!((again.made, again.had), (0, 4));
        for (from, to) in [(to, from), (from, from)] {
            let refused = node.schedules.backfill("filled", from, to, 1_000).await.unwrap_err();
            assert!(refused.is_refused() && refused.to_string().contains("has nothing in it"), "{refused}");
        }
        let all = node.schedules.backfill("filled", at(0), to, 1_000).await.unwrap();
        assert_eq!(all.made, 1_000);
        assert!(all.rest.unwrap() < to);
        assert_eq!(node.made("filled").await.len(), 1_005);
    }

    async fn schedules_are_listed_with_what_is_next_and_what_is_overdue(database) {
        let node = Node::of(database).await;
        for name in ["b", "a", "c"] {
            node.register(name, plan("30 2 * * *")).await;
        }
        node.next_is("c", now() - 300).await;

        let page = node.schedules.list("", 2).await.unwrap();
        let rest = node.schedules.list("b", 2).await.unwrap();

        let names: Vec<&str> = page.iter().map(|view| view.schedule.name()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(rest[0].schedule.name(), "c");
        assert!(rest[0].overdue.unwrap() >= Duration::from_secs(299));
        let overdue = node.schedules.overdue().await.unwrap();
        assert_eq!(overdue.len(), 1);
        assert_eq!(overdue[0].0, "c");
        assert!(node.schedules.delete("c").await.unwrap());
        assert!(!node.schedules.delete("c").await.unwrap());
        assert!(node.schedules.overdue().await.unwrap().is_empty());
    }

    async fn a_run_is_given_three_periods_and_its_job_is_late_after_them(database) {
        let node = Node::of(database).await;
        let secs = Duration::from_secs;
        node.register("often", plan("every 30s").missed(Missed::RunOnce)).await;
        node.register("hourly", plan("0 * * * *").missed(Missed::RunOnce)).await;
        node.register("date", once(now())).await;
        let often = node.schedules.find("often").await.unwrap().unwrap().lengths.unwrap();
        assert_eq!((often.longest_run, often.late_after), (secs(90), secs(90)));
        let hourly = node.schedules.find("hourly").await.unwrap().unwrap().lengths.unwrap();
        assert_eq!((hourly.longest_run, hourly.late_after), (secs(900), secs(10_800)));
        assert_eq!(node.schedules.find("date").await.unwrap().unwrap().lengths, None);

        let before = now();
        node.next_is("often", now() / 30 * 30 - 30).await;
        node.next_is("hourly", now() / 3_600 * 3_600 - 3_600).await;
        assert_eq!(node.schedules.occur().await.unwrap().made, 3);

        let times = async |name: &str| -> (Option<i64>, Option<i64>) {
            let id = node.job_of(name).await.get() as i64;
            let read = async |sqlite, postgres| node.sql(sqlite, postgres, binds![id]).await[0];
            let longest = read(
                "SELECT coalesce(run_us_max, -1) FROM steadfast_job WHERE id = ?1",
                "SELECT coalesce(run_us_max, -1) FROM steadfast.job WHERE id = $1",
            );
            let longest = longest.await;
            let late = read(
                "SELECT coalesce(late_us, -1) FROM steadfast_job WHERE id = ?1",
                "SELECT coalesce(late_us, -1) FROM steadfast.job WHERE id = $1",
            );
            let late = late.await;
            let seconds = |us: i64| (us >= 0).then_some(us / 1_000_000);
            (seconds(longest), seconds(late))
        };
        let (longest, late) = times("often").await;
        assert_eq!(longest, Some(90));
        assert!((before + 90..=now() + 90).contains(&late.unwrap()), "{late:?}");
        let (longest, late) = times("hourly").await;
        assert_eq!(longest, Some(900));
        assert!((before + 10_800..=now() + 10_800).contains(&late.unwrap()), "{late:?}");
        assert_eq!(times("date").await, (None, None));

        let hour_ago = (now() - 3_600) * 1_000_000;
        node.sql(
            "UPDATE steadfast_job SET late_us = ?1 WHERE run_us_max = 900000000 RETURNING 1",
            "UPDATE steadfast.job SET late_us = $1 WHERE run_us_max = 900000000 RETURNING 1::bigint",
            binds![hour_ago],
        )
        .await;
        let late = node.schedules.late().await.unwrap();
        let late: Vec<_> = late.iter().filter(|late| late.schedule == "hourly").collect();
        assert_eq!(late.len(), 1);
        assert_eq!((late[0].job, late[0].kind.as_str()), (node.job_of("hourly").await, "settle"));
        assert!(late[0].by >= secs(3_600));
        node.jobs.cancel(late[0].job, "done with it").await.unwrap();
        let late = node.schedules.late().await.unwrap();
        assert!(late.iter().all(|late| late.schedule != "hourly"));
    }

    async fn a_fixed_delay_counts_from_the_end_of_the_run_before(database) {
        let node = Node::of(database).await;
        node.register("delay", plan("after 1h")).await;
        node.schedules.occur().await.unwrap();
        assert_eq!(node.made("delay").await.len(), 1);
        node.next_is("delay", now() - 1).await;
        node.schedules.occur().await.unwrap();
        assert_eq!(node.made("delay").await.len(), 1, "not while it runs");

        node.jobs.cancel(node.job_of("delay").await, "it is over").await.unwrap();
        node.next_is("delay", now() - 1).await;
        node.schedules.occur().await.unwrap();

        assert_eq!(node.made("delay").await.len(), 1, "not before the delay is over");
        let next = node.schedules.find("delay").await.unwrap().unwrap().next.unwrap();
        let wait = next.unix_millis() / 1000 - now();
        assert!((3590..=3601).contains(&wait), "{wait} s");
    }

    async fn what_another_version_wrote_stops_no_other_schedule(database) {
        let node = Node::of(database).await;
        node.register("strange", once(now())).await;
        node.register("usual", once(now())).await;
        node.sql(
            "UPDATE steadfast_schedule SET rule = 'when the moon is full' WHERE name = ?1 RETURNING 1",
            "UPDATE steadfast.schedule SET rule = 'when the moon is full' WHERE name = $1 RETURNING 1::bigint",
            binds!["strange"],
        ).await;

        let look = node.schedules.occur().await.unwrap();

        assert_eq!((look.made, look.failed), (1, 1));
        assert_eq!(node.schedules.list("", 10).await.unwrap().len(), 1);
        assert_eq!(node.register("strange", once(now())).await, Registered::Changed);
        assert_eq!(node.schedules.occur().await.unwrap().made, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_killed_over_sqlite_leave_one_job_of_each_occurrence() {
    let database = Database::make(Kind::Sqlite).await;
    kill_processes(&database, database.file().display().to_string()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_killed_over_postgres_leave_one_job_of_each_occurrence() {
    let database = Database::make(Kind::Postgres).await;
    kill_processes(&database, database.direct_url()).await;
}

/// Looks until it is killed, if the test above has started it; else there is nothing to do.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Ok(place) = std::env::var("STEADFAST_TEST_KILLED") else {
        return;
    };
    let config = if place.starts_with("postgres") {
        Config::postgres(place)
    } else {
        Config::sqlite(place)
    };
    let node = Node::at(config).await;
    #[allow(
        clippy::print_stdout,
        reason = "the test that started it waits for this"
    )]
    {
        println!("looking");
    }
    loop {
        let _ = node.schedules.occur().await;
    }
}

/// Kills processes that look, each a moment after it began, with six occurrences to make.
async fn kill_processes(database: &Database, place: String) {
    let node = Node::of(database).await;
    let second = now();
    let (mut kills, mut names) = (0, Vec::new());
    while kills < 15 {
        for _ in 0..6 {
            let name = format!("process-{}", names.len());
            node.register(&name, once(second)).await;
            names.push(name);
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "schedules::the_process_that_is_killed",
                "--nocapture",
            ])
            .env("STEADFAST_TEST_KILLED", &place)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It says when it begins to look; how far it comes is left to chance.
        let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("looking") {
            line.clear();
            assert!(
                std::io::BufRead::read_line(&mut said, &mut line).unwrap() > 0,
                "it ended"
            );
        }
        clock::block(Duration::from_micros(rng::bits() % 12_000));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }

    node.schedules.occur().await.unwrap();

    for name in &names {
        assert_eq!(node.made(name).await, [second]);
    }
}
