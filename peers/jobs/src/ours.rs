//! Steadfast, with default settings.

use serde::{Deserialize, Serialize};
use steadfast::jobs::{Batch, Job, Jobs, Kind, Options, Run, Running, Worker};
use steadfast::store::{Config, Store};
use steadfast::{BoxError, clock};

use crate::protocol::{self, Told, say};

#[derive(Serialize, Deserialize)]
pub(crate) struct Nothing {
    pub(crate) number: u64,
}

impl Job for Nothing {
    const KIND: &'static str = "nothing";
}

/// Never ends by itself.
#[derive(Serialize, Deserialize)]
pub(crate) struct Hold;

impl Job for Hold {
    const KIND: &'static str = "hold";
}

pub(crate) async fn open(url: &str) -> Result<Jobs, BoxError> {
    let store = Store::open(Config::parse(url)?).await?;
    Ok(Jobs::open(&store).await?)
}

pub(crate) fn work(jobs: &Jobs) -> Result<Running, BoxError> {
    let nothing = Kind::new(async |_: Run, job: Nothing| {
        protocol::ran(job.number);
        Ok(())
    });
    Ok(Worker::builder(jobs).kind(nothing).build()?.start())
}

pub(crate) async fn play(told: Told) -> Result<(), BoxError> {
    let jobs = open(&told.url).await?;
    match told.role.as_str() {
        "setup" => {}
        "enqueue" => {
            protocol::enqueued(async {
                let mut number = 0;
                while number < told.count {
                    let end = (number + 5_000).min(told.count);
                    enqueue(&jobs, number..end).await;
                    number = end;
                }
            })
            .await;
        }
        "work" => {
            let running = work(&jobs)?;
            say("working");
            running.events();
            protocol::for_ever().await;
        }
        "pickup" => {
            let _running = work(&jobs)?;
            protocol::pickup(told.count, |number| enqueue(&jobs, number..number + 1)).await;
        }
        "soak" => {
            let _running = work(&jobs)?;
            protocol::soak(told.count, 10, |first, each| {
                enqueue(&jobs, first..first + each)
            })
            .await;
        }
        "hold" => {
            let hold = Kind::new(async |_: Run, _: Hold| {
                say("holding");
                clock::sleep(std::time::Duration::from_secs(600)).await;
                Ok(())
            });
            let _running = Worker::builder(&jobs).kind(hold).build()?.start();
            protocol::for_ever().await;
        }
        role => return Err(format!("{role} is no role").into()),
    }
    jobs.store().close().await;
    Ok(())
}

async fn enqueue(jobs: &Jobs, numbers: std::ops::Range<u64>) {
    let mut batch = Batch::new();
    for number in numbers {
        batch
            .push(&Nothing { number }, Options::new())
            .expect("it is within bounds");
    }
    jobs.enqueue_batch(batch).await.expect("it is taken");
}
