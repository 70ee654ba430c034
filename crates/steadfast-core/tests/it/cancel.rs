//! Tokens, causes, and why a future is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use steadfast_core::context::Name;
use steadfast_core::{Cancel, Cause, Outcome, cancel, clock, reaper, recover, scope};

use crate::support::{Bomb, Log};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_first_cause_wins_and_reaches_all_below_but_nobody_above() {
    let root = Cancel::new();
    let middle = root.child();
    let leaf = middle.child();
    let sibling = root.child();

    assert!(middle.cancel(Cause::LeaseLost));
    assert!(!middle.cancel(Cause::Shutdown));
    assert!(!leaf.cancel(Cause::Shutdown));

    assert_eq!(leaf.cause().unwrap().as_str(), "lease_lost");
    assert_eq!(middle.clone().cause().unwrap().as_str(), "lease_lost");
    assert!(root.cause().is_none() && sibling.cause().is_none());
}

#[test]
fn a_child_of_a_cancelled_token_is_born_cancelled_with_the_cause() {
    let root = Cancel::new();
    root.cancel(Cause::Shed);

    assert_eq!(root.child().child().cause().unwrap().as_str(), "shed");
}

#[test]
fn a_childs_own_cause_stays_when_the_parent_is_cancelled_later() {
    let root = Cancel::new();
    let child = root.child();

    child.cancel(Cause::ClientGone);
    root.cancel(Cause::Shutdown);

    assert_eq!(child.cause().unwrap().as_str(), "client_gone");
    assert_eq!(root.cause().unwrap().as_str(), "shutdown");
}

#[test]
fn a_chain_of_tokens_may_be_longer_than_the_stack_is_deep() {
    let root = Cancel::new();
    let mut leaf = root.child();
    for _ in 0..200_000 {
        leaf = leaf.child();
    }

    root.cancel(Cause::Shed);

    assert_eq!(leaf.cause().unwrap().as_str(), "shed");
    drop(leaf);
}

#[test]
fn detached_work_is_not_cancelled() {
    let root = Cancel::new();
    let detached = root.detached();

    root.cancel(Cause::Shutdown);

    assert!(!detached.is_cancelled());
}

