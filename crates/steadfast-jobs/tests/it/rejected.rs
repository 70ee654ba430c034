//! Ends of runs that come too late: rejected, counted, told, listed.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::{Cause, clock};
use steadfast_jobs::{Job, JobId, Jobs, Kind, OnLeaseLost, Options, RejectedEnd, Run, What};
use steadfast_store::{Config, Fault, Faults, NodeConfig, Store, binds};
use tokio::sync::Notify;

use super::support::{PATIENCE, kill, look, sql, until, until_state, worker};

#[derive(Serialize, Deserialize)]
struct Slow;

impl Job for Slow {
    const KIND: &'static str = "slow";
}

/// A node that learns at once that its lease is lost when somebody says so, and loses none because the machine
/// stands still. Its beats also wake a runtime whose thread that waits for the network is the one that a handler blocks:
/// what has to hold without that has a node with the usual beat.
fn alert() -> NodeConfig {
    NodeConfig {
        beat: Duration::from_millis(100),
        ..NodeConfig::new("test", "0").with_lease(Duration::from_secs(300))
    }
}

/// How long a cleanup may take where a handler is to be written off: it is after twice this.
const CLEANUP: Duration = Duration::from_millis(200);

/// Waits until an end is in the list.
async fn until_listed(jobs: &Jobs, id: JobId) -> RejectedEnd {
    let listed = async {
        loop {
            let page = jobs.rejected(None, 10).await.unwrap();
            if let Some(end) = page.ends.into_iter().find(|end| end.id == id) {
                return end;
            }
            clock::sleep(Duration::from_millis(5)).await;
        }
    };
    clock::timeout(PATIENCE, listed).await.unwrap()
}

/// Has a job go to others, without their running it.
async fn take_away(store: &Store, id: JobId) {
    sql(
        store,
        "UPDATE steadfast_job SET term = term + 1 WHERE id = ?1",
        "UPDATE steadfast.job SET term = term + 1 WHERE id = $1",
        binds![id.get() as i64],
    )
    .await;
}

/// The node that holds a job.
async fn holder(store: &Store, id: JobId) -> i64 {
    let seen = look(store, id).await.unwrap();
    seen.incarnation.unwrap()
}

