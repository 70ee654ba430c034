//! The hook, the reporter and its observers. Most of it is of the process, so these tests have
//! one each.

use std::collections::HashMap;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::context::Tier;
use steadfast_core::panic::{
    self, CLAIM_LIMIT, Kind, Observer, SAMPLES_PER_SECOND, flush, groups, observe,
};
use steadfast_core::{Context, TaskError, clock, context, defer, recover, scope, spawn};

use crate::support::{Bomb, in_own_process};

const LONG: Duration = Duration::from_secs(20);

/// What a report said.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    message: String,
    contained: bool,
    count: u64,
}

/// Installs the hook in place of the default one, which would print, and listens.
fn listen() -> (Observer, Receiver<Told>) {
    std::panic::set_hook(Box::new(|_| ()));
    let (tell, told) = channel();
    let observer = observe(move |report| {
        let _ = tell.send(Told {
            message: report.message().to_owned(),
            contained: report.contained(),
            count: report.count(),
        });
    });
    (observer.unwrap(), told)
}

/// Has the first backtrace of the process symbolized, which takes long.
fn warm_up(told: &Receiver<Told>) {
    recover(|| panic!("warm up")).unwrap_err();
    assert!(told.recv_timeout(LONG).unwrap().contained);
}

fn told(message: &str, contained: bool, count: u64) -> Told {
    Told {
        message: message.to_owned(),
        contained,
        count,
    }
}

fn boom() {
    panic!("boom");
}

#[test]
fn a_storm_is_counted_exactly_and_told_in_a_few_reports() {
    in_own_process(
        "panic_hook::a_storm_is_counted_exactly_and_told_in_a_few_reports",
        || {
            const THREADS: u64 = 4;
            const EACH: u64 = 25_000;
            let (_observer, reports) = listen();
            warm_up(&reports);

            let start = clock::now();
            let threads: Vec<_> = (0..THREADS)
                .map(|_| std::thread::spawn(|| storm(EACH)))
                .collect();
            let slowest = threads.into_iter().map(|thread| thread.join().unwrap());
            let slowest = slowest.max().unwrap();
            flush(LONG);

            let groups = groups();
            let storm = groups.iter().find(|group| group.message == "boom").unwrap();
            assert_eq!(
                (storm.count, storm.contained),
                (THREADS * EACH, THREADS * EACH)
            );
            assert!(storm.last > storm.first);
            let reports: Vec<_> = reports.try_iter().collect();
            assert_eq!(
                reports.iter().map(|told| told.count).sum::<u64>(),
                THREADS * EACH
            );
            // A machine that stops a thread for so long makes its panic one that nobody claims.
            let in_time = slowest < CLAIM_LIMIT;
            assert!(!in_time || reports.iter().all(|told| told.contained));
            // Samples begin anew, and repeats are told at most twice, in every second begun.
            let seconds = (clock::now() - start).as_secs() as usize + 1;
            assert!(
                reports.len() <= (seconds + 1) * (SAMPLES_PER_SECOND as usize + 2),
                "{} in {seconds} s",
                reports.len()
            );
        },
    );
}

/// Panics again and again; gives how long the slowest one took to its catch.
fn storm(count: u64) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..count {
        let start = clock::now();
        assert_eq!(recover(boom).unwrap_err().message(), "boom");
        slowest = slowest.max(clock::now() - start);
    }
    slowest
}

#[test]
fn a_panic_whose_value_is_raised_as_a_payload_is_claimed_once() {
    in_own_process(
        "panic_hook::a_panic_whose_value_is_raised_as_a_payload_is_claimed_once",
        || {
            std::panic::set_hook(Box::new(|_| ()));
            let panic = recover(boom).unwrap_err();
            let copy = panic.clone();

            let again = recover(|| std::panic::panic_any(panic)).unwrap_err();
            assert!(again.is_same(&copy));
            let past_the_hook = recover(|| std::panic::resume_unwind(Box::new(again)));
            assert!(past_the_hook.unwrap_err().is_same(&copy));
            // Two at a time, each caught.
            let other = copy.clone();
            let both = recover(|| {
                defer! { recover(|| other.resume()).unwrap_err(); }
                copy.resume()
            });
            assert!(both.is_err());

            for group in groups() {
                assert_eq!((group.count, group.contained), (1, 1), "{group:?}");
            }
        },
    );
}

