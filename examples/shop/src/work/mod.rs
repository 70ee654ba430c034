//! What is done after the answer: jobs, which reach their end whatever dies on the way. Try it: kill
//! the process with `kill -9`, and start it again, or have a second one at work already.
//!
//! - [`payment`]: the money that was put aside is paid, once.
//! - [`release`]: the money that was put aside for nothing is given back, however long that takes.
//! - [`receipts`]: an e-mail, by somebody else's service.
//! - [`stock`]: work in two steps, and what puts it right when only the first was done.
//! - [`inventory`]: long work that tells how it gets on.
//! - [`settlement`]: a schedule, whose entry in the ledger is there exactly once.

pub mod inventory;
pub mod payment;
pub mod receipts;
pub mod release;
pub mod settlement;
pub mod stock;

use steadfast::BoxError;
use steadfast::jobs::{Worker, WorkerBuilder};
use steadfast::store::NodeConfig;

use crate::books::Books;
use crate::payments::Payments;

/// Makes the worker of the shop, and registers its schedule. Any number of processes may have one.
///
/// # Errors
/// When the books cannot be written.
pub async fn worker(books: &Books, payments: &Payments) -> Result<Worker, BoxError> {
    let node = NodeConfig::new("shop", env!("CARGO_PKG_VERSION"));
    Ok(describe(books, payments).await?.join(node).build()?)
}

/// Describes the worker, for whoever wants another lease than the usual one.
///
/// # Errors
/// When the books cannot be written.
pub async fn describe(books: &Books, payments: &Payments) -> Result<WorkerBuilder, BoxError> {
    settlement::register(&books.jobs).await?;
    Ok(Worker::builder(&books.jobs)
        .kind(payment::kind(payments.clone()))
        .kind(release::kind(payments.clone()))
        .kind(inventory::kind())
        .kind(receipts::kind(books.clone()))
        .kind(stock::kind(books.clone()))
        .kind(settlement::kind(books.clone())))
}
