//! Stands for the database of the shop: it has so many connections and no more, as every database.
//! Whoever finds none waits behind all who came before, and it knows nothing of what is important:
//! that is for the guard to say, in front.

use std::time::Duration;

use steadfast::clock::sleep;
use steadfast::rng;
use tokio::sync::Semaphore;

/// As many as run at once by `policy.toml`, so that no request waits here.
static CONNECTIONS: Semaphore = Semaphore::const_new(16);

/// Asks something that takes about this long, half of it more or less.
pub async fn ask(takes: Duration) {
    // It is never closed.
    let _connection = CONNECTIONS.acquire().await;
    let share = 0.5 + (rng::bits() >> 11) as f64 / (1_u64 << 53) as f64;
    sleep(takes.mul_f64(share)).await;
}
