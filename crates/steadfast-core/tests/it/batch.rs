use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::batch::{
    Batch, BatchConfig, BatchId, BatchWriter, Look, Receipt, Sink, WriteError,
};
use steadfast_core::decide::backoff::{Backoff, Jitter};
use steadfast_core::decide::batch::{Constraint, Lag, Pressure, SizeConfig, UnknownLag};
use steadfast_core::pool::block_on;
use steadfast_core::{clock, panic, report, spawn};
use tokio::sync::{Notify, Semaphore};
use tokio::task::yield_now;

use crate::support::Events;

/// A table in memory: transactions that are committed, and orders how to fail.
#[derive(Clone, Default)]
struct Table(Arc<Inner>);

#[derive(Default)]
struct Inner {
    commits: Mutex<Vec<Vec<u32>>>,
    tried: Mutex<Vec<(BatchId, u32, usize)>>,
    dead: Mutex<Vec<u32>>,
    bad: Mutex<BTreeSet<u32>>,
    /// What the next transactions fail with.
    failures: Mutex<Vec<WriteError>>,
    broken: Mutex<bool>,
    took: Mutex<Duration>,
    /// When there, each transaction takes a permit.
    gate: Mutex<Option<Arc<Semaphore>>>,
    began: Notify,
}

impl Sink<u32> for Table {
    async fn write(&self, batch: Batch<'_, u32>) -> Result<(), WriteError> {
        let inner = &self.0;
        let tried = (batch.id(), batch.attempt(), batch.rows().len());
        inner.tried.lock().unwrap().push(tried);
        inner.began.notify_one();
        let took = *inner.took.lock().unwrap();
        if !took.is_zero() {
            clock::sleep(took).await;
        }
        let gate = inner.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        if *inner.broken.lock().unwrap() {
            return Err(WriteError::broken("no such table"));
        }
        if let Some(failure) = inner.failures.lock().unwrap().pop() {
            return Err(failure);
        }
        let bad = inner.bad.lock().unwrap().clone();
        if let Some(row) = batch.rows().iter().find(|row| bad.contains(row)) {
            assert!(*row != 666, "the devil's row");
            return Err(WriteError::row(format!("{row} is too long")));
        }
        inner.commits.lock().unwrap().push(batch.rows().to_vec());
        Ok(())
    }

    async fn dead(&self, row: &u32, error: &WriteError) {
        assert!(error.is_row());
        self.0.dead.lock().unwrap().push(*row);
    }
}

impl Table {
    fn commits(&self) -> Vec<Vec<u32>> {
        self.0.commits.lock().unwrap().clone()
    }

    fn rows(&self) -> Vec<u32> {
        self.commits().concat()
    }

    fn with_bad(rows: impl IntoIterator<Item = u32>) -> Self {
        let table = Self::default();
        table.0.bad.lock().unwrap().extend(rows);
        table
    }

    fn gated() -> (Self, Arc<Semaphore>) {
        let (table, gate) = (Self::default(), Arc::new(Semaphore::new(0)));
        *table.0.gate.lock().unwrap() = Some(gate.clone());
        (table, gate)
    }

    fn fail_next(&self, failures: impl IntoIterator<Item = WriteError>) {
        let mut next: Vec<_> = failures.into_iter().collect();
        next.reverse();
        *self.0.failures.lock().unwrap() = next;
    }
}

fn config() -> BatchConfig {
    BatchConfig::new("rows")
}

/// Begins with batches of as many rows.
fn of_rows(rows: u32) -> BatchConfig {
    BatchConfig {
        size: SizeConfig {
            rows_max: rows,
            ..SizeConfig::default()
        },
        ..config()
    }
}

fn writer(config: BatchConfig, table: &Table) -> BatchWriter<u32> {
    BatchWriter::builder(config, table.clone()).start().unwrap()
}

