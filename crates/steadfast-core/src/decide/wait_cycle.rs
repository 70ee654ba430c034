//! Who waits for whom, and whether that closes a circle.
//!
//! A deadlock is a circle of waits: each in it holds what the one before waits for. Looking for
//! circles now and then finds them when all is over; looking whenever a wait *starts* finds each
//! one when its last link is made, with the place that made it, because every other link is there
//! already.
//!
//! The usual search takes "one thread, one thing at a time" for granted, and that is not true of
//! async code: a task that joins two futures can wait in one of them and let go in the other. So
//! a party with several waits at once is never part of a circle, and a task that waits for what
//! it holds itself is only suspected: in straight code it waits for ever, in a join it does not.

/// The most locks that one search visits: 256. A chain of waits this long is no deadlock of the
/// kind that people can read; the watch reports its waits when they grow old.
pub const LOCKS_MAX: usize = 256;

/// A wait that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending<L> {
    /// What is waited for.
    pub lock: L,
    /// Whether the waiter can do nothing else meanwhile, as a blocked thread cannot.
    pub blocking: bool,
}

/// One link of a [`Cycle`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop<L, P> {
    /// What is waited for.
    pub lock: L,
    /// Who holds it, and waits for the lock of the next hop; the last one for that of the first.
    pub holder: P,
}

/// A circle of waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle<L, P> {
    /// The links, from the lock whose wait has just started.
    pub hops: Vec<Hop<L, P>>,
    /// Whether nobody in it can go on. Otherwise it is only suspected: a task waits, without
    /// blocking, for what it holds itself.
    pub sure: bool,
}

/// Looks for the shortest circle that a new wait closes.
///
/// `waiters` are the parties that cannot go on before they have `wait.lock`: a task, and the
/// thread too if it is blocked. `holders` gives the parties each of which must go on before a
/// lock is free; `waits` gives what a party waits for, the new wait included.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::decide::wait_cycle::{Pending, find};
///
/// // Ann holds 1 and starts to wait for 2; Bob holds 2 and waits for 1.
/// let wait = |lock| Pending { lock, blocking: false };
/// let holders = |lock: &u8| vec![if *lock == 1 { "ann" } else { "bob" }];
/// let waits = |who: &&str| vec![wait(if *who == "ann" { 2 } else { 1 })];
///
/// let cycle = find(&wait(2), &["ann"], holders, waits).unwrap();
/// assert_eq!(cycle.hops.iter().map(|hop| hop.holder).collect::<Vec<_>>(), ["bob", "ann"]);
/// assert!(cycle.sure);
/// ```
pub fn find<L, P>(
    wait: &Pending<L>,
    waiters: &[P],
    mut holders: impl FnMut(&L) -> Vec<P>,
    mut waits: impl FnMut(&P) -> Vec<Pending<L>>,
) -> Option<Cycle<L, P>>
where
    L: Clone + PartialEq,
    P: Clone + PartialEq,
{
    let does_several = |waits: &[Pending<L>]| waits.iter().all(|w| !w.blocking) && waits.len() > 1;
    if !wait.blocking && waiters.iter().any(|waiter| does_several(&waits(waiter))) {
        return None;
    }
    // Breadth first, so that the first circle is a shortest one. Each lock knows the way to it.
    let mut reached: Vec<(L, Option<(usize, P)>)> = vec![(wait.lock.clone(), None)];
    let mut next = 0;
    while let Some((lock, _)) = reached.get(next).cloned() {
        for holder in holders(&lock) {
            if waiters.contains(&holder) {
                let hops = way(&reached, next, holder);
                let sure = wait.blocking || hops.len() > 1;
                return Some(Cycle { hops, sure });
            }
            let pending = waits(&holder);
            if does_several(&pending) {
                continue;
            }
            // A party that is blocked waits for nothing else, whatever its other futures want.
            let blocked = pending.iter().any(|wait| wait.blocking);
            for wait in pending {
                let known = reached.iter().any(|(lock, _)| *lock == wait.lock);
                if known || wait.blocking != blocked || reached.len() == LOCKS_MAX {
                    continue;
                }
                reached.push((wait.lock, Some((next, holder.clone()))));
            }
        }
        next += 1;
    }
    None
}

