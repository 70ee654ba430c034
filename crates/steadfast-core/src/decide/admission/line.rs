//! One tier's waiters: users take turns, and under a standing queue the newest goes first.
//!
//! Each waiter brings its user one *turn*, a number; turns are served in ascending order, those of
//! one number together make a *round*. A user's first turn is in the round that is being served,
//! further ones follow one by one, so that who sends a hundred requests holds a hundred turns and
//! meets each other user once in each round. A turn belongs to the user: whether the user's oldest
//! or newest waiter takes it is decided when it comes up. So the order of service is known at any
//! time, and with it who would be served last.

use std::collections::{BTreeMap, VecDeque};

/// The waiters of one tier.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// The user of each turn. Among the turns of a round the key's second part tells which was
    /// brought first.
    turns: BTreeMap<Turn, u64>,
    users: BTreeMap<u64, User>,
    /// The round that is being served.
    round: u64,
    /// How many users have no waiter and are remembered for having had their turn in this round.
    rested: u32,
    /// Since when there has always been a waiter.
    since: Option<u64>,
}

/// A round, and the sequence number of the waiter that brought the turn.
type Turn = (u64, u64);

#[derive(Clone, Debug, Default)]
struct User {
    /// Ascending.
    turns: VecDeque<Turn>,
    /// By sequence number, so that the first is the oldest.
    waiting: BTreeMap<u64, Entry>,
    /// The first round in which the user has neither had nor been given a turn.
    next: u64,
}

/// What is kept of a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) user: u64,
    /// Ascends over all waiters of the queue.
    pub(super) seq: u64,
    /// When it came.
    pub(super) since: u64,
    /// When waiting on is of no use.
    pub(super) leave_at: u64,
}

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
}

/// How many users without a waiter are remembered, as many as wait by default. With more, a new
/// round begins; users who come back early then get a turn more.
const RESTED_MAX: u32 = 1_000;

// === impl Line ===

