//! When rows are written, together with which, and when that is told.

use super::*;

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
async fn commits_are_counted_by_their_size() {
    let table = Table::default();
    let mut config = of_rows(2_000);
    config.linger = Duration::from_secs(60);
    let writer = writer(config, &table);
    for rows in [1, 2, 10, 11, 51, 430] {
        let receipts = send(&writer, 0..rows).await;
        writer.flush().await;
        all(receipts).await;
    }

    let stats = writer.stats();
    let mut from = 1;
    for size in stats.sizes {
        let commits = table.commits().into_iter().map(|rows| rows.len() as u64);
        let of_size: Vec<u64> = commits
            .filter(|rows| (from..=size.up_to).contains(rows))
            .collect();
        let counted = (size.batches, size.rows);
        assert_eq!(
            counted,
            (of_size.len() as u64, of_size.iter().sum()),
            "{size:?}"
        );
        from = size.up_to.saturating_add(1);
    }
    let used = stats.sizes.iter().filter(|size| size.batches > 0).count();
    assert!(used >= 3, "{:?}", stats.sizes);
    let writing: Duration = stats.sizes.iter().map(|size| size.writing).sum();
    assert_eq!(writing, stats.writing);
}

/// Whoever wants all of it written at once gets it in as many batches as it takes.
#[tokio::test(start_paused = true)]
async fn neither_a_flush_nor_a_drain_lets_a_batch_have_more_rows_than_the_cap() {
    for drains in [false, true] {
        let table = Table::default();
        let mut config = of_rows(10);
        config.linger = Duration::from_secs(60);
        let writer = writer(config, &table);
        let receipts = send(&writer, 0..1_000).await;

        if drains {
            writer.drain(in_time()).await;
        } else {
            writer.flush().await;
        }
        all(receipts).await;

        assert_eq!(table.rows(), (0..1_000).collect::<Vec<_>>());
        let largest = table.commits().iter().map(Vec::len).max();
        assert_eq!(largest, Some(10), "drains: {drains}");
    }
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
async fn bytes_are_named_where_they_bound_a_batch() {
    let (table, gate) = Table::gated();
    let mut config = of_rows(1_000);
    config.size.bytes_max = 100;
    let writer = BatchWriter::builder(config, table.clone())
        .sized(|row| *row as usize)
        .start()
        .unwrap();
    let receipts = send(&writer, [60, 40, 30]).await;

    table.0.began.notified().await;
    assert_eq!(writer.stats().constraint, Constraint::Bytes);
    gate.add_permits(1);
    // The last one has room for more, if there were any.
    table.0.began.notified().await;
    assert_eq!(writer.stats().constraint, Constraint::Time);
    gate.add_permits(1);
    all(receipts).await;
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
