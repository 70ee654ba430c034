//! Ids that somebody else makes, fetched before they are wanted: the decision when, and how many.
//!
//! A service that hands out ids is a round trip away, and down now and then. So a client has a *stock*: the next
//! batch is fetched while half of the last one is still there, a batch is as large as is used in a while, and while the
//! service is away the stock is served to the last id. What is too old is thrown away: ids order by time, and one that
//! was made a minute ago would be smaller than those of everybody else.
//!
//! This part is pure: it is told the time and what came, and says what to fetch. The caller has the lock and the
//! connection: `Client`, with the feature `http`, is one.

use std::collections::VecDeque;
use std::time::Duration;

use steadfast_core::decide::backoff::{Backoff, BackoffState};

use crate::id::Id;
use crate::segment::adapted;

/// Serves ids from a stock, and says when to fetch more. Times are nanoseconds of any monotonic clock.
///
/// # Examples
/// ```
/// use steadfast_ids::Id;
/// use steadfast_ids::prefetch::{Prefetch, PrefetchConfig};
///
/// let mut stock = Prefetch::new(PrefetchConfig::default())?;
/// let count = stock.fetch(0).expect("there is nothing yet");
/// stock.fetched(0, (1..=u64::from(count)).map(Id::new).collect());
///
/// assert_eq!(stock.next(5), Some(Id::new(1)));
/// assert_eq!(stock.fetch(5), None, "more than half of them are there");
/// # Ok::<(), steadfast_ids::prefetch::InvalidPrefetch>(())
/// ```
#[derive(Clone, Debug)]
pub struct Prefetch {
    config: PrefetchConfig,
    /// In the order in which they came.
    batches: VecDeque<Batch>,
    stock: usize,
    count: u32,
    fetching: bool,
    fetch_from_ns: u64,
    backoff: BackoffState,
}

/// Sets the bounds of [`Prefetch`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrefetchConfig {
    /// The smallest batch, and the first one: 10 unless set.
    pub count_min: u32,
    /// The largest batch: 10,000 unless set, which is the most that a request may ask for.
    pub count_max: u32,
    /// How long a batch should last: 1 s unless set, so that an outage of about that length is not noticed.
    pub lasts: Duration,
    /// How old an id may get before it is used: 10 s unless set. So ids order by time as well as that; dense ids,
    /// which do not, may be kept for longer.
    pub fresh_for: Duration,
    /// The waits after failed fetches: those of [`Backoff::default`] unless set.
    pub backoff: Backoff,
}

/// Refuses a [`PrefetchConfig`]; the message names the bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPrefetch(&'static str);

#[derive(Clone, Debug)]
struct Batch {
    ids: std::vec::IntoIter<Id>,
    size: u64,
    came_ns: u64,
    /// When the first of them was used.
    since_ns: Option<u64>,
}

impl Prefetch {
    /// The most that is fetched at a time: 10,000 ids, a quarter of a megabyte of text.
    pub const COUNT_MAX: u32 = 10_000;

    /// Starts with nothing: the first thing is to [`fetch`](Self::fetch).
    ///
    /// # Errors
    /// [`InvalidPrefetch`] if a count is zero or over [`COUNT_MAX`](Self::COUNT_MAX), the greatest is below the least, or a
    /// time is zero.
    pub fn new(config: PrefetchConfig) -> Result<Self, InvalidPrefetch> {
        if config.count_min == 0 || config.count_max > Self::COUNT_MAX {
            return Err(InvalidPrefetch("a batch must have from 1 to 10,000 ids"));
        }
        if config.count_max < config.count_min {
            return Err(InvalidPrefetch("the largest batch is below the smallest"));
        }
        if config.lasts.is_zero() || config.fresh_for.is_zero() {
            return Err(InvalidPrefetch(
                "a batch must last, and ids be kept, for longer than no time",
            ));
        }
        Ok(Self {
            config,
            batches: VecDeque::new(),
            stock: 0,
            count: config.count_min,
            fetching: false,
            fetch_from_ns: 0,
            backoff: config.backoff.state(),
        })
    }

