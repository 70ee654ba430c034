//! What was begun is undone in every way out: the payment hold of an order that fails is
//! released, whether by an error, a panic, a timeout or a client that left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use steadfast::clock::sleep;
use steadfast::{ScopeError, scope};

use crate::payments::{PaymentError, Payments};

/// What can go wrong with an order; the client is told this, and nothing else.
#[derive(Debug, Clone)]
pub enum OrderError {
    /// The request has no `"item"`.
    NoItem,
    /// There are none left of it.
    SoldOut,
    /// The money did not come.
    NotPaid(PaymentError),
}

/// `POST /orders` with `{"item": "…"}`; the item `"unicorn"` is always sold out.
///
/// How long it may take is the guard's to say: the scope ends with the deadline of the request.
pub async fn create(State(payments): State<Payments>, Json(order): Json<Value>) -> Response {
    let ended = scope("create_order")
        .error::<OrderError>()
        .on_report(|report| tracing::info!(target: "shop", "{report}"))
        .run(async |s| {
            let item = order["item"].as_str().ok_or(OrderError::NoItem)?;
            let hold = payments.hold().await?;
            let bank = payments.clone();
            let hold = s.own("release the hold", hold, async move |hold| {
                bank.release(hold).await
            });
            s.spawn("reserve stock", sleep(Duration::from_millis(5)));
            if item == "unicorn" {
                return Err(OrderError::SoldOut);
            }
            // From here on the money is spent: there is nothing to release any more.
            payments.confirm(hold.disarm()).await?;
            Ok(next_number())
        })
        .await;
    match ended {
        Ok(number) => (StatusCode::CREATED, Json(json!({ "order": number }))).into_response(),
        Err(ScopeError::Failed(error)) => error.into_response(),
        // The edge answers for everything that is nobody's fault in particular.
        Err(ScopeError::Panicked(panic)) => panic.resume(),
        Err(ScopeError::Cancelled(_)) => StatusCode::GATEWAY_TIMEOUT.into_response(),
    }
}

impl From<PaymentError> for OrderError {
    fn from(error: PaymentError) -> Self {
        Self::NotPaid(error)
    }
}

impl IntoResponse for OrderError {
    fn into_response(self) -> Response {
        let (status, title) = match self {
            Self::NoItem => (
                StatusCode::BAD_REQUEST,
                "say which item: {\"item\": \"tea\"}",
            ),
            Self::SoldOut => (StatusCode::CONFLICT, "sold out"),
            Self::NotPaid(error) => return error.into_response(),
        };
        let problem = json!({ "title": title, "status": status.as_u16() });
        (status, Json(problem)).into_response()
    }
}

fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(4711);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}
