//! Everything at once: children that end in every way, requests, restarts, escalations. Nothing
//! may leak, live twice, be lost, or be shown as something it is not.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use steadfast_core::supervise::{ChildContext, EventKind, GroupState};

use Restart::{Permanent, Temporary, Transient};
use Strategy::{OneForAll, OneForOne, RestForOne};

/// SplitMix64: the same storm for the same seed.
#[derive(Clone)]
struct Dice(Arc<AtomicU64>);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    fn below(&self, bound: u64) -> u64 {
        let state = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What is known about each child from its own future: which life is alive, which are over.
#[derive(Clone, Default)]
struct Truth(Arc<Mutex<HashMap<&'static str, Lives>>>);

#[derive(Clone, Copy, Default, Debug)]
struct Lives {
    alive: u64,
    over: u64,
}

/// Alive from the factory to the drop of the future.
struct Alive {
    truth: Truth,
    name: &'static str,
    run: u64,
    panics: bool,
}

impl Alive {
    fn new(truth: &Truth, name: &'static str, run: u64, panics: bool) -> Self {
        let mut lives = truth.0.lock().unwrap();
        let lives = lives.entry(name).or_default();
        assert_eq!(lives.alive, 0, "{name} lives twice");
        lives.alive = run;
        if run == 1 {
            // A child of that name was removed, and another one added.
            lives.over = 0;
        }
        Self {
            truth: truth.clone(),
            name,
            run,
            panics,
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let mut lives = self.truth.0.lock().unwrap();
        let lives_of = lives.get_mut(self.name).unwrap();
        *lives_of = Lives {
            alive: 0,
            over: self.run,
        };
        drop(lives);
        // Two panics at once would abort the process, whoever supervises it.
        if self.panics && !std::thread::panicking() {
            panic!("in the drop of {}", self.name);
        }
    }
}

/// A future that is alive until it is dropped. One that it holds itself would be dropped before
/// it is over.
struct Living<F> {
    future: std::pin::Pin<Box<F>>,
    _alive: Alive,
}

impl<F: Future> Future for Living<F> {
    type Output = F::Output;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<F::Output> {
        self.future.as_mut().poll(cx)
    }
}

impl Truth {
    fn lives(&self) -> HashMap<&'static str, Lives> {
        self.0.lock().unwrap().clone()
    }

    /// Compares with what a group shows. What was over before it was shown must not be shown as
    /// living.
    fn check(&self, group: &Supervisor) {
        let before = self.lives();
        let snapshot = group.snapshot();
        for child in &snapshot.children {
            let Some(lives) = before.get(child.name.as_str()) else {
                continue;
            };
            let shown_alive = matches!(child.state, ChildState::Starting | ChildState::Running);
            assert!(
                !(shown_alive && lives.over == child.runs),
                "{lives:?} is shown as {snapshot}"
            );
        }
    }

    /// Compares both ways, at a moment when nobody is in between.
    fn check_calm(&self, group: &Supervisor) {
        self.check(group);
        let lives = self.lives();
        let snapshot = group.snapshot();
        for (name, lives) in &lives {
            let child = snapshot.child(name);
            let state = child.map_or(ChildState::AtRest, |child| child.state);
            let down = matches!(state, ChildState::AtRest | ChildState::Waiting { .. });
            assert!(!(down && lives.alive > 0), "{name} {lives:?} in {snapshot}");
            assert!(
                !(state == ChildState::Running && lives.alive == 0),
                "{name} {lives:?} in {snapshot}"
            );
        }
    }
}

/// How a life goes; drawn anew for each.
async fn live(context: ChildContext, dice: Dice, pace: fn(u64) -> Pace) -> Result<(), BoxError> {
    match dice.below(8) {
        0 => context
            .scope()
            .defer("bad", || panic!("in a cleanup"))
            .disarm(),
        1 => {
            let slow = pace(dice.below(3));
            context
                .scope()
                .defer_async("slow", async move || slow.await);
            true
        }
        _ => true,
    };
    let work = async {
        pace(dice.below(20)).await;
        match dice.below(5) {
            0 => Ok(()),
            1 | 2 => Err(BoxError::from("failed")),
            3 => std::panic::panic_any(dice.below(7)),
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = work => ended,
        _ = context.stopping() => {
            // Some stop at once, some late, some never.
            match dice.below(6) {
                0 => std::future::pending().await,
                1 => pace(4).await,
                _ => {}
            }
            Ok(())
        }
    }
}

type Pace = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn stormy(truth: &Truth, dice: &Dice, name: &'static str, pace: fn(u64) -> Pace) -> Child {
    let kind = [Permanent, Permanent, Transient, Temporary][dice.below(4) as usize];
    let (truth, dice) = (truth.clone(), dice.clone());
    Child::new(name, kind, move |context: ChildContext| {
        assert!(context.run() == 1 || dice.below(20) > 0, "in the factory");
        let alive = Alive::new(&truth, name, context.run(), dice.below(6) == 0);
        Living {
            future: Box::pin(live(context, dice.clone(), pace)),
            _alive: alive,
        }
    })
    .stop_within(Duration::from_secs(3))
}

/// Counts what observers hear, and panics now and then.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<HashMap<&'static str, u64>>>);

impl Heard {
    fn of(&self, kind: &'static str) -> u64 {
        self.0.lock().unwrap().get(kind).copied().unwrap_or(0)
    }

    fn listen(&self, builder: SupervisorBuilder, dice: &Dice) -> SupervisorBuilder {
        let (heard, dice) = (self.clone(), dice.clone());
        builder.observe(move |event| {
            let kind = event.kind.as_str();
            *heard.0.lock().unwrap().entry(kind).or_default() += 1;
            if let EventKind::Ended { end, .. } = &event.kind {
                assert!(!end.to_string().is_empty());
            }
            assert!(dice.below(10) > 0, "in an observer");
        })
    }
}

async fn request(group: &Supervisor, truth: &Truth, dice: &Dice) {
    let children = group.snapshot().children;
    let any = |dice: &Dice| children.get(dice.below(children.len().max(1) as u64) as usize);
    let Some(child) = any(dice) else { return };
    // Who is rejected or told that the child failed has an answer, and that is all we ask.
    match dice.below(5) {
        0 => drop(group.stop_child(child.id).await),
        1 => drop(group.start_child(child.id).await),
        2 => drop(group.restart_child(child.id).await),
        3 => drop(group.remove_child(child.id).await),
        _ => {
            let shown = group.snapshot();
            let free = NAMES.iter().find(|name| shown.child(name).is_none());
            if let Some(name) = free {
                drop(group.add_child(stormy(truth, dice, name, in_seconds)).await);
            }
        }
    }
}

fn in_seconds(count: u64) -> Pace {
    Box::pin(seconds(count))
}

async fn weather(strategy: Strategy, seed: u64) -> (u64, u64) {
    let (dice, heard) = (Dice::new(seed), Heard::default());
    let (mut escalated, mut restarted) = (0, 0);
    for _ in 0..3 {
        let truth = Truth::default();
        let rules = rules(strategy, 6)
            .with_abort_limit(Duration::from_secs(30))
            .unwrap();
        let builder = heard.listen(Supervisor::builder("storm", rules), &dice);
        let builder = NAMES[..4].iter().fold(builder, |group, name| {
            group.child(stormy(&truth, &dice, name, in_seconds))
        });
        if let Ok(group) = builder.start().await {
            for _ in 0..60 {
                let patience = Duration::from_millis(dice.below(3_000));
                let asked = request(&group, &truth, &dice);
                let _ = clock::timeout(patience, asked).await;
                truth.check_calm(&group);
                seconds(dice.below(4)).await;
                truth.check_calm(&group);
            }
            escalated += u64::from(matches!(group.snapshot().state, GroupState::Ended(_)));
            clock::timeout(Duration::from_secs(600), group.stop())
                .await
                .expect("it ends");
            truth.check_calm(&group);
        }
        assert!(
            truth.lives().values().all(|lives| lives.alive == 0),
            "seed {seed}"
        );
        assert_eq!(
            Arc::strong_count(&truth.0),
            1,
            "seed {seed}: something leaks"
        );
        restarted = heard.of("restarting");
    }
    assert_eq!(heard.of("started"), heard.of("ended"), "seed {seed}");
    assert_eq!(heard.of("group_ended"), 3, "seed {seed}");
    assert_eq!(heard.of("written_off"), 0, "seed {seed}");
    (escalated, restarted)
}

#[tokio::test(start_paused = true)]
async fn a_seeded_storm_leaves_nothing_behind_and_the_snapshot_is_always_true() {
    let (mut escalated, mut restarted) = (0, 0);
    for seed in 0..40 {
        for strategy in [OneForOne, OneForAll, RestForOne] {
            let (more_escalated, more_restarted) = weather(strategy, seed).await;
            escalated += more_escalated;
            restarted += more_restarted;
        }
    }

    // Else it was no storm.
    assert!(escalated > 40, "{escalated} groups failed");
    assert!(restarted > 400, "{restarted} restarts");
}

fn in_yields(count: u64) -> Pace {
    Box::pin(async move {
        for _ in 0..count {
            tokio::task::yield_now().await;
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_many_threads_the_snapshot_never_shows_what_is_over_as_alive() {
    let nano = Duration::from_nanos(1);
    for seed in 0..6 {
        let (dice, truth, heard) = (Dice::new(seed), Truth::default(), Heard::default());
        let intensity = Intensity::new(10_000, Duration::from_secs(60)).unwrap();
        let rules =
            Rules::new(OneForOne, intensity).with_backoff(Backoff::new(nano, nano).unwrap());
        let builder = heard.listen(Supervisor::builder("storm", rules), &dice);
        let group = NAMES
            .iter()
            .fold(builder, |group, name| {
                let (truth, dice) = (truth.clone(), dice.clone());
                group.child(Child::permanent(*name, move |context: ChildContext| {
                    let alive = Alive::new(&truth, name, context.run(), false);
                    let ends = dice.below(2) == 0;
                    let future = Box::pin(async move {
                        in_yields(context.run() % 7).await;
                        assert!(ends, "now and then");
                    });
                    Living {
                        future,
                        _alive: alive,
                    }
                }))
            })
            .start()
            .await;
        let Ok(group) = group else { continue };

        while heard.of("restarting") < 500 {
            truth.check(&group);
            tokio::task::yield_now().await;
        }

        group.stop().await;
        assert_eq!(heard.of("started"), heard.of("ended"));
        assert!(truth.lives().values().all(|lives| lives.alive == 0));
        drop(group);
    }
}
