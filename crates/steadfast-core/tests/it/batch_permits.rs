//! Writers that share permits.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::batch::{Batch, BatchConfig, BatchWriter, Look, Permits, Sink, WriteError};
use steadfast_core::decide::backoff::{Backoff, Jitter};
use steadfast_core::decide::batch::{Constraint, Lag, Pressure};
use steadfast_core::{clock, panic};
use tokio::sync::Notify;

/// Rows that all want, so that one transaction after the other has them.
#[derive(Default)]
struct Database {
    row: tokio::sync::Mutex<()>,
    in_flight: AtomicU32,
    most: AtomicU32,
    /// Others who wait, besides our own.
    others: AtomicU32,
    /// A replica is over its limit.
    is_behind: AtomicBool,
    /// Which writer has written when.
    commits: Mutex<Vec<(usize, clock::Instant)>>,
}

impl Database {
    fn commits_of(&self, writer: usize) -> usize {
        let commits = self.commits.lock().unwrap();
        commits.iter().filter(|(by, _)| *by == writer).count()
    }
}

/// One of the writers, and what it does instead of writing.
struct Door {
    database: Arc<Database>,
    writer: usize,
    hangs: AtomicBool,
    goes_on: Notify,
    fails: AtomicBool,
}

struct Through(Arc<Door>);

impl Sink<u32> for Through {
    async fn write(&self, _: Batch<'_, u32>) -> Result<(), WriteError> {
        let door = &self.0;
        let database = &door.database;
        let in_flight = Counted::new(&database.in_flight);
        database
            .most
            .fetch_max(in_flight.0.load(Ordering::SeqCst), Ordering::SeqCst);
        if door.fails.swap(false, Ordering::SeqCst) {
            return Err(WriteError::unavailable("gone"));
        }
        if door.hangs.load(Ordering::SeqCst) {
            door.goes_on.notified().await;
        } else {
            let _row = database.row.lock().await;
            clock::sleep(Duration::from_millis(5)).await;
        }
        let mut commits = database.commits.lock().unwrap();
        commits.push((door.writer, clock::now()));
        Ok(())
    }

    async fn dead(&self, _: &u32, _: &WriteError) {
        self.0.goes_on.notified().await;
    }
}

struct Counted<'a>(&'a AtomicU32);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

const LAG_MAX: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Eye {
    database: Arc<Database>,
    permits: Option<Permits>,
}

impl Look for Eye {
    async fn look(&self) -> Pressure {
        let ours = self
            .database
            .in_flight
            .load(Ordering::SeqCst)
            .saturating_sub(1);
        let others = self.database.others.load(Ordering::SeqCst);
        Pressure {
            lock_waiters: Some(ours + others),
            lag: Lag::Known(match self.database.is_behind.load(Ordering::SeqCst) {
                true => LAG_MAX * 2,
                false => Duration::ZERO,
            }),
        }
    }

    fn permits(&self) -> Option<Permits> {
        self.permits.clone()
    }
}

struct Writers {
    database: Arc<Database>,
    doors: Vec<Arc<Door>>,
    writers: Vec<BatchWriter<u32>>,
}

impl Writers {
    fn start(count: usize, permits: Option<Permits>) -> Self {
        let database = Arc::new(Database::default());
        let doors: Vec<_> = (0..count)
            .map(|writer| {
                Arc::new(Door {
                    database: database.clone(),
                    writer,
                    hangs: AtomicBool::new(false),
                    goes_on: Notify::new(),
                    fails: AtomicBool::new(false),
                })
            })
            .collect();
        let eye = Eye {
            database: database.clone(),
            permits,
        };
        let writers = doors
            .iter()
            .map(|door| {
                let mut config = BatchConfig::new("turns");
                config.size.lag_max = Some(LAG_MAX);
                let pause = Duration::from_secs(5);
                config.backoff = Backoff::new(pause, pause)
                    .unwrap()
                    .with_jitter(Jitter::None);
                BatchWriter::builder(config, Through(door.clone()))
                    .looking(eye.clone())
                    .keyed(|row| assert!(*row != 13, "no key"))
                    .start()
                    .unwrap()
            })
            .collect();
        Self {
            database,
            doors,
            writers,
        }
    }

