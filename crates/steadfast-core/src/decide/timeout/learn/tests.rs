//! What a second of calls does to the timeout.

use proptest::prelude::*;

use super::*;
use crate::decide::sketch::Sketch;
use crate::decide::timeout::{Ended, count_call, record};

const SECOND: u64 = 1_000_000_000;

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn config(floor_ms: u64, ceiling_ms: u64) -> TimeoutConfig {
    TimeoutConfig::new(millis(floor_ms), millis(ceiling_ms)).unwrap()
}

/// A dependency that answers each call after the same time, or never.
struct World {
    learned: AdaptiveTimeout,
    calls_a_second: u64,
    permits: Option<u32>,
    call: u64,
}

impl World {
    fn new(learned: AdaptiveTimeout) -> Self {
        Self {
            learned,
            calls_a_second: 100,
            permits: None,
            call: 0,
        }
    }

    /// Lets a second pass in which all calls begin and end.
    fn second(&mut self, takes: Option<Duration>) -> Lesson {
        let sketch = Sketch::new(millis(1_000), 2).unwrap();
        for _ in 0..self.calls_a_second {
            let given = self.learned.plan().for_call(self.call, None);
            self.call += 1;
            count_call(&sketch, 0);
            let ended = match takes {
                Some(takes) if takes <= given.get() => Ended::Answered(takes),
                _ => Ended::Cut(given.get()),
            };
            record(&sketch, given, ended, 0);
        }
        let mut ended = Histogram::new();
        sketch.read_ended(SECOND, &mut ended);
        self.learned.learn(&ended, self.permits)
    }

    fn usual_ms(&self) -> u64 {
        self.learned.plan().usual().as_millis() as u64
    }
}

/// A world whose calls have taken 50 ms for long enough, so that the timeout is 100 ms.
fn healthy(floor_ms: u64, ceiling_ms: u64) -> World {
    let mut world = World::new(AdaptiveTimeout::new(config(floor_ms, ceiling_ms)));
    for _ in 0..20 {
        world.second(Some(millis(50)));
    }
    world
}

#[test]
fn starts_at_the_ceiling_and_takes_the_first_hundred_calls_as_they_are() {
    let mut world = World::new(AdaptiveTimeout::new(config(10, 30_000)));
    world.calls_a_second = 60;
    assert_eq!(world.usual_ms(), 30_000);

    assert_eq!(world.second(Some(millis(50))), Lesson::Learned);
    assert_eq!(world.usual_ms(), 30_000, "60 calls are too few");

    world.second(Some(millis(50)));
    assert!((100..104).contains(&world.usual_ms()));
}

#[test]
fn a_known_start_changes_by_bounded_steps_from_the_start() {
    let start = |ms| AdaptiveTimeout::starting_at(config(10, 1_000), millis(ms));
    let mut world = World::new(start(400));
    assert_eq!(world.usual_ms(), 400);

    world.second(Some(millis(50)));
    assert_eq!(world.usual_ms(), 360);

    assert_eq!(start(5).plan().usual(), millis(10));
    assert_eq!(start(5_000).plan().usual(), millis(1_000));
}

#[test]
fn what_is_learned_stays_between_floor_and_ceiling() {
    let mut fast = healthy(200, 30_000);
    fast.second(Some(millis(1)));
    assert_eq!(fast.usual_ms(), 200);

    let mut slow = healthy(20, 150);
    for _ in 0..10 {
        slow.second(Some(millis(140)));
    }
    assert_eq!(slow.usual_ms(), 150);
    assert_eq!(slow.learned.plan().scout(), millis(150));
}

#[test]
fn steps_up_are_at_most_double_and_steps_down_a_tenth() {
    let mut world = healthy(20, 30_000);
    let before = world.usual_ms();

    world.second(Some(millis(before - 5)));
    assert!((190..=2 * before).contains(&world.usual_ms()));

    let before = world.usual_ms();
    for _ in 0..60 {
        let from = world.usual_ms();
        world.second(Some(millis(10)));
        assert!(world.usual_ms() >= from * 9 / 10 - 1);
    }
    assert!(world.usual_ms() < before / 4, "and it does go down");
}

#[test]
fn a_stall_teaches_nothing_however_long_it_is() {
    let mut world = healthy(20, 30_000);
    let before = world.learned.clone();

    for _ in 0..600 {
        assert_eq!(world.second(None), Lesson::Stalled);
    }

    assert_eq!(world.learned.plan(), before.plan());
    assert_eq!(world.learned.memory, before.memory);
}

