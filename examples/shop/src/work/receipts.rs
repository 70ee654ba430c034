//! An e-mail goes out through somebody else's service, which no transaction of ours reaches. That
//! service knows each key from the first time, so a run that is made again sends nothing twice.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast::clock::sleep;
use steadfast::jobs::{Job, Kind, Run};
use steadfast::store::{Error, binds};

use crate::books::Books;

/// Sends the receipt of an order.
#[derive(Serialize, Deserialize)]
pub struct SendReceipt {
    /// The number of the order.
    pub order: i64,
}

impl Job for SendReceipt {
    const KIND: &'static str = "send_receipt";
}

/// Sends it under the key of its order.
pub fn kind(books: Books) -> Kind {
    Kind::new(move |_: Run, job: SendReceipt| {
        let books = books.clone();
        async move {
            let key = format!("receipt-{}", job.order);
            let sent = send(&books, &key).await?;
            let again = if sent {
                ""
            } else {
                ", which was there already"
            };
            tracing::info!(target: "shop", order = job.order, "the receipt is sent{again}");
            Ok(())
        }
    })
}

/// Stands for the service that sends e-mails; tells whether the key was new to it.
pub(crate) async fn send(books: &Books, key: &str) -> Result<bool, Error> {
    sleep(Duration::from_millis(500)).await;
    let sent = books.store.write(async |mut tx| {
        let sent = "INSERT INTO mail (key) VALUES (?1) ON CONFLICT DO NOTHING RETURNING 1";
        tx.sql(sent, binds![key]).await
    });
    Ok(sent.await?.first().is_some())
}
