use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::context::Tier;
use steadfast_core::shutdown::{
    HOOKS_MAX, HookEnd, HookRefused, Limits, Phase, PhaseEnd, ShutdownReport,
};
use steadfast_core::{BoxError, Cause, Shutdown, clock, reaper, scope, spawn};

use crate::support::in_own_process;

/// Limits that are told apart by their length.
fn limits() -> Limits {
    Limits {
        not_ready: Duration::from_secs(1),
        ..Limits::default()
    }
}

/// Runs a test in a process of its own, with paused time: whether a shutdown is clean depends on
/// the reaper, which is that of the process.
fn alone(test: &str, body: impl Future<Output = ()>) {
    in_own_process(test, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(body);
    });
}

fn end_of(report: &ShutdownReport, phase: Phase) -> (PhaseEnd, u64) {
    let part = report.phases.iter().find(|part| part.phase == phase);
    let part = part.unwrap_or_else(|| panic!("no {phase} in {report}"));
    (part.end, part.took.as_secs())
}

#[test]
fn phases_come_in_order_and_tell_everybody() {
    alone("shutdown::phases_come_in_order_and_tell_everybody", async {
        let shutdown = Shutdown::new(limits());
        let log = Arc::new(Mutex::new(Vec::new()));
        for phase in Phase::ACTIVE {
            let (log, seen) = (log.clone(), shutdown.clone());
            let hook = move || async move {
                let state = (
                    seen.is_ready(),
                    seen.stop_accepting().is_cancelled(),
                    seen.token().is_cancelled(),
                );
                log.lock().unwrap().push((phase, state));
            };
            shutdown.on(phase, "note", hook).unwrap();
        }
        assert!(shutdown.is_ready());

        shutdown.request("test");
        let report = shutdown.drive().await;

        assert!(report.is_clean(), "{report}");
        assert_eq!(
            *log.lock().unwrap(),
            [
                (Phase::NotReady, (false, false, false)),
                (Phase::StopAccepting, (false, true, false)),
                (Phase::DrainLower, (false, true, false)),
                (Phase::DrainCore, (false, true, false)),
                (Phase::Cancel, (false, true, true)),
                (Phase::Cleanup, (false, true, true)),
            ]
        );
        assert_eq!(end_of(&report, Phase::NotReady).1, 1);
    });
}

#[tokio::test(start_paused = true)]
async fn work_below_the_core_has_less_time_than_the_core() {
    let shutdown = Shutdown::default();
    let ended = Arc::new(Mutex::new(Vec::new()));
    for (name, tier) in [("lower", Tier::DEFAULT), ("core", Tier::CORE)] {
        let work = shutdown.in_flight(tier).unwrap();
        let ended = ended.clone();
        let start = clock::now();
        spawn(name, async move {
            let cause = work.token().cancelled().await;
            assert!(matches!(cause, Cause::Shutdown));
            ended
                .lock()
                .unwrap()
                .push((name, (clock::now() - start).as_secs()));
        });
    }

    shutdown.request("test");
    let report = shutdown.drive().await;

    assert_eq!(*ended.lock().unwrap(), [("lower", 5), ("core", 15)]);
    assert_eq!(end_of(&report, Phase::DrainLower), (PhaseEnd::TimedOut, 5));
    assert_eq!(end_of(&report, Phase::DrainCore), (PhaseEnd::TimedOut, 10));
    assert_eq!(end_of(&report, Phase::Cancel), (PhaseEnd::Done, 0));
    assert!(!report.is_clean());
}

#[test]
fn nothing_new_is_taken_once_accepting_has_stopped() {
    alone(
        "shutdown::nothing_new_is_taken_once_accepting_has_stopped",
        async {
            let shutdown = Shutdown::default();
            let old = shutdown.in_flight(Tier::CORE).unwrap();
            shutdown.request("test");
            let driver = shutdown.clone();
            let driver = spawn("driver", async move { driver.drive().await });

            shutdown.reached(Phase::DrainCore).await;
            assert!(shutdown.in_flight(Tier::CORE).is_none());
            drop(old);

            assert!(driver.await.unwrap().is_clean());
        },
    );
}

