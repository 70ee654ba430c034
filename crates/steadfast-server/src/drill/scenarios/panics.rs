//! One payment in five panics: its customer gets an answer with an id, and everybody else what they want.

use std::time::Duration;

use steadfast::clock;
use steadfast_shop::faults::{Fault, Injection};

use crate::drill::judge::Panics;
use crate::drill::log::Log;
use crate::drill::stage::Stage;

/// How long reports may take to come: ten seconds, on a machine that does much else. One that nobody claims is told
/// after less than a second.
const REPORTED_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<Panics> {
    let lasts = stage.lasts(6.0, 3.0);
    let (since, before) = (stage.shop.log.len(), stage.shop.panics().await?);
    let fault = Injection {
        at: "POST /payments".into(),
        fault: Fault::PanicHandler,
        share: 0.2,
        lasts_ms: lasts.as_millis() as u64 + 1_000,
    };
    stage.shop.hurt(&fault).await?;
    let samples = stage.usual(lasts).await?;
    let raised = stage.shop.panics().await? - before;
    end(stage, "POST /payments").await?;
    let reported = reported(&stage.shop.log, since, raised).await;
    Ok(Panics {
        samples,
        class: "payments",
        reported,
        raised: Some(raised),
    })
}

/// Ends what goes wrong somewhere before its time.
pub(super) async fn end(stage: &mut Stage, at: &str) -> anyhow::Result<()> {
    let none = super::always(at, Fault::Error, Duration::ZERO);
    stage.shop.hurt(&none).await.map(drop)
}

/// The trace ids of the reports, once there are as many as there were panics or no more will come.
pub(super) async fn reported(log: &Log, since: usize, raised: u64) -> Vec<String> {
    let until = clock::now() + REPORTED_WITHIN;
    loop {
        let reports = log.since(since, "steadfast::panic", "panic");
        if reports.len() as u64 >= raised || clock::now() > until {
            return reports
                .iter()
                .filter_map(|line| line.field("trace_id"))
                .collect();
        }
        clock::sleep(Duration::from_millis(50)).await;
    }
}
