//! Batches that take too long, and sinks that cannot say whether one is written.

use super::*;

/// A table that takes so long for each row, and for one of them for ever, unless it knows that it does.
struct Slow {
    table: Table,
    each: Duration,
    stuck: Option<u32>,
    gives_up: bool,
}

impl Sink<u32> for Slow {
    async fn write(&self, batch: Batch<'_, u32>) -> Result<(), WriteError> {
        let (id, rows) = (batch.id(), batch.rows());
        let tried = (id, batch.attempt(), rows.len());
        self.table.0.tried.lock().unwrap().push(tried);
        if self.stuck.is_some_and(|row| rows.contains(&row)) {
            if self.gives_up {
                return Err(WriteError::too_much("over its time"));
            }
            std::future::pending::<()>().await;
        }
        clock::sleep(self.each * rows.len() as u32).await;
        self.table.0.commits.lock().unwrap().push(rows.to_vec());
        Ok(())
    }

    async fn settle(&self, id: BatchId) -> Result<bool, WriteError> {
        self.table.settle(id).await
    }

    async fn dead(&self, row: &u32, error: &WriteError) {
        assert!(error.is_retryable(), "it was not answered");
        self.table.0.dead.lock().unwrap().push(*row);
    }
}

fn slow(table: &Table, each: u64, stuck: Option<u32>, gives_up: bool) -> BatchWriter<u32> {
    let sink = Slow {
        table: table.clone(),
        each: Duration::from_millis(each),
        stuck,
        gives_up,
    };
    let mut config = of_rows(1_000);
    config.write_timeout = Duration::from_secs(2);
    BatchWriter::builder(config, sink).start().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_late_four_times_is_settled_and_goes_on_in_smaller_ones() {
    let table = Table::default();
    let writer = slow(&table, 100, None, false);

    all(send(&writer, 0..100).await).await;

    assert_eq!(table.rows(), (0..100).collect::<Vec<_>>());
    let tried = table.0.tried.lock().unwrap().clone();
    let (id, ..) = tried[0];
    assert_eq!(
        tried[..4],
        [(id, 1, 100), (id, 2, 100), (id, 3, 100), (id, 4, 100)]
    );
    assert!(tried[4..].iter().all(|(other, ..)| *other != id));
    let settled = table.0.settled.lock().unwrap().clone();
    assert_eq!(settled[0], id);
    // A hundred, a quarter of that, and a few.
    assert_eq!((settled.len(), writer.stats().dead), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_late_four_times_and_is_written_is_not_written_again() {
    let table = Table::default();
    table.settles([Ok(true)]);
    let writer = slow(&table, 100, None, false);

    all(send(&writer, 0..100).await).await;

    assert_eq!(table.rows(), [0; 0]);
    let stats = writer.stats();
    assert_eq!((stats.written, stats.failed), (100, [0, 0, 4, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_always_takes_too_long_is_given_up_once_another_is_written() {
    for gives_up in [false, true] {
        let events = Events::default();
        let _guard = events.listen();
        let table = Table::default();
        let writer = slow(&table, 1, Some(3), gives_up);

        let mut outcomes = Vec::new();
        for receipt in send(&writer, 0..10).await {
            outcomes.push(answer(receipt).await);
        }

        let error = outcomes.remove(3).unwrap_err();
        assert!(error.dead().unwrap().is_retryable(), "{error}");
        assert!(outcomes.iter().all(Result::is_ok));
        assert_eq!(*table.0.dead.lock().unwrap(), [3]);
        assert_eq!(table.rows(), [0, 1, 2, 4, 5, 6, 7, 8, 9]);
        let told = events.with_message("nothing can be written; rows wait");
        assert_eq!(told.len(), 1);
        assert!(!writer.stats().is_broken);
    }
}

#[tokio::test(start_paused = true)]
async fn no_row_is_given_up_while_none_is_answered_in_time() {
    let (table, gate) = Table::gated();
    let mut config = of_rows(100);
    config.write_timeout = Duration::from_secs(2);
    let writer = writer(config, &table);
    let receipts = send(&writer, 0..20).await;
    clock::sleep(Duration::from_secs(3_600)).await;
    let stats = writer.stats();
    assert!(stats.is_broken);
    assert_eq!((stats.dead, stats.queued), (0, 20));

    gate.add_permits(100);
    all(receipts).await;

    let mut rows = table.rows();
    rows.sort_unstable();
    assert_eq!(rows, (0..20).collect::<Vec<_>>());
    assert!(!writer.stats().is_broken);
}

/// A table of which nobody knows whether it has written what was not answered.
#[derive(Clone, Default)]
struct Unsure {
    table: Table,
    /// How often it hangs when it is asked, instead of an answer.
    hangs: Arc<AtomicU32>,
}

impl Sink<u32> for Unsure {
    async fn write(&self, batch: Batch<'_, u32>) -> Result<(), WriteError> {
        self.table.write(batch).await
    }

    async fn settle(&self, id: BatchId) -> Result<bool, WriteError> {
        if self.hangs.load(SeqCst) > 0 {
            self.hangs.fetch_sub(1, SeqCst);
            std::future::pending::<()>().await;
        }
        self.table.settle(id).await
    }
}

/// A batch whose first attempt was not answered, and whose second failed.
async fn in_doubt(sink: &Unsure, name: &'static str) -> (BatchWriter<u32>, Vec<Receipt>) {
    sink.table.fail_next([
        WriteError::unavailable("connection reset"),
        WriteError::row("an exception of a trigger"),
    ]);
    let mut config = of_rows(100);
    config.name = name.into();
    config.write_timeout = Duration::from_secs(2);
    let writer = BatchWriter::builder(config, sink.clone()).start().unwrap();
    let receipts = send(&writer, 0..10).await;
    (writer, receipts)
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_does_not_answer_whether_a_batch_is_written_is_asked_again() {
    let sink = Unsure::default();
    sink.hangs.store(3, SeqCst);
    sink.table.settles([Ok(true)]);
    let (writer, receipts) = in_doubt(&sink, "asked again").await;

    all(receipts).await;

    assert_eq!(sink.table.rows(), [0; 0], "it was written by the first");
    let stats = writer.stats();
    assert_eq!((stats.written, stats.failed), (10, [1, 0, 4, 0, 0]));
    assert_eq!(stats.unsettled, None);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_that_stays_is_told_once_with_how_long_it_lasts() {
    let events = Events::default();
    let _guard = events.listen();
    let sink = Unsure::default();
    sink.hangs.store(u32::MAX, SeqCst);
    let (writer, receipts) = in_doubt(&sink, "unsettled").await;
    let told = || {
        events
            .with_message("nobody can say whether a batch is written; rows wait")
            .len()
    };

    clock::sleep(Duration::from_secs(8)).await;
    let stats = writer.stats();
    assert_eq!((told(), stats.is_broken), (0, false));
    assert!(stats.unsettled.unwrap() >= Duration::from_secs(7));
    clock::sleep(Duration::from_secs(60)).await;
    assert_eq!(told(), 1);
    let stats = writer.stats();
    assert!(stats.is_broken);
    assert_eq!((stats.queued, stats.dead), (10, 0));
    let waited = stats.unsettled.unwrap().as_secs_f64();
    assert!(waited > 60.0, "{waited}");
    let snapshot = report::snapshot();
    let gauge = snapshot.metrics().find(|metric| {
        metric.name == "steadfast_batch_unsettled_seconds"
            && metric
                .labels
                .iter()
                .any(|(_, value)| value.as_str() == "unsettled")
    });
    assert_eq!(gauge.unwrap().value, report::Value::Gauge(waited));

    sink.hangs.store(0, SeqCst);
    all(receipts).await;

    assert_eq!(sink.table.rows().len(), 10, "none was written before");
    let stats = writer.stats();
    assert_eq!((stats.unsettled, stats.is_broken), (None, false));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_its_deadline_also_while_a_batch_is_in_doubt() {
    let sink = Unsure::default();
    sink.hangs.store(u32::MAX, SeqCst);
    let (writer, receipts) = in_doubt(&sink, "left in doubt").await;
    clock::sleep(Duration::from_secs(20)).await;

    let began = clock::now();
    let drained = writer.drain(began + Duration::from_secs(3));
    let stats = clock::timeout(Duration::from_secs(60), drained).await;

    assert_eq!(clock::now() - began, Duration::from_secs(3));
    let stats = stats.unwrap();
    assert_eq!((stats.written, stats.dead, stats.left), (0, 0, 10));
    assert_eq!((stats.unsettled, stats.is_broken), (None, false));
    for receipt in receipts {
        assert!(receipt.await.unwrap_err().is_left());
    }
}
