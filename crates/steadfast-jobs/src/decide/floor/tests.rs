use super::*;
use crate::decide::poll::{CEILING, Poll};

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;
/// A claim that takes no time.
const SEEN: Seen = Seen {
    from: i64::MIN,
    began: 0,
    at_us: 5_000_000,
    wanted: 10,
    found: 10,
    last_rank_us: Some(77),
};

/// Claims, and takes that many milliseconds; gives the rank from which.
fn claim(floor: &mut Floor, began: u64, took: u64, woken: bool, seen: Seen) -> i64 {
    let from = floor.from(began, woken);
    let seen = Seen {
        from,
        began,
        ..seen
    };
    floor.claimed(began + took * MILLI, seen);
    from
}

#[test]
fn claims_go_on_from_the_last_one_while_there_is_more() {
    let mut floor = Floor::new();
    assert_eq!(floor.from(0, false), i64::MIN);

    assert_eq!(floor.claimed(0, SEEN), None);

    assert_eq!(floor.from(MILLI, false), 77);
}

#[test]
fn a_claim_that_found_all_there_is_goes_on_a_little_before_its_time() {
    let mut floor = Floor::new();

    assert_eq!(floor.claimed(0, Seen { found: 0, ..SEEN }), None);

    assert_eq!(floor.from(MILLI, false), 4_000_000);
}

#[test]
fn what_nobody_tells_of_is_looked_for_in_time() {
    let mut floor = Floor::new();
    floor.claimed(0, Seen { found: 9, ..SEEN });
    let (from, began) = (floor.from(MILLI, false), MILLI);
    floor.claimed(
        MILLI,
        Seen {
            from,
            began,
            found: 9,
            ..SEEN
        },
    );

    assert_eq!(floor.from(SECOND - 1, false), 4_000_000);
    assert_eq!(floor.from(SECOND, false), i64::MIN);
}

#[test]
fn slow_looks_are_rare() {
    let mut floor = Floor::new();

    claim(&mut floor, SECOND, 10, false, Seen { found: 0, ..SEEN });

    assert_eq!(floor.from(3_010 * MILLI - 1, false), 4_000_000);
    assert_eq!(floor.from(3_010 * MILLI, false), i64::MIN);
}

/// Its commits are, such as those to another region.
#[test]
fn looks_are_not_slow_where_each_claim_is() {
    let mut floor = Floor::new();
    claim(&mut floor, 0, 100, true, SEEN);
    assert_eq!(claim(&mut floor, SECOND, 100, true, SEEN), 77);

    let looks = claim(&mut floor, 6 * SECOND, 100, false, SEEN);
    assert_eq!(looks, i64::MIN);
    assert_eq!(floor.from(7_100 * MILLI, false), i64::MIN);
}

/// What they find takes its time, and so does the commit of that. Claims that find nothing have neither.
#[test]
fn looks_are_not_slow_by_what_they_find() {
    let found = |found| Seen { found, ..SEEN };
    let mut floor = Floor::new();
    claim(&mut floor, 0, 1, true, found(0));
    claim(&mut floor, MILLI, 20, true, found(9));
    claim(&mut floor, 30 * MILLI, 1, true, found(0));

    for (at, took, jobs) in [(2, 20, 9), (4, 500, 200), (6, 1, 0)] {
        let seen = Seen {
            wanted: 1_000,
            ..found(jobs)
        };
        let looks = claim(&mut floor, at * SECOND, took, false, seen);
        assert_eq!(looks, i64::MIN);
        let next = (at + 1) * SECOND + took * MILLI;
        assert_eq!(floor.from(next, false), i64::MIN, "{jobs} jobs");
    }

    claim(&mut floor, 8 * SECOND, 30, false, found(8));
    let rest = 10 * MILLI * SHARE;
    assert_eq!(floor.from(8_030 * MILLI + rest - 1, false), 4_000_000);
}

