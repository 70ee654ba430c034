use steadfast_store::testing::{Database, Kind as On};
use steadfast_store::{Fault, NodeConfig};

use super::*;
use crate::{Kind, Options, Worker};

/// Those of others may take as long, and they would all be found dead.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_beat_of_its_own_takes_nobody_for_dead() {
    let database = Database::make(On::Sqlite).await;
    let jobs = Jobs::open(&database.open().await).await.unwrap();
    let faults = jobs.store().config().faults.clone();
    let kind = Kind::of_name("any", async |_, _, _| Ok(None));
    let worker = Worker::builder(&jobs).kind(kind).build().unwrap();
    let config = NodeConfig {
        beat: Duration::from_millis(100),
        stall: Duration::from_secs(10),
        ..NodeConfig::new("test", "0").with_lease(Duration::from_secs(10))
    };
    let node = jobs.store().join(config).await.unwrap();
    let (orders, _obeyed) = mpsc::unbounded_channel();
    let (settings, tally) = (worker.settings, worker.tally);
    let upkeep = Upkeep::new(settings, jobs, tally, node.clone(), 1, orders);
    let mut rescuer = Rescuer::new(&upkeep);

    faults.on_name("node_beat", Fault::Delay(Duration::from_secs(3_600)));
    let slow = async {
        while node.health().last_slow_beat.is_none() {
            clock::sleep(Duration::from_millis(10)).await;
        }
    };
    clock::timeout(Duration::from_secs(60), slow).await.unwrap();

    let now = clock::nanos();
    rescuer.note_beats(now);
    assert!(!rescuer.brake.may_rescue(now));
}

/// An upkeep of a node of its own, on a database of its own.
async fn upkeep_of(on: On) -> (Database, Node, Upkeep) {
    let database = Database::make(on).await;
    let jobs = Jobs::open(&database.open().await).await.unwrap();
    let kind = Kind::of_name("any", async |_, _, _| Ok(None));
    let worker = Worker::builder(&jobs).kind(kind).build().unwrap();
    let node = NodeConfig::new("test", "0");
    let node = jobs.store().join(node).await.unwrap();
    let id = node.alive().await.unwrap().id();
    let (orders, _obeyed) = mpsc::unbounded_channel();
    let (settings, tally) = (worker.settings, worker.tally);
    let upkeep = Upkeep::new(settings, jobs, tally, node.clone(), id, orders);
    (database, node, upkeep)
}

/// A history of millions takes its time, and so may a row that somebody has locked.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_something_else_that_is_slow() {
    const STANDSTILL: Fault = Fault::Delay(Duration::from_secs(3_600));
    for on in [On::Sqlite, On::Postgres] {
        let (_database, node, upkeep) = upkeep_of(on).await;
        let jobs = upkeep.jobs.clone();
        let faults = jobs.store().config().faults.clone();
        for name in ["longest", "cancels", "schedule_take", "rescue"] {
            faults.on_name(name, STANDSTILL);
        }
        let delay = Options::new().delay(Duration::from_millis(1));
        let id = jobs.enqueue_kind("any", "null", delay).await.unwrap();

        let is_due = async {
            while jobs.find(id).await.unwrap().unwrap().info.state != crate::State::Pending {
                clock::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = upkeep.run() => unreachable!("it works until it is dropped"),
            due = clock::timeout(Duration::from_secs(60), is_due) => due.expect("it waits"),
        }
        faults.clear();
        node.leave().await;
    }
}

/// It would be a second late, if it has a short delay.
#[tokio::test]
async fn a_wake_up_that_comes_while_due_jobs_are_looked_for_is_kept() {
    let (_database, node, upkeep) = upkeep_of(On::Sqlite).await;
    let mut woken = upkeep.jobs.woken();
    upkeep.jobs.wake();
    let faults = upkeep.jobs.store().config().faults.clone();
    faults.on_name("due", Fault::Delay(Duration::from_millis(10)));

    {
        let mut due = std::pin::pin!(upkeep.due(&mut woken));
        let first = std::future::poll_fn(|cx| std::task::Poll::Ready(due.as_mut().poll(cx)));
        assert!(first.await.is_pending(), "it asks the store");
        upkeep.jobs.wake();
        due.await.unwrap();
    }

    assert!(woken.has_changed().unwrap());
    node.leave().await;
}

#[tokio::test]
async fn a_part_that_panics_begins_anew() {
    let begun = std::cell::Cell::new(0);

    let part = || async {
        begun.set(begun.get() + 1);
        assert!(begun.get() > 1, "at first");
    };
    keep(part).await;

    assert_eq!(begun.get(), 2);
}
