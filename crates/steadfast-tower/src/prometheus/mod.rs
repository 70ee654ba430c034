//! What a Prometheus knows from before: timeouts to start from.
//!
//! # The problem
//! A timeout that is learned begins with nothing, and is at its ceiling until a hundred calls are
//! known. After a deploy in the middle of an incident that is the one moment at which a long timeout
//! does harm; and a quiet route takes an hour to its first hundred.
//!
//! # The tool
//! Whatever the route took before the deploy stands in Prometheus, as the histogram
//! `http_server_request_duration_seconds` of the [access log](crate::access_log); whatever attempts to
//! call a dependency took, as `http_client_request_duration_seconds` of the client of the
//! [guard](crate::Guard::client). In a policy, a learned timeout may say what to ask, and what holds
//! without an answer:
//!
//! ```toml
//! [timeouts.page]
//! timeout = "learn"
//! timeout_floor = "100ms"
//! timeout_ceiling = "2s"
//! timeout_start = "800ms"
//! timeout_start_query = '''
//! 2 * histogram_quantile(0.99, sum by (le) (rate(
//!     http_server_request_duration_seconds_bucket{http_route="$route",http_request_method=~"$method"}[30m])))
//! '''
//! ```
//!
//! For a dependency the query has `$dependency` in place of `$route`. `$method` is a pattern of the
//! methods that are listed, or of any if none is; one query is for routes or for dependencies.
//!
//! [`Starts::ask`] asks once for each route and dependency, before the service listens, through any HTTP client
//! that is a tower service. It never fails, and never takes long: an answer that does not come
//! within [`ASK_TIME`], is longer than [`ANSWER_BYTES_MAX`], is no answer of a Prometheus, has no
//! value, more than one, or one that is no length of time, is told as an event, and the timeout
//! starts from `timeout_start`, or from its ceiling. A value outside of the bounds is taken as the
//! nearest inside. [`Starts::explain`] shows which it was.
//!
//! # Examples
//! ```
//! use axum::{Json, Router, routing::get};
//! use serde_json::json;
//! use steadfast_tower::prometheus::{Prometheus, Starts};
//! use steadfast_tower::{Guard, PolicyDocument};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let policy = PolicyDocument::new("policy.toml", r#"
//!     [timeouts.page]
//!     timeout = "learn"
//!     timeout_floor = "100ms"
//!     timeout_ceiling = "2s"
//!     timeout_start_query = 'p99{http_route="$route"}'
//!
//!     [routes."GET /catalogue"]
//!     timeout = "page"
//! "#)?;
//! # // Stands for the client of hyper-util, or of whatever else is there.
//! # let client = Router::new().route("/api/v1/query", get(async || Json(json!({
//! #     "status": "success",
//! #     "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "0.35"]}]},
//! # }))));
//! # let client = tower::util::MapRequest::new(client, |r: http::Request<axum::body::Body>| r);
//! let mut prometheus = Prometheus::new(client, "http://127.0.0.1:9090")?;
//!
//! let starts = Starts::ask(policy.policy(), &mut prometheus).await;
//! let guard = Guard::builder(policy.policy().clone()).starting_at(&starts).build()?;
//!
//! let told = starts.explain(policy.explain_route("GET /catalogue")?).to_string();
//! assert!(told.contains(r#"timeout_start        "350ms""#), "{told}");
//! # drop(guard);
//! # Ok(()) }
//! ```

mod answer;
mod ask;
mod error;
mod starts;

pub use ask::{ANSWER_BYTES_MAX, ASK_TIME, Prometheus};
pub use error::{AskError, InvalidAddress};
pub use starts::{ASK_ALL_TIME, Start, Starts};
pub(crate) use starts::{EVENTS, METRICS};
