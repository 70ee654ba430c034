//! What fits the layers to [axum](::axum), behind the feature `axum`.

use ::axum::extract::MatchedPath;

use crate::RouteLayer;

impl RouteLayer {
    /// Makes the layer that names a route as its [`Router`](::axum::Router) does: by the template
    /// under which it was added, `/orders/{id}`, with the prefixes of all routers that it is
    /// nested in.
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
