use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use crate::keys::OwnKeys;

/// Counts that are told apart by a key, in bounded number: what comes later is counted together.
pub(crate) struct Counts<K, C> {
    max: usize,
    counts: RwLock<HashMap<K, Arc<C>, OwnKeys>>,
}

impl<K: Hash + Eq, C: Default> Counts<K, C> {
    /// Makes room for `max` counts, and for those of the keys that stand for all others.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            counts: RwLock::default(),
        }
    }

    /// Gives the count of a key, or of the one that `beyond` makes of it once there are too many.
    pub(crate) fn of(&self, key: K, beyond: impl FnOnce(K) -> K) -> Arc<C> {
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get(&key) {
            return count.clone();
        }
        drop(counts);
        let mut counts = self.counts.write().unwrap_or_else(PoisonError::into_inner);
        let fits = counts.len() < self.max || counts.contains_key(&key);
        let key = if fits { key } else { beyond(key) };
        counts.entry(key).or_default().clone()
    }

    /// Does `f` to what [`of`](Self::of) gives, without a count of references where it is known.
    pub(crate) fn with<R>(
        &self,
        key: K,
        beyond: impl FnOnce(K) -> K,
        f: impl FnOnce(&C) -> R,
    ) -> R {
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get(&key) {
            return f(count);
        }
        drop(counts);
        f(&self.of(key, beyond))
    }

    pub(crate) fn each(&self, mut f: impl FnMut(&K, &C)) {
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        for (key, count) in counts.iter() {
            f(key, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_flood_of_keys_is_counted_in_bounded_memory() {
        let counts = Counts::<u64, AtomicU64>::new(10);

        for key in 1..=100 {
            counts.of(key, |_| 0).fetch_add(1, Ordering::Relaxed);
        }
        counts.of(7, |_| 0).fetch_add(1, Ordering::Relaxed);

        let mut told = Vec::new();
        counts.each(|key, count| told.push((*key, count.load(Ordering::Relaxed))));
        told.sort_unstable();
        let known = (1..=10).map(|key| (key, 1 + u64::from(key == 7)));
        assert_eq!(told, [(0, 90)].into_iter().chain(known).collect::<Vec<_>>());
    }
}
