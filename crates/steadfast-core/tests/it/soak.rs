//! Trees of scopes and tasks under panics, cancellations, drops and the end of their runtime,
//! from a seed: nothing leaked, nothing lost, nothing aborted.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use steadfast_core::{BoxError, Cause, Scope, clock, panic, reaper, recover, scope, spawn};

use crate::support::{Bomb, in_own_process};

const SEEDS: u64 = 16;
const TREES: u64 = 200;

/// What must come out even in the end.
#[derive(Default)]
struct Account {
    registered: AtomicUsize,
    begun: AtomicUsize,
    reports: AtomicUsize,
    scopes: AtomicUsize,
    /// Held by everything that a cleanup, a child or a body captures.
    live: Arc<()>,
}

/// Random numbers from a seed; each part of the tree gets its own, so that a tree is the same
/// however its tasks interleave.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn split(&mut self) -> Self {
        Self(self.roll(u64::MAX))
    }
}

async fn pause(dice: &mut Dice) {
    for _ in 0..dice.roll(4) {
        tokio::task::yield_now().await;
    }
}

type Tree = Pin<Box<dyn Future<Output = ()> + Send>>;

fn tree(mut dice: Dice, depth: u64, account: Arc<Account>) -> Tree {
    Box::pin(async move {
        let mut builder = scope("tree").cleanup_limit(Duration::from_millis(20));
        if dice.roll(6) == 0 {
            builder = builder.timeout(Duration::from_millis(dice.roll(3)));
        }
        let kept = account.clone();
        let ended = builder
            .on_report({
                let account = account.clone();
                move |_| {
                    account.reports.fetch_add(1, Ordering::Relaxed);
                }
            })
            .run(async move |s| {
                account.scopes.fetch_add(1, Ordering::Relaxed);
                let _held = account.live.clone();
                for _ in 0..dice.roll(6) {
                    step(&s, &mut dice, depth, &account).await?;
                }
                exit(&s, &mut dice).await
            })
            .await;
        drop((ended, kept));
    })
}

async fn step(
    s: &Scope<Arc<()>, BoxError>,
    dice: &mut Dice,
    depth: u64,
    account: &Arc<Account>,
) -> Result<(), BoxError> {
    match dice.roll(12) {
        0 => {
            let cleanup = sync_cleanup(dice.split(), account);
            s.defer("sync", cleanup);
        }
        1..=3 => {
            let cleanup = async_cleanup(dice.split(), account);
            s.defer_async("async", cleanup);
        }
        4 => {
            let cleanup = async_cleanup(dice.split(), account);
            let owned = s.own("own", account.live.clone(), move |_| cleanup());
            if dice.roll(4) == 0 {
                account.registered.fetch_sub(1, Ordering::Relaxed);
                drop(owned.disarm());
            }
        }
        5 => {
            let early = s.defer_async("early", async_cleanup(dice.split(), account));
            if dice.roll(2) == 0 {
                let _ = clock::timeout(Duration::from_millis(1), early.run()).await;
            } else {
                early.run().await;
            }
        }
        6 if depth > 0 => tree(dice.split(), depth - 1, account.clone()).await,
        7 if depth > 0 => drop(s.spawn("child", tree(dice.split(), depth - 1, account.clone()))),
        8 if depth > 0 => {
            let inner = tree(dice.split(), depth - 1, account.clone());
            tokio::select! {
                () = inner => {}
                () = pause(dice) => {}
            }
        }
        9 => {
            let held = account.live.clone();
            let mut dice = dice.split();
            s.spawn("panics", async move {
                let _held = held;
                pause(&mut dice).await;
                panic!("child")
            });
        }
        10 => drop(recover(|| std::panic::panic_any(Bomb("payload")))),
        _ => pause(dice).await,
    }
    Ok(())
}

async fn exit(s: &Scope<Arc<()>, BoxError>, dice: &mut Dice) -> Result<Arc<()>, BoxError> {
    match dice.roll(7) {
        0 => Err("failed".into()),
        1 => panic!("body"),
        2 => {
            s.cancel(Cause::Shed);
            std::future::pending().await
        }
        3 => {
            let _bomb = Bomb("dropped in the body");
            pause(dice).await;
            Ok(Arc::default())
        }
        _ => Ok(Arc::default()),
    }
}

fn sync_cleanup(mut dice: Dice, account: &Arc<Account>) -> impl FnOnce() + Send + use<> {
    account.registered.fetch_add(1, Ordering::Relaxed);
    let (account, held) = (account.clone(), account.live.clone());
    move || {
        let _held = held;
        account.begun.fetch_add(1, Ordering::Relaxed);
        if dice.roll(4) == 0 {
            panic!("sync cleanup");
        }
    }
}

fn async_cleanup(
    mut dice: Dice,
    account: &Arc<Account>,
) -> impl FnOnce() -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send + use<> {
    account.registered.fetch_add(1, Ordering::Relaxed);
    let (account, held) = (account.clone(), account.live.clone());
    move || {
        Box::pin(async move {
            let _held = held;
            account.begun.fetch_add(1, Ordering::Relaxed);
            pause(&mut dice).await;
            match dice.roll(12) {
                0 => panic!("async cleanup"),
                1 => return Err("failed".into()),
                2 => std::future::pending().await,
                3 => tree(dice.split(), 0, account.clone()).await,
                _ => {}
            }
            Ok(())
        })
    }
}

#[test]
fn nothing_is_leaked_lost_or_aborted_whatever_happens_to_a_tree_of_scopes() {
    in_own_process(
        "soak::nothing_is_leaked_lost_or_aborted_whatever_happens_to_a_tree_of_scopes",
        || {
            std::panic::set_hook(Box::new(|_| ()));
            panic::install();
            for seed in 0..SEEDS {
                soak(seed);
            }
            panic::flush(Duration::from_secs(20));
            let (mut raised, mut contained) = (0, 0);
            for group in panic::groups() {
                raised += group.count;
                contained += group.contained;
            }
            assert!(raised > 1_000, "{raised}");
            assert_eq!(contained, raised, "{:#?}", panic::groups());
        },
    );
}

fn soak(seed: u64) {
    let account = Arc::new(Account::default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut dice = Dice(seed);

    runtime.block_on(async {
        let mut tasks = Vec::new();
        for _ in 0..TREES {
            tasks.push(spawn("tree", tree(dice.split(), 3, account.clone())));
        }
        for task in tasks {
            match dice.roll(4) {
                0 => task.abort(),
                1 => drop(task),
                _ => drop(task.await),
            }
        }
    });
    // Some are still on their way: the runtime ends under them.
    drop(runtime);
    let afterwards = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    afterwards.block_on(reaper::drain());

    let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    assert_eq!(
        of(&account.begun),
        of(&account.registered),
        "cleanups of seed {seed}"
    );
    assert_eq!(
        of(&account.reports),
        of(&account.scopes),
        "reports of seed {seed}"
    );
    assert!(of(&account.registered) > 100 && of(&account.scopes) > 100);
    assert_eq!(
        Arc::strong_count(&account.live),
        1,
        "captured by seed {seed}"
    );
    assert_eq!(Arc::strong_count(&account), 1, "accounts of seed {seed}");
    assert_eq!(reaper::in_flight(), 0);
}