/// The way to the database is that long.
#[test]
fn looks_are_not_slow_where_claims_in_vain_are() {
    let empty = Seen { found: 0, ..SEEN };
    let mut floor = Floor::new();
    claim(&mut floor, 0, 30, false, empty);
    assert_ne!(claim(&mut floor, 50 * MILLI, 30, true, empty), i64::MIN);

    assert_eq!(claim(&mut floor, 6 * SECOND, 30, false, empty), i64::MIN);

    assert_eq!(floor.from(7_030 * MILLI, false), i64::MIN);
}

/// It was no slow database, it stood still.
#[test]
fn a_standstill_keeps_looks_away_for_seconds_at_most() {
    let mut floor = Floor::new();

    floor.claimed(9 * SECOND, Seen { found: 0, ..SEEN });

    assert_eq!(floor.from(14 * SECOND - 1, false), 4_000_000);
    assert_eq!(floor.from(14 * SECOND, false), i64::MIN);
}

#[test]
fn what_is_told_of_is_looked_for_at_once() {
    let mut floor = Floor::new();
    floor.claimed(0, Seen { found: 9, ..SEEN });

    floor.look(MILLI);

    assert_eq!(floor.from(MILLI, false), i64::MIN);
    floor.claimed(
        3 * MILLI,
        Seen {
            began: 2 * MILLI,
            found: 9,
            ..SEEN
        },
    );
    assert_eq!(floor.from(4 * MILLI, false), 4_000_000, "once is enough");
}

#[test]
fn what_is_told_of_while_a_claim_looks_is_looked_for_again() {
    let mut floor = Floor::new();

    floor.look(MILLI);
    floor.claimed(
        2 * MILLI,
        Seen {
            began: MILLI,
            found: 9,
            ..SEEN
        },
    );

    assert_eq!(floor.from(2 * MILLI, false), i64::MIN);
}

#[test]
fn where_there_is_more_than_claims_take_those_that_tell_have_looks_take_half_of_the_time() {
    let mut floor = Floor::new();
    floor.claimed(3 * MILLI, SEEN);

    floor.look(4 * MILLI);

    assert_eq!(floor.from(6 * MILLI - 1, true), 77);
    assert_eq!(floor.from(6 * MILLI, true), i64::MIN);
}

/// Their ranks lie ahead of the time, and above those of all that comes in.
#[test]
fn what_comes_in_while_lower_priorities_wait_is_found_by_the_next_claim() {
    let mut floor = Floor::new();

    floor.claimed(
        0,
        Seen {
            last_rank_us: Some(65_000_000),
            ..SEEN
        },
    );

    floor.wake(MILLI);

    assert_eq!(floor.from(MILLI, true), 4_000_000);
}

#[test]
fn what_comes_in_while_lower_priorities_wait_is_not_forgotten_by_claims_that_go_on() {
    let ahead = |at_s: i64, rank_s: i64| Seen {
        at_us: at_s * 1_000_000,
        last_rank_us: Some(rank_s * 1_000_000),
        ..SEEN
    };
    let mut floor = Floor::new();
    claim(&mut floor, 0, 0, false, ahead(5, 65));
    floor.wake(MILLI);
    let back = claim(&mut floor, MILLI, 10, true, ahead(5, 66));
    assert_eq!(back, 4_000_000);

    floor.wake(12 * MILLI);
    let goes_on = claim(&mut floor, 15 * MILLI, 1, true, ahead(6, 67));
    assert_eq!(goes_on, 66_000_000, "half of the time is left to others");

    assert_eq!(floor.from(21 * MILLI - 1, false), 67_000_000);
    assert_eq!(floor.from(21 * MILLI, false), 4_000_000);
    let back = claim(&mut floor, 21 * MILLI, 10, false, ahead(6, 68));
    assert_eq!(back, 4_000_000);
    let rested = 31 * MILLI + 10 * MILLI * SHARE_OF_CLOSE;
    assert_eq!(floor.from(rested - 1, true), 68_000_000);
    assert_eq!(floor.from(rested, true), 5_000_000, "nobody told of any");
}

