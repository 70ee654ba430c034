//! A bucket a key, in memory that no flood of keys can grow or turn against its users.
//!
//! # What an attacker wants
//!
//! Keys come from outside: addresses, tokens, whatever a client claims to be. So there are always
//! more of them than memory. Whoever can invent keys will try three things: to make the table
//! *grow*; to be *forgotten*, by flooding it until the entry that says "has used its quota" is
//! evicted; and to have *others* thrown out, so that good clients are judged together with the
//! flood. The usual answers give in to at least one of them. A map without a cap grows. A map that
//! evicts the least recently used forgets whoever stays quiet for as long as the flood takes. One
//! that rejects what it does not know rejects every new client, and one that lets it pass has no
//! limit any more.
//!
//! # The rules here
//!
//! Memory is fixed when the table is made: groups of [`WAYS`](KeyedRate::WAYS) seats, a key's hash
//! names its group, and one *shared bucket* a group for keys without a seat.
//!
//! 1. *Forgetting is lossless.* A seat is given away only when its bucket is full again, so that
//!    a new bucket for the same key would be no different. An offender's seat is not.
//! 2. *Acquaintance counts.* A key that comes back after its bucket was full is *known*. A known
//!    key keeps its seat for [`KeyedRate::keep`] after its last request, full or not. So a flood
//!    of keys that come once or twice cycles through the other seats and never through those of
//!    steady clients. At most [`KNOWN_WAYS`](KeyedRate::KNOWN_WAYS) seats of a group are for known
//!    keys, so that new clients always find some that turn over.
//! 3. *Who finds no seat shares.* The shared bucket has the quota of a single key. A key that is
//!    judged by it gets at most its quota, and a flood as a whole gets one quota a group.
//! 4. *A seat inherits.* A key that moves from the shared bucket to a seat starts with what is
//!    missing from the shared one, so that changing places never gives a fresh burst.
//!
//! From 1, 3 and 4 follows what the tests check: **no key ever gets more than its quota**, whatever
//! anybody else sends.
//!
//! # What it does not do
//!
//! A new client that arrives in the middle of a flood cannot be told from the flood; it gets a seat
//! when one turns over and shares until then. And an attacker who patiently sends from many keys
//! can become known with each of them: known seats then are taken, which keeps newcomers from
//! becoming known, but not the present ones, whose seats are theirs while they come. The group of
//! a key must not be guessable, or an attacker fills the group of a chosen victim before the victim
//! comes: hash keys with a secret.

use std::time::Duration;

use super::quota::{Answer, Quota};

/// Holds one quota for each of many keys, in fixed memory.
///
/// One call reads one group, nine buckets side by side in 264 bytes, whatever the number of keys.
/// There is no list to maintain and no clean-up to schedule.
///
/// This is one shard. A shell that is asked by many threads holds several, each under its own lock,
/// and picks one by bits of the key's hash that are not its highest.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use std::time::Duration;
/// use steadfast::decide::rate::{KeyedRate, Quota, Seat};
///
/// let quota = Quota::new(1, Duration::from_secs(1), 2)?;
/// let mut limits = KeyedRate::new(quota, KeyedRate::DEFAULT_KEYS);
/// let (alice, bob) = (0x51_7c_c1_b7_27_22_0a_95, 0xc9_11_0b_4e_ff_32_a6_01);
///
/// assert!(limits.check(alice, 0, 2).answer.is_allowed());
/// assert!(!limits.check(alice, 0, 1).answer.is_allowed());
/// assert_eq!(limits.check(bob, 0, 1).seat, Seat::Own);
/// # Ok::<(), steadfast_core::decide::rate::InvalidQuota>(())
/// ```
#[derive(Clone, Debug)]
pub struct KeyedRate {
    quota: Quota,
    keep_ns: u64,
    /// The newest instant seen. Threads read the clock before they get the lock, so instants come
    /// a little out of order; what was forgotten as of the newest must not be judged as of an
    /// older one, when it still mattered.
    latest: u64,
    groups: Box<[Group]>,
    stats: KeyedRateStats,
}