#[test]
fn calls_of_a_stall_are_not_learned_when_it_is_over() {
    let mut world = healthy(20, 30_000);
    let before = world.learned.quantile_ns();

    world.second(None);
    world.second(Some(millis(50)));

    assert_eq!(world.learned.quantile_ns(), before);
}

/// Shows a second that was answered for a part: how many calls took how long, and how many were cut.
fn part(world: &mut World, answered: &[(u64, u64)], cut: u64) -> Lesson {
    let sketch = Sketch::new(millis(1_000), 2).unwrap();
    let given = world.learned.plan().for_call(0, None);
    let answered = answered
        .iter()
        .flat_map(|&(calls, ms)| (0..calls).map(move |_| Ended::Answered(millis(ms))));
    let cut = (0..cut).map(|_| Ended::Cut(given.get()));
    for ended in answered.chain(cut) {
        count_call(&sketch, 0);
        record(&sketch, given, ended, 0);
    }
    let mut ended = Histogram::new();
    sketch.read_ended(SECOND, &mut ended);
    world.learned.learn(&ended, world.permits)
}

#[test]
fn of_calls_that_hang_while_others_are_answered_as_usual_nothing_is_learned() {
    let mut world = healthy(20, 30_000);
    let before = (world.usual_ms(), world.learned.quantile_ns());

    for _ in 0..60 {
        assert_eq!(part(&mut world, &[(70, 50)], 30), Lesson::Hanging);
    }

    assert_eq!((world.usual_ms(), world.learned.quantile_ns()), before);
}

#[test]
fn cut_calls_with_company_that_came_just_in_time_are_learned() {
    let mut world = healthy(20, 30_000);

    assert_eq!(part(&mut world, &[(50, 49), (20, 90)], 30), Lesson::Learned);
    assert!(world.usual_ms() >= 190);
}

#[test]
fn what_a_stall_leaves_behind_is_not_learned_when_it_is_over() {
    let mut world = healthy(20, 30_000);
    let before = world.usual_ms();
    world.second(None);

    assert_eq!(part(&mut world, &[(60, 49), (20, 90)], 20), Lesson::Stalled);
    assert_eq!(part(&mut world, &[(90, 49), (10, 90)], 1), Lesson::Stalled);
    assert_eq!(world.second(Some(millis(49))), Lesson::Learned);

    assert_eq!(world.usual_ms(), before);
}

#[test]
fn a_target_that_is_slow_after_a_stall_is_believed_in_the_end() {
    let mut world = healthy(20, 30_000);
    world.second(None);
    let slow = [(20, 49), (50, 90)];

    let lessons: Vec<Lesson> = (0..4).map(|_| part(&mut world, &slow, 30)).collect();

    assert_eq!(lessons[..3], [Lesson::Stalled; 3]);
    assert_eq!(lessons[3], Lesson::Learned);
    assert!(world.usual_ms() >= 190);
}

#[test]
fn scouts_of_a_stall_that_come_back_when_it_is_over_do_not_make_it_late() {
    let mut world = healthy(20, 30_000);
    let before = world.learned.plan();
    for _ in 0..20 {
        world.second(None);
    }
    let sketch = Sketch::new(millis(1_000), 2).unwrap();
    for call in 0..200 {
        let given = before.for_call(call, None);
        count_call(&sketch, 0);
        let ended = if given.is_scout() {
            Ended::Answered(millis(700))
        } else {
            Ended::Cut(given.get())
        };
        record(&sketch, given, ended, 0);
    }
    let mut ended = Histogram::new();
    sketch.read_ended(SECOND, &mut ended);

    assert_eq!(world.learned.learn(&ended, None), Lesson::Stalled);
    assert_eq!(world.learned.plan(), before);
}

#[test]
fn answers_that_all_come_late_are_found_by_scouts() {
    let mut world = healthy(20, 30_000);

    let lessons: Vec<Lesson> = (0..4).map(|_| world.second(Some(millis(400)))).collect();

    assert_eq!(lessons[..2], [Lesson::Late, Lesson::Late]);
    assert_eq!(lessons[2..], [Lesson::Learned, Lesson::Learned]);
    assert!(world.usual_ms() >= 800);
}

