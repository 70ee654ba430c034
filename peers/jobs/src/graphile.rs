//! `graphile_worker`, with the settings of its own bench of throughput.

use std::time::Duration;

use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, Worker,
    WorkerContext, WorkerOptions,
};
use serde::{Deserialize, Serialize};
use steadfast::BoxError;

use crate::protocol::{self, Told, say};

#[derive(Serialize, Deserialize)]
struct Nothing {
    number: u64,
}

impl TaskHandler for Nothing {
    const IDENTIFIER: &'static str = "nothing";

    async fn run(self, _: WorkerContext) -> impl IntoTaskHandlerResult {
        protocol::ran(self.number);
        Ok::<(), String>(())
    }
}

fn options(url: &str) -> WorkerOptions {
    WorkerOptions::default()
        .database_url(url)
        .define_job::<Nothing>()
}

/// For many: jobs are fetched ahead, and completed together.
async fn in_bulk(url: &str) -> Result<Worker, BoxError> {
    let worker = options(url)
        .concurrency(500)
        .poll_interval(Duration::from_millis(5))
        .complete_job_batch_delay(Duration::from_millis(5))
        .local_queue(LocalQueueConfig::default().with_size(5_000))
        .init()
        .await?;
    Ok(worker)
}

/// For one at a time: a local queue that waits for its jobs to be taken is not told of new ones.
async fn one_by_one(url: &str) -> Result<Worker, BoxError> {
    Ok(options(url).concurrency(8).init().await?)
}

pub(crate) async fn play(told: Told) -> Result<(), BoxError> {
    let worker = match told.role.as_str() {
        "pickup" => one_by_one(&told.url).await?,
        _ => in_bulk(&told.url).await?,
    };
    let utils = worker.create_utils();
    match told.role.as_str() {
        "setup" => utils.migrate().await?,
        "enqueue" => {
            protocol::enqueued(async {
                for first in (0..told.count).step_by(5_000) {
                    let end = (first + 5_000).min(told.count);
                    let jobs: Vec<RawJobSpec> = (first..end)
                        .map(|number| RawJobSpec {
                            identifier: "nothing".to_owned(),
                            payload: serde_json::json!({ "number": number }),
                            spec: JobSpec::default(),
                        })
                        .collect();
                    utils.add_raw_jobs(&jobs).await.expect("it is taken");
                }
            })
            .await;
        }
        "work" => {
            say("working");
            worker.run().await?;
        }
        "pickup" => {
            let worker = std::sync::Arc::new(worker);
            let running = worker.clone();
            tokio::spawn(async move {
                let _ = running.run().await;
            });
            protocol::pickup(told.count, |number| {
                let utils = worker.create_utils();
                async move {
                    utils
                        .add_job(Nothing { number }, JobSpec::default())
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
