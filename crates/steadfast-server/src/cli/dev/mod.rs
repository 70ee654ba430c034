//! `steadfast dev`: the shop, and what it goes through, in one terminal.

mod board;
mod load;

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use steadfast::Shutdown;
use steadfast::panic::{self, Report};
use steadfast::tower::Guard;
use steadfast::tower::guard::Armed;
use steadfast_shop::books::Books;
use tokio::net::TcpListener;

use super::log;
use super::screen::Screen;
use crate::api::{Api, auth, check_exposure};
use crate::config;
use crate::listen::listen;
use board::Places;

/// Without what is shown by the board or told by the shop, and without a line for each request.
const LOGGED: &str = "info,steadfast::panic=off,steadfast::scope=off,steadfast::access=off";

/// How long the token holds that is made at each start: a day.
const TOKEN_HOLDS: Duration = Duration::from_secs(24 * 3_600);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where the shop listens; port 0 takes any that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4000")]
    listen: SocketAddr,

    /// Where the payment gateway listens, which the shop calls and you can make slow.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4001")]
    gateway: SocketAddr,

    /// Where its API listens, which `steadfast routes`, `policy` and `jobs` ask; 127.0.0.1:4011 unless that is
    /// taken.
    #[arg(long, value_name = "ADDRESS")]
    api: Option<SocketAddr>,

    /// The folder of its books and jobs, which is made if it is not there; several shops may share one.
    #[arg(long, value_name = "FOLDER", default_value = "steadfast-dev")]
    data: PathBuf,

    /// Sends no requests of its own.
    #[arg(long)]
    no_load: bool,
}

pub(crate) fn run(options: Options) -> ExitCode {
    let (screen, _shown) = Screen::of_this_process();
    let _logged = match screen.is_terminal() {
        true => {
            log::to(
                LOGGED,
                screen.has_color(),
                log::Short::default(),
                screen.clone(),
            );
            None
        }
        false => Some(log::of_service(LOGGED)),
    };
    // They are told below: no second copy on standard error.
    panic::install_quiet();
    let told = screen.clone();
    let _observer = panic::observe(move |report| told.show(&format_panic(report)));
    steadfast::run(async move |shutdown| serve(options, screen, shutdown).await)
}

async fn serve(options: Options, screen: Screen, shutdown: Shutdown) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listen(options.listen, "with --listen")?)?;
    let gateway = TcpListener::from_std(listen(options.gateway, "with --gateway")?)?;
    let (address, gateway_address) = (listener.local_addr()?, gateway.local_addr()?);
    let shop = steadfast_shop::open(gateway_address, &options.data).await;
    let shop = shop.map_err(|error| anyhow::anyhow!("the shop cannot open:\n{error}"))?;
    let (guard, worker) = (shop.guard, shop.worker);
    guard.follow(&shutdown)?;
    let asked = Asked::start(&options, &guard, &shop.books, &shutdown).await?;
    let armed = guard.armed();
    screen.show(&introduction(address, gateway_address, &asked, &armed));
    let places = Places {
        shop: address,
        gateway: gateway_address,
    };
    let served = guard.serve(listener, shop.routes);
    let shown = board::keep(&screen, &guard, places, &shutdown);
    let customers = async {
        if !options.no_load {
            load::send(address, &shutdown).await;
        }
    };
    // The gateway is there for as long as the shop: what is served or worked off to the end still pays.
    tokio::select! {
        _ = async { tokio::join!(served, worker.run(&shutdown), shown, customers) } => Ok(()),
        gone = async { axum::serve(gateway, steadfast_shop::gateway::router()).await } => {
            gone.context("the gateway stopped serving")
        }
    }
}

/// Where the API is, and with what one gets in.
struct Asked {
    address: SocketAddr,
    token: PathBuf,
}

impl Asked {
    /// Serves the API of the shop, and makes a token for whoever may read the folder.
    async fn start(
        options: &Options,
        guard: &Guard,
        books: &Books,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let api = config::Api {
            listen: options.api.unwrap_or_else(usual_or_any),
            ..config::Api::default()
        };
        check_exposure(&api)?;
        let store = books.jobs().store();
        let place = store.config().clone();
        let address = Api::start(&api, place, None, guard.clone(), "shop", None, shutdown).await?;
        let made = async {
            let rights = auth::Rights::asked(Some("admin"), None)?;
            auth::make(
                store,
                &auth::Actor::at_the_store(),
                "dev",
                &rights,
                TOKEN_HOLDS,
            )
            .await
        };
        let made = made
            .await
            .map_err(|problem| anyhow::anyhow!(problem.line()))?;
        let token = options.data.join("token");
        write_secret(&token, &made.token)
            .with_context(|| format!("cannot write {}", token.display()))?;
        Ok(Self { address, token })
    }
}

