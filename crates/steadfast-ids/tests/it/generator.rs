//! A generator under clocks that are moved by hand.

use std::collections::HashSet;
use std::time::Duration;

use steadfast_core::clock::{self, Timestamp};
use steadfast_core::report::{self, Value};
use steadfast_core::testing::Clock;
use steadfast_ids::{Generator, Id, Layout};

const MS: Duration = Duration::from_millis(1);

fn wall(since_epoch_ms: i64) -> Timestamp {
    Timestamp::from_unix_millis(Layout::EPOCH_UNIX_MS + since_epoch_ms)
}

/// Makes ids while the clocks go as told; each has to be a new one and greater than the last.
struct Checked {
    ids: Generator,
    last: Option<Id>,
    made: usize,
}

impl Checked {
    fn make(&mut self, clock: &Clock, millis: u64) {
        for _ in 0..millis {
            for _ in 0..10 {
                if let Ok(id) = self.ids.try_next() {
                    assert!(self.last < Some(id), "{:?} before {id}", self.last);
                    self.last = Some(id);
                    self.made += 1;
                }
            }
            clock.advance(MS);
        }
    }

    fn since_epoch_ms(&self) -> i64 {
        let parts = self.ids.layout().decode(self.last.unwrap()).unwrap();
        parts.time.unix_millis() - Layout::EPOCH_UNIX_MS
    }
}

fn started(since_epoch_ms: i64) -> (Clock, Checked) {
    let clock = Clock::start();
    clock.set_timestamp(wall(since_epoch_ms));
    let ids = Generator::builder(5).build().unwrap();
    clock.advance(MS);
    let checked = Checked {
        ids,
        last: None,
        made: 0,
    };
    (clock, checked)
}

#[test]
fn whatever_the_wall_clock_does_ids_rise_and_none_comes_twice() {
    // In milliseconds: back by 5 ms, 2 s, an hour; an hour ahead and back.
    for steps in [
        vec![-5],
        vec![-2_000],
        vec![-3_600_000],
        vec![3_600_000, -3_600_000],
    ] {
        let (clock, mut checked) = started(100_000_000);
        checked.make(&clock, 300);

        for step in &steps {
            clock.set_timestamp(wall(
                clock::timestamp().unix_millis() - Layout::EPOCH_UNIX_MS + step,
            ));
            checked.make(&clock, 300);
        }

        assert_eq!(
            checked.made,
            300 * 10 * (1 + steps.len()),
            "none was refused"
        );
        let back: i64 = steps.iter().filter(|step| **step < 0).sum();
        let ahead = checked.ids.ahead_of_wall_clock().as_millis() as i64;
        assert!(
            (ahead + back).abs() <= 1,
            "ahead by {ahead} ms after {steps:?}"
        );
    }
}

#[test]
fn a_machine_that_slept_is_in_time_again_within_a_tenth_of_a_second() {
    let (clock, mut checked) = started(1_000_000);
    checked.make(&clock, 10);

    clock.set_timestamp(wall(9_000_000));
    checked.make(&clock, 101);

    assert!(checked.since_epoch_ms() >= 9_000_000);
}

#[test]
fn a_burst_is_lent_the_lead_and_told_when_to_come_back() {
    let (_clock, checked) = started(1_000_000);
    let mut made = HashSet::new();

    let refused = loop {
        match checked.ids.try_batch(1_000) {
            Ok(batch) => made.extend(batch),
            Err(refused) => break refused,
        }
    };

    // One tick is used, the lead of the start lies before it: what a process before may have used.
    assert_eq!(made.len(), 4_096);
    assert_eq!(refused.retry_after(), Some(MS));
    assert!(refused.is_retryable());
    assert_eq!(checked.ids.lead(), Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_ids_is_no_busy_loop_and_ends() {
    let ids = Generator::builder(1)
        .layout(Layout::JAVASCRIPT)
        .build()
        .unwrap();
    let start = clock::now();

    let mut made = HashSet::new();
    for _ in 0..1_280 {
        made.insert(ids.next().await.unwrap());
    }

    assert_eq!(made.len(), 1_280);
    assert!(made.iter().all(|id| id.get() < 1 << 53));
    // Ten ticks of 128.
    assert!(clock::now() - start >= Duration::from_millis(9));
}

#[test]
fn a_clock_that_cannot_be_is_refused_at_the_start() {
    let clock = Clock::start();
    let check = |at: Timestamp, part: &str| {
        clock.set_timestamp(at);
        let message = Generator::builder(1).build().unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };

    check(
        Timestamp::from_unix_millis(0),
        "before the epoch of the layout",
    );
    check(Layout::DEFAULT.end(), "the layout ended 0 days ago");
    clock.set_timestamp(wall(0));
    let worker = Generator::builder(1_024).build().unwrap_err();
    assert!(worker.to_string().contains("is over 1023"), "{worker}");
    let lead = Generator::builder(1).lead(Duration::from_secs(11)).build();
    assert!(lead.unwrap_err().to_string().contains("is over 10s"));
}

#[test]
fn the_end_of_life_is_an_error_that_no_retry_helps() {
    let clock = Clock::start();
    clock.set_timestamp(Timestamp::from_unix_millis(
        Layout::DEFAULT.end().unix_millis() - 50,
    ));
    let ids = Generator::builder(1).build().unwrap();
    clock.advance(Duration::from_millis(60));

    let error = ids.try_next().unwrap_err();

    assert_eq!((error.is_retryable(), error.retry_after()), (false, None));
    assert!(error.to_string().contains("no ids after"), "{error}");
}

#[test]
fn it_tells_how_long_its_layout_lasts() {
    let clock = Clock::start();
    clock.set_timestamp(wall(0));
    let _ids = Generator::builder(977).build().unwrap();

    let snapshot = report::snapshot();
    let of_this = |name: &str| {
        let mut metrics = snapshot.metrics().filter(|metric| metric.name == name);
        metrics.find(|metric| {
            metric
                .labels
                .iter()
                .any(|(_, worker)| worker.as_str() == "977")
        })
    };

    assert_eq!(
        of_this("steadfast_ids_days_left").unwrap().value,
        Value::Gauge(25_451.0)
    );
    assert!(of_this("steadfast_ids_waits_total").is_some());
}

#[test]
fn threads_share_a_generator_without_a_repetition() {
    let ids = Generator::builder(3).build().unwrap();
    let taken: Vec<Vec<Id>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut taken = Vec::new();
                    while taken.len() < 20_000 {
                        taken.extend(ids.try_next());
                    }
                    taken
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });

    assert!(taken.iter().all(|taken| taken.is_sorted()));
    let all: HashSet<Id> = taken.into_iter().flatten().collect();
    assert_eq!(all.len(), 80_000);
}
