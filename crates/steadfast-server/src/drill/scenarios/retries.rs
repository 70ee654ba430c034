//! The gateway fails half of the time, and clients who get a 5xx try again, up to four times, without
//! saying so. What keeps a gateway down is what it is asked then.

use std::time::Duration;

use anyhow::Context;
use steadfast::clock;
use steadfast_shop::faults::{Fault, Injection};

use crate::drill::judge::Retries;
use crate::drill::load::Class;
use crate::drill::stage::{Stage, USUAL};

/// How long it is well before: so long as is needed to know what it is asked then.
const BEFORE: Duration = Duration::from_secs(3);

/// How long customers come after it: what they get is looked at from the fifth second on.
const AFTER: Duration = Duration::from_secs(8);

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<Retries> {
    let lasts = stage.lasts(6.0, 3.0);
    let insist = |class| Class {
        attempts: 4,
        ..class
    };
    let load = stage.load(USUAL.map(insist).to_vec(), BEFORE + lasts + AFTER);
    let start = load.start;
    let at_start = requests(stage).await?;
    clock::sleep_until(start + BEFORE).await;
    let before = requests(stage).await?;
    let fault = Injection {
        at: "*".into(),
        fault: Fault::Error,
        share: 0.5,
        lasts_ms: lasts.as_millis() as u64,
    };
    let begun = stage.gateway.hurt(&fault).await?;
    clock::sleep_until(begun + lasts).await;
    let after = requests(stage).await?;
    let well = (before - at_start) / BEFORE.as_secs_f64();
    let failing = (after - before) / lasts.as_secs_f64();
    Ok(Retries {
        samples: stage.end(load).await?,
        ended: Some(begun + lasts - start),
        amplified: (well > 0.0).then(|| failing / well),
    })
}

async fn requests(stage: &Stage) -> anyhow::Result<f64> {
    stage.holds().await?["requests"]
        .as_f64()
        .context("the gateway counts its requests")
}
