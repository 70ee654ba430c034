//! `loopback serve NAME`: the services that are measured, one a process.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use steadfast::tower::{Guard, PolicyDocument};
use steadfast::{BoxError, Shutdown};
use tokio::net::TcpListener;

use crate::runs;

/// What is served, and how it is asked about.
pub(crate) struct Served {
    /// The service.
    pub(crate) routes: Router,
    /// What it tells about itself, and hears of what goes wrong.
    pub(crate) control: Router,
    /// Who serves it.
    pub(crate) server: Server,
}

/// What stands between the sockets and the service.
pub(crate) enum Server {
    /// The server of axum.
    Axum,
    /// The server of the guard, which leaves as the policy says.
    Guard(Guard),
}

/// Serves what the words name until the process is told to end, or its standard input is closed.
pub(crate) fn serve(words: &[String]) -> ExitCode {
    std::thread::spawn(|| {
        // Whoever started us is gone.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let words = words.to_vec();
    steadfast::run(async move |shutdown| listen(words, shutdown).await)
}

async fn listen(words: Vec<String>, shutdown: Shutdown) -> Result<(), BoxError> {
    let Served {
        routes,
        control,
        server,
    } = runs::service(&words).await?;
    let (listener, asked) = (loopback().await?, loopback().await?);
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{} {}", listener.local_addr()?, asked.local_addr()?)?;
    stdout.flush()?;
    let control = async { axum::serve(asked, control).await };
    let guard = match server {
        Server::Axum => {
            let served = async { axum::serve(listener, routes).await };
            return Ok(tokio::try_join!(control, served).map(drop)?);
        }
        Server::Guard(guard) => guard,
    };
    guard.follow(&shutdown)?;
    tokio::select! {
        _ = async { guard.serve(listener, routes).await } => Ok(()),
        asked = control => Ok(asked?),
    }
}

async fn loopback() -> std::io::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await
}

/// Makes a guard from a policy that is written where it is used.
pub(crate) fn guard(policy: &str) -> Result<Guard, BoxError> {
    let document = PolicyDocument::new("loopback", policy)?;
    Ok(Guard::new(document.policy().clone())?)
}

/// A time around a mean, exponentially distributed: the `number`-th of its sequence.
pub(crate) fn exponential(mean: Duration) -> Duration {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut bits = NUMBER.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    let unit = ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    mean.mul_f64(-unit.ln())
}
