//! Peers that stand on sqlx 0.8, as the bench of jobs starts them: `jobs-bench-sqlx08 NAME ROLE URL COUNT`.

#[path = "../../src/protocol.rs"]
mod protocol;

use std::error::Error;
use std::time::Duration;

use protocol::{Told, say};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let told = Told::read(2).ok_or("NAME ROLE URL COUNT")?;
    let pool = PgPoolOptions::new()
        .max_connections(20)
        .connect(&told.url)
        .await?;
    match name.as_str() {
        "underway" => underway(told, pool).await,
        "awa" => awa_rs(told, pool).await,
        other => Err(format!("{other} is no contender").into()),
    }
}

// === underway: its workers at the limit of concurrency that served it best ===

/// How often its worker looks, and takes one more of its places into use: a minute by default.
fn each() -> jiff::Span {
    jiff::Span::new().milliseconds(10)
}

async fn underway(told: Told, pool: PgPool) -> Result<(), Failed> {
    use underway::{Job, To};
    underway::run_migrations(&pool).await?;
    let job = Job::builder()
        .step(async |_, number: u64| {
            protocol::ran(number);
            To::done()
        })
        .name("nothing")
        .pool(pool.clone())
        .build()
        .await?;
    let work = || {
        let mut worker = job.worker();
        worker.set_concurrency_limit(64);
        worker
    };
    match told.role.as_str() {
        "enqueue" => {
            protocol::enqueued(async {
                // It has no way to enqueue the jobs of a `Job` together; many at once is what is left.
                let next = std::sync::atomic::AtomicU64::new(0);
                let lane = || async {
                    loop {
                        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if number >= told.count {
                            return;
                        }
                        job.enqueue(&number).await.expect("it is taken");
                    }
                };
                tokio::join!(
                    lane(),
                    lane(),
                    lane(),
                    lane(),
                    lane(),
                    lane(),
                    lane(),
                    lane(),
                    lane(),
                    lane(),
                    lane(),
                    lane(),
                    lane(),
                    lane(),
                    lane(),
                    lane()
                );
            })
            .await;
        }
        "work" => {
            say("working");
            work().run_every(each()).await?;
        }
        "pickup" => {
            let worker = work();
            tokio::spawn(async move { worker.run_every(each()).await });
            protocol::pickup(told.count, |number| {
                let job = job.clone();
                async move {
                    job.enqueue(&number).await.expect("it is taken");
                }
            })
            .await;
        }
        _ => {}
    }
    Ok(())
}

// === awa: its storage of queues, with the settings of its bench ===

#[derive(serde::Serialize, serde::Deserialize, awa::JobArgs)]
struct Nothing {
    number: u64,
}

async fn awa_rs(told: Told, pool: PgPool) -> Result<(), Failed> {
    use awa::{Client, JobResult, QueueConfig};
    if told.role == "setup" {
        awa::migrations::run(&pool).await?;
        return Ok(());
    }
    let client = || {
        let config = QueueConfig {
            max_workers: 500,
            poll_interval: Duration::from_millis(20),
            claimers: 4,
            claim_batch_size: 512,
            ..QueueConfig::default()
        };
        Client::builder(pool.clone())
            .queue("default", config)
            .register::<Nothing, _, _>(|job, _| async move {
                protocol::ran(job.number);
                Ok(JobResult::Completed)
            })
            .build()
    };
    match told.role.as_str() {
        "enqueue" => {
            protocol::enqueued(async {
                for first in (0..told.count).step_by(5_000) {
                    let end = (first + 5_000).min(told.count);
                    let jobs: Result<Vec<_>, _> = (first..end)
                        .map(|number| awa::insert::params(&Nothing { number }))
                        .collect();
                    awa::insert_many_copy_from_pool(&pool, &jobs.expect("a number is JSON"))
                        .await
                        .expect("it is taken");
                }
            })
            .await;
        }
        "work" => {
            say("working");
            client()?.start().await?;
            protocol::for_ever().await;
        }
        "pickup" => {
            let client = client()?;
            client.start().await?;
            protocol::pickup(told.count, |number| {
                let pool = pool.clone();
                async move {
                    awa::insert(&pool, &Nothing { number })
                        .await
                        .expect("it is taken");
                }
            })
            .await;
        }
        _ => {}
    }
    Ok(())
}