#[tokio::test(start_paused = true)]
async fn hooks_run_last_registered_first_and_spare_each_other() {
    let shutdown = Shutdown::new(Limits {
        stop_accepting: Duration::from_secs(20),
        ..Limits::default()
    });
    let on = |name: &'static str, hook: fn() -> HookFuture| {
        shutdown.on(Phase::StopAccepting, name, hook).unwrap();
    };
    type HookFuture = std::pin::Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
    on("well", || Box::pin(async { Ok(()) }));
    on("hangs", || Box::pin(pending()));
    on("panics", || Box::pin(async { panic!("in a hook") }));
    on("fails", || Box::pin(async { Err("no answer".into()) }));

    shutdown.request("test");
    let report = shutdown.drive().await;

    let part = &report.phases[1];
    let ends: Vec<_> = part.hooks.iter().map(|hook| hook.end.to_string()).collect();
    assert_eq!(
        ends,
        [
            "failed: no answer",
            "panicked: in a hook",
            "timed out after 5s",
            "ran"
        ]
    );
    assert_eq!(part.end, PhaseEnd::Done);
    assert!(!report.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_outlasts_its_phase_is_cut_short_and_said_so() {
    let shutdown = Shutdown::default();
    shutdown
        .on(Phase::StopAccepting, "slow", pending::<()>)
        .unwrap();

    shutdown.request("test");
    let report = shutdown.drive().await;

    assert!(matches!(report.phases[1].hooks[0].end, HookEnd::CutShort));
    assert_eq!(
        end_of(&report, Phase::StopAccepting),
        (PhaseEnd::TimedOut, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_comes_too_late_is_refused() {
    let shutdown = Shutdown::default();
    shutdown.request("test");
    shutdown.drive().await;

    let late = shutdown.on(Phase::Cancel, "late", async || ());
    let never = shutdown.on(Phase::Ended, "never", async || ());

    assert_eq!(
        late.unwrap_err().to_string(),
        "the shutdown has come to phase ended: too late for a hook of cancel"
    );
    assert_eq!(never, Err(HookRefused::NoSuchPhase(Phase::Ended)));
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_goes_on_with_cancelling() {
    let shutdown = Shutdown::default();
    let _work = shutdown.in_flight(Tier::DEFAULT).unwrap();
    shutdown.signal("SIGTERM");
    let driver = shutdown.clone();
    let start = clock::now();
    let driver = spawn("driver", async move { driver.drive().await });
    clock::sleep(Duration::from_secs(1)).await;

    shutdown.signal("SIGTERM");
    shutdown.token().cancelled().await;

    assert_eq!((clock::now() - start).as_secs(), 1);
    let report = driver.await.unwrap();
    assert!(report.hurried && !report.is_clean());
    assert_eq!(end_of(&report, Phase::DrainLower), (PhaseEnd::Hurried, 1));
    assert_eq!(report.reason.unwrap().as_str(), "SIGTERM");
}

#[tokio::test(start_paused = true)]
async fn the_hard_limit_ends_it_wherever_it_is() {
    let shutdown = Shutdown::new(Limits {
        hard: Duration::from_secs(7),
        ..Limits::default()
    });
    let _work = shutdown.in_flight(Tier::CORE).unwrap();

    shutdown.request("test");
    let report = shutdown.drive().await;

    assert!(report.hit_hard_limit(), "{report}");
    assert_eq!(report.took.as_secs(), 7);
    assert_eq!(shutdown.phase(), Phase::Ended);
}

#[test]
fn asking_twice_is_one_shutdown_and_everybody_gets_the_report() {
    alone(
        "shutdown::asking_twice_is_one_shutdown_and_everybody_gets_the_report",
        async {
            let shutdown = Shutdown::default();
            let others: Vec<_> = (0..3)
                .map(|_| {
                    let shutdown = shutdown.clone();
                    spawn("waiter", async move { shutdown.drive().await })
                })
                .collect();

            assert!(shutdown.request("first"));
            assert!(!shutdown.request("second"));

            for other in others {
                let report = other.await.unwrap();
                assert_eq!(report.reason.unwrap().as_str(), "first");
                assert!(report.is_clean());
            }
        },
    );
}

#[test]
fn cleanups_of_dropped_scopes_are_waited_for() {
    alone(
        "shutdown::cleanups_of_dropped_scopes_are_waited_for",
        async {
            let shutdown = Shutdown::default();
            let running = scope("request").run(async |s| {
                s.defer_async("slow", async || clock::sleep(Duration::from_secs(3)).await);
                pending::<Result<(), BoxError>>().await
            });
            let _ = clock::timeout(Duration::from_millis(1), running).await;

            shutdown.request("test");
            let report = shutdown.drive().await;

            assert!(report.is_clean(), "{report}");
            assert_eq!(report.reaping, 0);
            assert!(end_of(&report, Phase::Cleanup).1 >= 2, "{report}");
        },
    );
}

#[test]
fn the_plan_lists_phases_limits_and_hooks() {
    let shutdown = Shutdown::default();
    shutdown
        .on(Phase::StopAccepting, "leave", async || ())
        .unwrap();

    let plan = shutdown.plan().to_string();

    let lines: Vec<_> = plan.lines().map(str::trim).collect();
    assert_eq!(lines[0], "shutdown within 25s:");
    assert_eq!(lines[2], "stop_accepting  at most 2s");
    assert!(
        lines[3].starts_with("leave") && lines[3].contains("shutdown.rs"),
        "{plan}"
    );
}

/// Gives what became of the hooks of a phase, in order.
fn hooks_of(report: &ShutdownReport, phase: Phase) -> Vec<String> {
    let part = report.phases.iter().find(|part| part.phase == phase);
    let hooks = part.map(|part| part.hooks.as_slice()).unwrap_or_default();
    let told = hooks
        .iter()
        .map(|hook| format!("{}: {}", hook.name, hook.end));
    told.collect()
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_its_phase_did_not_come_to_is_told() {
    let shutdown = Shutdown::default();
    shutdown
        .on(Phase::StopAccepting, "next", async || ())
        .unwrap();
    shutdown
        .on(Phase::StopAccepting, "hangs", pending::<()>)
        .unwrap();

    shutdown.request("test");
    let report = shutdown.drive().await;

    assert_eq!(
        hooks_of(&report, Phase::StopAccepting),
        ["hangs: cut short", "next: not run"]
    );
    assert!(!report.is_clean());
}

#[test]
fn phases_that_a_second_signal_jumps_over_are_told_with_their_hooks() {
    alone(
        "shutdown::phases_that_a_second_signal_jumps_over_are_told_with_their_hooks",
        async {
            let shutdown = Shutdown::new(limits());
            for phase in Phase::ACTIVE {
                shutdown.on(phase, "hook", async || ()).unwrap();
            }

            shutdown.signal("SIGINT");
            shutdown.signal("SIGINT");
            let report = shutdown.drive().await;

            let phases: Vec<_> = report.phases.iter().map(|part| part.phase).collect();
            assert_eq!(phases, Phase::ACTIVE);
            for jumped in &Phase::ACTIVE[..4] {
                assert_eq!(end_of(&report, *jumped), (PhaseEnd::Skipped, 0));
                assert_eq!(hooks_of(&report, *jumped), ["hook: not run"]);
            }
            for done in &Phase::ACTIVE[4..] {
                assert_eq!(end_of(&report, *done), (PhaseEnd::Done, 0));
                assert_eq!(hooks_of(&report, *done), ["hook: ran"]);
            }
        },
    );
}

#[test]
fn a_second_signal_cannot_take_the_turn_of_a_phase_without_time() {
    alone(
        "shutdown::a_second_signal_cannot_take_the_turn_of_a_phase_without_time",
        async {
            let shutdown = Shutdown::new(Limits {
                cancel: Duration::ZERO,
                ..Limits::default()
            });
            shutdown.on(Phase::Cancel, "at once", async || ()).unwrap();
            let work = shutdown.in_flight(Tier::CORE).unwrap();
            shutdown.signal("SIGTERM");
            let driver = shutdown.clone();
            let driver = spawn("driver", async move { driver.drive().await });
            shutdown.reached(Phase::DrainCore).await;

            shutdown.signal("SIGTERM");
            let report = driver.await.unwrap();

            assert_eq!(end_of(&report, Phase::DrainCore).0, PhaseEnd::Hurried);
            assert_eq!(end_of(&report, Phase::Cancel).0, PhaseEnd::TimedOut);
            assert_eq!(end_of(&report, Phase::Cleanup).0, PhaseEnd::Done);
            assert_eq!(hooks_of(&report, Phase::Cancel), ["at once: ran"]);
            drop(work);
        },
    );
}

#[test]
fn a_hook_has_its_time_although_nobody_waits_for_load_balancers() {
    alone(
        "shutdown::a_hook_has_its_time_although_nobody_waits_for_load_balancers",
        async {
            let shutdown = Shutdown::default();
            let hook = async || clock::sleep(Duration::from_secs(3)).await;
            shutdown.on(Phase::NotReady, "tell them", hook).unwrap();

            shutdown.request("test");
            let report = shutdown.drive().await;

            assert_eq!(hooks_of(&report, Phase::NotReady), ["tell them: ran"]);
            assert_eq!(end_of(&report, Phase::NotReady), (PhaseEnd::Done, 3));
            assert!(report.is_clean(), "{report}");
        },
    );
}

#[tokio::test(start_paused = true)]
async fn the_hard_limit_is_never_clean_and_cancels_what_is_left() {
    let shutdown = Shutdown::new(Limits {
        not_ready: Duration::from_secs(60),
        hard: Duration::from_secs(1),
        ..Limits::default()
    });
    shutdown.on(Phase::Cleanup, "last", async || ()).unwrap();

    shutdown.request("test");
    let report = shutdown.drive().await;

    assert!(report.hit_hard_limit() && !report.is_clean(), "{report}");
    assert_eq!(end_of(&report, Phase::NotReady), (PhaseEnd::HardLimit, 1));
    assert_eq!(hooks_of(&report, Phase::Cleanup), ["last: not run"]);
    assert!(shutdown.stop_accepting().is_cancelled());
    assert!(shutdown.token().is_cancelled());
}

/// Panics when it is shown, and when it is dropped.
#[derive(Debug)]
struct Nasty;

impl std::fmt::Display for Nasty {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("shown")
    }
}

impl std::error::Error for Nasty {}

impl Drop for Nasty {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped")
        }
    }
}

#[test]
fn a_hook_that_panics_wherever_it_can_does_not_end_the_shutdown() {
    alone(
        "shutdown::a_hook_that_panics_wherever_it_can_does_not_end_the_shutdown",
        async {
            let shutdown = Shutdown::default();
            let unused = Nasty;
            let never = async move || drop(unused);
            shutdown
                .on(Phase::StopAccepting, "never run", never)
                .unwrap();
            shutdown
                .on(Phase::StopAccepting, "hangs", async || {
                    let _held = Nasty;
                    pending::<()>().await;
                })
                .unwrap();
            shutdown
                .on(Phase::StopAccepting, "fails", async || Err::<(), _>(Nasty))
                .unwrap();

            shutdown.request("test");
            let report = shutdown.drive().await;

            assert_eq!(
                hooks_of(&report, Phase::StopAccepting),
                [
                    "fails: panicked: shown",
                    "hangs: cut short",
                    "never run: not run"
                ]
            );
            assert_eq!(end_of(&report, Phase::Cleanup).0, PhaseEnd::Done);
        },
    );
}

#[test]
fn a_subscriber_that_panics_does_not_end_the_shutdown() {
    alone(
        "shutdown::a_subscriber_that_panics_does_not_end_the_shutdown",
        async {
            use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
            struct Panics;
            impl<S: tracing::Subscriber> Layer<S> for Panics {
                fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
                    assert_ne!(event.metadata().target(), "steadfast::shutdown");
                }
            }
            let subscriber = tracing_subscriber::registry().with(Panics);
            let _listening = tracing::subscriber::set_default(subscriber);
            let shutdown = Shutdown::default();

            shutdown.request("test");
            let report = shutdown.drive().await;

            assert!(report.is_clean(), "{report}");
        },
    );
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_dropped_leaves_the_rest_to_the_next() {
    let shutdown = Shutdown::default();
    let ran = Arc::new(Mutex::new(Vec::new()));
    for (name, wait) in [("third", 0), ("second", 1), ("first", 0)] {
        let ran = ran.clone();
        let hook = async move || {
            clock::sleep(Duration::from_secs(wait)).await;
            ran.lock().unwrap().push(name);
        };
        shutdown.on(Phase::StopAccepting, name, hook).unwrap();
    }
    let waiter = shutdown.clone();
    let drop_at = Duration::from_millis(500);

    // Before anybody has asked, and in the middle of a hook.
    assert!(clock::timeout(drop_at, shutdown.drive()).await.is_err());
    shutdown.request("test");
    let first = clock::timeout(drop_at, shutdown.drive());
    let waiter = spawn("waiter", async move { waiter.drive().await });
    assert!(first.await.is_err());
    let report = clock::timeout(Duration::from_secs(60), waiter).await;
    let report = report.expect("the next one goes on").unwrap();

    assert_eq!(*ran.lock().unwrap(), ["first", "third"]);
    assert_eq!(
        hooks_of(&report, Phase::StopAccepting),
        ["first: ran", "second: cut short", "third: ran"]
    );
    let phases: Vec<_> = report.phases.iter().map(|part| part.phase).collect();
    assert_eq!(phases, Phase::ACTIVE);
}

#[test]
fn hooks_are_bounded() {
    let shutdown = Shutdown::default();
    for _ in 0..HOOKS_MAX {
        shutdown.on(Phase::Cancel, "hook", async || ()).unwrap();
    }

    let more = shutdown.on(Phase::Cancel, "one more", async || ());

    assert_eq!(more, Err(HookRefused::TooMany));
}

#[tokio::test(start_paused = true)]
async fn cleanups_that_outlast_their_phase_are_told() {
    let shutdown = Shutdown::default();
    let running = scope("request")
        .cleanup_limit(Duration::from_secs(60))
        .run(async |s| {
            s.defer_async("hangs", pending::<()>);
            pending::<Result<(), BoxError>>().await
        });
    let _ = clock::timeout(Duration::from_millis(1), running).await;

    shutdown.request("test");
    let report = shutdown.drive().await;

    // The reaper is that of the process, and other tests have scopes, too.
    assert!(report.reaping >= 1 && !report.is_clean(), "{report}");
    assert_eq!(end_of(&report, Phase::Cleanup), (PhaseEnd::TimedOut, 5));
    reaper::drain().await;
}
