//! The trace id is in a span, and the line is written where the span is not.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use serde_json::Value;
use tracing::{Instrument, info, info_span};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Gate, Side, Text, ask, guarded, seen, serve, settle};

/// Lines of this thread, in JSON.
fn json<W>(writer: W) -> tracing::subscriber::DefaultGuard
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let json = tracing_subscriber::fmt().json().with_writer(writer);
    tracing::subscriber::set_default(json.finish())
}

fn line(text: &Text, message: &str) -> Value {
    let lines = text.lines();
    let line = lines.iter().find(|line| line.contains(message)).unwrap();
    serde_json::from_str(line).unwrap()
}

#[tokio::test]
async fn the_usual_assembly_fails() {
    let (text, gate) = (Text::default(), Gate::default());
    let writer = text.clone();
    let _listening = json(move || writer.clone());
    let of_handler = gate.clone();
    let order = async move || {
        let gate = of_handler.clone();
        info!("paid");
        tokio::spawn(async move {
            gate.pass().await;
            info!("mail sent");
        });
    };
    let with_id = from_fn(async |request: Request, next: Next| {
        let span = info_span!("request", trace_id = "0af7651916cd43dd8448eb211c80319c");
        next.run(request).instrument(span).await
    });
    let address = serve(Router::new().route("/", get(order)).layer(with_id)).await;

    ask(address, "/").await;
    gate.open();
    gate.until_inside(0).await;
    settle().await;

    let (paid, mailed) = (line(&text, "paid"), line(&text, "mail sent"));
    assert_eq!(
        paid.get("trace_id"),
        None,
        "it is in a span, one level down"
    );
    assert_eq!(paid["span"]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert!(
        !mailed
            .to_string()
            .contains("0af7651916cd43dd8448eb211c80319c"),
        "{mailed}"
    );
    seen(
        "t12",
        Side::Usual,
        "the line of the handler has its id in `span.trace_id`, and the line of the task that it started has none",
    );
}

#[tokio::test]
async fn ours_holds() {
    let (text, gate) = (Text::default(), Gate::default());
    let writer = text.clone();
    let _listening = json(steadfast::context::lines(move || writer.clone()));
    let of_handler = gate.clone();
    let order = async move || {
        let gate = of_handler.clone();
        info!("paid");
        steadfast::spawn("mail", async move {
            gate.pass().await;
            info!("mail sent");
        });
    };
    let policy = "timeouts.page.timeout = '2s'\nroutes.'/'.timeout = 'page'";
    let app = guarded(policy, Router::new().route("/", get(order))).await;
    let address = serve(app).await;

    let answer = ask(address, "/").await;
    gate.open();
    gate.until_inside(0).await;
    settle().await;

    let id = answer.header("x-request-id").unwrap();
    let (paid, mailed) = (line(&text, "paid"), line(&text, "mail sent"));
    assert_eq!(
        (&paid["trace_id"], &mailed["trace_id"]),
        (&id.into(), &id.into())
    );
    seen(
        "t12",
        Side::Ours,
        "both lines have `trace_id`, at the top, and it is what the client got as `x-request-id`",
    );
}
