use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Permits;
use super::books::Books;
use crate::decide::batch::{Pressure, SizeConfig};
use crate::{clock, recover_async};

/// Looks at the database while it is written to: who waits for locks, how far replicas are behind.
pub trait Look: Send + Sync + 'static {
    /// Looks once. Asked every 100 ms, or once it has answered where that takes longer. After 300 ms without an answer, and
    /// when it fails or panics, nothing is known, and [`UnknownLag`](crate::decide::batch::UnknownLag) applies until it answers.
    ///
    /// # Cancel safety
    /// It is dropped when it takes longer than ten seconds, or the writer has ended.
    fn look(&self) -> impl Future<Output = Pressure> + Send;

    /// Gives the permits of all writers to the database that is looked at; `None`, by default, where a writer knows of
    /// no other. Asked once, when the writer starts.
    fn permits(&self) -> Option<Permits> {
        None
    }
}

/// How often to look: a lag over its limit is met within 200 ms, two looks.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a look may take: ten seconds, so that one that makes a connection first has the time for it. Then another one is
/// begun.
const LOOK_MAX: Duration = Duration::from_secs(10);

const _: () = assert!(SizeConfig::LOOK_VALID.as_millis() == 3 * LOOK_EVERY.as_millis());

/// Looks until nobody wants to know any more.
pub(super) async fn keep_looking(
    look: impl Look,
    permits: Option<Permits>,
    books: Arc<Books>,
    seen: watch::Sender<Option<(Pressure, u64)>>,
) {
    let tell = |pressure: Pressure| {
        if let Some(permits) = &permits {
            permits.looked(pressure.lock_waiters);
        }
        books.looked(pressure);
        seen.send(Some((pressure, clock::nanos()))).is_ok()
    };
    let mut answered = clock::now();
    loop {
        let next = clock::now() + LOOK_EVERY;
        let looking = clock::timeout(LOOK_MAX, recover_async(async { look.look().await }));
        tokio::pin!(looking);
        let pressure = loop {
            tokio::select! {
                biased;
                looked = &mut looking => break match looked {
                    Ok(Ok(pressure)) => pressure,
                    Ok(Err(_)) | Err(_) => Pressure::default(),
                },
                // It goes on: another one would take as long.
                () = clock::sleep(LOOK_EVERY) => {
                    if clock::now() - answered >= SizeConfig::LOOK_VALID {
                        tell(Pressure::default());
                    }
                }
                () = seen.closed() => return,
            }
        };
        answered = clock::now();
        if !tell(pressure) {
            return;
        }
        tokio::select! {
            () = clock::sleep_until(next) => {}
            () = seen.closed() => return,
        }
    }
}