    /// Lets all look, with so many others who wait.
    async fn with_others(&self, others: u32) {
        self.database.others.store(others, Ordering::SeqCst);
        clock::sleep(Duration::from_millis(250)).await;
    }

    /// Sends one row, and gives how long until it is committed.
    async fn write(&self, writer: usize) -> Duration {
        let began = clock::now();
        let receipt = self.writers[writer].send(0).await.unwrap();
        receipt.await.unwrap();
        clock::now() - began
    }

    /// Lets one hang in the middle of its write.
    async fn hang(&self, writer: usize) {
        self.doors[writer].hangs.store(true, Ordering::SeqCst);
        drop(self.writers[writer].send(0).await.unwrap());
        clock::sleep(Duration::from_millis(50)).await;
        assert_eq!(self.database.in_flight.load(Ordering::SeqCst), 1);
    }
}

/// For ten seconds; gives how many transactions were committed in the second half of that, how many of them were in
/// flight at most, and how many of them the writer with the fewest has.
async fn eight_in_a_hurry(permits: Option<Permits>) -> (usize, u32, usize, Constraint) {
    let eight = Writers::start(8, permits);
    let senders = eight.writers.iter().map(|writer| {
        let writer = writer.clone();
        steadfast_core::spawn(
            "sender",
            async move { while writer.send(0).await.is_ok() {} },
        )
    });
    let senders: Vec<_> = senders.collect();
    clock::sleep(Duration::from_secs(5)).await;
    eight.database.most.store(0, Ordering::SeqCst);
    let before: Vec<_> = (0..8)
        .map(|writer| eight.database.commits_of(writer))
        .collect();
    clock::sleep(Duration::from_secs(5)).await;
    let each: Vec<_> = (0..8)
        .map(|writer| eight.database.commits_of(writer) - before[writer])
        .collect();
    let constraint = eight.writers[0].stats().constraint;
    for writer in &eight.writers {
        drop(writer.drain(clock::now()));
    }
    drop(senders);
    let most = eight.database.most.load(Ordering::SeqCst);
    (
        each.iter().sum(),
        most,
        each.into_iter().min().unwrap(),
        constraint,
    )
}