/// Answers one request of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedAnswer {
    /// Whether it passes, and what the client should know.
    pub answer: Answer,
    /// Whose bucket was asked. A rejection by the shared one should say so: it is not this
    /// client's doing alone.
    pub seat: Seat,
}

/// Says whose bucket judged a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seat {
    /// The key's own.
    Own,
    /// The one that the keys of a group share while it has no seat for them.
    Shared,
}

/// Counts what happened since the table was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyedRateStats {
    /// Seats that hold a key, forgettable ones included.
    pub seated: u64,
    /// Seats that were given to another key.
    pub reseated: u64,
    /// Requests that were judged by a shared bucket. If this grows without an attack, the table
    /// has too few seats.
    pub shared: u64,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    shared_full_at: u64,
    ways: [Way; KeyedRate::WAYS],
}

#[derive(Clone, Copy, Debug)]
struct Way {
    key: u64,
    full_at: u64,
    seen_at: u64,
    holder: Holder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    New,
    Known,
}

// === impl KeyedRate ===

impl KeyedRate {
    /// The seats of a group: 8.
    ///
    /// The more seats, the more evenly full the groups are and the longer a search takes. With 8
    /// and half of all seats taken, fewer than one key in a hundred finds its group full.
    pub const WAYS: usize = 8;

    /// The seats of a group that known keys may hold: 6, so that a quarter is left for new keys.
    pub const KNOWN_WAYS: usize = 6;

    /// The number of keys to plan for if you do not know better: 32,768, in 2.1 MiB.
    ///
    /// As many clients as a single process serves in ten minutes at fifty new ones a second.
    pub const DEFAULT_KEYS: u32 = 32_768;

    /// The most keys that one table may be planned for: 4 million, in 264 MiB.
    pub const MAX_KEYS: u32 = 4 << 20;

    /// How long a known key keeps its seat after its last request, unless set: 10 minutes.
    ///
    /// Longer than people read a page or pollers wait, and short enough that last hour's clients
    /// make room for this hour's.
    pub const DEFAULT_KEEP: Duration = Duration::from_secs(10 * 60);

    /// Makes a table that serves `keys` keys at a time with a bucket of their own, all full.
    ///
    /// It has twice as many seats, because hashing does not fill groups evenly; that is 66 bytes
    /// a key, taken now and never more. A number above [`MAX_KEYS`](Self::MAX_KEYS) or of zero is
    /// brought into range: the cap on keys is a bound of memory, not a promise to a client.
    #[must_use]
    pub fn new(quota: Quota, keys: u32) -> Self {
        let seats = 2 * keys.clamp(1, Self::MAX_KEYS) as usize;
        Self {
            quota,
            keep_ns: Self::DEFAULT_KEEP.as_nanos() as u64,
            latest: 0,
            groups: vec![Group::EMPTY; seats.div_ceil(Self::WAYS)].into_boxed_slice(),
            stats: KeyedRateStats::default(),
        }
    }

    /// Sets how long a known key keeps its seat after its last request.
    ///
    /// Zero is allowed and turns acquaintance off: a flood then takes the seats of all whose bucket
    /// is full.
    #[must_use]
    pub fn with_keep(mut self, keep: Duration) -> Self {
        self.keep_ns = u64::try_from(keep.as_nanos()).unwrap_or(u64::MAX);
        self
    }

    /// Takes `cost` cells from the bucket of a key at `now`, or says when they will be there.
    ///
    /// `key` is a 64-bit hash under a secret, such as SipHash with random keys. Two keys with the
    /// same hash share one bucket, and among a million keys one pair does so in 37 million tables;
    /// they get less than their quota, never more.
    ///
    /// A `now` older than one seen before counts as the newest seen.
    pub fn check(&mut self, key: u64, now: u64, cost: u32) -> KeyedAnswer {
        self.latest = self.latest.max(now);
        let now = self.latest;
        let index = ((u128::from(key) * self.groups.len() as u128) >> 64) as usize;
        let group = &mut self.groups[index];
        let found = match group.find(key) {
            Some(way) => {
                group.acquaint(way, now, self.keep_ns);
                Some(way)
            }
            None => group.take_seat(key, now, self.keep_ns, &mut self.stats),
        };
        let (full_at, seat) = match found {
            Some(way) => {
                let way = &mut group.ways[way];
                way.seen_at = now;
                (&mut way.full_at, Seat::Own)
            }
            None => {
                self.stats.shared += 1;
                (&mut group.shared_full_at, Seat::Shared)
            }
        };
        let (answer, taken) = self.quota.judge(*full_at, now, cost);
        if let Some(next) = taken {
            *full_at = next;
        }
        KeyedAnswer { answer, seat }
    }

