//! The rows of a batch in the order of their keys.

use super::WriteError;
use super::queue::{Answer, Entry};
use crate::recover;

/// Sorts and folds the entries of a batch.
pub(super) type Arrange<T> = Box<dyn Fn(Vec<Entry<T>>) -> Arranged<T> + Send + Sync>;

/// Entries in the order in which they are written.
pub(super) struct Arranged<T> {
    pub(super) entries: Vec<Entry<T>>,
    /// Whether each has the key of the one before it, and so must not be written before it.
    pub(super) twins: Vec<bool>,
    /// Those for which that panicked, with why.
    pub(super) panicked: Vec<Panicked<T>>,
}

/// A row, if it is still there, who wants to know, and why it cannot be written.
pub(super) type Panicked<T> = (Option<T>, Answer, WriteError);

/// Sorts by key, of one key in the order of arrival.
pub(super) fn by_key<T, K: Ord>(key: impl Fn(&T) -> K + Send + Sync + 'static) -> Arrange<T> {
    Box::new(move |entries| {
        let (keyed, panicked) = sorted(entries, &key);
        arranged(keyed, panicked)
    })
}

/// Sorts by key, and folds the later rows of a key into the first.
pub(super) fn folding<T, K: Ord>(
    key: impl Fn(&T) -> K + Send + Sync + 'static,
    fold: impl Fn(&mut T, T) + Send + Sync + 'static,
) -> Arrange<T> {
    Box::new(move |entries| {
        let (keyed, mut panicked) = sorted(entries, &key);
        let mut folded: Keyed<T, K> = Vec::with_capacity(keyed.len());
        for (key, entry) in keyed {
            let Some((_, kept)) = folded.last_mut().filter(|(last, _)| *last == key) else {
                folded.push((key, entry));
                continue;
            };
            let Entry { row, bytes, answer } = entry;
            match recover(|| fold(&mut kept.row, row)) {
                Ok(()) => {
                    kept.bytes = kept.bytes.max(bytes);
                    kept.answer.fold(answer);
                }
                Err(panic) => panicked.push((None, answer, WriteError::panicked(panic))),
            }
        }
        arranged(folded, panicked)
    })
}

type Keyed<T, K> = Vec<(K, Entry<T>)>;

fn sorted<T, K: Ord>(
    entries: Vec<Entry<T>>,
    key: impl Fn(&T) -> K,
) -> (Keyed<T, K>, Vec<Panicked<T>>) {
    let mut keyed = Vec::with_capacity(entries.len());
    let mut panicked = Vec::new();
    for entry in entries {
        match recover(|| key(&entry.row)) {
            Ok(key) => keyed.push((key, entry)),
            Err(panic) => {
                panicked.push((Some(entry.row), entry.answer, WriteError::panicked(panic)));
            }
        }
    }
    keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
    (keyed, panicked)
}

fn arranged<T, K: Ord>(keyed: Keyed<T, K>, panicked: Vec<Panicked<T>>) -> Arranged<T> {
    let twins = (0..keyed.len()).map(|at| at > 0 && keyed[at].0 == keyed[at - 1].0);
    Arranged {
        twins: twins.collect(),
        entries: keyed.into_iter().map(|(_, entry)| entry).collect(),
        panicked,
    }
}