#[tokio::test(start_paused = true)]
async fn writers_with_the_same_permits_write_as_much_with_few_in_flight_in_turns() {
    let (commits, most, fewest, constraint) = eight_in_a_hurry(Some(Permits::new())).await;

    // One after the other, a thousand transactions of five milliseconds fit into five seconds.
    assert!(commits >= 950, "{commits}");
    // Three have two that wait; a fourth is tried now and then.
    assert!((3..=4).contains(&most), "{most} in flight");
    assert!(fewest >= 100, "{fewest} of one of eight");
    assert_eq!(constraint, Constraint::LockWaiters);

    let (_, most, ..) = eight_in_a_hurry(None).await;
    assert!(
        most > 4,
        "{most} in flight of those who do not know of each other"
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_for_one_who_is_held_up() {
    let both = Writers::start(2, Some(Permits::new()));
    both.with_others(9).await;
    both.hang(0).await;

    let took = both.write(1).await;

    let second = Duration::from_secs(1);
    assert!((second..2 * second).contains(&took), "{took:?}");

    // One who had none gives none back.
    both.database.most.store(0, Ordering::SeqCst);
    let took = both.write(1).await;
    assert!((second..3 * second).contains(&took), "{took:?}");
    both.doors[0].goes_on.notify_one();
    both.with_others(0).await;
    clock::sleep(Duration::from_secs(3)).await;
    both.hang(0).await;
    let took = both.write(1).await;
    assert!(
        took < Duration::from_millis(100),
        "{took:?}, with a permit for each"
    );
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_ends_takes_no_permit_with_it() {
    let both = Writers::start(2, Some(Permits::new()));
    both.with_others(9).await;
    both.hang(0).await;
    let row = both.writers[1].send(0);
    let receipt = row.await.unwrap();
    clock::sleep(Duration::from_millis(50)).await;
    assert_eq!(both.database.commits_of(1), 0);

    let began = clock::now();
    let drained = both.writers[0].drain(clock::now()).await;
    receipt.await.unwrap();

    assert_eq!(drained.left, 1);
    // Not at the next look only.
    assert!(clock::now() - began < Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_line_may_end_there() {
    let three = Writers::start(3, Some(Permits::new()));
    three.with_others(9).await;
    three.hang(0).await;
    let mut receipts = Vec::new();
    for writer in &three.writers[1..] {
        receipts.push(writer.send(0).await.unwrap());
        clock::sleep(Duration::from_millis(20)).await;
    }

    // The first in line, before its turn.
    assert_eq!(three.writers[1].drain(clock::now()).await.left, 1);
    let began = clock::now();
    three.doors[0].goes_on.notify_one();
    receipts.remove(1).await.unwrap();

    // Not at the next look only.
    assert!(clock::now() - began < Duration::from_millis(20));
    assert_eq!(three.database.commits_of(1), 0);
}

#[tokio::test(start_paused = true)]
async fn who_tries_again_later_lets_others_write_meanwhile() {
    let both = Writers::start(2, Some(Permits::new()));
    both.with_others(9).await;
    both.doors[0].fails.store(true, Ordering::SeqCst);
    let receipt = both.writers[0].send(0).await.unwrap();
    clock::sleep(Duration::from_millis(50)).await;

    let took = both.write(1).await;

    assert!(took < Duration::from_millis(100), "{took:?}");
    receipt.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_stores_a_row_that_was_given_up_lets_others_write_meanwhile() {
    panic::install_quiet();
    let both = Writers::start(2, Some(Permits::new()));
    both.with_others(9).await;
    let receipt = both.writers[0].send(13).await.unwrap();
    clock::sleep(Duration::from_millis(50)).await;

    let took = both.write(1).await;

    assert!(took < Duration::from_millis(100), "{took:?}");
    both.doors[0].goes_on.notify_one();
    assert!(receipt.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn as_many_are_held_back_as_are_too_many() {
    let four = Writers::start(4, Some(Permits::new()));
    for writer in 0..3 {
        four.doors[writer].hangs.store(true, Ordering::SeqCst);
        drop(four.writers[writer].send(0).await.unwrap());
    }
    // Two of the three in flight wait, and one of somebody else.
    four.with_others(1).await;
    assert_eq!(four.database.in_flight.load(Ordering::SeqCst), 3);

    let receipt = four.writers[3].send(0).await.unwrap();
    clock::sleep(Duration::from_millis(20)).await;
    assert_eq!(four.database.commits_of(3), 0);
    four.doors[0].goes_on.notify_one();
    clock::sleep(Duration::from_millis(20)).await;
    assert_eq!(four.database.commits_of(3), 0, "two in flight are enough");
    four.doors[1].goes_on.notify_one();
    let began = clock::now();
    receipt.await.unwrap();

    assert!(clock::now() - began < Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_turn_does_not_write_once_a_replica_is_over_its_limit() {
    let three = Writers::start(3, Some(Permits::new()));
    three.with_others(9).await;
    three.hang(0).await;
    let first = three.writers[1].send(0).await.unwrap();
    let second = three.writers[2].send(0).await.unwrap();
    clock::sleep(Duration::from_millis(50)).await;

    three.database.is_behind.store(true, Ordering::SeqCst);
    clock::sleep(Duration::from_millis(200)).await;
    three.doors[0].goes_on.notify_one();
    clock::sleep(Duration::from_secs(5)).await;
    let commits = [1, 2].map(|writer| three.database.commits_of(writer));
    assert_eq!(commits, [0, 0]);

    three.database.is_behind.store(false, Ordering::SeqCst);
    first.await.unwrap();
    second.await.unwrap();
}