    /// Changes the quota of all keys.
    ///
    /// As many cells stay missing from each bucket as are at `now`, though never more than the new
    /// burst. Takes time in proportion to the seats, about a millisecond for the default number.
    pub fn set_quota(&mut self, quota: Quota, now: u64) {
        let old = std::mem::replace(&mut self.quota, quota);
        for group in &mut self.groups {
            let seats = group.ways.iter_mut().map(|way| &mut way.full_at);
            for full_at in seats.chain([&mut group.shared_full_at]) {
                *full_at = quota.carry_over(&old, *full_at, now);
            }
        }
    }

    /// Returns the quota of each key.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// Returns how long a known key keeps its seat after its last request.
    #[must_use]
    pub fn keep(&self) -> Duration {
        Duration::from_nanos(self.keep_ns)
    }

    /// Returns the number of seats, which never changes.
    #[must_use]
    pub fn seats(&self) -> usize {
        self.groups.len() * Self::WAYS
    }

    /// Returns what was counted since the table was made.
    #[must_use]
    pub fn stats(&self) -> KeyedRateStats {
        self.stats
    }
}

// === impl Group ===

impl Group {
    const EMPTY: Self = Self {
        shared_full_at: 0,
        ways: [Way {
            key: 0,
            full_at: 0,
            seen_at: 0,
            holder: Holder::Nobody,
        }; KeyedRate::WAYS],
    };

    fn find(&self, key: u64) -> Option<usize> {
        self.ways
            .iter()
            .position(|way| way.holder != Holder::Nobody && way.key == key)
    }

    /// Makes a new key known if it came back after its bucket was full and there is room.
    fn acquaint(&mut self, index: usize, now: u64, keep_ns: u64) {
        let way = self.ways[index];
        if way.holder != Holder::New || way.full_at > now {
            return;
        }
        let known = |way: &&mut Way| way.holder == Holder::Known;
        if self.ways.iter_mut().filter(known).count() >= KeyedRate::KNOWN_WAYS {
            let Some(gone) = self
                .ways
                .iter_mut()
                .filter(known)
                .filter(|way| way.is_idle(now, keep_ns))
                .min_by_key(|way| way.seen_at)
            else {
                return;
            };
            gone.holder = Holder::New;
        }
        self.ways[index].holder = Holder::Known;
    }

    /// Seats a key if some seat is free or its holder can be forgotten without loss.
    fn take_seat(
        &mut self,
        key: u64,
        now: u64,
        keep_ns: u64,
        stats: &mut KeyedRateStats,
    ) -> Option<usize> {
        let (index, way) = self
            .ways
            .iter_mut()
            .enumerate()
            .filter(|(_, way)| way.is_forgettable(now, keep_ns))
            .min_by_key(|(_, way)| (way.holder as u8, way.seen_at))?;
        if way.holder == Holder::Nobody {
            stats.seated += 1;
        } else {
            stats.reseated += 1;
        }
        *way = Way {
            key,
            full_at: self.shared_full_at,
            seen_at: now,
            holder: Holder::New,
        };
        Some(index)
    }
}

// === impl Way ===

impl Way {
    fn is_idle(&self, now: u64, keep_ns: u64) -> bool {
        now.saturating_sub(self.seen_at) >= keep_ns
    }

