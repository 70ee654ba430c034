use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Permits;
use super::books::Books;
use crate::decide::batch::{Pressure, SizeConfig};
use crate::{clock, recover_async};

/// Looks at the database while it is written to: who waits for locks, how far replicas are behind.
pub trait Look: Send + Sync + 'static {
    /// Looks once. Asked every 100 ms; a look that takes longer than that, fails or panics has seen
    /// nothing, and [`UnknownLag`](crate::decide::batch::UnknownLag) applies.
    ///
    /// # Cancel safety
    /// It is dropped when it takes too long.
    fn look(&self) -> impl Future<Output = Pressure> + Send;

    /// Gives the permits of all writers to the database that is looked at; `None`, by default, where a writer knows of
    /// no other. Asked once, when the writer starts.
    fn permits(&self) -> Option<Permits> {
        None
    }
}

/// How often to look: a lag over its limit is met within 200 ms, two looks.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

const _: () = assert!(SizeConfig::LOOK_VALID.as_millis() == 3 * LOOK_EVERY.as_millis());

/// Looks until nobody wants to know any more.
pub(super) async fn keep_looking(
    look: impl Look,
    permits: Option<Permits>,
    books: Arc<Books>,
    seen: watch::Sender<Option<(Pressure, u64)>>,
) {
    loop {
        let next = clock::now() + LOOK_EVERY;
        let pressure = clock::timeout(LOOK_EVERY, recover_async(async { look.look().await })).await;
        let pressure = match pressure {
            Ok(Ok(pressure)) => pressure,
            Ok(Err(_)) | Err(_) => Pressure::default(),
        };
        if let Some(permits) = &permits {
            permits.looked(pressure.lock_waiters);
        }
        books.looked(pressure);
        if seen.send(Some((pressure, clock::nanos()))).is_err() {
            return;
        }
        tokio::select! {
            () = clock::sleep_until(next) => {}
            () = seen.closed() => return,
        }
    }
}
