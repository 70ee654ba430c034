//! What a batch writer decides, against models of databases.

mod failures;
mod in_flight;
mod lag;
mod size;
mod waiters;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::decide::backoff::{Backoff, Jitter};

const MS: u64 = 1_000_000;

fn with_lag(unknown_lag: UnknownLag) -> BatchSize {
    let config = SizeConfig {
        lag_max: Some(Duration::from_secs(1)),
        unknown_lag,
        ..SizeConfig::default()
    };
    BatchSize::new(config).unwrap()
}

fn lag(ms: u64) -> Pressure {
    let lag = Lag::Known(Duration::from_millis(ms));
    Pressure {
        lock_waiters: None,
        lag,
    }
}