    /// Gives the next id that is fresh, if there is one.
    pub fn next(&mut self, now_ns: u64) -> Option<Id> {
        loop {
            let fresh_ns = nanos(self.config.fresh_for);
            let batch = self.batches.front_mut()?;
            let is_old = now_ns.saturating_sub(batch.came_ns) > fresh_ns;
            if !is_old && let Some(id) = batch.ids.next() {
                batch.since_ns.get_or_insert(now_ns);
                self.stock -= 1;
                return Some(id);
            }
            self.stock -= batch.ids.len();
            let lasted_ns = match batch.since_ns {
                Some(since_ns) if !is_old => now_ns.saturating_sub(since_ns),
                // It was more than there was use for.
                _ => u64::MAX,
            };
            let (least, most) = (self.config.count_min, self.config.count_max);
            let lasts_ns = nanos(self.config.lasts);
            let count = adapted(batch.size, lasted_ns, lasts_ns, least.into(), most.into());
            self.count = u32::try_from(count).unwrap_or(most);
            self.batches.pop_front();
        }
    }

    /// Says whether ids are to be fetched now, and how many; the caller then tells [`fetched`](Self::fetched) or
    /// [`failed`](Self::failed), and until then the answer is no.
    pub fn fetch(&mut self, now_ns: u64) -> Option<u32> {
        if self.fetching || self.stock > self.count as usize / 2 || now_ns < self.fetch_from_ns {
            return None;
        }
        self.fetching = true;
        Some(self.count)
    }

    /// Takes ids that came.
    pub fn fetched(&mut self, now_ns: u64, ids: Vec<Id>) {
        self.fetching = false;
        self.fetch_from_ns = now_ns;
        self.backoff.reset();
        self.stock += ids.len();
        self.batches.push_back(Batch {
            size: ids.len() as u64,
            ids: ids.into_iter(),
            came_ns: now_ns,
            since_ns: None,
        });
    }

    /// Notes that none came; the next fetch is a backoff away, drawn with `random`, 64 uniform random bits, and not before
    /// the service said to come back.
    pub fn failed(&mut self, now_ns: u64, random: u64, retry_after: Option<Duration>) {
        self.fetching = false;
        let wait = self
            .backoff
            .next(random)
            .max(retry_after.unwrap_or_default());
        self.fetch_from_ns = now_ns.saturating_add(nanos(wait));
    }

    /// Tells whether a fetch is on its way, and none has failed since the last batch came: it is worth waiting for.
    #[must_use]
    pub fn is_coming(&self) -> bool {
        self.fetching && self.backoff.failures() == 0
    }

    /// Tells when the next fetch may be, after a failed one.
    #[must_use]
    pub fn fetch_from_ns(&self) -> u64 {
        self.fetch_from_ns
    }

    /// Gives how many ids are there, old ones among them.
    #[must_use]
    pub fn stock(&self) -> usize {
        self.stock
    }
}

