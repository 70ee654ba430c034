//! The gateway takes longer and longer, up to seven times as long as usual: nobody is to be told no who
//! could have been served.

use std::time::Duration;

use steadfast::clock;
use steadfast_shop::faults::Fault;

use super::always;
use crate::drill::judge::Drift;
use crate::drill::stage::{Stage, USUAL};

/// How much longer than its usual 10 ms, step by step.
const STEPS_MS: [u64; 4] = [15, 30, 45, 60];

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<Drift> {
    let step = stage.lasts(2.0, 1.0);
    let load = stage.load(USUAL.to_vec(), step * STEPS_MS.len() as u32);
    for ms in STEPS_MS {
        let latency = Fault::Latency {
            ms,
            jitter_ms: ms / 3,
        };
        stage
            .gateway
            .hurt(&always("*", latency, step + Duration::from_secs(1)))
            .await?;
        clock::sleep(step).await;
    }
    Ok(Drift {
        samples: stage.end(load).await?,
    })
}
