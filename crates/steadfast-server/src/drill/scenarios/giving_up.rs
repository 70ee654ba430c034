//! Clients of orders leave after some milliseconds: before the gateway was asked, while it was, while the
//! order is written down. Whatever they leave behind at the gateway is released.

use std::time::Duration;

use anyhow::Context;
use steadfast::clock;

use crate::drill::audit::audit;
use crate::drill::judge::GivingUp;
use crate::drill::load::Class;
use crate::drill::stage::{Stage, class};

/// How long they wait: an order takes some twenty.
const PATIENCES_MS: [u64; 4] = [4, 8, 13, 18];

/// How long cleanups may take.
const RELEASED_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<GivingUp> {
    let lasts = stage.lasts(4.0, 2.0);
    // All that was ordered before is paid then.
    audit(stage).await?;
    let before = open(stage).await?;
    let orders = class("orders", true, "POST", "/orders", 10.0);
    let classes = PATIENCES_MS.map(|ms| Class {
        patience: Duration::from_millis(ms),
        ..orders.clone()
    });
    let load = stage.load(classes.to_vec(), lasts);
    let samples = stage.end(load).await?;
    audit(stage).await?;
    let until = clock::now() + RELEASED_WITHIN;
    let mut left = open(stage).await? - before;
    while left > 0.0 && clock::now() < until {
        clock::sleep(Duration::from_millis(50)).await;
        left = open(stage).await? - before;
    }
    Ok(GivingUp {
        samples,
        left_aside: Some(left),
    })
}

async fn open(stage: &Stage) -> anyhow::Result<f64> {
    stage.holds().await?["open"]
        .as_f64()
        .context("the gateway counts what is put aside")
}
