use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::decide::backoff::{Backoff, Jitter};
use steadfast_core::{BoxError, OnceError, OnceInit, ScopeError, clock, reaper};

#[tokio::test(start_paused = true)]
async fn concurrent_callers_run_one_initializer() {
    let cell = Arc::new(OnceInit::new("cell"));
    let runs = Arc::new(AtomicUsize::new(0));

    let callers: Vec<_> = (0..20)
        .map(|_| {
            let (cell, runs) = (cell.clone(), runs.clone());
            steadfast_core::spawn("caller", async move {
                let value = cell
                    .get_or_init(async |_| {
                        runs.fetch_add(1, Ordering::Relaxed);
                        clock::sleep(Duration::from_millis(5)).await;
                        Ok::<_, BoxError>(7)
                    })
                    .await;
                *value.unwrap()
            })
        })
        .collect();

    for caller in callers {
        assert_eq!(caller.await.unwrap(), 7);
    }
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert_eq!(cell.get(), Some(&7));
}

/// How an initializer goes wrong.
#[derive(Clone, Copy, Debug)]
enum Way {
    Error,
    Panic,
    Timeout,
    Drop,
}

#[tokio::test(start_paused = true)]
async fn a_failed_initializer_is_rolled_back_before_the_next_one_starts() {
    for way in [Way::Error, Way::Panic, Way::Timeout, Way::Drop] {
        let cell = Arc::new(OnceInit::new("cell"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let write = |line: &'static str| log.lock().unwrap().push(line);

        let undo_log = log.clone();
        let failing = cell.get_or_init(async |s| {
            s.undo("close", async move || {
                clock::sleep(Duration::from_secs(1)).await;
                undo_log.lock().unwrap().push("closed");
            });
            write("opened");
            match way {
                Way::Error => Err("no".into()),
                Way::Panic => panic!("no"),
                Way::Timeout => {
                    s.cancel(steadfast_core::Cause::Deadline);
                    std::future::pending().await
                }
                Way::Drop => std::future::pending::<Result<(), BoxError>>().await,
            }
        });
        if let Way::Drop = way {
            // The reaper rolls back while the next caller is already waiting.
            let _ = clock::timeout(Duration::from_millis(1), failing).await;
        } else {
            assert!(failing.await.is_err(), "{way:?}");
        }
        let next = cell
            .get_or_init(async |_| {
                write("opened again");
                Ok::<_, BoxError>(())
            })
            .await;

        assert!(next.is_ok(), "{way:?}");
        let log = log.lock().unwrap();
        assert_eq!(*log, ["opened", "closed", "opened again"], "{way:?}");
    }
    reaper::drain().await;
}

#[tokio::test]
async fn an_initialized_value_is_not_undone() {
    let cell = OnceInit::new("cell");
    let undone = Arc::new(AtomicUsize::new(0));
    let count = undone.clone();

    let value = cell
        .get_or_init(async |s| {
            s.undo("undo", async move || {
                count.fetch_add(1, Ordering::Relaxed);
            });
            Ok::<_, BoxError>(1)
        })
        .await;

    assert_eq!(*value.unwrap(), 1);
    assert_eq!(undone.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_initializer_that_asks_for_its_own_value_is_told_so() {
    static CELL: OnceInit<u32> = OnceInit::new("config");

    let ended = CELL
        .get_or_init(async |s| {
            // Also from a child, which is inside of the scope.
            let child = s.spawn("child", async {
                let inner = CELL.get_or_init(async |_| Ok::<_, BoxError>(1)).await;
                matches!(inner, Err(OnceError::Reentrant(_)))
            });
            assert!(child.await?);
            let inner = CELL.get_or_init(async |_| Ok::<_, BoxError>(1)).await;
            Ok::<_, BoxError>(*inner?)
        })
        .await;

    let error = ended.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the initializer of config asks for config itself"
    );
    assert!(CELL.get().is_none());
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_next_attempt_waits_for_the_backoff() {
    let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60)).unwrap();
    let cell = OnceInit::with_backoff("cell", backoff.with_jitter(Jitter::None));
    let start = clock::now();
    let mut tried_after = Vec::new();

    for _ in 0..3 {
        let failed = cell
            .get_or_init(async |_| {
                tried_after.push((clock::now() - start).as_secs());
                Err::<(), BoxError>("down".into())
            })
            .await;
        assert!(failed.unwrap_err().is_retryable());
    }

    assert_eq!(tried_after, [0, 1, 3]);
}

#[tokio::test]
async fn a_poisoned_cell_stays_failed_and_says_why() {
    let cell = OnceInit::poisoning("license");

    let first = cell.get_or_init(async |_| -> Result<(), BoxError> { panic!("expired") });
    let first = first.await.unwrap_err();
    let second = cell.get_or_init(async |_| Ok::<_, BoxError>(())).await;

    assert!(matches!(first, OnceError::Failed(ScopeError::Panicked(_))));
    let second = second.unwrap_err();
    assert!(!second.is_retryable());
    let text = second.to_string();
    assert!(
        text.starts_with("license is poisoned: its initializer panicked in license"),
        "{text}"
    );
    assert!(!text.contains("expired"), "not for clients: {text}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_waiting_does_not_take_the_turn_along() {
    let cell = Arc::new(OnceInit::new("cell"));
    let slow = cell.clone();
    let first = steadfast_core::spawn("first", async move {
        let value = slow.get_or_init(async |_| {
            clock::sleep(Duration::from_secs(10)).await;
            Ok::<_, BoxError>("first")
        });
        *value.await.unwrap()
    });
    clock::sleep(Duration::from_secs(1)).await;

    let waiting = cell.get_or_init(async |_| Ok::<_, BoxError>("second"));
    let gave_up = clock::timeout(Duration::from_secs(1), waiting).await;

    assert!(gave_up.is_err());
    assert_eq!(first.await.unwrap(), "first");
    let third = cell.get_or_init(async |_| Ok::<_, BoxError>("third")).await;
    assert_eq!(*third.unwrap(), "first");
}

#[tokio::test(start_paused = true)]
async fn a_value_whose_caller_leaves_during_the_cleanups_is_kept_for_the_next() {
    let cell = OnceInit::new("cell");
    let log = Arc::new(Mutex::new(Vec::new()));
    let write = |line: &'static str| {
        let log = log.clone();
        move || log.lock().unwrap().push(line)
    };

    let first = cell.get_or_init(async |s| {
        let (undone, closed) = (write("undone"), write("closed"));
        s.defer_async("close the temporary", async move || {
            clock::sleep(Duration::from_secs(1)).await;
            closed();
        });
        s.undo("undo", async move || undone());
        Ok::<_, BoxError>("first")
    });
    assert!(
        clock::timeout(Duration::from_millis(1), first)
            .await
            .is_err()
    );
    let second = cell
        .get_or_init(async |_| Ok::<_, BoxError>("second"))
        .await;

    assert_eq!(*second.unwrap(), "first", "its effects were not undone");
    assert_eq!(*log.lock().unwrap(), ["closed"]);
    reaper::drain().await;
}
