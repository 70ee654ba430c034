use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::testing::fault::{self, Ended, Fault, Injected, Site, When};
use steadfast_core::testing::{self, LeakCheck, LeakKind};
use steadfast_core::{BoxError, CleanupStatus, ScopeError, clock, scope, spawn};

const SECOND: Duration = Duration::from_secs(1);

// === the clock ===

#[test]
fn the_clock_stands_until_it_is_moved_and_goes_on_afterwards() {
    let before = clock::now();
    let time = testing::Clock::start();
    let (start, nanos, wall) = (clock::now(), clock::nanos(), clock::timestamp());
    assert_eq!(clock::now(), start);

    time.advance(3600 * SECOND);
    clock::block(SECOND);

    assert_eq!(clock::now() - start, 3601 * SECOND);
    assert_eq!(clock::nanos() - nanos, 3_601_000_000_000);
    assert_eq!(
        clock::timestamp().unix_millis() - wall.unix_millis(),
        3_601_000
    );
    drop(time);
    let after = clock::now();
    assert!(after >= before && after < start + 3600 * SECOND);
}

#[test]
fn the_wall_clock_steps_alone() {
    let time = testing::Clock::start();
    let (start, wall) = (clock::now(), clock::timestamp());

    time.advance(60 * SECOND);
    time.set_timestamp(wall);

    assert_eq!(clock::timestamp(), wall);
    assert_eq!(clock::now() - start, 60 * SECOND);
}

#[test]
fn the_clock_of_one_thread_is_not_that_of_another() {
    let time = testing::Clock::start();
    time.advance(3600 * SECOND);
    let here = clock::now();

    let there = std::thread::spawn(clock::now).join().unwrap();

    assert!(there < here);
}

#[test]
fn an_inner_clock_gives_the_outer_one_back() {
    let outer = testing::Clock::start();
    let start = clock::now();

    let inner = testing::Clock::start();
    inner.advance(SECOND);
    drop(inner);

    assert_eq!(clock::now(), start);
    drop(outer);
}

// === leaks ===

#[tokio::test(start_paused = true)]
async fn what_still_lives_is_named_with_its_place() {
    let leaks = LeakCheck::start();
    let line = line!() + 3;
    let parent = scope("parent").run(async |s| {
        // A task that goes on alone, from deep within.
        let task = spawn("poller", std::future::pending::<()>());
        s.spawn("done at once", async {});
        Ok::<_, BoxError>(task)
    });
    let task = parent.await.unwrap();
    tokio::task::yield_now().await;

    let alive = leaks.alive();

    assert_eq!(alive.len(), 1, "{alive:?}");
    assert_eq!(
        (alive[0].kind, alive[0].name.as_str()),
        (LeakKind::Task, "poller")
    );
    assert_eq!(
        (alive[0].place.file(), alive[0].place.line()),
        (file!(), line)
    );
    assert!(!alive[0].reaped);
    let text = alive[0].to_string();
    assert!(text.starts_with("task `poller`, started at "), "{text}");
    task.abort();
    leaks.assert_none().await;
}