async fn send(writer: &BatchWriter<u32>, rows: impl IntoIterator<Item = u32>) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for row in rows {
        receipts.push(writer.send(row).await.unwrap());
    }
    receipts
}

async fn all(receipts: Vec<Receipt>) {
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

fn in_time() -> clock::Instant {
    clock::now() + Duration::from_secs(60)
}

#[tokio::test(start_paused = true)]
async fn rows_that_linger_are_written_together() {
    let table = Table::default();
    let writer = writer(config(), &table);

    let receipts = send(&writer, 0..5).await;
    clock::sleep(Duration::from_millis(4)).await;
    assert_eq!(table.commits(), [[0u32; 0]; 0]);
    all(receipts).await;

    assert_eq!(table.commits(), [[0, 1, 2, 3, 4]]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_never_has_more_rows_than_the_cap() {
    let table = Table::default();
    let writer = writer(config(), &table);

    all(send(&writer, 0..5_000).await).await;

    assert_eq!(table.rows(), (0..5_000).collect::<Vec<_>>());
    let largest = table.commits().iter().map(Vec::len).max();
    assert_eq!(largest, Some(200));
}

#[tokio::test(start_paused = true)]
async fn bytes_bound_a_batch_and_one_row_that_is_larger_goes_alone() {
    let table = Table::default();
    let mut config = of_rows(1_000);
    config.size.bytes_max = 100;
    let writer = BatchWriter::builder(config, table.clone())
        .sized(|row| *row as usize)
        .start()
        .unwrap();

    all(send(&writer, [60, 40, 30, 71, 500, 1]).await).await;

    assert_eq!(
        table.commits(),
        [vec![60, 40], vec![30], vec![71], vec![500], vec![1]]
    );
}

#[tokio::test(start_paused = true)]
async fn a_receipt_is_given_after_the_commit_and_not_before() {
    let (table, gate) = Table::gated();
    let writer = writer(config(), &table);
    let mut receipt = writer.send(1).await.unwrap();
    table.0.began.notified().await;

    let early = clock::timeout(Duration::from_secs(1), &mut receipt).await;
    assert!(early.is_err());
    gate.add_permits(1);
    receipt.await.unwrap();

    assert_eq!(table.rows(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_receipt_loses_the_answer_and_not_the_row() {
    let table = Table::default();
    let writer = writer(config(), &table);

    drop(writer.send(1).await.unwrap());
    writer.flush().await;

    assert_eq!(table.rows(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_flush_does_not_linger_and_waits_for_what_came_before() {
    let table = Table::default();
    let mut config = config();
    config.linger = Duration::from_secs(60);
    let writer = writer(config, &table);
    let began = clock::now();
    drop(send(&writer, 0..3).await);

    writer.flush().await;

    assert_eq!(table.rows(), [0, 1, 2]);
    assert_eq!(clock::now(), began);
    // With nothing to write it is done at once.
    writer.flush().await;
}

#[tokio::test(start_paused = true)]
async fn bad_rows_are_found_and_take_no_others_along() {
    let events = Events::default();
    let _guard = events.listen();
    let table = Table::with_bad([3, 17, 18]);
    let writer = writer(of_rows(400), &table);
    let receipts = send(&writer, 0..40).await;

    let mut dead = Vec::new();
    for (row, receipt) in (0..40).zip(receipts) {
        if let Err(error) = receipt.await {
            let message = error.dead().unwrap().to_string();
            assert_eq!(message, format!("row cannot be written: {row} is too long"));
            dead.push(row);
        }
    }

    assert_eq!(dead, [3, 17, 18]);
    assert_eq!(*table.0.dead.lock().unwrap(), dead);
    let good: Vec<_> = (0..40).filter(|row| !dead.contains(row)).collect();
    assert_eq!(table.rows(), good);
    let tried = table.0.tried.lock().unwrap().len();
    assert!(tried <= 1 + 3 * 2 * 6, "{tried} transactions");
    assert_eq!(
        events
            .with_message("a row cannot be written and is given up")
            .len(),
        3
    );
    let stats = writer.stats();
    assert_eq!((stats.offered, stats.written, stats.dead), (40, 37, 3));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_makes_the_sink_panic_is_found_like_a_bad_one() {
    panic::install_quiet();
    let table = Table::with_bad([666]);
    let writer = writer(config(), &table);
    let mut receipts = send(&writer, [1, 2, 666, 3]).await;

    let panicked = receipts.remove(2).await.unwrap_err();
    all(receipts).await;

    assert!(panicked.dead().unwrap().is_row());
    assert_eq!(table.rows(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn conflicts_and_outages_are_tried_again_with_the_same_id_and_are_no_bad_rows() {
    let table = Table::default();
    table.fail_next([
        WriteError::conflict("deadlock detected"),
        WriteError::unavailable("connection reset"),
        WriteError::unavailable("read-only"),
    ]);
    let writer = writer(config(), &table);

    all(send(&writer, 0..10).await).await;

    let tried = table.0.tried.lock().unwrap().clone();
    let attempts: Vec<_> = tried
        .iter()
        .map(|(_, attempt, rows)| (*attempt, *rows))
        .collect();
    assert_eq!(attempts, [(1, 10), (2, 10), (3, 10), (4, 10)]);
    let ids: BTreeSet<_> = tried.iter().map(|(id, ..)| *id).collect();
    assert_eq!(ids.len(), 1);
    let stats = writer.stats();
    assert_eq!(stats.failed, [0, 1, 2, 0, 0]);
    assert_eq!((stats.written, stats.dead), (10, 0));
    // Each other transaction has an id of its own.
    all(send(&writer, 0..1).await).await;
    let tried = table.0.tried.lock().unwrap().clone();
    assert!(tried[4].0 > tried[3].0);
    assert_eq!(tried[4].0.writer(), tried[3].0.writer());
}

#[tokio::test(start_paused = true)]
async fn a_row_that_the_sink_points_at_is_given_up_without_a_search() {
    struct Pointing(Table);
    impl Sink<u32> for Pointing {
        async fn write(&self, batch: Batch<'_, u32>) -> Result<(), WriteError> {
            if let Some(at) = batch.rows().iter().position(|row| row % 2 == 1) {
                return Err(WriteError::row_at(at, "odd"));
            }
            self.0.write(batch).await
        }
        async fn dead(&self, row: &u32, error: &WriteError) {
            self.0.dead(row, error).await;
        }
    }
    let table = Table::default();
    let mut config = of_rows(400);
    // Many of them say nothing about the table.
    config.bad_max = 1;
    let writer = BatchWriter::builder(config, Pointing(table.clone()))
        .start()
        .unwrap();

    let mut outcomes = Vec::new();
    for receipt in send(&writer, 0..40).await {
        outcomes.push(receipt.await.is_ok());
    }

    let even: Vec<_> = (0..40).step_by(2).collect();
    assert_eq!(table.commits(), std::slice::from_ref(&even));
    assert_eq!(
        outcomes,
        (0..40).map(|row| row % 2 == 0).collect::<Vec<_>>()
    );
    let stats = writer.stats();
    assert_eq!((stats.dead, stats.failed), (20, [20, 0, 0, 0, 0]));
    assert!(!stats.is_broken);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_at_once_is_written_in_smaller_batches_and_alone_it_waits() {
    /// Takes no more than seven at once, and one of them late.
    struct Narrow(Table);
    impl Sink<u32> for Narrow {
        async fn write(&self, batch: Batch<'_, u32>) -> Result<(), WriteError> {
            let is_late = batch.rows() == [3] && batch.attempt() < 4;
            if batch.rows().len() > 7 || is_late {
                return Err(WriteError::too_much("over its time"));
            }
            self.0.write(batch).await
        }
    }
    let table = Table::default();
    let writer = BatchWriter::builder(of_rows(1_000), Narrow(table.clone()))
        .start()
        .unwrap();
    all(send(&writer, 0..100).await).await;
    assert_eq!(table.rows(), (0..100).collect::<Vec<_>>());

    all(send(&writer, [3]).await).await;

    assert_eq!(table.rows().last(), Some(&3));
    let stats = writer.stats();
    assert_eq!((stats.written, stats.dead), (101, 0));
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_does_not_answer_counts_as_unavailable() {
    let (table, gate) = Table::gated();
    let mut config = config();
    config.write_timeout = Duration::from_secs(2);
    let writer = writer(config, &table);
    let receipt = writer.send(1).await.unwrap();
    table.0.began.notified().await;
    table.0.began.notified().await;

    gate.add_permits(2);
    receipt.await.unwrap();

    assert_eq!(writer.stats().failed, [0, 0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn when_row_after_row_fails_the_others_wait_until_one_is_written() {
    let events = Events::default();
    let _guard = events.listen();
    let table = Table::with_bad(0..100);
    let mut config = config();
    config.bad_max = 4;
    let backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(20)).unwrap();
    config.backoff = backoff.with_jitter(Jitter::None);
    let writer = writer(config, &table);
    let receipts = send(&writer, 0..100).await;
    clock::sleep(Duration::from_millis(100)).await;

    let stats = writer.stats();
    assert!(stats.is_broken);
    assert_eq!((stats.dead, stats.queued), (4, 96));
    assert_eq!(
        events
            .with_message("nothing can be written; rows wait")
            .len(),
        1
    );

    // Somebody mends the table.
    table.0.bad.lock().unwrap().clear();
    for (row, receipt) in receipts.into_iter().enumerate() {
        assert_eq!(receipt.await.is_ok(), row >= 4, "{row}");
    }
    assert_eq!(table.rows(), (4..100).collect::<Vec<_>>());
    assert!(!writer.stats().is_broken);
}

#[tokio::test(start_paused = true)]
async fn no_row_is_given_up_when_the_sink_says_that_nothing_can_be_written() {
    let table = Table::default();
    *table.0.broken.lock().unwrap() = true;
    let writer = writer(config(), &table);
    let receipts = send(&writer, 0..100).await;
    clock::sleep(Duration::from_secs(60)).await;
    let stats = writer.stats();
    assert!(stats.is_broken);
    assert_eq!((stats.dead, stats.queued), (0, 100));

    *table.0.broken.lock().unwrap() = false;
    all(receipts).await;

    assert_eq!(table.rows(), (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_rejects_waits_or_waits_until_a_deadline_as_the_sender_says() {
    let (table, gate) = Table::gated();
    let mut config = of_rows(1);
    config.queue_max = 2;
    let writer = writer(config, &table);
    drop(writer.try_send(0).unwrap());
    table.0.began.notified().await;
    drop(send(&writer, [1, 2]).await);

    let full = writer.try_send(3).unwrap_err();
    assert!(full.is_overload() && !full.is_closed());
    assert_eq!(full.to_string(), "batch writer rows has its queue full");
    assert_eq!(full.into_row(), 3);
    let soon = clock::now() + Duration::from_millis(10);
    let late = writer.send_until(soon, 4).await.unwrap_err();
    assert_eq!(
        late.to_string(),
        "batch writer rows had no room until the deadline"
    );
    let waiting = spawn("sender", {
        let writer = writer.clone();
        async move { writer.send(5).await }
    });
    settle().await;
    assert!(!waiting.is_finished());
    gate.add_permits(10);
    waiting.await.unwrap().unwrap().await.unwrap();

    assert_eq!(table.rows(), [0, 1, 2, 5]);
    let stats = writer.stats();
    assert_eq!((stats.offered, stats.written, stats.rejected()), (6, 4, 2));
}

#[tokio::test(start_paused = true)]
async fn keys_order_the_rows_of_a_batch_and_folding_merges_those_of_one() {
    type Pair = (u8, u32);
    #[derive(Clone, Default)]
    struct Pairs(Arc<Mutex<Vec<Pair>>>);
    impl Sink<Pair> for Pairs {
        async fn write(&self, batch: Batch<'_, Pair>) -> Result<(), WriteError> {
            self.0.lock().unwrap().extend(batch.rows());
            Ok(())
        }
    }
    let rows = [(3, 1), (1, 2), (3, 3), (2, 4), (1, 5)];
    let written = async |builder: steadfast_core::batch::BatchBuilder<(u8, u32), Pairs>,
                         pairs: &Pairs| {
        let writer = builder.start().unwrap();
        let mut receipts = Vec::new();
        for row in rows {
            receipts.push(writer.send(row).await.unwrap());
        }
        all(receipts).await;
        let stats = writer.stats();
        (pairs.0.lock().unwrap().clone(), stats.written, stats.folded)
    };

    let pairs = Pairs::default();
    let sorted = BatchWriter::builder(config(), pairs.clone()).keyed(|row: &(u8, u32)| row.0);
    let expect = vec![(1, 2), (1, 5), (2, 4), (3, 1), (3, 3)];
    assert_eq!(written(sorted, &pairs).await, (expect, 5, 0));

    let pairs = Pairs::default();
    let folded = BatchWriter::builder(config(), pairs.clone())
        .folding(|row: &(u8, u32)| row.0, |kept, newer| *kept = newer);
    let expect = vec![(1, 5), (2, 4), (3, 3)];
    assert_eq!(written(folded, &pairs).await, (expect, 5, 2));
}

#[tokio::test(start_paused = true)]
async fn a_key_or_a_fold_that_panics_costs_its_row_alone() {
    panic::install_quiet();
    let table = Table::default();
    let writer = BatchWriter::builder(config(), table.clone())
        .folding(
            |row: &u32| {
                assert!(*row != 13, "no key");
                row % 10
            },
            |kept, newer| {
                assert!(newer != 25, "no fold");
                *kept = newer;
            },
        )
        .start()
        .unwrap();
    let mut outcomes = Vec::new();
    for receipt in send(&writer, [1, 13, 11, 5, 25, 35]).await {
        outcomes.push(receipt.await.is_ok());
    }

    assert_eq!(outcomes, [true, false, true, true, false, true]);
    assert_eq!(table.rows(), [11, 35]);
    assert_eq!(*table.0.dead.lock().unwrap(), [13]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_writes_what_is_queued_and_takes_nothing_more() {
    let table = Table::default();
    let writer = writer(config(), &table);
    let receipts = send(&writer, 0..1_000).await;

    let drained = writer.drain(in_time());
    let closed = writer.try_send(1_000).unwrap_err();
    assert!(closed.is_closed());
    let stats = drained.await;

    assert_eq!(
        (stats.written, stats.rejected_closed, stats.left),
        (1_000, 1, 0)
    );
    all(receipts).await;
    assert!(writer.send(1).await.unwrap_err().is_closed());
    // Again, later, it is the same.
    assert_eq!(writer.drain(in_time()).await.written, 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_its_deadline_and_counts_what_is_left() {
    let events = Events::default();
    let _guard = events.listen();
    let (table, gate) = Table::gated();
    gate.add_permits(1);
    let writer = writer(of_rows(10), &table);
    let mut receipts = send(&writer, 0..5).await;

    let began = clock::now();
    let stats = writer.drain(began + Duration::from_secs(3)).await;

    assert_eq!(clock::now() - began, Duration::from_secs(3));
    assert_eq!((stats.written, stats.left, stats.queued), (1, 4, 0));
    let left = receipts.pop().unwrap().await.unwrap_err();
    assert!(left.is_left() && left.dead().is_none());
    assert_eq!(
        events
            .with_message("batch writer ended before all rows were written")
            .len(),
        1
    );
}

/// What says how large a row is takes its time, and the writer ends meanwhile.
#[tokio::test]
async fn a_row_that_comes_with_the_end_is_given_back_and_nobody_waits_for_it() {
    let (measures, is_measured) = std::sync::mpsc::channel::<()>();
    let (goes_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let writer = BatchWriter::builder(config(), Table::default())
        .sized(move |_: &u32| {
            measures.send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
            1
        })
        .start()
        .unwrap();
    let sender = writer.clone();
    let sent = std::thread::spawn(move || sender.try_send(7));
    is_measured.recv().unwrap();

    let drained = writer.drain(clock::now()).await;
    goes_on.send(()).unwrap();
    let sent = sent.join().unwrap();

    assert_eq!((drained.offered, drained.left), (0, 0));
    let rejected = sent.unwrap_err();
    assert!(rejected.is_closed());
    assert_eq!(rejected.into_row(), 7);
    let stats = writer.stats();
    assert_eq!(
        (stats.offered, stats.queued, stats.rejected_closed),
        (1, 0, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn the_drop_of_the_last_handle_is_a_drain_with_the_limit_of_the_config() {
    let (table, gate) = Table::gated();
    let writer = writer(of_rows(1), &table);
    let kept = writer.clone();
    let mut receipts = send(&writer, 0..3).await;
    drop(writer);
    drop(kept);
    gate.add_permits(1);
    receipts.remove(0).await.unwrap();

    // Of the other two nobody can write any more.
    let began = clock::now();
    for receipt in receipts {
        assert!(receipt.await.unwrap_err().is_left());
    }
    assert_eq!((clock::now() - began).as_secs(), 30);
}

#[test]
fn the_end_of_the_runtime_leaves_rows_and_says_so() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (table, _gate) = Table::gated();
    let (writer, receipt) = runtime.block_on(async {
        let writer = writer(config(), &table);
        let receipt = writer.send(1).await.unwrap();
        table.0.began.notified().await;
        (writer, receipt)
    });
    drop(runtime);

    assert!(block_on(receipt).unwrap_err().is_left());
    let stats = writer.stats();
    assert_eq!((stats.left, stats.queued, stats.is_open), (1, 0, false));
    assert!(writer.try_send(2).unwrap_err().is_closed());
    block_on(writer.flush());
    assert_eq!(block_on(writer.drain(clock::now())).left, 1);
}

/// What a look finds, changed by the test.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Pressure>>);

impl Look for Seen {
    async fn look(&self) -> Pressure {
        *self.0.lock().unwrap()
    }
}

impl Seen {
    fn lag(&self, lag: Lag) {
        self.0.lock().unwrap().lag = lag;
    }
}

fn behind(seconds: u64) -> Lag {
    Lag::Known(Duration::from_secs(seconds))
}

#[tokio::test(start_paused = true)]
async fn a_replica_over_its_limit_stops_the_writer_within_two_looks_and_lets_it_go_on_again() {
    let (table, seen) = (Table::default(), Seen::default());
    *table.0.took.lock().unwrap() = Duration::from_millis(10);
    let mut config = config();
    config.size.lag_max = Some(Duration::from_secs(1));
    config.queue_max = 100_000;
    seen.lag(behind(0));
    let writer = BatchWriter::builder(config, table.clone())
        .looking(seen.clone())
        .start()
        .unwrap();
    clock::sleep(Duration::from_millis(10)).await;
    let receipts = send(&writer, 0..50_000).await;
    clock::sleep(Duration::from_secs(1)).await;
    assert!(table.commits().len() > 50);

    seen.lag(behind(2));
    clock::sleep(Duration::from_millis(200)).await;
    let stopped = table.commits().len();
    clock::sleep(Duration::from_secs(9)).await;
    assert_eq!(table.commits().len(), stopped);
    let stats = writer.stats();
    assert!(stats.is_paused);
    assert_eq!(stats.constraint, Constraint::Lag);
    // One row after ten seconds, so that nobody waits for ever.
    clock::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        table.commits()[stopped..],
        [[table.rows().len() as u32 - 1]]
    );

    seen.lag(behind(1));
    all(receipts).await;
    assert!(!writer.stats().is_paused);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_hangs_or_panics_has_seen_nothing() {
    struct Blind(bool);
    impl Look for Blind {
        async fn look(&self) -> Pressure {
            assert!(self.0, "no eyes");
            std::future::pending().await
        }
    }
    panic::install_quiet();
    for hangs in [true, false] {
        let table = Table::default();
        let mut config = config();
        config.size.lag_max = Some(Duration::from_secs(1));
        config.size.unknown_lag = UnknownLag::Slow;
        let writer = BatchWriter::builder(config, table.clone())
            .looking(Blind(hangs))
            .start()
            .unwrap();

        all(send(&writer, 0..1_000).await).await;

        let largest = table.commits().iter().map(Vec::len).max();
        assert_eq!(largest, Some(20));
        assert_eq!(writer.stats().constraint, Constraint::UnknownLag);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_waited_for_rests_between_quick_batches() {
    let (table, seen) = (Table::default(), Seen::default());
    *table.0.took.lock().unwrap() = Duration::from_millis(10);
    let writer = BatchWriter::builder(config(), table.clone())
        .looking(seen.clone())
        .start()
        .unwrap();
    all(send(&writer, 0..5_000).await).await;
    assert_eq!(writer.stats().constraint, Constraint::Cap);

    seen.0.lock().unwrap().lock_waiters = Some(9);
    clock::sleep(Duration::from_millis(150)).await;
    let began = clock::now();
    all(send(&writer, 0..5_000).await).await;

    // Twenty-five batches of ten milliseconds each.
    let took = clock::now() - began;
    assert!(took > Duration::from_secs(1), "{took:?}");
    let stats = writer.stats();
    assert_eq!(stats.constraint, Constraint::LockWaiters);
    assert!(!stats.is_paused, "that is for replicas");
    let largest = table.commits().iter().map(Vec::len).max();
    assert_eq!(largest, Some(200));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_work_is_refused() {
    let refused = |config: BatchConfig| {
        let builder = BatchWriter::<u32>::builder(config, Table::default());
        builder.start().unwrap_err().to_string()
    };
    let check = |change: fn(&mut BatchConfig), expect: &str| {
        let mut config = config();
        change(&mut config);
        assert_eq!(refused(config), expect);
    };

    check(
        |c| c.queue_max = 0,
        "queue_max is 0, but must be from 1 to 1048576",
    );
    check(
        |c| c.linger = Duration::from_secs(61),
        "linger is 61s, but must be at most 60s",
    );
    check(
        |c| c.bad_max = 0,
        "bad_max is zero, so that no row could ever be given up",
    );
    check(
        |c| c.write_timeout = Duration::ZERO,
        "write_timeout is zero, so that nothing could ever be written",
    );
    check(
        |c| c.size.rows_max = 70_000,
        "size: rows_max is 70000, but must be from 1 to 65535",
    );
    check(
        |c| c.size.lag_max = Some(Duration::ZERO),
        "size.lag_max is set, but nobody looks how far replicas are behind: add a `Look`",
    );
}

#[test]
fn without_a_runtime_it_is_refused() {
    let builder = BatchWriter::<u32>::builder(config(), Table::default());
    assert!(builder.start().unwrap_err().is_no_runtime());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_moment_all_rows_are_accounted_for() {
    let table = Table::with_bad((0..4_000).filter(|row| row % 401 == 7));
    let mut config = BatchConfig::new("accounted");
    config.queue_max = 64;
    let writer = writer(config, &table);
    let senders: Vec<_> = (0..4u32)
        .map(|sender| {
            let writer = writer.clone();
            spawn("sender", async move {
                let mut receipts = BTreeMap::new();
                let mut rejected = 0;
                for row in sender * 1_000..(sender + 1) * 1_000 {
                    match row % 3 {
                        0 => match writer.try_send(row) {
                            Ok(receipt) => drop(receipts.insert(row, receipt)),
                            Err(_) => rejected += 1,
                        },
                        _ => drop(receipts.insert(row, writer.send(row).await.unwrap())),
                    }
                }
                let mut dead = Vec::new();
                for (row, receipt) in receipts {
                    if receipt.await.is_err() {
                        dead.push(row);
                    }
                }
                (rejected, dead)
            })
        })
        .collect();

    while !senders.iter().all(|sender| sender.is_finished()) {
        let s = writer.stats();
        let known = s.written + s.dead + s.rejected() + s.queued + s.left;
        assert_eq!(s.offered, known, "{s:?}");
        yield_now().await;
    }

    let (mut rejected, mut dead) = (0, 0);
    for sender in senders {
        let (sender_rejected, sender_dead) = sender.await.unwrap();
        assert!(sender_dead.iter().all(|row| row % 401 == 7));
        rejected += sender_rejected;
        dead += sender_dead.len() as u64;
    }
    let stats = writer.drain(in_time()).await;
    assert_eq!(
        (stats.offered, stats.rejected(), stats.dead),
        (4_000, rejected, dead)
    );
    let mut rows = table.rows();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len() as u64, stats.written, "each row once");
}

#[tokio::test(start_paused = true)]
async fn the_report_has_the_stats() {
    let table = Table::default();
    let mut config = config();
    config.name = "reported".into();
    let seen = Seen::default();
    seen.lag(behind(3));
    seen.0.lock().unwrap().lock_waiters = Some(2);
    let writer = BatchWriter::builder(config, table.clone())
        .looking(seen.clone())
        .start()
        .unwrap();
    all(send(&writer, 0..3).await).await;
    settle().await;

    let snapshot = report::snapshot();
    let told = |name: &str, label: Option<&str>| {
        let mut metrics = snapshot.metrics().filter(|metric| {
            metric.name == name
                && metric
                    .labels
                    .iter()
                    .any(|(_, value)| value.as_str() == "reported")
                && label.is_none_or(|l| metric.labels.iter().any(|(_, v)| v.as_str() == l))
        });
        metrics.next().unwrap().value.clone()
    };
    assert_eq!(
        told("steadfast_batch_offered_total", None),
        report::Value::Counter(3)
    );
    let written = told("steadfast_batch_rows_total", Some("written"));
    assert_eq!(written, report::Value::Counter(3));
    let time = told("steadfast_batch_bound", Some("time"));
    assert_eq!(time, report::Value::Gauge(1.0));
    let waiters = told("steadfast_batch_lock_waiters", None);
    assert_eq!(waiters, report::Value::Gauge(2.0));
    let lag = told("steadfast_batch_replica_lag_seconds", None);
    assert_eq!(lag, report::Value::Gauge(3.0));

    // What nobody can tell is no number, also where nothing is written.
    *seen.0.lock().unwrap() = Pressure::default();
    clock::sleep(Duration::from_millis(200)).await;
    let stats = writer.stats();
    assert_eq!((stats.lock_waiters, stats.replica_lag), (None, None));
    let snapshot = report::snapshot();
    let of_looks = [
        "steadfast_batch_lock_waiters",
        "steadfast_batch_replica_lag_seconds",
    ];
    assert!(!snapshot.metrics().any(|metric| {
        of_looks.contains(&metric.name)
            && metric
                .labels
                .iter()
                .any(|(_, value)| value.as_str() == "reported")
    }));
}
