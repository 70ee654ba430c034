//! Batches that may have been written.

use super::*;

/// A commit whose answer is lost, a server that has another table for a while, and then what it was.
#[tokio::test(start_paused = true)]
async fn a_batch_in_doubt_keeps_its_rows_and_its_id_whatever_fails_then() {
    let events = Events::default();
    let _guard = events.listen();
    let table = Table::default();
    table.fail_next([
        WriteError::unavailable("connection reset"),
        WriteError::broken("no such user"),
        WriteError::too_much("over its time"),
        WriteError::conflict("deadlock detected"),
        WriteError::too_much("over its time"),
    ]);
    let writer = writer(of_rows(100), &table);
    let receipts = send(&writer, 0..10).await;
    while writer.stats().failed[4] < 2 {
        clock::sleep(Duration::from_millis(10)).await;
    }
    *table.0.broken.lock().unwrap() = true;
    clock::sleep(Duration::from_secs(60)).await;
    let stats = writer.stats();
    assert!(stats.is_broken);
    assert_eq!((stats.dead, stats.queued), (0, 10));
    let told = events.with_message("nothing can be written; rows wait");
    assert_eq!(told.len(), 1);

    *table.0.broken.lock().unwrap() = false;
    all(receipts).await;

    let tried = table.0.tried.lock().unwrap().clone();
    let (id, ..) = tried[0];
    for (at, tried) in tried.iter().enumerate() {
        assert_eq!(*tried, (id, at as u32 + 1, 10));
    }
    assert_eq!(table.commits(), [(0..10).collect::<Vec<_>>()]);
    assert!(!writer.stats().is_broken);
}

/// The sink has looked for the id and says that nothing was committed.
#[tokio::test(start_paused = true)]
async fn a_bad_row_ends_the_doubt() {
    let table = Table::with_bad([3]);
    table.fail_next([WriteError::unavailable("connection reset")]);
    let writer = writer(of_rows(100), &table);

    let mut outcomes = Vec::new();
    for receipt in send(&writer, 0..10).await {
        outcomes.push(receipt.await.is_ok());
    }

    let good: Vec<_> = (0..10).filter(|row| *row != 3).collect();
    assert_eq!(table.rows(), good);
    assert_eq!(outcomes.iter().filter(|ok| !**ok).count(), 1);
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