#[test]
fn a_repeat_that_is_raised_again_and_not_caught_is_told_as_uncaught() {
    in_own_process(
        "panic_hook::a_repeat_that_is_raised_again_and_not_caught_is_told_as_uncaught",
        || {
            let (_observer, reports) = listen();
            warm_up(&reports);
            panic::sample(0);

            let caught = recover(boom).unwrap_err();
            flush(LONG);
            let thread = std::thread::spawn(move || caught.resume());
            assert!(thread.join().is_err());
            flush(LONG);

            assert_eq!(
                reports.try_iter().collect::<Vec<_>>(),
                [told("boom", true, 1), told("boom", false, 1)]
            );
        },
    );
}

#[test]
fn a_panic_that_nobody_catches_is_told_as_uncaught() {
    in_own_process(
        "panic_hook::a_panic_that_nobody_catches_is_told_as_uncaught",
        || {
            let (_observer, reports) = listen();
            warm_up(&reports);

            assert!(std::thread::spawn(boom).join().is_err());
            let report = reports.recv_timeout(LONG).unwrap();

            assert_eq!(report, told("boom", false, 1));
            assert_eq!(groups()[0].contained + groups()[1].contained, 1);
        },
    );
}

#[test]
fn a_panic_that_is_raised_again_and_not_caught_is_told_a_second_time() {
    in_own_process(
        "panic_hook::a_panic_that_is_raised_again_and_not_caught_is_told_a_second_time",
        || {
            let (_observer, reports) = listen();
            warm_up(&reports);

            let caught_again = recover(|| recover(boom).unwrap_err().resume()).unwrap_err();
            flush(LONG);
            let reported: Vec<_> = reports.try_iter().collect();
            assert_eq!(reported, [told("boom", true, 1)]);

            let thread = std::thread::spawn(move || caught_again.resume());
            assert!(thread.join().is_err());
            flush(LONG);

            assert_eq!(
                reports.try_iter().collect::<Vec<_>>(),
                [told("boom", false, 1)]
            );
            let groups = groups();
            let group = groups.iter().find(|group| group.message == "boom").unwrap();
            assert_eq!((group.count, group.contained), (1, 0));
        },
    );
}

#[test]
fn a_repeat_is_told_although_the_reporter_had_come_to_rest() {
    in_own_process(
        "panic_hook::a_repeat_is_told_although_the_reporter_had_come_to_rest",
        || {
            let (_observer, reports) = listen();
            warm_up(&reports);
            for _ in 0..SAMPLES_PER_SECOND {
                recover(boom).unwrap_err();
            }
            for _ in 0..SAMPLES_PER_SECOND {
                assert_eq!(reports.recv_timeout(LONG).unwrap(), told("boom", true, 1));
            }

            recover(boom).unwrap_err();

            // Whether it is a repeat, or the second was over and it is a sample again.
            assert_eq!(reports.recv_timeout(LONG).unwrap(), told("boom", true, 1));
        },
    );
}

#[test]
fn flush_waits_for_all_that_has_happened() {
    in_own_process("panic_hook::flush_waits_for_all_that_has_happened", || {
        let (_observer, reports) = listen();
        warm_up(&reports);
        for round in 0..200 {
            recover(boom).unwrap_err();
            flush(LONG);
            assert_eq!(
                reports.try_iter().map(|told| told.count).sum::<u64>(),
                1,
                "{round}"
            );
        }
    });
}

#[test]
fn a_chained_hook_is_called_for_every_panic() {
    in_own_process(
        "panic_hook::a_chained_hook_is_called_for_every_panic",
        || {
            let called = count_calls();
            panic::install();

            recover(boom).unwrap_err();
            assert!(catch_unwind(boom).is_err());

            assert_eq!(called.load(Ordering::Relaxed), 2);
        },
    );
}

#[test]
fn a_quietly_chained_hook_is_called_only_for_what_no_catch_of_ours_is_around() {
    in_own_process(
        "panic_hook::a_quietly_chained_hook_is_called_only_for_what_no_catch_of_ours_is_around",
        || {
            let called = count_calls();
            panic::install_quiet();
            panic::install();

            recover(boom).unwrap_err();
            let _ = scope("x").run_sync::<(), _>(|s| {
                s.defer("panics", boom);
                panic!("body")
            });
            assert_eq!(called.load(Ordering::Relaxed), 0);

            assert!(catch_unwind(boom).is_err());
            assert_eq!(called.load(Ordering::Relaxed), 1);
            assert_eq!(groups().iter().map(|group| group.count).sum::<u64>(), 4);
        },
    );
}

