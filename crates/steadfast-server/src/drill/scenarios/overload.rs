//! Five times the load: ten times the recommendations. The database has connections for 320 of them a
//! second, and 400 come.

use crate::drill::judge::Overload;
use crate::drill::load::Class;
use crate::drill::stage::{Stage, USUAL};

/// How many times the usual load.
const TIMES: f64 = 5.0;

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<Overload> {
    let usual: f64 = USUAL.iter().map(|class| class.rate).sum();
    let more = usual * (TIMES - 1.0);
    let classes = USUAL.map(|class| match class.name {
        "recommendations" => Class {
            rate: class.rate + more,
            ..class
        },
        _ => class,
    });
    let lasts = stage.lasts(10.0, 4.0);
    let load = stage.load(classes.to_vec(), lasts);
    Ok(Overload {
        samples: stage.end(load).await?,
        calm_core_p99_ms: stage.calm_core_p99_ms,
    })
}