/// The claim that was to find it went on above it, to the end of the others.
#[test]
fn what_comes_in_while_going_back_rests_is_found_by_a_claim_at_once() {
    let ahead = Seen {
        last_rank_us: Some(65_000_000),
        ..SEEN
    };
    let mut floor = Floor::new();
    // Looks are slow, so none comes soon.
    claim(&mut floor, 0, 100, false, Seen { found: 0, ..SEEN });
    claim(&mut floor, 110 * MILLI, 1, true, ahead);
    floor.wake(120 * MILLI);
    claim(&mut floor, 120 * MILLI, 200, true, ahead);
    floor.wake(330 * MILLI);
    let from = floor.from(340 * MILLI, true);
    assert_eq!(from, 65_000_000);
    let seen = Seen {
        from,
        began: 340 * MILLI,
        found: 3,
        ..ahead
    };

    assert_eq!(floor.claimed(341 * MILLI, seen), Some(341 * MILLI));
    assert_eq!(floor.from(341 * MILLI, false), 4_000_000);
}

/// Each leaves an entry behind that claims from below have to step over.
#[test]
fn a_backlog_of_lower_priority_is_emptied_without_stepping_over_it_again_and_again() {
    const BATCH: i64 = 1_000;
    const BATCHES: i64 = 1_000;
    // A million entries in 100 ms, and a millisecond for the claim itself.
    const STEP: i64 = 100;
    for (wakes, usual) in [(false, 0), (true, 0), (true, 1), (true, BATCH)] {
        let (mut floor, mut now, mut gone, mut stepped) = (Floor::new(), 0, 0, 0);
        // What comes in as usual, all the time, and since when.
        let (mut waits, mut since, mut longest, mut late) = (0, 0, 0, 0);
        let backlog_us = |place: i64| 1_000_000_000 + 600_000_000 + place;
        while gone < BATCH * BATCHES && now < 600 * SECOND {
            if wakes {
                floor.wake(now);
            }
            if usual > 0 && waits == 0 && now % 3 == 0 {
                (waits, since) = (usual, now);
            }
            let from = floor.from(now, wakes);
            let at_us = 1_000_000_000 + (now / 1_000) as i64;
            let (began, goes_back) = (now, from < backlog_us(0));
            // They lie before the backlog.
            let taken = if goes_back { waits.min(BATCH) } else { 0 };
            waits -= taken;
            let rest = BATCH - taken;
            let over = if rest > 0 {
                gone - from.saturating_sub(backlog_us(0)).clamp(0, gone)
            } else {
                0
            };
            gone += rest;
            stepped += over;
            now += MILLI + (over * STEP) as u64;
            longest = longest.max(now - began);
            if taken > 0 && waits == 0 {
                late = late.max(now - since);
            }
            let last = if rest > 0 { backlog_us(gone) } else { at_us };
            let seen = Seen {
                from,
                began,
                at_us,
                wanted: BATCH as usize,
                found: BATCH as usize,
                last_rank_us: Some(last),
            };
            floor.claimed(now, seen);
            now += MILLI / 10;
        }

        // Half of the time at most, and looks.
        let claims = BATCHES * MILLI as i64 / STEP;
        assert!(gone >= BATCH * BATCHES, "{gone}");
        assert!(stepped < 4 * claims, "{stepped} for {wakes}, {usual}");
        assert!(late < 4 * longest, "{} ms", late / MILLI);
    }
}

