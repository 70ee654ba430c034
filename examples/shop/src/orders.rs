//! What was begun is undone in every way out: the payment hold of an order that fails is
//! released, whether by an error, a panic, a timeout or a client that left. What has to be done by
//! somebody else's service, which may be why the order failed, is left to a job; and so is what
//! follows from an order that stands.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use steadfast::{ScopeError, scope};

use crate::books::Books;
use crate::database;
use crate::payments::{Hold, PaymentError, Payments};

/// What can go wrong with an order; the client is told this, and nothing else.
#[derive(Debug, Clone)]
pub enum OrderError {
    /// The request has no `"item"`.
    NoItem,
    /// There are none left of it.
    SoldOut,
    /// The money did not come.
    NotPaid(PaymentError),
    /// It could not be written down.
    NotWritten,
}

/// `POST /orders` with `{"item": "…"}`; the item `"unicorn"` is always sold out.
///
/// How long it may take is the guard's to say: the scope ends with the deadline of the request.
pub async fn create(
    State(payments): State<Payments>,
    State(books): State<Books>,
    Json(order): Json<Value>,
) -> Response {
    let ended = scope("create_order")
        .error::<OrderError>()
        .on_report(|report| tracing::info!(target: "shop", "{report}"))
        .run(async |s| {
            let item = order["item"].as_str().ok_or(OrderError::NoItem)?;
            // What the item is like.
            database::ask(Duration::from_millis(4)).await;
            let known = books.clone();
            // A client may leave in the very moment of a commit, so the books are asked; and while the gateway
            // is, so the hold is owned before it is asked for.
            let hold = s.own("release the hold", Hold::new(), async move |hold| {
                known.release(&hold).await
            });
            if let Err(error) = payments.put_aside(&hold).await {
                if error.is_unsent() {
                    hold.disarm();
                }
                return Err(error.into());
            }
            let written = books.order(item, &hold).await;
            let number = written?.ok_or(OrderError::SoldOut)?;
            // From here on the order stands, and its jobs see to the payment: nothing is to be released.
            hold.disarm();
            Ok(number)
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

impl From<steadfast::jobs::Error> for OrderError {
    fn from(error: steadfast::jobs::Error) -> Self {
        tracing::error!(target: "shop", %error, "an order could not be written down");
        Self::NotWritten
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
            Self::NotWritten => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the books cannot be written; please try again later",
            ),
        };
        let problem = json!({ "title": title, "status": status.as_u16() });
        (status, Json(problem)).into_response()
    }
}
