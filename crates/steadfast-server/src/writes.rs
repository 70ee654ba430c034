//! Whether the store takes writes, followed while the program runs: a database becomes a standby, a disk is full, and
//! both pass. As long as it takes none, changes are refused before they begin, and reading goes on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast::clock;
use steadfast::store::{Error, Store, binds};

use crate::sql;

/// How often it is looked: every 2 s, one small statement that writes nothing while all is well.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Follows whether a store takes writes, until the last clone is gone.
#[derive(Clone, Default)]
pub(crate) struct Writes(Arc<Mutex<Option<Error>>>);

impl Writes {
    /// Gives it, and what looks as long as it is polled.
    pub(crate) fn follow(store: &Store) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let writes = Self::default();
        let (store, weak) = (store.clone(), Arc::downgrade(&writes.0));
        let looks = async move {
            while let Some(followed) = weak.upgrade() {
                let writes = Self(followed);
                writes.look(&store).await;
                drop(writes);
                clock::sleep(LOOK_EVERY).await;
            }
        };
        (writes, looks)
    }

    /// Tells why the store takes no writes; nothing where it does, as far as is known.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.inner().clone()
    }

    /// Hears of an error of the store.
    pub(crate) fn failed(&self, error: &Error) {
        if !is_about_writes(error) {
            return;
        }
        let mut trouble = self.inner();
        if trouble.is_none() {
            tracing::warn!(
                target: "steadfast::store",
                %error,
                "the store takes no writes; changes are refused until it does"
            );
        }
        *trouble = Some(error.clone());
    }

    async fn look(&self, store: &Store) {
        // A disk that is full is seen by writing alone; that it was is known from what failed.
        let by_writing = i64::from(self.trouble().is_some());
        let looked = store.run(&sql::WRITES_LOOK, binds![by_writing]).await;
        match looked {
            Ok(_) => {
                if self.inner().take().is_some() {
                    tracing::info!(target: "steadfast::store", "the store takes writes again");
                }
            }
            // What is away or busy says nothing about it.
            Err(error) => self.failed(&error),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Option<Error>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whether an error says that nothing at all can be written.
pub(crate) fn is_about_writes(error: &Error) -> bool {
    error.is_read_only() || error.is_disk_full()
}
