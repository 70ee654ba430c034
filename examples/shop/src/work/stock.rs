//! Work in two steps: what is packed is off the shelf, and not yet on its way. A process that dies in
//! between leaves an item in nobody's hands; the repair puts it back before the next run begins.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast::BoxError;
use steadfast::clock::sleep;
use steadfast::jobs::{Job, Kind, Run};
use steadfast::store::{Error, Rows, binds};

use crate::books::Books;

/// Packs an order and sends it on its way.
#[derive(Serialize, Deserialize)]
pub struct Pack {
    /// The number of the order.
    pub order: i64,
}

impl Job for Pack {
    const KIND: &'static str = "pack";
}

/// Packs for three seconds: long enough to be killed by hand.
pub fn kind(books: Books) -> Kind {
    let repairs = books.clone();
    Kind::new(move |run: Run, job: Pack| pack(books.clone(), run, job.order))
        .repair(move |run: Run, job: Pack| repair(repairs.clone(), run, job.order))
}

async fn pack(books: Books, run: Run, order: i64) -> Result<(), BoxError> {
    let item = books.move_on(order, "taken", "packing", -1).await?;
    let item = item.ok_or("there is no such order to be packed")?;
    tracing::info!(target: "shop", order, term = run.term(), "packing {item}");
    sleep(Duration::from_secs(3)).await;

    // The end of the order and the end of the job are one transaction.
    let mut tx = books.store.begin().await?;
    let shipped = "UPDATE orders SET state = 'shipped' WHERE number = ?1 AND state = 'packing'";
    tx.sql(shipped, binds![order]).await?;
    run.complete_in(tx, &()).await?;
    tracing::info!(target: "shop", order, "it is on its way");
    Ok(())
}

/// Puts back what a run that died has taken off the shelf. It may be called any number of times.
async fn repair(books: Books, run: Run, order: i64) -> Result<(), BoxError> {
    if let Some(item) = books.move_on(order, "packing", "taken", 1).await? {
        let crashes = run.crashes();
        tracing::warn!(target: "shop", order, crashes, "{item} was half packed, and is put back");
    }
    Ok(())
}

impl Books {
    /// Moves an order on if it is where it is thought to be, and counts the stock along with it;
    /// gives what was ordered.
    pub(crate) async fn move_on(
        &self,
        order: i64,
        from: &str,
        to: &str,
        count: i64,
    ) -> Result<Option<String>, Error> {
        let moved = self.store.write(async |mut tx| {
            let moved =
                "UPDATE orders SET state = ?3 WHERE number = ?1 AND state = ?2 RETURNING item";
            let moved: Rows = tx.sql(moved, binds![order, from, to]).await?;
            let Some(row) = moved.first() else {
                return Ok(None);
            };
            let item: &str = row.get(0)?;
            let counted = "UPDATE stock SET count = count + ?2 WHERE item = ?1";
            tx.sql(counted, binds![item, count]).await?;
            Ok(Some(item.to_owned()))
        });
        moved.await
    }
}