#[tokio::test(start_paused = true)]
async fn the_assertion_fails_with_the_list() {
    let leaks = LeakCheck::start();
    let task = spawn("stays", std::future::pending::<()>());

    let failed = steadfast_core::recover_async(leaks.assert_none())
        .await
        .unwrap_err();

    assert!(
        failed.message().contains("still alive:\n  task `stays`"),
        "{}",
        failed.message()
    );
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn cleanups_of_a_dropped_scope_count_until_they_have_run() {
    let leaks = LeakCheck::start();
    let run = scope("dropped").run(async |s| {
        s.defer_async("slow", async || clock::sleep(SECOND / 2).await);
        std::future::pending::<Result<(), BoxError>>().await
    });

    assert!(clock::timeout(SECOND / 10, run).await.is_err());

    let alive = leaks.alive();
    assert!(alive[0].reaped, "{alive:?}");
    assert!(
        alive[0]
            .to_string()
            .starts_with("cleanups of scope `dropped`")
    );
    let start = clock::now();
    leaks.assert_none().await;
    assert!(
        clock::now() - start < LeakCheck::PATIENCE,
        "it waits for no longer than they take"
    );
}

#[tokio::test]
async fn a_scope_that_runs_counts_and_a_handle_that_outlives_it_does_not() {
    let leaks = LeakCheck::start();
    let mut kept = None;
    let during = scope("short")
        .run(async |s| {
            kept = Some(s);
            Ok::<_, BoxError>(leaks.alive().len())
        })
        .await
        .unwrap();

    assert_eq!(during, 1);
    assert!(leaks.alive().is_empty());
    let during = scope("sync").run_sync(|_| Ok::<_, BoxError>(leaks.alive().len()));
    assert_eq!(during.unwrap(), 1);
    assert!(leaks.alive().is_empty());
    drop(kept);
}

#[tokio::test]
async fn tests_beside_each_other_see_only_their_own() {
    let beside = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let leaks = LeakCheck::start();
            let task = spawn("beside", std::future::pending::<()>());
            assert_eq!(leaks.alive().len(), 1);
            task.abort();
        });
    });
    let leaks = LeakCheck::start();
    let early = leaks.alive();
    beside.join().unwrap();

    assert!(early.is_empty() && leaks.alive().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_starts_after_the_check_is_dropped_is_not_seen_and_an_outer_check_sees_both() {
    let outer = LeakCheck::start();
    let inner = LeakCheck::start();
    let first = spawn("first", std::future::pending::<()>());
    assert_eq!((outer.alive().len(), inner.alive().len()), (1, 1));
    let inner_check = Arc::new(inner);
    drop(inner_check);

    let second = spawn("second", std::future::pending::<()>());

    assert_eq!(outer.alive().len(), 2);
    first.abort();
    second.abort();
    outer.assert_none().await;
    let third = spawn("third", std::future::pending::<()>());
    third.abort();
}

// === faults ===

/// A service in small: a hold that must be released, a child, a wait, and points of its own.
async fn order(holds: &'static AtomicI32) -> Result<u32, ScopeError<BoxError>> {
    scope("order")
        .run(async |s| {
            s.defer_async("release", async || {
                clock::sleep(SECOND).await;
                holds.fetch_sub(1, Ordering::SeqCst);
            });
            // No await between the two: there is no point in between.
            holds.fetch_add(1, Ordering::SeqCst);
            s.defer("count", || {});
            s.spawn("notify", async { clock::sleep(SECOND).await });
            clock::sleep(SECOND).await;
            fault::point("before pay")?;
            fault::pause("pay").await?;
            Ok(7)
        })
        .await
}

#[tokio::test(start_paused = true)]
async fn a_sweep_of_drops_meets_every_await_and_cleanup_and_cleanups_run_all_the_same() {
    static HOLDS: AtomicI32 = AtomicI32::new(0);
    let sites = Arc::new(Mutex::new(BTreeSet::new()));

    let swept = fault::sweep(
        Fault::Drop,
        async || order(&HOLDS).await,
        |run| {
            assert_eq!(HOLDS.load(Ordering::SeqCst), 0, "{run:?}");
            assert!(run.leaks.is_empty(), "{run:?}");
            match run.point {
                Some(point) => {
                    sites
                        .lock()
                        .unwrap()
                        .insert(format!("{:?} {}", point.site, point.name));
                    assert!(matches!(run.ended, Ended::Dropped), "{run:?}");
                }
                None => assert!(matches!(run.ended, Ended::Returned(Ok(7))), "{run:?}"),
            }
        },
    )
    .await;

    let sites = sites.lock().unwrap().clone();
    for site in [
        "Case case",
        "Await notify",
        "Await order",
        "Cleanup count",
        "Cleanup release",
        "Pause pay",
    ] {
        assert!(sites.contains(site), "{site} of {sites:?}");
    }
    let numbers: Vec<_> = swept.points.iter().map(|point| point.number).collect();
    assert_eq!(numbers, (1..=swept.points.len() as u64).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn each_fault_comes_where_it_can_and_says_which_it_was() {
    static HOLDS: AtomicI32 = AtomicI32::new(0);

    for fault in [
        Fault::Panic,
        Fault::Error,
        Fault::Delay(Duration::from_millis(1)),
        Fault::Hang,
        Fault::Drop,
    ] {
        let swept = fault::sweep(
            fault,
            async || clock::timeout(99 * SECOND, order(&HOLDS)).await,
            |run| {
                // Only a fault in the place of the release itself may lose the hold.
                let lost = matches!(fault, Fault::Panic | Fault::Error)
                    && run
                        .point
                        .is_some_and(|point| point.name.as_str() == "release");
                let stuck = fault == Fault::Hang
                    && run
                        .point
                        .is_some_and(|point| point.name.as_str() == "release");
                assert_eq!(
                    HOLDS.swap(0, Ordering::SeqCst),
                    i32::from(lost || stuck),
                    "{fault:?} {run:?}"
                );
            },
        )
        .await;

        let met: BTreeSet<_> = swept
            .points
            .iter()
            .map(|point| format!("{:?}", point.site))
            .collect();
        assert_eq!(
            met.contains("Await"),
            fault != Fault::Error,
            "{fault:?} {met:?}"
        );
        assert!(
            met.contains("Cleanup") && met.contains("Pause"),
            "{fault:?} {met:?}"
        );
        let sync = !matches!(fault, Fault::Hang | Fault::Drop);
        assert_eq!(met.contains("Point"), sync, "{fault:?} {met:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_in_a_cleanup_is_in_the_report_and_skips_none_of_the_others() {
    type Expected = fn(&CleanupStatus) -> bool;
    let cases: [(Fault, Expected); 4] = [
        (
            Fault::Panic,
            |s| matches!(s, CleanupStatus::Panicked(p) if p.message() == "injected fault at cleanup `second`, number 1"),
        ),
        (
            Fault::Error,
            |s| matches!(s, CleanupStatus::Failed(e) if e.is::<Injected>()),
        ),
        (Fault::Hang, |s| matches!(s, CleanupStatus::TimedOut(_))),
        (Fault::Delay(SECOND), |s| matches!(s, CleanupStatus::Ran)),
    ];

    for (fault, expected) in cases {
        let report = Arc::new(Mutex::new(Vec::new()));
        let seen = report.clone();
        let case = scope("case")
            .on_report(move |report| {
                for entry in &report.entries {
                    seen.lock().unwrap().push((
                        entry.name,
                        expected(&entry.status),
                        entry.status.is_ok(),
                    ));
                }
            })
            .run(async |s| {
                s.defer("first", || {});
                s.defer("second", || {});
                Ok::<_, BoxError>(())
            });

        let run = fault::inject(fault, When::Nth(1), case).await;

        let point = run.point.unwrap();
        assert_eq!((point.site, point.name.as_str()), (Site::Cleanup, "second"));
        let report = report.lock().unwrap();
        assert!(report[0].1, "{fault:?}: {report:?}");
        assert_eq!(
            (report[1].0.as_str(), report[1].2),
            ("first", true),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn cleanups_of_sync_scopes_panic_and_fail() {
    for fault in [Fault::Panic, Fault::Error] {
        let ran = AtomicUsize::new(0);
        let case = async {
            scope("sync").run_sync(|s| {
                s.defer("outer", || {
                    ran.fetch_add(1, Ordering::Relaxed);
                });
                s.defer("inner", || {
                    ran.fetch_add(1, Ordering::Relaxed);
                });
                Ok::<_, BoxError>(())
            })
        };

        let run = fault::inject(fault, When::Nth(1), case).await;

        assert_eq!(run.point.unwrap().site, Site::SyncCleanup);
        assert_eq!(ran.load(Ordering::Relaxed), 1, "the other one");
        let Ended::Returned(ended) = run.ended else {
            panic!("{run:?}");
        };
        assert_eq!(ended.is_err(), fault == Fault::Panic);
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_meets_the_same_points_and_another_seed_others() {
    let case = async || {
        let mut failed = Vec::new();
        for i in 0..64 {
            if fault::pause("step").await.is_err() {
                failed.push(i);
            }
        }
        failed
    };
    let run = async |seed| {
        let when = When::Random { seed, one_in: 4 };
        match fault::inject(Fault::Error, when, case()).await.ended {
            Ended::Returned(failed) => failed,
            other => panic!("{other:?}"),
        }
    };

    let (first, again, other) = (run(1).await, run(1).await, run(2).await);

    assert_eq!(first, again);
    assert_ne!(first, other);
    assert!(
        (8..=24).contains(&first.len()),
        "about 16 of 64: {}",
        first.len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_case_that_panics_by_itself_is_told_so_and_points_outside_of_a_case_do_nothing() {
    let run = fault::inject(Fault::Panic, When::Nth(1), async {
        tokio::task::yield_now().await;
    });
    let run = run.await;
    assert!(
        matches!(&run.ended, Ended::Panicked(p) if p.message().contains("await of `case`")),
        "{run:?}"
    );

    assert_eq!(fault::point("outside"), Ok(()));
    assert_eq!(fault::pause("outside").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_a_fault_leaves_hanging_is_told_as_a_leak() {
    let case = async || {
        spawn("hangs", async { clock::sleep(SECOND / 10).await });
        clock::sleep(SECOND).await;
    };

    let mut leaked = Vec::new();
    fault::sweep(
        Fault::Hang,
        async || clock::timeout(9 * SECOND, case()).await,
        |run| {
            leaked.extend(run.leaks.iter().map(|leak| leak.name));
        },
    )
    .await;

    assert_eq!(
        leaked.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        ["hangs"]
    );
}
