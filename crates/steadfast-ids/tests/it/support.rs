//! What the tests share.

use std::collections::HashSet;
use std::time::Duration;

use steadfast_core::clock;
use steadfast_ids::{Generator, Id, LeaseConfig};

/// How long a test waits for what must come: long enough for a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the long forms are asked for: `STEADFAST_TEST_LONG=1`.
pub(crate) fn long() -> bool {
    std::env::var_os("STEADFAST_TEST_LONG").is_some()
}

/// Ids of many, no two of which may be the same.
#[derive(Default)]
pub(crate) struct Union(HashSet<Id>);

impl Union {
    /// Adds ids of one of them.
    pub(crate) fn add(&mut self, ids: impl IntoIterator<Item = Id>) {
        for id in ids {
            assert!(self.0.insert(id), "{id} was made twice");
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A lease that lasts for as long as a test may take, with no rest.
pub(crate) fn lasting() -> LeaseConfig {
    LeaseConfig {
        lease: Duration::from_secs(600),
        ..restless()
    }
}

/// One whose worker id is free at once when it was given back: for clocks that are all the same.
pub(crate) fn restless() -> LeaseConfig {
    LeaseConfig {
        skew: Duration::ZERO,
        lead: Duration::ZERO,
        ..LeaseConfig::default()
    }
}

/// Makes ids, whatever it takes.
pub(crate) async fn make(ids: &Generator, count: usize) -> Vec<Id> {
    let mut made = Vec::new();
    while made.len() < count {
        match ids.next().await {
            Ok(id) => made.push(id),
            Err(error) => clock::sleep(error.retry_after().expect("it passes")).await,
        }
    }
    made
}

/// Does it again until it gives something.
pub(crate) async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            clock::sleep(Duration::from_millis(5)).await;
        }
    };
    match clock::timeout(PATIENCE, found).await {
        Ok(found) => found,
        Err(_) => panic!("what must come has not come within {PATIENCE:?}"),
    }
}