steadfast_store::on_every_store! {
    async fn an_end_under_an_old_term_is_rejected_counted_and_listed(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let go = Arc::new(Notify::new());
        for (fails, within, wanted) in [(false, false, "completed"), (true, false, "retried"), (false, true, "completed")] {
            let (gate, store_of_handler) = (go.clone(), store.clone());
            let kind = Kind::new(move |run: Run, _: Slow| {
                let (go, store) = (gate.clone(), store_of_handler.clone());
                async move {
                    go.notified().await;
                    if within {
                        let tx = store.begin().await?;
                        run.complete_in(tx, &()).await?;
                    }
                    if fails { Err("no luck".into()) } else { Ok(()) }
                }
            });
            let running = worker(&jobs).kind(kind).build().unwrap().start();
            let mut events = running.events();
            let id = jobs.enqueue(&Slow, Options::new()).await.unwrap();
            until(&mut events, id, |what| matches!(what, What::Started)).await;
            let before = look(&store, id).await.unwrap();

            take_away(&store, id).await;
            go.notify_one();

            let event = until(&mut events, id, |what| matches!(what, What::Rejected { .. })).await;
            assert!(matches!(event.what, What::Rejected { wanted: told } if told == wanted), "{event:?}");
            assert_eq!((event.term, event.attempt), (1, 1));
            let end = until_listed(&jobs, id).await;
            assert_eq!((end.term, end.attempt, end.kind.as_str(), end.wanted.as_str()), (1, 1, "slow", wanted));
            assert_eq!(Some(end.incarnation), before.incarnation);
            let why = end.error.unwrap_or_default();
            let expected = if fails { "no luck" } else if within { "the lease of job" } else { "" };
            assert!(why.starts_with(expected) && why.is_empty() == expected.is_empty(), "{why}");
            let seen = look(&store, id).await.unwrap();
            assert_eq!((seen.state.as_str(), seen.term, seen.result), ("running", 2, None));
            // Nobody has it, and the next round shall not rescue it.
            sql(&store, "DELETE FROM steadfast_job", "DELETE FROM steadfast.job", binds![]).await;
            running.stop(PATIENCE).await;
        }
        let first = jobs.rejected(None, 2).await.unwrap();
        let rest = jobs.rejected(first.next, 2).await.unwrap();
        assert_eq!((first.ends.len(), rest.ends.len(), rest.next), (2, 1, None));
        assert!(!first.ends.contains(&rest.ends[0]));
    }

    async fn an_end_that_was_on_its_way_when_the_lease_was_lost_is_told_all_the_same(database) {
        let faults = Faults::new();
        let config = Config { faults: faults.clone(), ..database.config() };
        let store = Store::open(config).await.unwrap();
        let jobs = Jobs::open(&store).await.unwrap();
        for (fails, statement) in [(false, "exchange"), (true, "put_back")] {
            let go = Arc::new(Notify::new());
            let gate = go.clone();
            let kind = Kind::new(move |_: Run, _: Slow| {
                let go = gate.clone();
                async move {
                    go.notified().await;
                    if fails { Err("no luck".into()) } else { Ok(()) }
                }
            });
            // With its one permit taken it does not claim, so the end is all that is on its way.
            let worker = worker(&jobs).kind(kind).queue("default", 1).join(alert());
            let running = worker.build().unwrap().start();
            let mut events = running.events();
            let id = jobs.enqueue(&Slow, Options::new()).await.unwrap();
            until(&mut events, id, |what| matches!(what, What::Started)).await;
            let first = holder(&store, id).await;

            faults.on_name(statement, Fault::Delay(Duration::from_secs(3_600)));
            go.notify_one();
            let sent = async {
                while faults.hits() == 0 {
                    clock::sleep(Duration::from_millis(5)).await;
                }
            };
            clock::timeout(PATIENCE, sent).await.unwrap();
            kill(&store, first).await;
            until(&mut events, id, |what| matches!(what, What::LeaseLost)).await;
            faults.clear();

            let told = |what: &What| matches!(what, What::Rejected { .. } | What::Completed);
            let event = until(&mut events, id, told).await;
            assert_eq!((event.term, event.attempt), (1, 1), "that of the first run");
            go.notify_one();
            sql(&store, "DELETE FROM steadfast_job", "DELETE FROM steadfast.job", binds![]).await;
            running.stop(Duration::ZERO).await;
        }
    }

    async fn a_handler_that_ends_after_it_was_written_off_is_rejected_and_gives_its_permit_back(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let (go, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let kind = Kind::new(move |run: Run, _: Slow| {
            let gate = gate.clone();
            async move {
                if run.attempt() == 1 {
                    // Blocks its thread, so that no token and no time limit can end it.
                    let _ = gate.lock().unwrap().recv();
                }
                Ok(())
            }
        });
        // Long enough for the second run on any machine.
        let kind = kind.timeout(Duration::from_secs(2)).cleanup_limit(CLEANUP);
        let node = NodeConfig { beat: NodeConfig::new("test", "0").beat, ..alert() };
        let running = worker(&jobs).kind(kind).queue("default", 2).join(node).build().unwrap().start();
        let mut events = running.events();
        let id = jobs.enqueue(&Slow, Options::new()).await.unwrap();

        until(&mut events, id, |what| matches!(what, What::WrittenOff)).await;
        let seen = until_state(&store, id, "completed").await;
        go.send(()).unwrap();

        let event = until(&mut events, id, |what| matches!(what, What::Rejected { .. })).await;
        assert_eq!((event.term, event.attempt), (1, 1));
        let end = until_listed(&jobs, id).await;
        assert_eq!(end.term, 1);
        assert_eq!(look(&store, id).await.unwrap(), seen);
        assert!(seen.attempt >= 2);
        running.stop(PATIENCE).await;
    }

    async fn a_handler_that_ignores_that_it_was_cancelled_ends_as_cancelled(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let (go, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let kind = Kind::new(move |_: Run, _: Slow| {
            let gate = gate.clone();
            async move {
                let _ = gate.lock().unwrap().recv();
                Ok(())
            }
        });
        let kind = kind.cleanup_limit(CLEANUP);
        let running = worker(&jobs).kind(kind).queue("default", 2).join(alert()).build().unwrap().start();
        let mut events = running.events();
        let id = jobs.enqueue(&Slow, Options::new()).await.unwrap();
        until(&mut events, id, |what| matches!(what, What::Started)).await;

        jobs.cancel(id, "not wanted").await.unwrap();

        let seen = until_state(&store, id, "cancelled").await;
        assert_eq!(seen.error.as_deref(), Some("not wanted"));
        go.send(()).unwrap();
        until(&mut events, id, |what| matches!(what, What::Rejected { .. })).await;
        assert_eq!(look(&store, id).await.unwrap(), seen);
        running.stop(PATIENCE).await;
    }

    async fn a_run_is_cancelled_when_its_lease_is_lost_unless_its_kind_goes_on(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        for policy in [OnLeaseLost::Cancel, OnLeaseLost::Continue] {
            let (told, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let gates = (told.clone(), go.clone());
            let kind = Kind::new(move |run: Run, _: Slow| {
                let (told, go) = gates.clone();
                async move {
                    if run.term() > 1 {
                        return Ok("second");
                    }
                    run.lease_lost().cancelled().await;
                    told.notify_one();
                    go.notified().await;
                    Ok("first")
                }
            });
            let node = alert();
            let running = worker(&jobs).kind(kind.on_lease_lost(policy)).join(node).build().unwrap().start();
            let mut events = running.events();
            let id = jobs.enqueue(&Slow, Options::new()).await.unwrap();
            until(&mut events, id, |what| matches!(what, What::Started)).await;

            // Others find it dead: its next beat is refused.
            kill(&store, holder(&store, id).await).await;

            until(&mut events, id, |what| matches!(what, What::LeaseLost)).await;
            let seen = until_state(&store, id, "completed").await;
            assert_eq!(seen.result.as_deref(), Some("\"second\""));
            if policy == OnLeaseLost::Continue {
                clock::timeout(PATIENCE, told.notified()).await.unwrap();
                go.notify_one();
                let event = until(&mut events, id, |what| matches!(what, What::Rejected { .. })).await;
                assert_eq!(event.term, 1);
                assert_eq!(until_listed(&jobs, id).await.wanted, "completed");
            }
            assert_eq!(look(&store, id).await.unwrap(), seen);
            running.stop(PATIENCE).await;
            let rejected = jobs.rejected(None, 10).await.unwrap();
            let ours = rejected.ends.iter().filter(|end| end.id == id && end.term == 1).count();
            assert_eq!(ours, usize::from(policy == OnLeaseLost::Continue), "{policy:?}");
        }
    }

    async fn what_goes_on_after_its_lease_counts_if_nobody_has_taken_the_job(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let faults = Faults::new();
        let config = Config { faults: faults.clone(), ..database.config() };
        let theirs = Jobs::open(&database.open_with(config).await).await.unwrap();
        let kind = Kind::new(move |run: Run, _: Slow| async move {
            run.lease_lost().cancelled().await;
            assert!(!run.cancel().is_cancelled());
            Ok(run.term())
        });
        let node = alert();
        let kind = kind.on_lease_lost(OnLeaseLost::Continue);
        let running = worker(&theirs).kind(kind).join(node).build().unwrap().start();
        let mut events = running.events();
        // Nobody rescues.
        faults.on_name("rescue", Fault::Before);
        let id = jobs.enqueue(&Slow, Options::new()).await.unwrap();
        theirs.wake();
        until(&mut events, id, |what| matches!(what, What::Started)).await;

        kill(&store, holder(&store, id).await).await;

        let seen = until_state(&store, id, "completed").await;
        assert_eq!((seen.result.as_deref(), seen.attempt, seen.crashes), (Some("1"), 1, 0));
        until(&mut events, id, |what| matches!(what, What::Completed)).await;
        assert!(jobs.rejected(None, 10).await.unwrap().ends.is_empty());
        running.stop(PATIENCE).await;
    }

    async fn an_end_counts_whose_lease_is_lost_while_the_worker_drains(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let faults = Faults::new();
        let config = Config { faults: faults.clone(), ..database.config() };
        let theirs = Jobs::open(&database.open_with(config).await).await.unwrap();
        let (told, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let gates = (told.clone(), go.clone());
        let kind = Kind::new(move |run: Run, _: Slow| {
            let (told, go) = gates.clone();
            async move {
                run.lease_lost().cancelled().await;
                told.notify_one();
                go.notified().await;
                Ok(run.term())
            }
        });
        let kind = kind.on_lease_lost(OnLeaseLost::Continue);
        let running = worker(&theirs).kind(kind).join(alert()).build().unwrap().start();
        let mut events = running.events();
        // Nobody rescues.
        faults.on_name("rescue", Fault::Before);
        let id = jobs.enqueue(&Slow, Options::new()).await.unwrap();
        theirs.wake();
        until(&mut events, id, |what| matches!(what, What::Started)).await;

        let stopped = steadfast_core::spawn("stop", running.stop(PATIENCE));
        kill(&store, holder(&store, id).await).await;
        clock::timeout(PATIENCE, told.notified()).await.unwrap();
        go.notify_one();

        stopped.await.unwrap();
        let seen = look(&store, id).await.unwrap();
        assert_eq!((seen.state.as_str(), seen.result.as_deref()), ("completed", Some("1")));
    }

    async fn what_goes_on_after_its_lease_ends_with_the_worker(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let (told, ended) = (Arc::new(Notify::new()), Arc::new(Mutex::new(None)));
        let seen = (told.clone(), ended.clone());
        let kind = Kind::new(move |run: Run, _: Slow| {
            let (told, ended) = seen.clone();
            async move {
                if run.term() == 1 {
                    run.lease_lost().cancelled().await;
                    told.notify_one();
                    let cancel = run.cancel();
                    steadfast_core::defer! { *ended.lock().unwrap() = cancel.cause(); }
                    std::future::pending::<()>().await;
                }
                Ok(())
            }
        });
        let node = alert();
        let kind = kind.on_lease_lost(OnLeaseLost::Continue);
        let running = worker(&jobs).kind(kind).join(node).build().unwrap().start();
        let mut events = running.events();
        let id = jobs.enqueue(&Slow, Options::new()).await.unwrap();
        until(&mut events, id, |what| matches!(what, What::Started)).await;
        kill(&store, holder(&store, id).await).await;
        clock::timeout(PATIENCE, told.notified()).await.unwrap();
        until_state(&store, id, "completed").await;

        running.stop(Duration::from_millis(10)).await;

        assert!(matches!(*ended.lock().unwrap(), Some(Cause::Shutdown)));
    }
}
