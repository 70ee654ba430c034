//! A pool that is closed while very many wait.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::inner::{Manage, NoConnection, Pool};

/// Connections to nowhere, which are always there.
struct Nowhere;

impl Manage for Nowhere {
    type Conn = ();
    type Error = ();

    async fn connect(&self) -> Result<(), ()> {
        Ok(())
    }

    async fn is_alive(&self, (): &mut ()) -> bool {
        true
    }

    async fn reset(&self, (): &mut ()) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_passes_over_all_who_have_not_left_yet() {
    let pool = Pool::new(Nowhere, 1, Duration::from_secs(60));
    let held = pool.acquire(None).await.unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut waiting: Vec<_> = (0..20_000)
        .map(|_| Box::pin(tokio::task::unconstrained(pool.acquire(None))))
        .collect();
    for one in &mut waiting {
        assert!(one.as_mut().poll(&mut cx).is_pending());
    }

    pool.close();
    // Before any of them can notice.
    drop(held);

    for one in &mut waiting {
        let told = one.as_mut().poll(&mut cx);
        assert!(matches!(told, Poll::Ready(Err(NoConnection::Closed))));
    }
    assert_eq!(pool.stats(Duration::ZERO).waiters, 0);
}