#[test]
fn all_threads_see_one_cause_however_they_race() {
    const ROUNDS: usize = 20_000;
    const NAMES: [&str; 2] = ["a", "b"];
    let tokens: Arc<Vec<_>> = Arc::new((0..ROUNDS).map(|_| Cancel::new()).collect());
    let arrived = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = NAMES
        .into_iter()
        .map(|name| {
            let (tokens, arrived) = (tokens.clone(), arrived.clone());
            std::thread::spawn(move || {
                let race = |(round, root): (usize, &Cancel)| {
                    let child = root.child();
                    // A barrier would let them go one after the other.
                    arrived.fetch_add(1, Ordering::SeqCst);
                    while arrived.load(Ordering::SeqCst) < NAMES.len() * (round + 1) {
                        std::thread::yield_now();
                    }
                    let won = root.cancel(Cause::Requested(Name::new(name)));
                    let cause = |token: &Cancel| token.cause().unwrap().to_string();
                    assert_eq!(cause(root), cause(&child));
                    (won, cause(root))
                };
                tokens.iter().enumerate().map(race).collect::<Vec<_>>()
            })
        })
        .collect();
    let threads: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();

    for round in 0..ROUNDS {
        let seen: Vec<_> = threads.iter().map(|seen| &seen[round]).collect();
        assert_eq!(seen.iter().filter(|(won, _)| *won).count(), 1);
        assert!(seen.iter().all(|(_, cause)| *cause == seen[0].1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_cancels_with_its_cause_and_only_shortens() {
    let root = Cancel::new();
    let early = root.child_until(clock::now() + SECOND);
    let late = early.child_until(clock::now() + 9 * SECOND);
    assert_eq!(late.deadline(), early.deadline());
    assert!(!late.is_cancelled());

    let start = clock::now();
    let cause = late.cancelled().await;

    assert!(matches!(cause, Cause::Deadline));
    assert_eq!(clock::now() - start, SECOND);
    assert!(early.is_cancelled() && !root.is_cancelled());
    assert!(!early.cancel(Cause::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn a_cause_that_was_given_before_the_deadline_stays_although_nobody_looked() {
    for _ in 0..50 {
        let root = Cancel::new();
        let token = root.child_until(clock::now() + SECOND);
        let waiting = token.cancelled();
        let mut waiting = std::pin::pin!(waiting);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());

        root.cancel(Cause::Shutdown);
        clock::sleep(2 * SECOND).await;

        assert_eq!(waiting.await.as_str(), "shutdown");
        assert_eq!(token.cause().unwrap().as_str(), "shutdown");
    }
}

#[tokio::test]
async fn waiters_are_woken_from_another_thread() {
    let token = Cancel::new();
    let child = token.child();
    let waiting = steadfast_core::spawn("waits", async move { child.cancelled().await });

    std::thread::spawn(move || token.cancel(Cause::LeaseLost))
        .join()
        .unwrap();

    assert_eq!(waiting.await.unwrap().as_str(), "lease_lost");
}

#[tokio::test]
async fn run_gives_the_output_or_drops_the_future_with_the_cause() {
    let token = Cancel::new();
    assert_eq!(token.run(async { 1 }).await.unwrap(), 1);

    let log = Log::default();
    let look = log.clone();
    let work = scope("inside").run::<(), _, _>(async move |s| {
        s.defer_outcome("look", move |outcome| {
            if let Outcome::Cancelled(cause) = outcome {
                look.say(cause.as_str());
            }
        });
        std::future::pending().await
    });
    let asks = token.clone();
    steadfast_core::spawn("asks", async move { asks.cancel(Cause::ClientGone) });
    let ended = token.run(work).await;
    assert!(matches!(ended, Err(Cause::ClientGone)));
    reaper::drain().await;

    log.expect(&["client_gone"]);
    // A value that is there at once is better than none.
    assert_eq!(token.run(async { 2 }).await.unwrap(), 2);
}

#[tokio::test]
async fn a_layer_that_knows_why_its_future_is_dropped_says_so_only_when_it_is() {
    assert_eq!(cancel::if_dropped(Cause::ClientGone, async { 1 }).await, 1);

    let log = Log::default();
    for poll in [false, true] {
        let look = log.clone();
        let mut request = Box::pin(cancel::if_dropped(Cause::ClientGone, async move {
            let _ = scope("request")
                .run::<(), _, _>(async move |s| {
                    s.defer_outcome("look", move |o| look.say(format!("{o:?}")));
                    std::future::pending().await
                })
                .await;
        }));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        if poll {
            assert!(request.as_mut().poll(&mut cx).is_pending());
        }
        drop(request);
    }
    reaper::drain().await;

    log.expect(&["Cancelled(ClientGone)"]);
}

#[tokio::test]
async fn the_word_of_an_outer_drop_is_back_after_an_inner_one_even_if_that_panicked() {
    let log = Log::default();
    let look = log.clone();
    let mut work = Box::pin(scope("inside").run::<(), _, _>(async move |s| {
        s.defer_outcome("look", move |o| look.say(format!("{o:?}")));
        std::future::pending().await
    }));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(work.as_mut().poll(&mut cx).is_pending());

    cancel::dropping(Cause::Shed, || {
        let inner = recover(|| cancel::dropping(Cause::LeaseLost, || drop(Bomb("inner"))));
        assert!(inner.is_err());
        drop(work);
    });
    reaper::drain().await;

    log.expect(&["Cancelled(Shed)"]);
}

#[test]
fn causes_have_short_words_for_labels_and_sentences_for_people() {
    let other = Cause::Other(Arc::new(std::io::Error::other("disk full")));
    let cases = [
        (Cause::Timeout(SECOND), "timeout", "timed out after 1s"),
        (Cause::Deadline, "deadline", "deadline reached"),
        (Cause::ClientGone, "client_gone", "client gone"),
        (Cause::Shed, "shed", "shed under load"),
        (Cause::Shutdown, "shutdown", "shutting down"),
        (Cause::LeaseLost, "lease_lost", "lease lost to another node"),
        (
            Cause::ScopeEnded,
            "scope_ended",
            "the owning scope has ended",
        ),
        (Cause::Dropped, "dropped", "future dropped"),
        (
            Cause::Requested("drill".into()),
            "requested",
            "requested: drill",
        ),
        (other, "other", "disk full"),
    ];
    for (cause, word, sentence) in cases {
        assert_eq!(
            (cause.as_str(), cause.to_string().as_str()),
            (word, sentence)
        );
        assert_eq!(cause.is_timeout(), matches!(word, "timeout" | "deadline"));
    }
}
