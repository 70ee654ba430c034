//! Rows with keys: their order in a batch, and folding.

use super::*;

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