/// Reads the way from the first lock to the one at `end`, whose `holder` closes the circle.
fn way<L: Clone, P: Clone>(
    reached: &[(L, Option<(usize, P)>)],
    mut end: usize,
    mut holder: P,
) -> Vec<Hop<L, P>> {
    let mut hops = Vec::new();
    loop {
        let (lock, from) = &reached[end];
        let lock = lock.clone();
        hops.push(Hop { lock, holder });
        let Some((before, by)) = from else {
            break;
        };
        (end, holder) = (*before, by.clone());
    }
    hops.reverse();
    hops
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: u8 = 3;
    const PARTIES: u8 = 3;

    /// A small world: who holds each lock, and what each party waits for.
    #[derive(Debug, Clone, Copy)]
    struct World {
        holder: [Option<u8>; LOCKS as usize],
        waits: [Option<u8>; PARTIES as usize],
    }

    impl World {
        /// Each of the 4,096 worlds of three locks and three parties.
        fn all() -> impl Iterator<Item = World> {
            (0..4u32.pow(6)).map(|number| {
                let digit = |i: u32| Some((number / 4u32.pow(i) % 4) as u8).filter(|d| *d < 3);
                World {
                    holder: [digit(0), digit(1), digit(2)],
                    waits: [digit(3), digit(4), digit(5)],
                }
            })
        }

        fn find(&self, who: u8, blocking: bool) -> Option<Cycle<u8, u8>> {
            let pending = |lock| Pending { lock, blocking };
            let lock = self.waits[usize::from(who)]?;
            find(
                &pending(lock),
                &[who],
                |lock| self.holder[usize::from(*lock)].into_iter().collect(),
                |party| {
                    self.waits[usize::from(*party)]
                        .map(pending)
                        .into_iter()
                        .collect()
                },
            )
        }

        /// Follows the only way there is, by hand.
        fn expected(&self, who: u8) -> Option<usize> {
            let mut at = who;
            for hops in 1..=usize::from(LOCKS) {
                at = self.holder[usize::from(self.waits[usize::from(at)]?)]?;
                if at == who {
                    return Some(hops);
                }
            }
            None
        }
    }

    #[test]
    fn every_circle_of_three_locks_and_parties_is_found_and_no_other() {
        for world in World::all() {
            for who in 0..PARTIES {
                for blocking in [false, true] {
                    let cycle = world.find(who, blocking);

                    let hops = cycle.as_ref().map(|cycle| cycle.hops.len());
                    assert_eq!(hops, world.expected(who), "{world:?} from {who}");
                    if let Some(cycle) = cycle {
                        links_are_real(&world, who, &cycle);
                        assert_eq!(cycle.sure, blocking || cycle.hops.len() > 1);
                    }
                }
            }
        }
    }

    fn links_are_real(world: &World, who: u8, cycle: &Cycle<u8, u8>) {
        let mut waiter = who;
        for hop in &cycle.hops {
            assert_eq!(world.waits[usize::from(waiter)], Some(hop.lock));
            assert_eq!(world.holder[usize::from(hop.lock)], Some(hop.holder));
            waiter = hop.holder;
        }
        assert_eq!(waiter, who);
    }

    fn wait(lock: u8) -> Pending<u8> {
        Pending {
            lock,
            blocking: false,
        }
    }

    #[test]
    fn a_party_that_waits_for_two_things_at_once_is_in_no_circle() {
        // Ann, 0, holds 1; Bob, 1, holds 2 and waits for 1 in one future and for 3 in another.
        let holders = |lock: &u8| match lock {
            1 => vec![0],
            2 => vec![1],
            _ => vec![],
        };
        let waits = |party: &u8| match party {
            0 => vec![wait(2)],
            _ => vec![wait(1), wait(3)],
        };

        assert_eq!(
            find(&wait(2), &[0], holders, waits),
            None,
            "bob is the other one"
        );
        assert_eq!(
            find(&wait(1), &[1], holders, waits),
            None,
            "bob starts the wait"
        );
    }

    #[test]
    fn a_blocked_party_is_in_a_circle_whatever_its_other_futures_wait_for() {
        let blocked = |lock| Pending {
            lock,
            blocking: true,
        };
        let holders = |lock: &u8| match lock {
            1 => vec![0],
            2 => vec![1],
            _ => vec![],
        };
        let waits = |party: &u8| match party {
            0 => vec![wait(2)],
            _ => vec![blocked(1), wait(3)],
        };

        let cycle = find(&wait(2), &[0], holders, waits).unwrap();

        assert_eq!(cycle.hops.len(), 2);
        assert!(find(&blocked(1), &[1], holders, waits).is_some());
    }

    #[test]
    fn a_lock_that_needs_two_parties_is_in_a_circle_by_either() {
        // Lock 1 was taken by task 7 on thread 9; thread 9 is blocked by a wait for lock 1.
        let blocked = Pending {
            lock: 1,
            blocking: true,
        };
        let waits = |party: &u8| match party {
            9 | 8 => vec![blocked.clone()],
            _ => vec![],
        };

        let cycle = find(&blocked, &[8, 9], |_| vec![7, 9], waits).unwrap();

        assert_eq!(cycle.hops, [Hop { lock: 1, holder: 9 }]);
        assert!(cycle.sure);
    }

    #[test]
    fn a_chain_without_end_is_left_after_the_bound() {
        let mut asked = 0;
        let found = find(
            &Pending {
                lock: 0u32,
                blocking: false,
            },
            &[u32::MAX],
            |lock| {
                asked += 1;
                vec![*lock]
            },
            |party| {
                vec![Pending {
                    lock: party.wrapping_add(1),
                    blocking: false,
                }]
            },
        );

        assert_eq!(found, None);
        assert_eq!(asked, LOCKS_MAX);
    }
}
