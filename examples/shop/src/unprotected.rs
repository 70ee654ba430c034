//! The same shop without its protections: plain axum, a client with nothing around it, work after the
//! answer in tasks that nobody watches, and a timer that settles. `steadfast drill --compare` hurts it
//! beside the other one. It is what one writes on the first day, and nothing in it is a mistake that
//! would not pass a review.

use std::path::Path;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use steadfast::BoxError;
use steadfast::clock::sleep;
use steadfast::store::{Error, binds};

use crate::books::{Books, PRICE, TAKEN};
use crate::payments::{Hold, PaymentError, Payments};
use crate::work::{receipts, settlement};
use crate::{Parts, catalogue, database, events, faults, recommendations};

/// Makes what the shop serves.
///
/// # Errors
/// When the books cannot be opened.
pub async fn serve(gateway: impl std::fmt::Display, folder: &Path) -> Result<Router, BoxError> {
    let parts = Parts {
        payments: Payments::unprotected(gateway),
        books: Books::open(folder).await?,
    };
    let routes = Router::new()
        .route("/orders", post(create))
        .route("/orders/{order}/events", get(events::follow))
        .route("/payments", post(pay))
        .route("/catalogue", get(catalogue::list))
        .route("/recommendations/{customer}", get(recommendations::list))
        .route("/statements", get(render))
        .with_state(parts);
    Ok(faults::around(routes))
}

async fn create(
    State(payments): State<Payments>,
    State(books): State<Books>,
    Json(order): Json<Value>,
) -> Result<Response, PaymentError> {
    let Some(item) = order["item"].as_str().map(str::to_owned) else {
        return Ok(StatusCode::BAD_REQUEST.into_response());
    };
    database::ask(Duration::from_millis(4)).await;
    let hold = Hold::new();
    payments.put_aside(&hold).await?;
    let number = match books.order_alone(&item, &hold).await {
        Ok(Some(number)) => number,
        Ok(None) => return Ok(StatusCode::CONFLICT.into_response()),
        Err(_) => return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response()),
    };
    start(async move {
        let _ = payments.confirm(&hold).await;
        let _ = receipts::send(&books, &format!("receipt-{number}")).await;
        if let Ok(Some(_)) = books.move_on(number, "taken", "packing", -1).await {
            sleep(Duration::from_secs(3)).await;
            let _ = books.move_on(number, "packing", "shipped", 0).await;
        }
    });
    Ok((StatusCode::CREATED, Json(json!({ "order": number }))).into_response())
}

/// Forgets the hold where anything goes wrong in between: a client that leaves takes this with it, and the
/// money stays aside.
async fn pay(State(payments): State<Payments>) -> Result<StatusCode, PaymentError> {
    database::ask(Duration::from_millis(4)).await;
    let hold = Hold::new();
    payments.put_aside(&hold).await?;
    payments.confirm(&hold).await?;
    Ok(StatusCode::CREATED)
}

async fn render() -> &'static str {
    sleep(Duration::from_secs(4)).await;
    "your statement: all is well\n"
}

/// Starts a task as usual: nobody sees it panic, and it ends with the process.
#[allow(clippy::disallowed_methods, reason = "the shop that goes without us")]
pub(crate) fn start(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// Settles now and then, for as long as the process lives.
pub async fn settle_forever(books: &Books) {
    loop {
        sleep(settlement::EVERY).await;
        if let Err(error) = settle(books).await {
            tracing::error!(target: "shop", %error, "not settled");
        }
    }
}

/// Settles once. An entry, and then what it settles: each is written safely.
///
/// # Errors
/// When the books cannot be written.
pub async fn settle(books: &Books) -> Result<(), Error> {
    let entry = books.store.write(async |mut tx| {
        let entry = "INSERT INTO ledger (orders, cents)
            SELECT count(*), sum(cents) FROM orders WHERE entry IS NULL HAVING count(*) > 0
            RETURNING number, (SELECT max(number) FROM orders)";
        tx.sql(entry, binds![]).await
    });
    let entry = entry.await?;
    let Some(row) = entry.first() else {
        return Ok(());
    };
    let (number, last): (i64, i64) = (row.get(0)?, row.get(1)?);
    faults::reach("settlement").await;
    let settled = books.store.write(async |mut tx| {
        let settled = "UPDATE orders SET entry = ?1 WHERE entry IS NULL AND number <= ?2";
        tx.sql(settled, binds![number, last]).await
    });
    settled.await.map(drop)
}

impl Books {
    /// Writes an order down, and nothing of what has to be done for it.
    async fn order_alone(&self, item: &str, hold: &Hold) -> Result<Option<i64>, Error> {
        let taken = self.store.write(async |mut tx| {
            tx.sql(TAKEN, binds![item, PRICE, hold.number().to_string()])
                .await
        });
        let taken = taken.await?;
        taken.first().map(|row| row.get(0)).transpose()
    }
}
