//! What fits the layers to [axum](::axum), behind the feature `axum`.

use std::net::{IpAddr, SocketAddr};

use ::axum::Router;
use ::axum::body::Body;
use ::axum::extract::{ConnectInfo, MatchedPath};
use http::Request;
use http::request::Parts;
use tower_service::Service;

use crate::RouteLayer;
use crate::guard::{Guard, GuardError, Probe};

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

    /// Asks each route of the policy, in process and without calling a handler, whether it exists
    /// and is guarded.
    ///
    /// # Errors
    /// [`GuardError`] with every route that is not, and the name that may have been meant.
    pub async fn check(&self, router: &Router) -> Result<(), GuardError> {
        let mut wrong = Vec::new();
        let examples = self.examples();
        for (key, method, path) in &examples {
            let probe = Probe::default();
            let mut request = Request::new(Body::empty());
            *request.method_mut() = method.clone();
            *request.uri_mut() = path.parse().map_err(GuardError::other)?;
            request.extensions_mut().insert(probe.clone());
            // A router is always ready.
            let mut router = router.clone();
            let Ok(_) = router.call(request).await;
            match probe.reached() {
                None => wrong.push((key, PAST.to_owned())),
                Some(reached) if reached.key.as_ref() == Some(key) => {}
                Some(reached) => match reached.template {
                    None => wrong.push((key, UNKNOWN.to_owned())),
                    Some(template) => {
                        let served = format!("is served by the route {template:?}; write that");
                        wrong.push((key, served));
                    }
                },
            }
        }
        if wrong.is_empty() {
            self.note_probed();
            return Ok(());
        }
        let others = wrong
            .into_iter()
            .map(|(key, why)| format!("routes.{key:?} {why}"));
        Err(GuardError::new(Vec::new(), others.collect()))
    }
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
