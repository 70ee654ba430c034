//! `steadfast dev`: the shop, and what it goes through, in one terminal.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use steadfast::Shutdown;
use steadfast::panic::{self, Report};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where the shop listens; port 0 takes any that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4000")]
    listen: SocketAddr,
}

pub(crate) fn run(options: Options) -> ExitCode {
    log_to_stderr();
    // The board below tells the panics: no second copy on standard error.
    panic::install_quiet();
    let _observer = panic::observe(|report| show(&format_panic(report)));
    steadfast::run(async move |shutdown| serve(options, shutdown).await)
}

async fn serve(options: Options, shutdown: Shutdown) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen).await.with_context(|| {
        format!(
            "cannot listen on {}; choose another address with --listen",
            options.listen
        )
    })?;
    let address = listener.local_addr().context("cannot tell the address")?;
    show(&introduction(address));
    let stop = shutdown.stop_accepting();
    axum::serve(listener, steadfast_shop::router())
        .with_graceful_shutdown(async move {
            stop.cancelled().await;
        })
        .await
        .context("the shop stopped serving")
}

/// What one sees first.
fn introduction(address: SocketAddr) -> String {
    format!(
        "\
The shop is open at http://{address}. In another terminal, try:

  an order that works
    curl -i http://{address}/orders -H 'content-type: application/json' -d '{{\"item\": \"tea\"}}'
  one that fails: its payment hold is released
    curl -i http://{address}/orders -H 'content-type: application/json' -d '{{\"item\": \"unicorn\"}}'
  a handler that panics: a clean answer with a trace id, and the place below
    curl -i http://{address}/recommendations/bob
  slow work whose client leaves after a second: it is cleaned up all the same
    curl -m 1 http://{address}/statements

Below you see every panic and every cleanup report as it happens. Ctrl-C shuts down in order.
"
    )
}

fn format_panic(report: &Report) -> String {
    let place = report.location().map(|place| place.to_string());
    let trace = report.context().trace_id().map(|id| id.to_string());
    let fate = match (report.contained(), report.count()) {
        (_, count @ 2..) => format!("{count} more of the same place"),
        (true, _) => "contained".to_owned(),
        (false, _) => "uncaught".to_owned(),
    };
    format!(
        "PANIC ({fate}, kind {kind})\n  {message}\n  at    {place}\n  in    {path}\n  trace {trace}\n",
        kind = report.kind(),
        message = report.message(),
        place = place.as_deref().unwrap_or("an unknown place"),
        path = report.scope_path(),
        trace = trace.as_deref().unwrap_or("none"),
    )
}

/// Writes to standard output; a closed terminal is no reason to stop serving.
fn show(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,steadfast::panic=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