#[test]
fn no_job_that_wakes_us_waits_for_a_look_that_nobody_asked_for() {
    let mut floor = Floor::new();
    floor.claimed(0, Seen { found: 9, ..SEEN });
    assert!(!floor.is_due(SECOND), "none has gone on from above");
    let goes_on = Seen {
        from: floor.from(MILLI, true),
        began: MILLI,
        found: 9,
        ..SEEN
    };
    floor.claimed(MILLI, goes_on);

    assert!(!floor.is_due(SECOND - 1));
    assert!(floor.is_due(SECOND));
    assert_eq!(floor.from(2 * SECOND - 1, true), 4_000_000);
    assert_eq!(floor.from(SECOND, false), i64::MIN);
    assert_eq!(
        floor.from(2 * SECOND, true),
        i64::MIN,
        "others have waited for long enough"
    );
}

#[test]
fn what_was_passed_by_while_there_was_more_is_looked_for_when_there_is_no_more() {
    let mut floor = Floor::new();
    claim(&mut floor, 0, 0, true, SEEN);
    claim(&mut floor, 0, 0, true, SEEN);
    floor.look(0);
    claim(&mut floor, MILLI, 1, true, SEEN);

    let again = floor.claimed(
        3 * MILLI,
        Seen {
            from: 77,
            began: 2 * MILLI,
            found: 9,
            ..SEEN
        },
    );

    assert_eq!(
        again,
        Some(22 * MILLI),
        "looks take a twentieth of the time"
    );
    assert_eq!(floor.from(22 * MILLI - 1, false), 4_000_000);
    assert_eq!(floor.from(22 * MILLI, false), i64::MIN);
}

/// A database and one node, with all that can bring in a job below a floor: priorities, commits that take long, jobs
/// that come back, a clock that is set back. Jobs are told of in time, late or never.
#[test]
fn no_job_that_can_be_seen_is_left_for_longer_than_is_promised() {
    for seed in 0..120 {
        World::new(seed, seed % 2 == 1, seed % 3 == 1).run();
    }
}

struct Job {
    rank_us: i64,
    /// From when on it can be seen.
    visible: u64,
    /// When the node is told, and whether that it may lie below.
    told: Option<(u64, bool)>,
    /// When a claim began that should have found it.
    due: Option<u64>,
}

struct World {
    bits: u64,
    /// Whether there is more than claims take, at times.
    crowded: bool,
    /// Whether nobody ever says that something may lie below.
    silent: bool,
    open: Vec<Job>,
    /// When the node is woken, and whether to look from the start.
    wakes: Vec<(u64, bool)>,
    set_back_at: u64,
    set_back_us: i64,
}

impl World {
    const END: u64 = 30 * SECOND;
    const STEP_MAX: u64 = 20 * MILLI;

    fn new(seed: u64, crowded: bool, silent: bool) -> Self {
        let mut world = Self {
            bits: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            crowded,
            silent,
            open: Vec::new(),
            wakes: Vec::new(),
            set_back_at: u64::MAX,
            set_back_us: 0,
        };
        if world.below(4) == 0 {
            world.set_back_at = world.below(Self::END);
            world.set_back_us = world.below(10_000_000) as i64;
        }
        world
    }

    fn below(&mut self, end: u64) -> u64 {
        self.bits ^= self.bits << 13;
        self.bits ^= self.bits >> 7;
        self.bits ^= self.bits << 17;
        self.bits % end
    }

    fn database_us(&self, now: u64) -> i64 {
        let us = 1_000_000_000 + (now / 1_000) as i64;
        if now >= self.set_back_at {
            us - self.set_back_us
        } else {
            us
        }
    }

    /// Enqueues something at `now`.
    fn enqueue(&mut self, now: u64) {
        let late_us = match self.below(10) {
            0..7 => 0,
            7 => self.below(900_000) as i64,
            8 => self.below(100) as i64 * 60_000_000,
            // A lower priority, whose rank lies ahead.
            _ => -(self.below(100) as i64 * 60_000_000),
        };
        let commit = match self.below(10) {
            0..9 => self.below(5 * MILLI),
            _ => self.below(5 * SECOND),
        };
        let visible = now + commit;
        let backdated = late_us > 0 && late_us % 60_000_000 == 0;
        let late = backdated || commit >= SLACK.as_nanos() as u64 || late_us > 0;
        let told = match self.below(4) {
            0 => None,
            _ if late && self.silent => None,
            _ => Some((visible + self.below(50 * MILLI), late)),
        };
        self.wakes.extend(told);
        self.open.push(Job {
            rank_us: self.database_us(now) - late_us,
            visible,
            told,
            due: None,
        });
    }

