//! `steadfast drill-part`: what a drill starts as its children. It does nothing for anybody else.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};
use steadfast::store::NodeConfig;
use steadfast::{BoxError, Shutdown, panic};
use steadfast_shop::books::Books;
use steadfast_shop::payments::Payments;
use steadfast_shop::{edge, faults, gateway, unprotected, work};
use tokio::net::TcpListener;

use crate::cli::log;
use crate::config::Log;

/// What is logged: what is judged, and what one looks for afterwards.
const LOGGED: &str = "warn,steadfast::breaker=info,steadfast::drain=info,shop=info";

/// Which panics have a report of their own: all that a drill makes in a second.
const REPORTS_PER_SECOND: u32 = 1_000;

/// How often a worker looks for dead nodes: each second, for a lease of some seconds.
const RESCUE_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    Gateway,
    Shop,
    Worker,
}

/// A part of the shop, for a drill that is the parent of this process.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    role: Role,

    /// Without what protects it.
    #[arg(long)]
    unprotected: bool,

    /// Where the gateway listens.
    #[arg(long, default_value = "127.0.0.1:1")]
    gateway: SocketAddr,

    /// The folder of the books.
    #[arg(long, default_value = ".")]
    data: PathBuf,

    /// The lease of the worker, in milliseconds.
    #[arg(long, default_value_t = 30_000)]
    lease_ms: u64,
}

pub(crate) fn run(options: Options) -> ExitCode {
    if let Err(error) = faults::arm(!options.unprotected) {
        let _ = writeln!(std::io::stderr(), "{error}");
        return ExitCode::FAILURE;
    }
    let _flushed = log::as_told(&Log {
        json: true,
        level: LOGGED.into(),
    });
    std::thread::spawn(obey);
    // The gateway belongs to somebody else, who has no protections either.
    if options.unprotected || options.role == Role::Gateway {
        return plain(options);
    }
    panic::sample(REPORTS_PER_SECOND);
    steadfast::run(async move |shutdown| match options.role {
        Role::Worker => worker(options, shutdown).await,
        _ => shop(options, shutdown).await,
    })
}

/// Does what comes by standard input, a line each, and says that it is done. It ends with whoever sends it.
fn obey() {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let answer = match serde_json::from_str::<Value>(&line) {
            Ok(Value::String(word)) if word == "panics" => json!({ "panics": faults::panics() }),
            Ok(order) => {
                let injected = serde_json::from_value(order).map_err(|error| error.to_string());
                match injected.and_then(faults::inject) {
                    Ok(()) => json!({ "hurt": true }),
                    Err(why) => json!({ "refused": why }),
                }
            }
            Err(error) => json!({ "refused": error.to_string() }),
        };
        say(&answer);
    }
    std::process::exit(0);
}

fn say(answer: &Value) {
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{answer}");
    let _ = stdout.flush();
}

async fn listen() -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(&json!({ "listening": listener.local_addr()?.to_string() }));
    Ok(listener)
}

async fn shop(options: Options, shutdown: Shutdown) -> Result<(), BoxError> {
    let guard = edge::guard()?;
    let payments = Payments::new(&guard, options.gateway)?;
    let books = Books::open(&options.data).await?;
    let routes = steadfast_shop::serve(&guard, payments, &books).await?;
    guard.follow(&shutdown)?;
    guard.serve(listen().await?, routes).await;
    Ok(())
}

async fn worker(options: Options, shutdown: Shutdown) -> Result<(), BoxError> {
    let payments = Payments::new(&edge::guard()?, options.gateway)?;
    let books = Books::open(&options.data).await?;
    let lease = Duration::from_millis(options.lease_ms);
    let node = NodeConfig::new("shop", env!("CARGO_PKG_VERSION")).with_lease(lease);
    let worker = work::describe(&books, &payments).await?;
    let worker = worker.join(node).rescue_every(RESCUE_EVERY).build()?;
    say(&json!({ "working": true }));
    worker.run(&shutdown).await;
    Ok(())
}

/// As one does it on the first day: a runtime, a listener, and the signals are those of the system.
fn plain(options: Options) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended: Result<(), BoxError> = runtime.block_on(async {
        match options.role {
            Role::Gateway => axum::serve(listen().await?, gateway::router()).await?,
            Role::Shop => {
                let routes = unprotected::serve(options.gateway, &options.data).await?;
                axum::serve(listen().await?, routes).await?;
            }
            Role::Worker => {
                let books = Books::open(&options.data).await?;
                say(&json!({ "working": true }));
                unprotected::settle_forever(&books).await;
            }
        }
        Ok(())
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}
