//! What is told of rows: each is accounted for.

use super::*;

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
        let (offered, known) = scraped("accounted");
        assert_eq!(offered, known, "as a scrape has it");
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

/// How many rows were offered to a writer as the report says, and how many of them are somewhere.
fn scraped(writer: &str) -> (u64, u64) {
    let (mut offered, mut known) = (0, 0);
    let is_of_writer = |value: &str| value == writer;
    for metric in report::snapshot().metrics() {
        if !metric
            .labels
            .iter()
            .any(|(_, value)| is_of_writer(value.as_str()))
        {
            continue;
        }
        let rows = match metric.value {
            report::Value::Counter(rows) => rows,
            report::Value::Gauge(rows) => rows as u64,
            _ => continue,
        };
        match metric.name {
            "steadfast_batch_offered_total" => offered += rows,
            "steadfast_batch_rows_total"
            | "steadfast_batch_rejected_total"
            | "steadfast_batch_queued" => known += rows,
            _ => {}
        }
    }
    (offered, known)
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
    settle().await;
    assert_eq!(writer.stats().rows_limit, 20, "before the first row");
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

    // Of a replica that is gone the least is told.
    seen.lag(Lag::AtLeast(Duration::from_secs(9)));
    clock::sleep(Duration::from_millis(200)).await;
    assert_eq!(writer.stats().replica_lag, Some(Duration::from_secs(9)));

    // What nobody can tell is no number, also where nothing is written.
    let is_absent = || {
        let of_looks = [
            "steadfast_batch_lock_waiters",
            "steadfast_batch_replica_lag_seconds",
        ];
        !report::snapshot().metrics().any(|metric| {
            of_looks.contains(&metric.name)
                && metric
                    .labels
                    .iter()
                    .any(|(_, value)| value.as_str() == "reported")
        })
    };
    let was_seen = std::mem::take(&mut *seen.0.lock().unwrap());
    clock::sleep(Duration::from_millis(200)).await;
    let stats = writer.stats();
    assert_eq!((stats.lock_waiters, stats.replica_lag), (None, None));
    assert!(is_absent());

    // Nor is what was seen before the end.
    *seen.0.lock().unwrap() = was_seen;
    clock::sleep(Duration::from_millis(200)).await;
    assert!(!is_absent());
    writer.drain(in_time()).await;
    assert!(is_absent());
    clock::sleep(Duration::from_millis(200)).await;
    assert!(is_absent());
}
