//! The service of ids beside an empty answer of axum: requests a second, and the 99th percentile.
//!
//! Both are served by axum in this process and asked over loopback, one round after the other, so that whatever else the
//! machine does hits both alike. The same few connections ask again as soon as they are answered.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use steadfast::ids::Generator;
use steadfast::ids::http::IdService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Failure = Box<dyn Error>;

/// How many ask at a time.
const CONNECTIONS: usize = 16;

/// How long a round is.
const ROUND: Duration = Duration::from_millis(500);

/// What the service must keep of the rate of an empty answer.
const SHARE: f64 = 0.8;

/// Prints a table; `false` if the budget is missed.
pub(crate) fn run(seconds: u64) -> Result<bool, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let service = IdService::builder()
            .generator("order", Generator::builder(1).build()?)
            .build()?;
        let empty = serve(Router::new().route("/order", post(async || ()))).await?;
        let ids = serve(Router::new().route_service("/order", service)).await?;
        let (mut of_empty, mut of_ids) = (Rounds::default(), Rounds::default());
        let until = Instant::now() + Duration::from_secs(seconds.max(2));
        while Instant::now() < until {
            of_empty.add(round(empty).await?);
            of_ids.add(round(ids).await?);
        }
        println!(
            "{:<24} {:>12} {:>10} {:>10}",
            "", "requests/s", "p50", "p99"
        );
        for (name, rounds) in [
            ("empty answer of axum", &mut of_empty),
            ("service of ids", &mut of_ids),
        ] {
            let (rate, p50, p99) = (
                rounds.rate(),
                rounds.percentile(0.5),
                rounds.percentile(0.99),
            );
            println!("{name:<24} {rate:>12.0} {p50:>10.0?} {p99:>10.0?}");
        }
        let share = of_ids.rate() / of_empty.rate();
        let verdict = if share >= SHARE { "met" } else { "MISSED" };
        println!(
            "{:.0} % of the empty answer; budget {:.0} %: {verdict}",
            share * 100.0,
            SHARE * 100.0
        );
        Ok(share >= SHARE)
    })
}

async fn serve(router: Router) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// Asks for a while; gives how long each request took.
async fn round(address: SocketAddr) -> Result<Vec<Duration>, Failure> {
    let until = Instant::now() + ROUND;
    let asking: Vec<_> = (0..CONNECTIONS)
        .map(|_| tokio::spawn(ask(address, until)))
        .collect();
    let mut took = Vec::new();
    for asked in asking {
        took.extend(asked.await??);
    }
    Ok(took)
}

async fn ask(address: SocketAddr, until: Instant) -> std::io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut took, mut answer) = (Vec::new(), Vec::with_capacity(1_024));
    while Instant::now() < until {
        let start = Instant::now();
        stream
            .write_all(b"POST /order HTTP/1.1\r\nhost: ids\r\ncontent-length: 0\r\n\r\n")
            .await?;
        answer.clear();
        while !is_whole(&answer) {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(std::io::Error::other("the service hung up"));
            }
        }
        if !answer.starts_with(b"HTTP/1.1 200") {
            let answer = String::from_utf8_lossy(&answer).into_owned();
            return Err(std::io::Error::other(answer));
        }
        took.push(start.elapsed());
    }
    Ok(took)
}

/// Whether head and body are there.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| {
        line.strip_prefix("content-length:")?
            .trim()
            .parse::<usize>()
            .ok()
    });
    answer.len() >= end + 4 + length.unwrap_or(0)
}

#[derive(Default)]
struct Rounds {
    rates: Vec<f64>,
    took: Vec<Duration>,
}

impl Rounds {
    fn add(&mut self, took: Vec<Duration>) {
        self.rates.push(took.len() as f64 / ROUND.as_secs_f64());
        self.took.extend(took);
    }

    /// The median of all rounds.
    fn rate(&mut self) -> f64 {
        self.rates.sort_by(f64::total_cmp);
        self.rates[self.rates.len() / 2]
    }

    fn percentile(&mut self, share: f64) -> Duration {
        self.took.sort_unstable();
        let at = (self.took.len() as f64 * share) as usize;
        self.took[at.min(self.took.len() - 1)]
    }
}
