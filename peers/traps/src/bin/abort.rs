//! A handler that panics, behind the layer that catches it: `abort usual | ours`. For the test that builds it with
//! `panic = "abort"`.

use std::process::ExitCode;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("ours") {
        return steadfast::run(async |_| {
            println!("serving");
            Ok::<_, steadfast::BoxError>(())
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime can be built");
    let app: Router = Router::new().route("/", get(async || -> &str { panic!("no such item") }));
    let app = app.layer(CatchPanicLayer::new());
    let request = Request::new(Body::empty());
    let answer = runtime
        .block_on(app.oneshot(request))
        .expect("routers do not fail");
    println!("answered {}", answer.status().as_u16());
    ExitCode::SUCCESS
}
