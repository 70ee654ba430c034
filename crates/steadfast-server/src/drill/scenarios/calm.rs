//! The usual load. Before it is looked at, connections are opened and code paths are warm: the first
//! second of a process says nothing about the others.

use std::time::Duration;

use crate::drill::judge::Calm;
use crate::drill::stage::Stage;

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<Calm> {
    stage.usual(Duration::from_secs(1)).await?;
    let lasts = stage.lasts(9.0, 3.0);
    let samples = stage.usual(lasts).await?;
    let calm = Calm { samples };
    stage.calm_core_p99_ms = calm.core_p99_ms();
    Ok(calm)
}
