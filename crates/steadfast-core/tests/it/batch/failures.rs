//! Rows that are bad, and a sink that fails.

use super::*;

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
async fn a_table_that_stays_broken_costs_no_further_row_however_often_it_is_tried() {
    let table = Table::with_bad(0..100);
    let writer = writer(of_bad_rows(4), &table);
    let receipts = send(&writer, 0..100).await;
    clock::sleep(Duration::from_secs(3_600)).await;
    let stats = writer.stats();
    assert!(stats.is_broken);
    assert_eq!((stats.dead, stats.queued), (4, 96));
    let tried = stats.failed[0];
    assert!(tried < 360 * 17, "{tried} transactions");

    table.0.bad.lock().unwrap().clear();
    for (row, receipt) in receipts.into_iter().enumerate() {
        assert_eq!(receipt.await.is_ok(), row >= 4, "{row}");
    }

    assert_eq!(table.rows(), (4..100).collect::<Vec<_>>());
    assert!(!writer.stats().is_broken);
}

#[tokio::test(start_paused = true)]
async fn bad_rows_with_a_good_one_among_the_next_are_given_up_alone_and_sixteen_in_a_row_wait() {
    // The first one makes it suspect the table.
    for (bad, waits) in [(2, false), (16, false), (17, true)] {
        let table = Table::with_bad(0..bad);
        let writer = writer(of_bad_rows(1), &table);
        drop(send(&writer, 0..100).await);
        clock::sleep(Duration::from_secs(120)).await;

        let dead = table.0.dead.lock().unwrap().clone();
        let stats = writer.stats();
        if waits {
            assert_eq!((dead, stats.queued, stats.is_broken), (vec![0], 99, true));
        } else {
            assert_eq!(dead, (0..bad).collect::<Vec<_>>());
            assert_eq!(table.rows(), (bad..100).collect::<Vec<_>>());
            assert!(!stats.is_broken);
        }
    }
}

/// Fails at first, whatever it is to write, as often as the test says: until somebody mends it, also in the middle of a
/// few rows that are tried. Row 5 it never takes.
fn mended_after(failures: usize) -> Table {
    let table = Table::with_bad([5]);
    table.fail_next((0..failures).map(|_| WriteError::row("no such column")));
    table
}

#[tokio::test(start_paused = true)]
async fn rows_that_are_tried_while_the_table_is_mended_are_written() {
    // From the batch of ten down to the first row alone; then it suspects the table, and tries 1, 2, 4 and 8.
    for failures in 5..20 {
        let table = mended_after(failures);
        let writer = writer(of_bad_rows(1), &table);
        drop(send(&writer, 0..10).await);

        let stats = writer
            .drain(clock::now() + Duration::from_secs(3_600))
            .await;

        let dead = table.0.dead.lock().unwrap().clone();
        assert_eq!((dead, stats.left), (vec![0, 5], 0), "{failures}");
        let mut rows = table.rows();
        rows.sort_unstable();
        assert_eq!(rows, [1, 2, 3, 4, 6, 7, 8, 9], "{failures}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_one_key_no_row_is_written_after_its_successor_whenever_the_table_is_mended() {
    of_one_key_in_order(|table, config| {
        BatchWriter::builder(config, table)
            .keyed(|row: &u32| row / 2)
            .start()
            .unwrap()
    })
    .await;
}

/// A table that replaces the row of a key.
struct Replacing(Table);

impl Sink<u32> for Replacing {
    async fn write(&self, batch: Batch<'_, u32>) -> Result<(), WriteError> {
        self.0.write(batch).await
    }

    fn is_same_key(&self, earlier: &u32, later: &u32) -> bool {
        assert!(earlier < later, "{earlier} came first");
        earlier / 2 == later / 2
    }

    async fn dead(&self, row: &u32, error: &WriteError) {
        self.0.dead(row, error).await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_what_a_sink_takes_for_one_key_no_row_is_written_after_its_successor_either() {
    of_one_key_in_order(|table, config| {
        BatchWriter::builder(config, Replacing(table))
            .start()
            .unwrap()
    })
    .await;
}

async fn of_one_key_in_order(start: impl Fn(Table, BatchConfig) -> BatchWriter<u32>) {
    let mut given_up = BTreeSet::new();
    for failures in 5..20 {
        let table = mended_after(failures);
        let writer = start(table.clone(), of_bad_rows(1));
        drop(send(&writer, 0..10).await);

        let stats = writer
            .drain(clock::now() + Duration::from_secs(3_600))
            .await;

        let (rows, dead) = (table.rows(), table.0.dead.lock().unwrap().clone());
        assert_eq!((rows.len() + dead.len(), stats.left), (10, 0), "{failures}");
        let place = |row: u32| rows.iter().position(|other| *other == row);
        for first in (0..10).step_by(2) {
            if let (Some(one), Some(other)) = (place(first), place(first + 1)) {
                assert!(one < other, "{failures}: {rows:?}");
            }
        }
        // Beside those that cannot be written, only the one whose successor was the first to be written.
        for row in dead.into_iter().filter(|row| ![0, 5].contains(row)) {
            assert_eq!(rows.first(), Some(&(row + 1)), "{failures}: {rows:?}");
            given_up.insert(row);
        }
    }
    assert!(given_up.contains(&2), "{given_up:?}");
}