impl Default for PrefetchConfig {
    fn default() -> Self {
        Self {
            count_min: 10,
            count_max: Prefetch::COUNT_MAX,
            lasts: Duration::from_secs(1),
            fresh_for: Duration::from_secs(10),
            backoff: Backoff::default(),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    fn stock() -> Prefetch {
        Prefetch::new(PrefetchConfig::default()).unwrap()
    }

    /// Ids `from` and so on, as the service would give them.
    fn ids(from: u64, count: u32) -> Vec<Id> {
        (from..from + u64::from(count)).map(Id::new).collect()
    }

    #[test]
    fn the_next_batch_is_fetched_while_half_of_the_last_is_there() {
        let mut stock = stock();
        assert_eq!(stock.fetch(0), Some(10));
        assert!(
            stock.is_coming() && stock.fetch(0).is_none(),
            "one at a time"
        );
        stock.fetched(0, ids(0, 10));

        for id in 0..5 {
            assert_eq!((stock.fetch(0), stock.next(0)), (None, Some(Id::new(id))));
        }
        assert_eq!(stock.fetch(0), Some(10));
        stock.fetched(0, ids(10, 10));
        assert_eq!(stock.stock(), 15);
    }

    #[test]
    fn batches_grow_with_use_and_shrink_without() {
        let mut stock = stock();
        let (mut now, mut made) = (0, 0);
        let mut used = |stock: &mut Prefetch, count: usize, pause_ns: u64| {
            let mut largest = 0;
            for _ in 0..count {
                // What is too old is thrown away, and then there may be none.
                let mut taken = stock.next(now);
                if let Some(count) = stock.fetch(now) {
                    largest = largest.max(count);
                    stock.fetched(now, ids(made, count));
                    made += u64::from(count);
                    taken = taken.or_else(|| stock.next(now));
                }
                taken.expect("it is there");
                now += pause_ns;
            }
            largest
        };

        // A hundred thousand a second, and then one.
        let busy = used(&mut stock, 200_000, 10_000);
        assert_eq!(busy, Prefetch::COUNT_MAX);
        used(&mut stock, 200, 1_000 * MS);
        assert_eq!(used(&mut stock, 100, 1_000 * MS), 10);
    }

    #[test]
    fn ids_that_are_too_old_are_thrown_away() {
        let mut stock = stock();
        stock.fetch(0);
        stock.fetched(0, ids(0, 10));
        assert_eq!(stock.next(9_000 * MS), Some(Id::new(0)));

        assert_eq!((stock.next(11_000 * MS), stock.stock()), (None, 0));
        assert_eq!(stock.fetch(11_000 * MS), Some(10));
    }

    #[test]
    fn while_the_service_is_away_the_stock_is_served_and_it_is_asked_now_and_then() {
        let mut stock = stock();
        stock.fetch(0);
        stock.fetched(0, ids(0, 10));
        for _ in 0..6 {
            stock.next(0);
        }
        assert_eq!(stock.fetch(0), Some(10));

        stock.failed(0, 0, Some(Duration::from_secs(3)));

        assert!(!stock.is_coming());
        assert_eq!(stock.fetch(2_999 * MS), None, "it said when to come back");
        let left = std::iter::from_fn(|| stock.next(0)).count();
        assert_eq!(left, 4);
        assert_eq!(
            stock.fetch(stock.fetch_from_ns()),
            Some(20),
            "what was used at once was too few"
        );
        assert!(
            !stock.is_coming(),
            "one has failed: nobody waits for this one"
        );
    }

    #[test]
    fn bounds_are_refused_by_name() {
        let good = PrefetchConfig::default();
        for (config, part) in [
            (
                PrefetchConfig {
                    count_min: 0,
                    ..good
                },
                "from 1 to 10,000",
            ),
            (
                PrefetchConfig {
                    count_max: 10_001,
                    ..good
                },
                "from 1 to 10,000",
            ),
            (
                PrefetchConfig {
                    count_max: 5,
                    ..good
                },
                "below the smallest",
            ),
            (
                PrefetchConfig {
                    lasts: Duration::ZERO,
                    ..good
                },
                "longer than no time",
            ),
            (
                PrefetchConfig {
                    fresh_for: Duration::ZERO,
                    ..good
                },
                "longer than no time",
            ),
        ] {
            let message = Prefetch::new(config).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    proptest! {
        #[test]
        fn no_id_is_given_twice_and_the_stock_is_bounded(
            steps in prop::collection::vec((0..4_u8, 0..3_000_u64, any::<u64>()), 1..300),
        ) {
            let mut stock = stock();
            let (mut now, mut made, mut last, mut asked) = (0, 0, None, None);
            for (what, pause_ms, random) in steps {
                now += pause_ms * MS;
                match (what, asked.take()) {
                    (0 | 1, None) => asked = stock.fetch(now),
                    (0, Some(count)) => {
                        stock.fetched(now, ids(made, count));
                        made += u64::from(count);
                    }
                    (1, Some(_)) => stock.failed(now, random, None),
                    (_, waiting) => {
                        asked = waiting;
                        if let Some(id) = stock.next(now) {
                            prop_assert!(last < Some(id), "they rise");
                            last = Some(id);
                        }
                    }
                }
                prop_assert!(stock.stock() <= 2 * Prefetch::COUNT_MAX as usize);
            }
        }
    }
}
