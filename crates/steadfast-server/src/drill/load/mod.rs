//! The load: each request is sent when it is due, whatever became of those before, and its client waits
//! from there. A client that waited for one answer before it sends the next would slow down with the
//! shop, and see nothing of what the shop does to people.

mod client;
mod schedule;

use std::sync::Arc;
use std::time::Duration;

use steadfast::clock::{self, Instant};

use super::judge::Sample;
use client::Client;
use schedule::Schedule;

/// Requests of one run, at most: 100,000, ten times what the longest one has.
const REQUESTS_MAX: usize = 100_000;

/// Requests of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Class {
    pub(crate) name: &'static str,
    pub(crate) core: bool,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) body: &'static str,
    /// How many a second, on average; they come by chance.
    pub(crate) rate: f64,
    /// How long a client waits for its answer.
    pub(crate) patience: Duration,
    /// How often a client tries, the first time included.
    pub(crate) attempts: u32,
    /// After how long none come any more.
    pub(crate) ends: Duration,
}

/// A load that runs.
pub(crate) struct Running {
    /// From where the times of its samples are counted.
    pub(crate) start: Instant,
    sending: steadfast::Task<Vec<steadfast::Task<Sample>>>,
}

/// Starts to send. The seed gives the arrivals, so that two shops get the same load.
pub(crate) fn start(
    target: std::net::SocketAddr,
    classes: Vec<Class>,
    lasts: Duration,
    seed: u64,
) -> Running {
    let start = clock::now();
    let sending = steadfast::spawn("load", send(target, classes, lasts, seed, start));
    Running { start, sending }
}

impl Running {
    /// Waits until the last client was answered or has left.
    pub(crate) async fn end(self) -> anyhow::Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for client in self.sending.await? {
            samples.push(client.await?);
        }
        Ok(samples)
    }
}

async fn send(
    target: std::net::SocketAddr,
    classes: Vec<Class>,
    lasts: Duration,
    seed: u64,
    start: Instant,
) -> Vec<steadfast::Task<Sample>> {
    let mut arrivals = Vec::new();
    for (class, number) in classes.into_iter().zip(1_u64..) {
        let class = Arc::new(class);
        // Seeds of classes are far apart.
        let due = Schedule::new(
            class.rate,
            lasts.min(class.ends),
            seed.wrapping_add(number << 40),
        );
        arrivals.extend(due.map(|due| (due, Arc::clone(&class))));
    }
    arrivals.sort_by_key(|(due, _)| *due);
    arrivals.truncate(REQUESTS_MAX);
    let client = Client::new(target);
    let mut clients = Vec::with_capacity(arrivals.len());
    for (due, class) in arrivals {
        clock::sleep_until(start + due).await;
        let client = client.clone();
        clients.push(steadfast::spawn("client", async move {
            client.ask(&class, start, due).await
        }));
    }
    clients
}