    fn is_forgettable(&self, now: u64, keep_ns: u64) -> bool {
        match self.holder {
            Holder::Nobody => true,
            Holder::New => self.full_at <= now,
            Holder::Known => self.full_at <= now && self.is_idle(now, keep_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;
    const MINUTE: u64 = 60 * SECOND;

    fn per_second(burst: u32) -> Quota {
        Quota::new(1, Duration::from_secs(1), burst).unwrap()
    }

    /// Spreads small numbers over 64 bits, as a hash does.
    fn hash(number: u64) -> u64 {
        let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
    }

    /// Sends one request from each of `count` keys that were never seen before.
    fn flood(limits: &mut KeyedRate, first: u64, count: u64, now: u64) -> usize {
        (first..first + count)
            .filter(|number| limits.check(hash(*number), now, 1).answer.is_allowed())
            .count()
    }

    #[test]
    fn each_key_has_a_quota_of_its_own() {
        let mut limits = KeyedRate::new(per_second(2), 100);

        for number in 0..100 {
            let passed = [(); 3].map(|()| limits.check(hash(number), 0, 1).answer.is_allowed());
            assert_eq!(passed, [true, true, false], "key {number}");
        }
    }

    #[test]
    fn the_number_of_keys_planned_for_finds_seats() {
        let mut limits = KeyedRate::new(per_second(1), 10_000);

        flood(&mut limits, 0, 10_000, 0);

        assert!(limits.stats().shared < 100, "{:?}", limits.stats());
    }

    #[test]
    fn a_million_keys_take_no_more_memory() {
        let mut limits = KeyedRate::new(per_second(1), 1_000);

        flood(&mut limits, 0, 1_000_000, 0);

        assert_eq!(limits.seats(), 2_000);
        assert_eq!(limits.stats().seated, 2_000);
    }

    #[test]
    fn an_offender_is_not_forgotten_in_a_flood() {
        let mut limits = KeyedRate::new(per_second(10), 64);
        let offender = u64::MAX / 3;
        for _ in 0..10 {
            assert!(limits.check(offender, 0, 1).answer.is_allowed());
        }

        flood(&mut limits, 0, 100_000, SECOND / 2);

        let answer = limits.check(offender, SECOND / 2, 1);
        assert_eq!(answer.seat, Seat::Own);
        assert_eq!(
            answer.answer.retry_after(),
            Some(Duration::from_millis(500))
        );
    }

    #[test]
    fn known_keys_keep_their_seats_in_a_flood() {
        let mut limits = KeyedRate::new(per_second(2), 1_000);
        let good: Vec<u64> = (0..100).map(hash).collect();
        for now in [0, MINUTE] {
            for key in &good {
                assert!(limits.check(*key, now, 1).answer.is_allowed());
            }
        }

        for second in 0..100 {
            let now = MINUTE + second * SECOND;
            flood(&mut limits, 1_000 + second * 10_000, 10_000, now);
        }

        for key in &good {
            let answer = limits.check(*key, MINUTE + 100 * SECOND, 1);
            assert_eq!(answer.seat, Seat::Own);
            assert!(answer.answer.is_allowed());
        }
    }

    #[test]
    fn a_flood_as_a_whole_gets_a_quota_a_seat_and_a_group() {
        let mut limits = KeyedRate::new(per_second(1), 400);
        let groups = limits.seats() / KeyedRate::WAYS;

        let at_once = flood(&mut limits, 0, 100_000, 0);
        let later = flood(&mut limits, 100_000, 100_000, SECOND);

        assert_eq!(at_once, limits.seats() + groups);
        assert!(later <= limits.seats() + groups, "{later}");
    }

    #[test]
    fn new_clients_get_seats_beside_known_ones() {
        let mut limits = KeyedRate::new(per_second(1), 4);
        for now in [0, MINUTE] {
            flood(&mut limits, 0, 100, now);
        }

        let newcomer = limits.check(hash(1_000), 2 * MINUTE, 1);

        assert_eq!(newcomer.seat, Seat::Own);
    }

    #[test]
    fn known_keys_that_stay_away_make_room() {
        let mut limits = KeyedRate::new(per_second(1), 4).with_keep(Duration::from_secs(300));
        let regulars: Vec<u64> = (0..6).map(hash).collect();
        for now in [0, MINUTE] {
            for key in &regulars {
                limits.check(*key, now, 1);
            }
        }
        let mut seats_for_newcomers = |now| {
            let newcomers = 100..120;
            newcomers
                .filter(|number| limits.check(hash(number + now), now, 1).seat == Seat::Own)
                .count()
        };

        assert_eq!(seats_for_newcomers(2 * MINUTE), 2);
        assert_eq!(seats_for_newcomers(7 * MINUTE), 8);
    }

    #[test]
    fn a_known_offender_is_not_forgotten_however_short_the_keep() {
        let mut limits = KeyedRate::new(per_second(3), 4).with_keep(Duration::ZERO);
        let offender = hash(0);
        limits.check(offender, 0, 1);
        limits.check(offender, MINUTE, 3);

        flood(&mut limits, 1, 1_000, MINUTE + SECOND);

        let answer = limits.check(offender, MINUTE + SECOND, 2);
        assert_eq!(
            (answer.seat, answer.answer.is_allowed()),
            (Seat::Own, false)
        );
    }

    #[test]
    fn coming_twice_in_a_burst_is_no_acquaintance() {
        let mut limits = KeyedRate::new(per_second(5), 4);
        for now in [0, SECOND / 2] {
            flood(&mut limits, 0, 8, now);
        }

        flood(&mut limits, 100, 8, MINUTE);

        assert_eq!(limits.stats().shared, 0);
    }

    #[test]
    fn known_keys_are_not_displaced_by_later_acquaintances() {
        let mut limits = KeyedRate::new(per_second(1), 4);
        for now in [0, MINUTE] {
            flood(&mut limits, 0, 6, now);
        }
        for now in [2 * MINUTE, 3 * MINUTE] {
            flood(&mut limits, 100, 2, now);
        }

        flood(&mut limits, 200, 100, 4 * MINUTE);

        for number in 0..6 {
            let answer = limits.check(hash(number), 4 * MINUTE, 1);
            assert_eq!(answer.seat, Seat::Own, "key {number}");
        }
    }

    #[test]
    fn a_changed_quota_reaches_seats_and_shared_buckets() {
        let mut limits = KeyedRate::new(per_second(4), 4);
        flood(&mut limits, 0, 8, 0);
        let shared = hash(8);
        limits.check(shared, 0, 4);

        limits.set_quota(per_second(2), 0);

        assert_eq!(limits.check(hash(0), 0, 0).answer.remaining(), 1);
        let answer = limits.check(shared, 0, 1);
        assert_eq!(answer.seat, Seat::Shared);
        assert_eq!(answer.answer.retry_after(), Some(Duration::from_secs(1)));
    }

    proptest! {
        #[test]
        fn no_key_ever_gets_more_than_its_quota(
            burst in 1..5_u32,
            keep_secs in 0..20_u64,
            requests in prop::collection::vec(
                (0..40_u64, 0..SECOND, 0..SECOND, 1..3_u32),
                1..400,
            ),
        ) {
            let mut limits =
                KeyedRate::new(per_second(burst), 4).with_keep(Duration::from_secs(keep_secs));
            let mut taken: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
            let (mut clock, mut newest) = (0, 0);

            for (number, step, behind, cost) in requests {
                clock += step;
                // Every other caller read its clock a while ago.
                let now = clock.saturating_sub(behind * (number % 2));
                newest = newest.max(now);
                if limits.check(hash(number), now, cost).answer.is_allowed() {
                    taken.entry(number).or_default().push((newest, cost.into()));
                }
            }

            for cells in taken.values() {
                for (first, (from, _)) in cells.iter().enumerate() {
                    let mut sum = 0;
                    for (until, cost) in &cells[first..] {
                        sum += cost;
                        prop_assert!(sum <= u64::from(burst) + (until - from) / SECOND);
                    }
                }
            }
        }

        #[test]
        fn with_seats_for_all_each_key_is_judged_as_if_alone(
            requests in prop::collection::vec((0..8_u64, 0..SECOND, 1..3_u32), 1..200),
        ) {
            let quota = per_second(3);
            let mut limits = KeyedRate::new(quota, 4);
            let mut alone: HashMap<u64, u64> = HashMap::new();
            let mut now = 0;

            for (number, step, cost) in requests {
                now += step;
                let full_at = alone.entry(number).or_default();
                let (expect, taken) = quota.judge(*full_at, now, cost);
                *full_at = taken.unwrap_or(*full_at);

                prop_assert_eq!(limits.check(hash(number), now, cost).answer, expect);
            }
        }
    }
}
