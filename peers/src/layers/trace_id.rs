//! An id for each request, started here and told in the answer.

use steadfast::tower::{TraceIdLayer, Trust};
use tower::{Layer, ServiceBuilder};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

use super::service::{Handler, calls, served};
use crate::Group;

pub(super) fn group() -> Group {
    let usual = ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(PropagateRequestIdLayer::x_request_id())
        .service(Handler);
    Group::new("layer: trace id", "request")
        .ours(calls(
            "steadfast TraceIdLayer",
            TraceIdLayer::new(Trust::Edge).layer(Handler),
            served,
        ))
        .peer(calls("no layer", Handler, served))
        .peer(calls("tower-http request id", usual, served))
}
