//! The gateway that the shop pays through, and that belongs to somebody else: it listens on an
//! address of its own, and can be made slow or failing, as others' services are. It has books of its
//! own, by which one can tell whether the shop has forgotten money that it put aside.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use steadfast::clock::sleep;

/// How the gateway is today.
#[derive(Default)]
struct Mood(AtomicU8);

const WELL: u8 = 0;
const SLOW: u8 = 1;
const FAILING: u8 = 2;

/// How many holds it keeps in mind: a million, more than anybody plays.
const HOLDS_MAX: usize = 1_000_000;

/// What has become of money: each hold once, however often it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Money {
    PutAside,
    Paid,
    Released,
}

/// The books of the gateway.
#[derive(Clone, Default)]
struct Holds(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    holds: HashMap<u64, Money>,
    requests: u64,
}

/// Builds the gateway: holds of money, what has become of them at `GET /holds`, and
/// `PUT /mood/{mood}` with `well`, `slow` or `failing`.
pub fn router() -> Router {
    let (mood, holds) = (Arc::new(Mood::default()), Holds::default());
    let one = Router::new().route("/holds/{hold}", put(hold).post(confirm).delete(release));
    #[cfg(feature = "drill")]
    let one = crate::faults::around(one);
    one.layer(from_fn_with_state(mood.clone(), suffer))
        .layer(from_fn_with_state(holds.clone(), count))
        .route("/holds", get(tell))
        .with_state(holds)
        .route("/mood/{mood}", put(change).with_state(mood))
}

async fn count(State(holds): State<Holds>, request: Request, next: Next) -> Response {
    holds.with(|told| told.requests += 1);
    next.run(request).await
}

/// How many requests there were, how many holds are put aside and not paid, and which are paid. The
/// numbers have more digits than a number of JSON keeps.
async fn tell(State(holds): State<Holds>) -> Json<Value> {
    Json(holds.with(|told| {
        let of = |money| told.holds.iter().filter(move |(_, is)| **is == money);
        let paid: Vec<_> = of(Money::Paid).map(|(hold, _)| hold.to_string()).collect();
        let (open, released) = (of(Money::PutAside).count(), of(Money::Released).count());
        json!({ "requests": told.requests, "open": open, "released": released, "paid": paid })
    }))
}

async fn change(State(mood): State<Arc<Mood>>, Path(name): Path<String>) -> Response {
    let to = match name.as_str() {
        "well" => WELL,
        "slow" => SLOW,
        "failing" => FAILING,
        _ => return (StatusCode::NOT_FOUND, "well, slow or failing\n").into_response(),
    };
    mood.0.store(to, Ordering::Relaxed);
    format!("the gateway is {name} now\n").into_response()
}

async fn suffer(State(mood): State<Arc<Mood>>, request: Request, next: Next) -> Response {
    match mood.0.load(Ordering::Relaxed) {
        SLOW => sleep(Duration::from_secs(5)).await,
        FAILING => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => sleep(Duration::from_millis(10)).await,
    }
    next.run(request).await
}

async fn hold(Path(hold): Path<u64>, State(holds): State<Holds>) -> StatusCode {
    holds.with(|told| {
        if told.holds.len() >= HOLDS_MAX {
            return StatusCode::INSUFFICIENT_STORAGE;
        }
        // One that was released before it came is not put aside any more.
        told.holds.entry(hold).or_insert(Money::PutAside);
        StatusCode::CREATED
    })
}

async fn confirm(Path(hold): Path<u64>, State(holds): State<Holds>) -> StatusCode {
    holds.with(|told| match told.holds.get_mut(&hold) {
        Some(money @ (Money::PutAside | Money::Paid)) => {
            *money = Money::Paid;
            StatusCode::NO_CONTENT
        }
        Some(Money::Released) => StatusCode::CONFLICT,
        None => StatusCode::NOT_FOUND,
    })
}

async fn release(Path(hold): Path<u64>, State(holds): State<Holds>) -> StatusCode {
    holds.with(
        |told| match told.holds.entry(hold).or_insert(Money::Released) {
            Money::Paid => StatusCode::CONFLICT,
            money => {
                *money = Money::Released;
                StatusCode::NO_CONTENT
            }
        },
    )
}

impl Holds {
    fn with<R>(&self, use_it: impl FnOnce(&mut Told) -> R) -> R {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