fn count_calls() -> Arc<AtomicU32> {
    let called = Arc::new(AtomicU32::new(0));
    let count = called.clone();
    std::panic::set_hook(Box::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    called
}

#[test]
fn an_observer_that_panics_is_removed_and_the_others_go_on() {
    in_own_process(
        "panic_hook::an_observer_that_panics_is_removed_and_the_others_go_on",
        || {
            let (_observer, reports) = listen();
            let calls = Arc::new(AtomicU32::new(0));
            let count = calls.clone();
            let bad = observe(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                panic!("in the observer");
            });

            for _ in 0..3 {
                recover(boom).unwrap_err();
                flush(LONG);
                assert_eq!(reports.try_iter().count(), 1);
            }

            assert_eq!(calls.load(Ordering::Relaxed), 1);
            drop(bad);
        },
    );
}

#[test]
fn what_an_observer_holds_may_panic_when_it_is_removed() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic!("in the observer's Drop");
        }
    }
    in_own_process(
        "panic_hook::what_an_observer_holds_may_panic_when_it_is_removed",
        || {
            let (_observer, reports) = listen();
            let bomb = Bomb;
            let _bad = observe(move |_| {
                let _held = &bomb;
                std::panic!("in the observer");
            });

            for _ in 0..2 {
                recover(boom).unwrap_err();
                assert_eq!(reports.recv_timeout(LONG).unwrap().message, "boom");
            }
        },
    );
}

#[test]
fn an_observer_that_removes_itself_and_panics_as_it_goes_does_not_end_the_reports() {
    in_own_process(
        "panic_hook::an_observer_that_removes_itself_and_panics_as_it_goes_does_not_end_the_reports",
        || {
            let (_observer, reports) = listen();
            let itself = Arc::new(Mutex::new(None::<Observer>));
            let remove = itself.clone();
            let bomb = Bomb("dropped by the reporter");
            *itself.lock().unwrap() = observe(move |_| {
                let _held = &bomb;
                drop(remove.lock().unwrap().take());
            });

            for _ in 0..3 {
                recover(boom).unwrap_err();
                flush(LONG);
                assert_eq!(reports.try_iter().count(), 1);
            }
        },
    );
}

#[test]
fn an_observer_may_hold_another_one() {
    in_own_process("panic_hook::an_observer_may_hold_another_one", || {
        let inner = observe(|_| ()).unwrap();
        let outer = observe(move |_| drop(format!("{inner:?}"))).unwrap();
        drop(outer);

        let all: Vec<_> = std::iter::from_fn(|| observe(|_| ())).collect();
        assert_eq!(all.len(), 16);
    });
}

#[test]
fn a_panic_while_the_subscriber_is_locked_is_recorded_and_told() {
    use tracing_subscriber::layer::{Context, SubscriberExt};

    /// Panics with its lock held.
    struct Locks(Mutex<()>, std::sync::mpsc::Sender<String>);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Locks {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let _guard = self.0.lock();
            let target = event.metadata().target();
            self.1.send(target.to_owned()).unwrap();
            if target == "app" {
                panic!("with the lock held");
            }
        }
    }

    in_own_process(
        "panic_hook::a_panic_while_the_subscriber_is_locked_is_recorded_and_told",
        || {
            let (send, targets) = channel();
            let subscriber = tracing_subscriber::registry().with(Locks(Mutex::new(()), send));
            tracing::subscriber::set_global_default(subscriber).unwrap();

            let panic = recover(|| tracing::info!(target: "app", "hello")).unwrap_err();

            assert_eq!(panic.message(), "with the lock held");
            assert_eq!(targets.recv_timeout(LONG).unwrap(), "app");
            assert_eq!(targets.recv_timeout(LONG).unwrap(), "steadfast::panic");
        },
    );
}

