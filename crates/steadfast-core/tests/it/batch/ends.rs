//! The end of a writer, and of its runtime.

use super::*;

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
    let drained = writer.drain(began + Duration::from_secs(3));
    let stats = clock::timeout(Duration::from_secs(60), drained).await;

    assert_eq!(clock::now() - began, Duration::from_secs(3));
    let stats = stats.unwrap();
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

#[tokio::test(start_paused = true)]
async fn a_drain_sends_away_who_waits_for_room_also_while_nothing_can_be_written() {
    let table = Table::default();
    *table.0.broken.lock().unwrap() = true;
    let mut config = of_bad_rows(1);
    config.queue_max = 1;
    let writer = writer(config, &table);
    drop(send(&writer, [0]).await);
    clock::sleep(Duration::from_secs(1)).await;
    drop(send(&writer, [1]).await);
    let senders: Vec<_> = [None, Some(in_time())]
        .into_iter()
        .map(|deadline| {
            let writer = writer.clone();
            spawn("sender", async move {
                match deadline {
                    Some(deadline) => writer.send_until(deadline, 2).await,
                    None => writer.send(2).await,
                }
            })
        })
        .collect();
    settle().await;
    assert!(!senders.iter().any(|sender| sender.is_finished()));

    let drained = writer.drain(in_time());
    let began = clock::now();
    for sender in senders {
        assert!(sender.await.unwrap().unwrap_err().is_closed());
    }
    assert_eq!(clock::now(), began);

    let stats = drained.await;
    assert_eq!((stats.left, stats.rejected_closed), (2, 2));
    assert!(!stats.is_broken, "nobody waits any more");
}
