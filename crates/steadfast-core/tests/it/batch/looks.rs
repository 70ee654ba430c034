//! What others of the database need: replicas that are behind, and who waits.

use super::*;

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

/// A server so far away that a look takes longer than it is from one to the next, the first of them much longer.
#[tokio::test(start_paused = true)]
async fn a_look_that_takes_long_goes_on_until_it_answers() {
    struct Far(AtomicU32);
    impl Look for Far {
        async fn look(&self) -> Pressure {
            let is_first = self.0.fetch_add(1, SeqCst) == 0;
            clock::sleep(Duration::from_millis(if is_first { 2_000 } else { 150 })).await;
            Pressure {
                lock_waiters: Some(1),
                lag: behind(0),
            }
        }
    }
    let writer = BatchWriter::builder(config(), Table::default())
        .looking(Far(AtomicU32::new(0)))
        .start()
        .unwrap();
    let seen = |stats: &BatchStats| (stats.lock_waiters, stats.replica_lag);

    clock::sleep(Duration::from_millis(1_990)).await;
    assert_eq!(seen(&writer.stats()), (None, None));
    for _ in 0..100 {
        clock::sleep(Duration::from_millis(20)).await;
        assert_eq!(seen(&writer.stats()), (Some(1), Some(Duration::ZERO)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_is_forgotten_while_a_look_hangs_and_another_one_is_begun() {
    struct Hung(AtomicU32);
    impl Look for Hung {
        async fn look(&self) -> Pressure {
            if self.0.fetch_add(1, SeqCst) == 1 {
                std::future::pending::<()>().await;
            }
            Pressure {
                lock_waiters: Some(1),
                lag: Lag::Unknown,
            }
        }
    }
    let writer = BatchWriter::builder(config(), Table::default())
        .looking(Hung(AtomicU32::new(0)))
        .start()
        .unwrap();

    clock::sleep(Duration::from_millis(290)).await;
    assert_eq!(writer.stats().lock_waiters, Some(1));
    clock::sleep(Duration::from_millis(200)).await;
    assert_eq!(writer.stats().lock_waiters, None);
    clock::sleep(Duration::from_secs(10)).await;
    assert_eq!(writer.stats().lock_waiters, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_pause_while_nothing_is_known_of_replicas_is_told_as_one() {
    let mut config = config();
    config.size.lag_max = Some(Duration::from_secs(1));
    config.size.unknown_lag = UnknownLag::Pause;
    let writer = BatchWriter::builder(config, Table::default())
        .looking(Seen::default())
        .start()
        .unwrap();

    drop(send(&writer, 0..10).await);
    clock::sleep(Duration::from_secs(1)).await;

    let stats = writer.stats();
    assert!(stats.is_paused);
    assert_eq!(stats.constraint, Constraint::UnknownLag);
    // One row each ten seconds, so that nobody waits for ever in silence.
    assert_eq!(stats.written, 0);
    clock::sleep(Duration::from_secs(10)).await;
    assert_eq!(writer.stats().written, 1);
    clock::sleep(Duration::from_secs(10)).await;
    assert_eq!(writer.stats().written, 2);
}

#[tokio::test(start_paused = true)]
async fn what_replicas_ask_for_is_told_before_the_first_row() {
    let seen = Seen::default();
    seen.lag(behind(2));
    let mut config = config();
    config.size.lag_max = Some(Duration::from_secs(1));
    let writer = BatchWriter::builder(config, Table::default())
        .looking(seen.clone())
        .start()
        .unwrap();
    let told = || {
        let stats = writer.stats();
        (stats.is_paused, stats.rows_limit, stats.constraint)
    };

    clock::sleep(Duration::from_millis(150)).await;
    assert_eq!(told(), (true, 1, Constraint::Lag));

    seen.lag(behind(0));
    clock::sleep(Duration::from_millis(150)).await;
    assert_eq!(told(), (false, 20, Constraint::Time));
}
