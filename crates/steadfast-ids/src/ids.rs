//! The store of ids.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use steadfast_store::{Place, Store, binds};

use crate::error::{Error, Repr};
use crate::sql::{FILE_ADOPT, FILE_LOOK, PACKAGE};

/// Ids that a store hands out: worker ids ([`lease`](Self::lease)) and dense numbers
/// ([`segments`](Self::segments)). Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ids {
    store: Store,
}

impl Ids {
    /// Brings the tables up to date.
    ///
    /// # Errors
    /// When that fails, or the file of SQLite is a copy (SF-1306): two files that hand out the same ids make
    /// the same ids. A restored backup is one, too.
    ///
    /// # Cancel safety
    /// Dropped half-way, it has applied some of the migrations, each in whole.
    pub async fn open(store: &Store) -> Result<Self, Error> {
        store.migrate(&PACKAGE).await?;
        if let Some(found) = file(store) {
            let rows = store.run(&FILE_LOOK, binds![found.as_str()]).await?;
            let known: String = rows.one()?.get(0)?;
            if known != found {
                return Err(Repr::Copy { known, found }.into());
            }
        }
        let store = store.clone();
        Ok(Self { store })
    }

    /// Says that this file of SQLite is the one that ids are handed out by from now on, and what it was copied
    /// from is not used any more; then [opens](Self::open) it. To be said by a person, once, after a backup was
    /// restored or a file was moved by copying.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    /// As [`open`](Self::open).
    pub async fn adopt(store: &Store) -> Result<Self, Error> {
        store.migrate(&PACKAGE).await?;
        if let Some(found) = file(store) {
            store.run(&FILE_ADOPT, binds![found]).await?;
        }
        Self::open(store).await
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

/// Says which file of which file system it is, as far as that can be told; a copy has another number, or another
/// time of birth where numbers come again. Servers are no files, and a clone of a disk cannot be told.
fn file(store: &Store) -> Option<String> {
    let Place::Sqlite(path) = &store.config().place else {
        return None;
    };
    let found = fs::metadata(path).ok()?;
    let born = found.created().ok();
    let since = born.and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
    let born = since.map_or(0, |since| since.as_nanos());
    Some(format!("{}-{born}", found.ino()))
}
