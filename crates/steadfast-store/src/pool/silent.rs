//! A pool whose connections fall silent.

use std::future::pending;
use std::time::Duration;

use steadfast_core::clock;

use super::inner::{Manage, Pool};

/// Connections that are made at once, and then never say a word.
struct Silent;

impl Manage for Silent {
    type Conn = ();
    type Error = ();

    async fn connect(&self) -> Result<(), ()> {
        Ok(())
    }

    async fn is_alive(&self, (): &mut ()) -> bool {
        pending().await
    }

    async fn reset(&self, (): &mut ()) -> bool {
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_fell_silent_costs_whoever_wants_one_little_time_and_no_permit() {
    let pool = Pool::new(Silent, 1, Duration::from_secs(60));
    let hour = Duration::from_secs(3_600);

    for is_open in [false, true] {
        // While it was idle, or with something to be undone.
        let mut held = pool.acquire(None).await.unwrap();
        held.idle(is_open);
        drop(held);
        clock::sleep(Duration::from_secs(2)).await;

        let taken = clock::timeout(hour, pool.acquire(None)).await;
        assert!(taken.expect("nobody is waited for without end").is_ok());
    }
}
