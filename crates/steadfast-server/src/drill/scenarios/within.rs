//! Panics that no handler sees: bodies that break after their head has gone out, and tasks that nobody
//! waits for.

use steadfast_shop::faults::{Fault, Injection};

use super::panics::{end, reported};
use crate::drill::judge::PanicsWithin;
use crate::drill::stage::{Stage, USUAL};

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<PanicsWithin> {
    let lasts = stage.lasts(5.0, 3.0);
    let (since, before) = (stage.shop.log.len(), stage.shop.panics().await?);
    for (at, fault) in [
        ("GET /catalogue", Fault::PanicBody),
        ("POST /payments", Fault::PanicTask),
    ] {
        let fault = Injection {
            at: at.into(),
            fault,
            share: 0.2,
            lasts_ms: lasts.as_millis() as u64 + 1_000,
        };
        stage.shop.hurt(&fault).await?;
    }
    let load = stage.load(USUAL.to_vec(), lasts);
    let samples = stage.end(load).await?;
    let raised = stage.shop.panics().await? - before;
    end(stage, "GET /catalogue").await?;
    end(stage, "POST /payments").await?;
    let reported = reported(&stage.shop.log, since, raised).await;
    Ok(PanicsWithin {
        samples,
        reported,
        raised: Some(raised),
    })
}
