//! What is played: each scenario hurts something while customers come, and notes what was seen.

mod calm;
mod drain;
mod drift;
mod frozen;
mod gateway;
mod giving_up;
mod killed;
mod overload;
mod panics;
mod progress;
mod retries;
mod within;

use clap::ValueEnum;
use steadfast_shop::faults::{Fault, Injection};

use super::judge::{self, Row};
use super::stage::Stage;

/// A scenario, in the order in which they are played. The shop does not live on after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Scenario {
    /// Nothing happens: what all else is compared with.
    Calm,
    /// One payment in five panics.
    Panics,
    /// The gateway hangs.
    Gateway,
    /// Five times the load, mostly recommendations.
    Overload,
    /// A worker is killed in the middle of a settlement.
    Killed,
    /// Bodies panic half-way, and tasks that nobody waits for.
    Within,
    /// The gateway takes longer and longer.
    Drift,
    /// The gateway fails half of the time, and clients try again.
    Retries,
    /// One job hangs, another is slow and gets on.
    Progress,
    /// A worker stands still through an occurrence.
    Frozen,
    /// Clients leave half-way.
    GivingUp,
    /// The shop is told to end while customers are in it.
    Sigterm,
}

impl Scenario {
    /// Those of a minute.
    pub(crate) const USUAL: [Self; 6] = [
        Self::Calm,
        Self::Panics,
        Self::Gateway,
        Self::Overload,
        Self::Killed,
        Self::Sigterm,
    ];

    /// Those of a test.
    pub(crate) const SHORT: [Self; 4] = [Self::Calm, Self::Panics, Self::Gateway, Self::Killed];

    /// All.
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// The name for `--only` and for machines.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value().expect("none is skipped");
        value.get_name().to_owned()
    }

    /// What it is called.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Calm => "usual load",
            Self::Panics => "panic in payments",
            Self::Gateway => "gateway hangs",
            Self::Overload => "load ×5, mostly recommendations",
            Self::Killed => "worker killed in mid settlement",
            Self::Within => "panics in bodies and tasks",
            Self::Drift => "gateway grows slow",
            Self::Retries => "gateway fails by half, clients retry",
            Self::Progress => "endless job beside a slow one",
            Self::Frozen => "worker frozen through an occurrence",
            Self::GivingUp => "clients give up",
            Self::Sigterm => "SIGTERM under load",
        }
    }

    /// Tells whether the unprotected shop has what it hurts: jobs and schedules it has none.
    pub(crate) fn is_for_both(self) -> bool {
        !matches!(self, Self::Progress | Self::Frozen)
    }

    /// Plays it and judges.
    pub(super) async fn play(self, stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
        Ok(match self {
            Self::Calm => calm::play(stage).await?.judge(),
            Self::Panics => panics::play(stage).await?.judge(),
            Self::Gateway => gateway::play(stage).await?.judge(),
            Self::Overload => overload::play(stage).await?.judge(),
            Self::Killed => killed::play(stage).await?.judge(),
            Self::Within => within::play(stage).await?.judge(),
            Self::Drift => drift::play(stage).await?.judge(),
            Self::Retries => retries::play(stage).await?.judge(),
            Self::Progress => progress::play(stage).await?.judge(),
            Self::Frozen => frozen::play(stage).await?.judge(),
            Self::GivingUp => giving_up::play(stage).await?.judge(),
            Self::Sigterm => drain::play(stage).await?.judge(),
        })
    }

    /// Its criteria, as nothing seen meets them.
    pub(crate) fn criteria(self) -> Vec<Row> {
        match self {
            Self::Calm => judge::Calm::default().judge(),
            Self::Panics => judge::Panics::default().judge(),
            Self::Gateway => judge::Gateway::default().judge(),
            Self::Overload => judge::Overload::default().judge(),
            Self::Killed => killed::nothing().judge(),
            Self::Within => judge::PanicsWithin::default().judge(),
            Self::Drift => judge::Drift::default().judge(),
            Self::Retries => judge::Retries::default().judge(),
            Self::Progress => judge::Progress::default().judge(),
            Self::Frozen => judge::Frozen::default().judge(),
            Self::GivingUp => judge::GivingUp::default().judge(),
            Self::Sigterm => judge::Drain::default().judge(),
        }
    }
}

/// Something goes wrong each time.
fn always(at: &str, fault: Fault, lasts: std::time::Duration) -> Injection {
    Injection {
        at: at.to_owned(),
        fault,
        share: 1.0,
        lasts_ms: lasts.as_millis() as u64,
    }
}
