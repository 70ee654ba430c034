//! What fits the layers to [axum](::axum), behind the feature `axum`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ::axum::Router;
use ::axum::body::Body;
use ::axum::extract::{ConnectInfo, MatchedPath};
use http::header::ALLOW;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use tower_service::Service;

use crate::RouteLayer;
use crate::guard::{Example, Guard, GuardError, Methods, Probe, Reached};

impl Guard {
    /// Puts the guard around all routes of a finished router, and asks each route of the policy
    /// whether it is guarded.
    ///
    /// Routes that are added to what this returns are not guarded: call it last.
    ///
    /// # Errors
    /// [`GuardError`], as [`check`](Self::check).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use axum::Router;
    /// use axum::routing::post;
    /// use steadfast_core::context::Tier;
    /// use steadfast_core::decide::policy::{Policy, Route, Setting, Timeout, TimeoutPolicy};
    /// use steadfast_tower::Guard;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut policy = Policy::default();
    /// let second = Timeout::new(Duration::from_secs(1))?;
    /// policy.timeouts.insert("quick".into(), TimeoutPolicy::new(Setting::Fixed(second)));
    /// let mut orders = Route::new(["POST"]);
    /// orders.tier = Tier::CORE;
    /// orders.timeout = Some("quick".into());
    /// policy.routes.insert("/orders".into(), orders);
    ///
    /// let guard = Guard::new(policy)?;
    /// let app = Router::new().route("/orders", post(async || "ordered"));
    /// let app = guard.protect(app).await?;
    /// assert!(guard.armed().is_clean());
    /// # drop(app);
    /// # Ok(()) }
    /// ```
    pub async fn protect(&self, router: Router) -> Result<Router, GuardError> {
        let matched = self.layer_of(template_of, peer_of);
        let guarded = router.layer(matched);
        self.check(&guarded).await?;
        Ok(guarded)
    }

    /// Asks each route of the policy, in process and without calling a handler, whether it exists,
    /// has the methods that the policy says, and is guarded.
    ///
    /// # Errors
    /// [`GuardError`] with every route that is not, and the name that may have been meant.
    pub async fn check(&self, router: &Router) -> Result<(), GuardError> {
        // Of each route the first that is wrong.
        let mut wrong = BTreeMap::new();
        let (mut armed, mut silent) = (BTreeSet::new(), BTreeSet::new());
        let mut methods = BTreeMap::new();
        let nobodys = nobodys();
        for example in self.examples() {
            let (reached, answer) = ask(router, &example.method, &example.path).await?;
            let Example { key, method, .. } = &example;
            let why = match reached {
                // No handler at all, as it seems; one that is there answers to another method.
                None if !example.is_said && answer.status() == StatusCode::METHOD_NOT_ALLOWED => {
                    silent.insert(example.key);
                    continue;
                }
                None => Some(format!("{PAST} (asked with {method})")),
                Some(reached) if reached.key.as_ref() == Some(key) => {
                    let template = reached.template.unwrap_or_default();
                    if !methods.contains_key(&template) {
                        let (_, answer) = ask(router, &nobodys, &example.path).await?;
                        methods.insert(template.clone(), methods_of(&answer));
                    }
                    let has = &methods[&template];
                    let said = example.is_said.then_some(method);
                    said.and_then(|method| has.misses(method.as_str()))
                }
                Some(reached) => Some(match reached.template {
                    None => UNKNOWN.to_owned(),
                    Some(template) => {
                        format!("is served by the route {template:?}; write that")
                    }
                }),
            };
            match why {
                Some(why) => {
                    wrong.entry(example.key).or_insert(why);
                }
                None => {
                    armed.insert(example.key);
                }
            }
        }
        for key in silent.difference(&armed) {
            wrong.entry(key.clone()).or_insert_with(|| PAST.to_owned());
        }
        if wrong.is_empty() {
            self.note_probed(methods);
            return Ok(());
        }
        let others = wrong
            .into_iter()
            .map(|(key, why)| format!("routes.{key:?} {why}"));
        Err(GuardError::new(Vec::new(), others.collect()))
    }
}

/// Asks a router, in process and without calling a handler, where a request goes.
async fn ask(
    router: &Router,
    method: &Method,
    path: &str,
) -> Result<(Option<Reached>, Response<Body>), GuardError> {
    let probe = Probe::default();
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method.clone();
    *request.uri_mut() = path.parse().map_err(GuardError::other)?;
    request.extensions_mut().insert(probe.clone());
    // A router is always ready.
    let mut router = router.clone();
    let Ok(answer) = router.call(request).await;
    Ok((probe.reached(), answer))
}

/// A method that no handler has.
fn nobodys() -> Method {
    Method::from_bytes(b"STEADFAST-PROBE").expect("letters and a dash")
}

/// Tells which methods a route has, by an answer to [`nobodys`]: the router adds them, unless there
/// is a handler for all.
fn methods_of(answer: &Response<Body>) -> Methods {
    let allow = answer.headers().get(ALLOW);
    let Some(allow) = allow.and_then(|allow| allow.to_str().ok()) else {
        return Methods::Any;
    };
    let these = allow.split(',').map(|method| method.trim().parse());
    Methods::These(these.filter_map(Result::ok).collect())
}

fn template_of(request: &Parts) -> Option<&str> {
    let matched = request.extensions.get::<MatchedPath>();
    matched.map(MatchedPath::as_str)
}

fn peer_of(request: &Parts) -> Option<IpAddr> {
    let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map(|ConnectInfo(address)| address.ip())
}

const PAST: &str =
    "is served past the guard; call `Guard::protect` last, around the router with all its routes";

const UNKNOWN: &str = "is no route of the router; write the template under which the router has it, \
     with the prefixes of those around, or remove it from the policy";

impl RouteLayer {
    /// Makes the layer that names a route as its [`Router`] does: by the template under which it was
    /// added, `/orders/{id}`, with the prefixes of all routers that it is nested in.
    ///
    /// For `Router::layer`, after all routes were added: around the finished router nothing is
    /// matched yet. Fallbacks, and what is behind `nest_service`, are
    /// [`UNMATCHED`](crate::route::UNMATCHED).
    ///
    /// # Examples
    /// ```
    /// use axum::Router;
    /// use axum::routing::get;
    /// use steadfast_tower::{RouteLayer, TraceIdLayer, Trust};
    ///
    /// let app: Router = Router::new()
    ///     .route("/orders/{id}", get(async || "an order"))
    ///     .layer((TraceIdLayer::new(Trust::Edge), RouteLayer::matched_path()));
    /// ```
    pub fn matched_path() -> Self {
        Self::new(|request| {
            let matched = request.extensions.get::<MatchedPath>();
            matched.map(|matched| matched.as_str().into())
        })
    }
}