/// The usual address of an API, if nobody has it.
fn usual_or_any() -> SocketAddr {
    let usual = config::Api::default().listen;
    match std::net::TcpListener::bind(usual) {
        Ok(_) => usual,
        Err(_) => SocketAddr::new(usual.ip(), 0),
    }
}

/// Writes what only the owner may read.
fn write_secret(path: &Path, secret: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    // Anew, so that nobody has it open with other rights.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{secret}")
}

/// What one sees first.
fn introduction(shop: SocketAddr, gateway: SocketAddr, asked: &Asked, armed: &Armed) -> String {
    let (api, token) = (asked.address, asked.token.display());
    let process = std::process::id();
    format!(
        r#"The shop is open at http://{shop}. In another terminal, try:

  an order that works
    curl -i http://{shop}/orders -H 'content-type: application/json' -d '{{"item": "tea"}}'
  one that fails: its payment hold is released
    curl -i http://{shop}/orders -H 'content-type: application/json' -d '{{"item": "unicorn"}}'
  a handler that panics: a clean 500 with a trace id, and the place below
    curl -i http://{shop}/recommendations/bob
  ten times the load the shop is made for: recommendations are turned away, and told why;
  meanwhile, an order works as before
    curl -sZ --no-progress-meter --parallel-immediate --parallel-max 160 -o /dev/null \
      -w '%{{http_code}} %header{{x-steadfast-rejected}}\n' 'http://{shop}/recommendations/ada?[1-8000]' | sort | uniq -c
  a gateway that hangs: payments end in time, and say what they waited for; after five failures in a
  row its breaker opens, and nobody waits any more
    curl -X PUT http://{gateway}/mood/slow
    curl -sX POST 'http://{shop}/payments?[1-6]' -w ' after %{{time_total}} s\n'
  the gateway is well again: some seconds later two payments find out, and the others follow
    curl -X PUT http://{gateway}/mood/well
    sleep 4; curl -sX POST 'http://{shop}/payments?[1-3]' -o /dev/null -w '%{{http_code}}\n'
  an order that is followed as it gets on: a stream, which holds nothing that others need
    curl -N http://{shop}/orders/4711/events
  slow work whose client leaves after a second: it is cleaned up all the same
    curl -m 1 http://{shop}/statements
  what is done after the answer: an order is packed for three seconds. Kill the shop meanwhile and start
  it again, or have a second one open beside it: it tells below that it rescued the job, puts the half
  packed tea back, and sends the order on its way; nothing is done twice
    curl -s http://{shop}/orders -H 'content-type: application/json' -d '{{"item": "tea"}}'; sleep 1; kill -9 {process}
    cargo run --release -- dev --listen 127.0.0.1:0 --gateway 127.0.0.1:0
  what the guard sees, and a hand on it for a quarter of an hour: recommendations with the rank of orders
    export STEADFAST_SERVER=http://{api} STEADFAST_TOKEN=$(cat {token})
    steadfast routes list
    steadfast routes set 'GET /recommendations/{{customer}}' tier=core --for 15m --reason 'to see it'
  what a Prometheus would scrape: who was admitted, who was turned away and why
    curl -s http://{shop}/metrics | grep -v '^#'
  a stop while a request is served: it is served to the end, then the shop closes
    curl -i http://{shop}/statements & sleep 1; kill -TERM {process}

Its guard is told by examples/shop/policy.toml: {armed}.
Below you see every panic, rejection, cleanup report and rescue as it happens, and what the worker does; RUST_LOG=info shows every
request, too. Ctrl-C shuts down in order.
"#
    )
}

fn format_panic(report: &Report) -> String {
    let place = report.location().map(|place| place.to_string());
    let context = report.context();
    let trace = context.trace_id().map(|id| id.to_string());
    let path = match (report.scope_path().to_string(), context.route()) {
        (path, Some(route)) if path.is_empty() => route.to_string(),
        (path, _) => path,
    };
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
        trace = trace.as_deref().unwrap_or("none"),
    )
}
