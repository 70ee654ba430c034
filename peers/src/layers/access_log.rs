//! One line and the counts of each request, where nobody listens to lines.

use steadfast::tower::AccessLogLayer;
use tower::Layer;
use tower_http::trace::TraceLayer;

use super::service::{Handler, calls, served};
use crate::Group;

pub(super) fn group() -> Group {
    Group::new("layer: access log", "request")
        .ours(calls(
            "steadfast AccessLogLayer",
            AccessLogLayer::new().layer(Handler),
            served,
        ))
        .peer(calls("no layer", Handler, served))
        .peer(calls(
            "tower-http TraceLayer, which counts nothing",
            TraceLayer::new_for_http().layer(Handler),
            served,
        ))
}