#[test]
fn without_room_for_scouts_late_answers_look_like_a_stall() {
    let mut world = healthy(20, 30_000);
    world.permits = Some(20);
    world.second(Some(millis(50)));
    assert_eq!(world.learned.plan().scout(), world.learned.plan().usual());

    assert_eq!(world.second(Some(millis(400))), Lesson::Stalled);
}

#[test]
fn a_quiet_route_judges_some_seconds_together() {
    let mut world = healthy(20, 30_000);
    world.calls_a_second = 5;
    let lessons = |world: &mut World, takes, seconds| -> Vec<Lesson> {
        (0..seconds)
            .map(|_| world.second(takes))
            .filter(|lesson| *lesson != Lesson::TooFew)
            .collect()
    };

    assert_eq!(
        lessons(&mut world, Some(millis(50)), 8),
        [Lesson::Learned; 2]
    );
    // The scouts among them are judged apart.
    assert_eq!(lessons(&mut world, None, 43), [Lesson::Stalled; 8]);
    let late = lessons(&mut world, Some(millis(400)), 16);
    assert!(late.contains(&Lesson::Late), "{late:?}");
}

#[test]
fn all_calls_that_hang_hold_their_share_of_the_permits() {
    let mut world = healthy(20, 30_000);
    world.calls_a_second = 2_000;
    world.permits = Some(200);
    world.second(Some(millis(50)));

    assert_eq!(world.usual_ms(), 50, "0.5 × 200 / 2000 per second");
    assert_eq!(world.learned.plan().scout(), millis(50));

    world.permits = Some(2_000);
    world.second(Some(millis(50)));
    let plan = world.learned.plan();
    let (usual, scout) = (plan.usual().as_secs_f64(), plan.scout().as_secs_f64());
    assert!(usual < 0.104 && scout > 0.5);
    assert!(2_000.0 * (usual * 15.0 + scout) / 16.0 <= 1_000.0);
}

#[test]
fn the_cap_follows_a_rate_that_rises_at_once_and_one_that_falls_slowly() {
    let mut world = healthy(20, 30_000);
    world.permits = Some(20);
    world.second(Some(millis(50)));
    assert_eq!(world.usual_ms(), 100);

    world.calls_a_second = 200;
    world.second(Some(millis(40)));
    assert_eq!(world.usual_ms(), 50);

    world.calls_a_second = 100;
    world.second(Some(millis(40)));
    assert!(
        (85..100).contains(&world.usual_ms()),
        "{}",
        world.usual_ms()
    );
}

#[test]
fn the_floor_stands_above_the_cap() {
    let mut world = healthy(80, 30_000);
    world.permits = Some(1);
    world.second(Some(millis(50)));

    assert_eq!(world.usual_ms(), 80);
    assert_eq!(world.learned.plan().scout(), millis(80));
}

#[test]
fn seconds_without_calls_change_nothing() {
    let mut world = healthy(20, 30_000);
    let before = world.learned.plan();

    for _ in 0..100 {
        assert_eq!(world.learned.learn(&Histogram::new(), None), Lesson::TooFew);
    }

    assert_eq!(world.learned.plan(), before);
}

proptest! {
    #[test]
    fn whatever_happens_the_plan_is_within_bounds_and_steps_are_bounded(
        seconds in prop::collection::vec(
            (0..150_u64, prop::option::of(1..5_000_u64), prop::option::of(0..500_u32)),
            1..60,
        ),
    ) {
        let mut world = World::new(AdaptiveTimeout::starting_at(config(50, 2_000), millis(200)));

        for (calls, takes_ms, permits) in seconds {
            world.calls_a_second = calls;
            world.permits = permits;
            let before = world.learned.learned_ns.unwrap();
            world.second(takes_ms.map(millis));
            let after = world.learned.learned_ns.unwrap();
            let plan = world.learned.plan();

            prop_assert!(after <= 2 * before && after >= before * 9 / 10 - 1);
            prop_assert!(plan.usual() >= millis(50) && plan.scout() <= millis(2_000));
            prop_assert!(plan.usual() <= plan.scout());
            if let Some(permits) = permits.filter(|_| calls > 0) {
                let cap = 0.5 * f64::from(permits) / calls as f64;
                prop_assert!(plan.usual().as_secs_f64() <= cap.max(0.05) + 1e-9);
            }
        }
    }
}
