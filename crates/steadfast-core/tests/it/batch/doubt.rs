//! Batches that may have been written.

use super::*;

/// What may have been written by an attempt that was not answered.
fn lost() -> WriteError {
    WriteError::unavailable("connection reset")
}

/// The ways to fail that say nothing about an attempt before.
fn failures() -> [WriteError; 4] {
    [
        WriteError::row("an exception of a trigger"),
        WriteError::row_at(3, "not the same as before"),
        WriteError::too_much("over its time"),
        WriteError::broken("no such table"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_doubt_that_was_written_is_written_whatever_fails_then() {
    for failure in failures() {
        let table = Table::default();
        table.fail_next([lost(), WriteError::conflict("deadlock detected"), failure]);
        table.settles([Ok(true)]);
        let writer = writer(of_rows(100), &table);

        all(send(&writer, 0..10).await).await;

        let tried = table.0.tried.lock().unwrap().clone();
        let (id, ..) = tried[0];
        assert_eq!(tried, [(id, 1, 10), (id, 2, 10), (id, 3, 10)]);
        assert_eq!(*table.0.settled.lock().unwrap(), [id]);
        assert_eq!(table.rows(), [0; 0], "not once more");
        let stats = writer.stats();
        assert_eq!((stats.written, stats.dead), (10, 0));
        assert!(!stats.is_broken);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_doubt_that_was_not_written_goes_on_under_other_ids_once_that_is_known() {
    for failure in failures() {
        let events = Events::default();
        let _guard = events.listen();
        let table = Table::default();
        table.fail_next([lost(), failure.clone()]);
        table.settles([
            Err(lost()),
            Err(WriteError::broken("no such user")),
            Ok(false),
        ]);
        // It waits for ten seconds after each failure.
        let writer = writer(of_bad_rows(10), &table);

        let receipts = send(&writer, 0..10).await;
        while !writer.stats().is_broken {
            clock::sleep(Duration::from_millis(10)).await;
        }
        let told = events.with_message("nothing can be written; rows wait");
        assert_eq!(told.len(), 1);
        assert_eq!(table.0.tried.lock().unwrap().len(), 2);
        let mut written = 0;
        for receipt in receipts {
            written += u32::from(receipt.await.is_ok());
        }

        let tried = table.0.tried.lock().unwrap().clone();
        let (id, ..) = tried[0];
        assert_eq!(tried[..2], [(id, 1, 10), (id, 2, 10)]);
        assert!(tried[2..].iter().all(|(other, ..)| *other != id));
        assert_eq!(*table.0.settled.lock().unwrap(), [id; 3]);
        // The row that the sink points at is the one that is given up.
        let is_pointed_at = failure.to_string().contains("not the same");
        assert_eq!(written, if is_pointed_at { 9 } else { 10 });
        assert_eq!(table.rows().len(), written as usize);
        assert!(!writer.stats().is_broken);
    }
}

/// A sink that panics may have written before.
#[tokio::test(start_paused = true)]
async fn a_panic_leaves_a_doubt() {
    panic::install_quiet();
    let table = Table::with_bad([666]);
    table.settles([Ok(false), Err(lost()), Ok(true)]);
    let writer = writer(of_rows(100), &table);

    all(send(&writer, [1, 666]).await).await;

    // The two of them, the first, and the second alone.
    let rows: Vec<_> = table
        .0
        .tried
        .lock()
        .unwrap()
        .iter()
        .map(|tried| tried.2)
        .collect();
    assert_eq!(rows, [2, 1, 1]);
    assert_eq!(table.0.settled.lock().unwrap().len(), 3);
    assert_eq!(table.rows(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_without_a_doubt_needs_no_settling() {
    let table = Table::with_bad([3]);
    table.fail_next([
        WriteError::conflict("deadlock detected"),
        WriteError::too_much("over its time"),
        WriteError::broken("no such table"),
    ]);
    let writer = writer(of_rows(100), &table);

    for receipt in send(&writer, 0..10).await {
        drop(receipt.await);
    }

    assert_eq!(table.rows().len(), 9);
    assert!(table.0.settled.lock().unwrap().is_empty());
}

/// Without ids nothing is known of a batch in doubt, so it is no reason to try what is too much again and again.
#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_made_smaller_after_a_doubt_too() {
    /// Answers no more than seven rows in time, and takes no more.
    struct Narrow(Table);
    impl Sink<u32> for Narrow {
        async fn write(&self, batch: Batch<'_, u32>) -> Result<(), WriteError> {
            match (batch.rows().len(), batch.attempt()) {
                (..=7, _) => self.0.write(batch).await,
                (_, 1) => Err(lost()),
                _ => Err(WriteError::too_much("over its time")),
            }
        }
    }
    let table = Table::default();
    let writer = BatchWriter::builder(of_rows(100), Narrow(table.clone()))
        .start()
        .unwrap();

    all(send(&writer, 0..10).await).await;

    assert_eq!(table.rows(), (0..10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_begun_waits_for_replicas_between_attempts_and_halves() {
    for is_row in [false, true] {
        let (table, seen) = (Table::default(), Seen::default());
        match is_row {
            true => drop(table.0.bad.lock().unwrap().insert(3)),
            false => table.fail_next([WriteError::unavailable("connection reset")]),
        }
        *table.0.took.lock().unwrap() = Duration::from_millis(300);
        let mut config = of_rows(100);
        config.size.lag_max = Some(Duration::from_secs(1));
        config.size.pause_max = Duration::from_secs(3_600);
        seen.lag(behind(0));
        let writer = BatchWriter::builder(config, table.clone())
            .looking(seen.clone())
            .start()
            .unwrap();
        let receipts = send(&writer, 0..10).await;
        table.0.began.notified().await;

        seen.lag(behind(2));
        clock::sleep(Duration::from_secs(60)).await;
        assert_eq!(table.0.tried.lock().unwrap().len(), 1);
        assert!(writer.stats().is_paused);
        seen.lag(behind(0));
        let mut written = 0;
        for receipt in receipts {
            written += u32::from(receipt.await.is_ok());
        }

        assert_eq!(written, if is_row { 9 } else { 10 });
        let tried = table.0.tried.lock().unwrap().clone();
        assert!(is_row || tried[0].0 == tried[1].0);
    }
}

/// A table that takes so long whatever is written, and so long for each row.
struct Far;

impl Sink<u32> for Far {
    async fn write(&self, batch: Batch<'_, u32>) -> Result<(), WriteError> {
        clock::sleep(Duration::from_millis(100 + batch.rows().len() as u64)).await;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn batches_of_a_slow_commit_do_not_grow_until_none_is_answered_in_time() {
    let mut config = config();
    config.write_timeout = Duration::from_millis(200);
    config.queue_max = 100_000;
    let writer = BatchWriter::builder(config, Far).start().unwrap();

    let receipts = send(&writer, 0..10_000).await;
    let drained = writer
        .drain(clock::now() + Duration::from_secs(3_600))
        .await;

    assert_eq!((drained.written, drained.left), (10_000, 0));
    assert_eq!(drained.failed, [0; 5]);
    all(receipts).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_batch_that_was_not_answered_in_time_the_next_ones_are_smaller() {
    let (table, gate) = Table::gated();
    let mut config = of_rows(200);
    config.write_timeout = Duration::from_secs(2);
    let writer = writer(config, &table);
    let receipts = send(&writer, 0..20).await;
    for _ in 0..4 {
        table.0.began.notified().await;
    }

    gate.add_permits(100);
    all(receipts).await;
    all(send(&writer, [20]).await).await;

    let tried = table.0.tried.lock().unwrap().clone();
    assert_eq!(tried[3], (tried[0].0, 4, 20), "the same rows");
    let limit = writer.stats().rows_limit;
    assert!(
        (10..20).contains(&limit),
        "{limit}, once the half of twenty"
    );
}
