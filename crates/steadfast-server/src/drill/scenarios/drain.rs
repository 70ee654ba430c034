//! The shop is told to end as a deployment does it: `SIGTERM`, while customers are in it.

use std::time::Duration;

use rustix::process::Signal;
use steadfast::clock;

use crate::drill::judge::Drain;
use crate::drill::load::Class;
use crate::drill::process::PATIENCE;
use crate::drill::stage::{Stage, USUAL, class};

/// When, from the begin of the load.
const TOLD: Duration = Duration::from_secs(2);

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<Drain> {
    // Four seconds of work each, so that somebody is in the middle of it.
    let statements = Class {
        patience: Duration::from_secs(10),
        ends: Duration::from_millis(500),
        ..class("statements", false, "GET", "/statements", 20.0)
    };
    let classes = USUAL.into_iter().chain([statements]).collect();
    let load = stage.load(classes, TOLD + Duration::from_secs(1));
    let start = load.start;
    clock::sleep_until(start + TOLD).await;
    stage.shop.signal(Signal::TERM)?;
    let told = clock::now();
    let status = stage.shop.ended_within(PATIENCE).await?;
    let took_s = (clock::now() - told).as_secs_f64();
    let samples = stage.end(load).await?;
    Ok(Drain {
        samples,
        told: Some(told - start),
        took_s: status.map(|_| took_s),
        exit_code: status.and_then(|status| status.code()),
    })
}
