//! The gateway takes five seconds, which nobody waits for.

use std::time::Duration;

use steadfast::clock;
use steadfast_shop::faults::Fault;

use super::always;
use crate::drill::judge::Gateway;
use crate::drill::stage::{Stage, USUAL};

/// How long it is well before.
const BEFORE: Duration = Duration::from_secs(1);

/// How long customers come after it: longer than the first good call may take.
const AFTER: Duration = Duration::from_secs(6);

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<Gateway> {
    let lasts = stage.lasts(7.0, 4.0);
    let since = stage.shop.log.len();
    let load = stage.load(USUAL.to_vec(), BEFORE + lasts + AFTER);
    let start = load.start;
    clock::sleep_until(start + BEFORE).await;
    let slow = Fault::Latency {
        ms: 5_000,
        jitter_ms: 500,
    };
    let begun = stage.gateway.hurt(&always("*", slow, lasts)).await?;
    let samples = stage.end(load).await?;
    let opened = stage
        .shop
        .log
        .since(since, "steadfast::breaker", "the breaker is open");
    Ok(Gateway {
        samples,
        fault: Some((begun - start, begun + lasts - start)),
        opened: opened
            .first()
            .map(|line| line.at.saturating_duration_since(start)),
    })
}