impl Line {
    pub(super) fn len(&self) -> u32 {
        self.turns.len() as u32
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// The order of service at `now`, when a queue stands after so long.
    pub(super) fn order(&self, now: u64, standing_after_ns: u64) -> Order {
        match self.since {
            Some(since) if now.saturating_sub(since) >= standing_after_ns => Order::NewestFirst,
            _ => Order::OldestFirst,
        }
    }

    pub(super) fn push(&mut self, entry: Entry, now: u64) {
        self.since.get_or_insert(now);
        let user = self.users.entry(entry.user).or_default();
        if user.waiting.is_empty() && user.next > 0 {
            self.rested -= 1;
        }
        let turn = (user.next.max(self.round), entry.seq);
        user.next = turn.0 + 1;
        user.turns.push_back(turn);
        user.waiting.insert(entry.seq, entry);
        self.turns.insert(turn, entry.user);
    }

    /// Tells whether the next waiter of a user would be the last one, oldest first.
    pub(super) fn ends_with(&self, user: u64) -> bool {
        let Some(((last, _), _)) = self.turns.last_key_value() else {
            return true;
        };
        let next = self.users.get(&user).map_or(0, |user| user.next);
        // In the same round it is the last, because it has come last.
        next.max(self.round) >= *last
    }

    /// Takes out who is to be served next.
    pub(super) fn pop_first(&mut self, order: Order) -> Option<Entry> {
        let first = *self.turns.first_key_value()?.0;
        let turn = match order {
            Order::OldestFirst => first,
            Order::NewestFirst => *self.turns.range(..=(first.0, u64::MAX)).next_back()?.0,
        };
        self.begin(first.0);
        let id = self.turns.remove(&turn)?;
        let user = self.users.get_mut(&id)?;
        user.turns.pop_front();
        let (_, entry) = match order {
            Order::OldestFirst => user.waiting.pop_first(),
            Order::NewestFirst => user.waiting.pop_last(),
        }?;
        if user.waiting.is_empty() {
            self.rested += 1;
        }
        if self.rested > RESTED_MAX {
            self.begin(self.round + 1);
        }
        self.note_if_empty();
        Some(entry)
    }

    /// Takes out who would be served last.
    pub(super) fn pop_last(&mut self, order: Order) -> Option<Entry> {
        let last = *self.turns.last_key_value()?.0;
        let turn = match order {
            Order::OldestFirst => last,
            Order::NewestFirst => *self.turns.range((last.0, 0)..).next()?.0,
        };
        let user = self.users.get(&self.turns[&turn])?;
        let (_, &entry) = match order {
            Order::OldestFirst => user.waiting.last_key_value(),
            Order::NewestFirst => user.waiting.first_key_value(),
        }?;
        self.remove(entry.user, entry.seq)
    }

    /// Takes out a certain waiter, if it is still there; the user's last turn goes with it.
    pub(super) fn remove(&mut self, id: u64, seq: u64) -> Option<Entry> {
        let user = self.users.get_mut(&id)?;
        let entry = user.waiting.remove(&seq)?;
        let turn = user.turns.pop_back()?;
        self.turns.remove(&turn);
        // It was not served, so the turn is not used up.
        user.next = turn.0;
        if user.waiting.is_empty() {
            if user.next > self.round {
                self.rested += 1;
            } else {
                self.users.remove(&id);
            }
        }
        self.note_if_empty();
        Some(entry)
    }

    /// Begins a round, if it has not begun: who had a turn in the one before may come again.
    fn begin(&mut self, round: u64) {
        if round <= self.round {
            return;
        }
        self.round = round;
        if self.rested > 0 {
            self.users.retain(|_, user| !user.waiting.is_empty());
            self.rested = 0;
        }
    }

    fn note_if_empty(&mut self) {
        if self.turns.is_empty() {
            self.since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use Order::{NewestFirst, OldestFirst};

    fn line(users: &[u64]) -> Line {
        let mut line = Line::default();
        for (seq, &user) in users.iter().enumerate() {
            line.push(entry(user, seq as u64), 0);
        }
        line
    }

    fn entry(user: u64, seq: u64) -> Entry {
        Entry {
            user,
            seq,
            since: 0,
            leave_at: u64::MAX,
        }
    }

    fn served(line: &mut Line, order: Order) -> Vec<u64> {
        std::iter::from_fn(|| line.pop_first(order).map(|entry| entry.seq)).collect()
    }

    #[test]
    fn users_take_turns() {
        // Seven sends four before one and two come.
        let line = line(&[7, 7, 7, 7, 1, 2, 2]);

        assert_eq!(
            served(&mut line.clone(), OldestFirst),
            [0, 4, 5, 1, 6, 2, 3]
        );
        assert_eq!(
            served(&mut line.clone(), NewestFirst),
            [6, 4, 3, 5, 2, 1, 0]
        );
    }

    #[test]
    fn among_single_requests_the_order_decides() {
        let line = line(&[3, 1, 2]);

        assert_eq!(served(&mut line.clone(), OldestFirst), [0, 1, 2]);
        assert_eq!(served(&mut line.clone(), NewestFirst), [2, 1, 0]);
    }

    #[test]
    fn coming_back_at_once_is_no_way_around_the_turns() {
        let mut line = line(&[7, 7, 7, 1]);
        let mut users = Vec::new();

        for seq in 4..9 {
            let entry = line.pop_first(OldestFirst).unwrap();
            users.push(entry.user);
            if entry.user == 1 {
                line.push(self::entry(1, seq), 0);
            }
        }

        assert_eq!(users, [7, 1, 7, 1, 7]);
    }

    #[test]
    fn who_left_without_service_has_not_had_a_turn() {
        let mut line = line(&[7, 1]);
        assert_eq!(line.remove(7, 0), Some(entry(7, 0)));
        assert_eq!(line.remove(7, 0), None);

        line.push(entry(7, 2), 0);

        assert_eq!(served(&mut line, OldestFirst), [1, 2]);
    }

    #[test]
    fn a_queue_stands_once_it_has_not_been_empty_for_long() {
        let mut line = Line::default();
        line.push(entry(1, 0), 100);
        assert_eq!(line.order(149, 50), OldestFirst);
        assert_eq!(line.order(150, 50), NewestFirst);

        line.pop_first(OldestFirst);
        line.push(entry(1, 1), 200);

        assert_eq!(line.order(210, 50), OldestFirst);
    }

    #[test]
    fn a_stream_of_new_users_is_not_remembered_for_ever() {
        let mut line = line(&[7, 7]);
        line.pop_first(OldestFirst);

        for seq in 2..5_000 {
            line.push(entry(1_000 + seq, seq), 0);
            line.pop_first(NewestFirst);
            assert!(line.users.len() <= RESTED_MAX as usize + 2);
        }
    }

    proptest! {
        #[test]
        fn who_is_evicted_would_have_been_served_last(
            users in prop::collection::vec(0u64..5, 1..40),
            pops in 0usize..10,
            newest in any::<bool>(),
        ) {
            let order = if newest { NewestFirst } else { OldestFirst };
            let mut line = line(&users);
            for _ in 0..pops {
                line.pop_first(order);
            }
            let last = served(&mut line.clone(), order).last().copied();

            prop_assert_eq!(line.pop_last(order).map(|entry| entry.seq), last);
        }

        #[test]
        fn no_user_is_served_twice_while_another_waits_for_a_first_turn(
            users in prop::collection::vec(0u64..5, 1..40),
            newest in any::<bool>(),
        ) {
            let order = if newest { NewestFirst } else { OldestFirst };
            let mut line = line(&users);
            let mut counts = [0u32; 5];
            let mut left = [0u32; 5];
            for &user in &users {
                left[user as usize] += 1;
            }
            while let Some(entry) = line.pop_first(order) {
                counts[entry.user as usize] += 1;
                left[entry.user as usize] -= 1;
                for other in 0..5 {
                    let behind = counts[other] + 1 < counts[entry.user as usize];
                    prop_assert!(left[other] == 0 || !behind, "{counts:?}, waiting {left:?}");
                }
            }
        }

        #[test]
        fn books_agree_whatever_happens(
            steps in prop::collection::vec((0u8..4, 0u64..4, any::<bool>()), 0..80),
        ) {
            let mut line = Line::default();
            let mut waiting = std::collections::BTreeSet::new();
            for (seq, (step, user, newest)) in steps.into_iter().enumerate() {
                let order = if newest { NewestFirst } else { OldestFirst };
                let gone = match step {
                    0 => line.pop_first(order),
                    1 => line.pop_last(order),
                    2 => waiting.first().and_then(|&(seq, user)| line.remove(user, seq)),
                    _ => {
                        line.push(entry(user, seq as u64), 0);
                        waiting.insert((seq as u64, user));
                        None
                    }
                };
                if let Some(gone) = gone {
                    prop_assert!(waiting.remove(&(gone.seq, gone.user)));
                }

                prop_assert_eq!(line.len() as usize, waiting.len());
                prop_assert_eq!(line.since.is_some(), !waiting.is_empty());
                let resting = line.users.values().filter(|user| user.waiting.is_empty()).count();
                prop_assert_eq!(line.rested as usize, resting);
                for user in line.users.values() {
                    prop_assert_eq!(user.turns.len(), user.waiting.len());
                }
            }
        }
    }
}
