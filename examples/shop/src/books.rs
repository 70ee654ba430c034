//! The books of the shop: orders, stock and ledger, in one file. What belongs together is written
//! together: an order and the work that follows from it are one transaction, so neither is ever
//! there without the other, whatever dies in between.

use std::path::Path;

use steadfast::BoxError;
use steadfast::jobs::{Batch, Jobs, Options};
use steadfast::store::{Config, Error, Store, binds};

use crate::payments::Hold;
use crate::work::payment::ConfirmPayment;
use crate::work::receipts::SendReceipt;
use crate::work::release::ReleaseHold;
use crate::work::stock::Pack;

/// What one of the shop's orders costs, in cents.
pub(crate) const PRICE: i64 = 450;

const TABLES: [&str; 5] = [
    "CREATE TABLE IF NOT EXISTS orders (
        number INTEGER PRIMARY KEY, item TEXT NOT NULL, cents INTEGER NOT NULL, hold TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL CHECK (state IN ('taken', 'packing', 'shipped')), entry INTEGER)",
    "CREATE TABLE IF NOT EXISTS stock (item TEXT PRIMARY KEY, count INTEGER NOT NULL CHECK (count >= 0))",
    "CREATE TABLE IF NOT EXISTS ledger (number INTEGER PRIMARY KEY, job INTEGER, orders INTEGER, cents INTEGER)",
    "CREATE TABLE IF NOT EXISTS mail (key TEXT PRIMARY KEY)",
    "INSERT INTO stock VALUES ('tea', 1000000), ('teapot', 1000000), ('biscuits', 1000000), ('unicorn', 0)
        ON CONFLICT DO NOTHING",
];

/// Writes an order down, if there is something left of its item.
pub(crate) const TAKEN: &str = "INSERT INTO orders (number, item, cents, hold, state)
    SELECT coalesce((SELECT max(number) FROM orders), 4710) + 1, item, ?2, ?3, 'taken'
    FROM stock WHERE item = ?1 AND count > 0 RETURNING number";

/// The books. Clones are the same books.
#[derive(Clone)]
pub struct Books {
    pub(crate) store: Store,
    pub(crate) jobs: Jobs,
}

impl Books {
    /// Opens the books in a folder, which is made if it is not there. Several processes may have
    /// them open at once.
    ///
    /// # Errors
    /// When the folder cannot be made, or the file cannot be opened.
    pub async fn open(folder: &Path) -> Result<Self, BoxError> {
        std::fs::create_dir_all(folder)?;
        let store = Store::open(Config::sqlite(folder.join("shop.db"))).await?;
        let jobs = Jobs::open(&store).await?;
        let made = store.write(async |mut tx| {
            for table in TABLES {
                tx.sql(table, binds![]).await?;
            }
            Ok::<_, Error>(())
        });
        made.await?;
        Ok(Self { store, jobs })
    }

    /// Gives the jobs, to look at them.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Writes an order down, with everything that has to be done for it; gives its number, or
    /// `None` when there is nothing left of the item.
    ///
    /// # Errors
    /// When the books cannot be written; nothing of the order is there then.
    pub async fn order(
        &self,
        item: &str,
        hold: &Hold,
    ) -> Result<Option<i64>, steadfast::jobs::Error> {
        let mut tx = self.store.begin().await?;
        let taken = tx
            .sql(TAKEN, binds![item, PRICE, hold.number().to_string()])
            .await?;
        let Some(row) = taken.first() else {
            return Ok(None);
        };
        let order = row.get(0)?;
        let mut work = Batch::new();
        work.push(
            &ConfirmPayment {
                hold: hold.number(),
            },
            Options::new(),
        )?;
        work.push(&SendReceipt { order }, Options::new())?;
        work.push(&Pack { order }, Options::new())?;
        self.jobs.enqueue_batch_in(&mut tx, work).await?;
        tx.commit().await?;
        Ok(Some(order))
    }

    /// Has the money released that was put aside under a hold, unless an order was written down that pays with it. The
    /// transaction waits for one that is under way, also when whoever began that one is gone.
    ///
    /// # Errors
    /// When the books cannot be written.
    pub async fn release(&self, hold: &Hold) -> Result<(), steadfast::jobs::Error> {
        let mut tx = self.store.begin().await?;
        let order = "SELECT 1 FROM orders WHERE hold = ?1";
        let order = tx.sql(order, binds![hold.number().to_string()]).await?;
        if order.first().is_none() {
            let release = ReleaseHold {
                hold: hold.number(),
            };
            // The commit wakes the workers.
            let _ = self
                .jobs
                .enqueue_in(&mut tx, &release, Options::new())
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