#[test]
fn the_event_of_a_panic_names_route_tier_and_ids_of_its_request() {
    in_own_process(
        "panic_hook::the_event_of_a_panic_names_route_tier_and_ids_of_its_request",
        || {
            let lines = Arc::new(Mutex::new(Vec::new()));
            let writer = lines.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(move || Shared(writer.clone()))
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
            let request = Context::new()
                .with_trace_id("0af7651916cd43dd8448eb211c80319c".parse().unwrap())
                .with_route("/orders")
                .with_tier(Tier::CORE);

            request
                .run(|| recover(|| panic!("in a request")))
                .unwrap_err();
            recover(|| panic!("in no request")).unwrap_err();
            flush(LONG);

            let text = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
            let line = |message: &str| {
                let mut lines = text.lines().filter(|line| line.contains(message));
                lines.next().unwrap_or_else(|| panic!("{text}")).to_owned()
            };
            let told = line("in a request");
            for part in [
                "route=\"/orders\"",
                "tier=0",
                "trace_id=\"0af7651916cd43dd8448eb211c80319c\"",
                "panic_hook.rs",
            ] {
                assert!(told.contains(part), "{part}: {told}");
            }
            assert!(!line("in no request").contains("tier="), "{text}");
        },
    );
}

/// A writer into what all of them share.
struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_report_joins_the_panic_with_its_scope_ids_and_thread() {
    in_own_process(
        "panic_hook::a_report_joins_the_panic_with_its_scope_ids_and_thread",
        || {
            let kept = Arc::new(Mutex::new(None));
            let keep = kept.clone();
            let _observer = observe(move |report| {
                *keep.lock().unwrap() = Some((
                    report.scope_path().to_string(),
                    report.context().trace_id(),
                    report.location(),
                    report.kind(),
                    report.thread().to_owned(),
                    report.entries().len(),
                    report.backtrace().is_some(),
                ));
            });

            let thread = std::thread::Builder::new().name("named".into());
            let ended = thread.spawn(|| {
                scope("checkout").run_sync::<(), _>(|_| {
                    context::put("order", "4711").unwrap();
                    panic!("in the body")
                })
            });
            let error = ended.unwrap().join().unwrap().unwrap_err();
            flush(LONG);

            let panic = error.panic().unwrap();
            let (path, trace_id, location, kind, thread, entries, _) =
                kept.lock().unwrap().take().unwrap();
            assert_eq!(path, "checkout");
            assert_eq!(trace_id, panic.trace_id());
            assert!(trace_id.is_some());
            assert_eq!(location, panic.location());
            assert_eq!((kind, thread.as_str(), entries), (Kind::User, "named", 1));
        },
    );
}

#[test]
fn every_way_to_contain_a_panic_claims_it() {
    in_own_process("panic_hook::every_way_to_contain_a_panic_claims_it", || {
        std::panic::set_hook(Box::new(|_| ()));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();

        runtime.block_on(async {
            let task = spawn("task", async { panic!("task") });
            assert!(matches!(task.await, Err(TaskError::Panicked(_))));
            let unjoined = spawn("unjoined", async { panic!("unjoined task") });
            while !unjoined.is_finished() {
                tokio::task::yield_now().await;
            }
            drop(unjoined);
            let _ = scope("scope")
                .run::<(), _, _>(async |s| {
                    let child = s.spawn("child", async { panic!("child") });
                    assert!(child.await.is_err());
                    s.defer("sync", || panic!("sync cleanup"));
                    s.defer_async("async", async || panic!("async cleanup"));
                    s.defer_outcome("outcome", |_| panic!("editor"));
                    let early = s.defer_async("early", async || panic!("early cleanup"));
                    early.run().await;
                    panic!("body")
                })
                .await;
            steadfast_core::defer! { panic!("guard") }
            drop(recover(|| {
                std::panic::panic_any(crate::support::Bomb("payload"))
            }));
        });
        drop(runtime);
        let _ = scope("report")
            .on_report(|_| panic!("report"))
            .run_sync(|_| Ok(()));
        flush(LONG);

        let uncaught: HashMap<_, _> = groups()
            .into_iter()
            .filter(|group| group.contained < group.count)
            .map(|group| (group.message, group.count))
            .collect();
        assert!(uncaught.is_empty(), "{uncaught:?}");
        assert_eq!(groups().iter().map(|group| group.count).sum::<u64>(), 12);
    });
}