    /// Takes notice of what the node is told of by `now`; tells whether that is anything.
    fn hear(&mut self, now: u64, floor: &mut Floor) -> bool {
        let (heard, rest): (Vec<_>, Vec<_>) =
            (self.wakes.drain(..)).partition(|(at, _)| *at <= now);
        self.wakes = rest;
        for (at, from_start) in &heard {
            floor.wake(*at);
            if *from_start {
                floor.look(*at);
            }
        }
        !heard.is_empty()
    }

    fn run(mut self) {
        let (mut floor, mut poll) = (Floor::new(), Poll::default());
        let (mut now, mut next_poll, mut slowest, mut woken) = (0, 0, 0, false);
        while now < Self::END {
            let burst = match self.below(200) {
                0 if self.crowded => 300,
                _ => self.below(3),
            };
            for _ in 0..burst {
                self.enqueue(now);
            }
            now += 1 + self.below(Self::STEP_MAX);
            woken |= self.hear(now, &mut floor);
            if !woken && now < next_poll && !floor.is_due(now) {
                continue;
            }
            let (began, from) = (now, floor.from(now, woken));
            let wanted = match self.crowded {
                true => 1 + self.below(8) as usize,
                false => 1_000,
            };
            let at_us = self.database_us(began);
            let sees = began + self.below(MILLI);
            now += MILLI + self.below(30 * MILLI);
            slowest = slowest.max(now - began);
            self.open.sort_by_key(|job| job.rank_us);
            let mut found = Vec::new();
            self.open.retain(|job| {
                let takes = job.visible <= sees && job.rank_us >= from && found.len() < wanted;
                found.extend(takes.then_some(job.rank_us));
                !takes
            });
            self.check(began, found.len() < wanted, slowest);
            let seen = Seen {
                from,
                began,
                at_us,
                wanted,
                found: found.len(),
                last_rank_us: found.last().copied(),
            };
            woken = self.hear(now, &mut floor);
            let again = floor.claimed(now, seen);
            if !found.is_empty() {
                poll.found();
            }
            let wait = poll.nothing(0).as_nanos() as u64;
            next_poll = (now + wait).min(again.unwrap_or(u64::MAX));
        }
    }

    /// After a claim that began at `began` and had room or not.
    fn check(&mut self, began: u64, had_room: bool, slowest: u64) {
        let looks =
            nanos(LOOK_EVERY) + nanos(LOOK_EVERY).max((slowest * SHARE).min(nanos(REST_MAX)));
        let bound = looks + CEILING.as_nanos() as u64 + slowest + Self::STEP_MAX;
        let set_back = self.set_back_at;
        let crowded = self.crowded;
        for job in self.open.iter_mut().filter(|job| job.visible <= began) {
            // Others go first as long as there is more than claims take.
            let due = *job
                .due
                .get_or_insert(if had_room { job.visible } else { began });
            if !had_room {
                job.due = Some(began);
                continue;
            }
            assert!(began - due < bound, "left for {} ms", (began - due) / MILLI);
            let was_told = job.told.is_some_and(|(at, late)| late && at <= began);
            assert!(crowded || !was_told, "left although we were told of it");
            let lag_us = 1_000_000_000 + (job.visible / 1_000) as i64 - job.rank_us;
            let prompt = lag_us <= SLACK.as_micros() as i64;
            assert!(
                crowded || !prompt || set_back < began,
                "left although it came in time"
            );
        }
    }
}
