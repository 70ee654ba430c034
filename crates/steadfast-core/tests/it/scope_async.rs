use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::{BoxError, Cause, Scope, ScopeError, WaitGroup, clock, reaper, scope, spawn};

type Log = Arc<Mutex<Vec<&'static str>>>;

fn log() -> (Log, impl Fn(&'static str) + Clone + Send + 'static) {
    let log = Log::default();
    let writer = log.clone();
    (log, move |line| writer.lock().unwrap().push(line))
}

#[tokio::test(start_paused = true)]
async fn sync_and_async_cleanups_run_last_in_first_out() {
    let (log, write) = log();

    let ended = scope("demo")
        .run(async |s| {
            for name in ["a", "b"] {
                let write = write.clone();
                s.defer(name, move || write(name));
            }
            let w = write.clone();
            s.defer_async("c", async move || {
                clock::sleep(Duration::from_millis(10)).await;
                w("c");
            });
            let w = write.clone();
            let owned = s.own("d", 7, async move |value| {
                assert_eq!(value, 8);
                w("d");
            });
            let mut owned = owned;
            *owned += 1;
            Ok(*owned)
        })
        .await;

    assert_eq!(ended.unwrap(), 8);
    assert_eq!(*log.lock().unwrap(), ["d", "c", "b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_scope_is_cleaned_up_by_the_reaper_with_the_cause() {
    let (log, write) = log();
    let (sender, report) = tokio::sync::oneshot::channel();

    let running = scope("dropped")
        .on_report(move |report| sender.send(report.to_string()).unwrap())
        .run(async |s| {
            let w = write.clone();
            let _owned = s.own("own", (), async move |()| w("own"));
            let w = write.clone();
            s.defer_async("slow", async move || {
                clock::sleep(Duration::from_secs(1)).await;
                w("slow");
            });
            std::future::pending::<Result<(), _>>().await
        });
    let timed_out = clock::timeout(Duration::from_secs(1), running).await;
    assert!(timed_out.is_err());
    reaper::drain().await;

    assert_eq!(*log.lock().unwrap(), ["slow", "own"]);
    let report = report.await.unwrap();
    assert!(
        report.starts_with("dropped ended cancelled, dropped and reaped"),
        "{report}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_timeout_cancels_body_and_children_with_its_cause() {
    let ended = scope("slow")
        .timeout(Duration::from_secs(5))
        .run(async |s| {
            s.spawn("child", std::future::pending::<()>());
            Ok(())
        })
        .await;

    assert!(matches!(ended, Err(ScopeError::Cancelled(Cause::Timeout(t))) if t.as_secs() == 5));
}

#[tokio::test]
async fn two_panicking_cleanups_leave_the_newest_with_the_older_attached() {
    let ended = scope("twice")
        .run::<(), _, _>(async |s| {
            s.defer("one", || panic!("first registered"));
            s.defer("two", || panic!("last registered"));
            panic!("body");
        })
        .await;

    let error = ended.unwrap_err();
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "first registered");
    let older: Vec<_> = panic.superseded().iter().map(|p| p.message()).collect();
    assert_eq!(older, ["body", "last registered"]);
    assert_eq!(panic.scope_path().to_string(), "twice");
}

/// Shuts a runtime down on a thread of its own; gives what was written until that was over, and
/// whether it took less than half of what the process would wait for a cleanup that hangs.
fn shut_down(runtime: tokio::runtime::Runtime, log: &Log) -> (Vec<&'static str>, bool) {
    let (sender, over) = std::sync::mpsc::channel();
    let log = log.clone();
    std::thread::spawn(move || {
        drop(runtime);
        sender.send(log.lock().unwrap().clone()).unwrap();
    });
    match over.recv_timeout(reaper::EXIT_WAIT / 2) {
        Ok(written) => (written, true),
        Err(_) => (Vec::new(), false),
    }
}

#[test]
fn the_end_of_a_runtime_does_not_wait_for_children_that_only_it_can_end() {
    // The runtime drops its tasks in an order of its own; among many, both orders occur.
    for (threads, parents) in [(1, 1), (1, 8), (2, 1), (2, 8)] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .unwrap();
        let (log, write) = log();
        let ready = WaitGroup::new();
        for _ in 0..parents {
            let _inside = runtime.enter();
            spawn("parent", parent(write.clone(), ready.member()));
        }
        ready.wait_blocking();

        let (written, in_time) = shut_down(runtime, &log);

        assert!(in_time, "it waits for itself");
        let count = |line| written.iter().filter(|written| **written == line).count();
        assert_eq!((count("parent"), count("child")), (parents, parents));
    }
}

/// A scope with a child, both with cleanups, both of which never end by themselves.
async fn parent(
    write: impl Fn(&'static str) + Clone + Send + 'static,
    ready: steadfast_core::wait_group::Member,
) -> Result<(), ScopeError<BoxError>> {
    let child = async |write: Box<dyn Fn(&'static str) + Send>| {
        let body = async |s: Scope<(), BoxError>| {
            s.defer("in the child", move || write("child"));
            ready.done();
            std::future::pending().await
        };
        scope("inner").run(body).await
    };
    let body = async |s: Scope<(), BoxError>| {
        let late = write.clone();
        s.defer_async("after the child", async move || {
            tokio::task::yield_now().await;
            late("parent");
        });
        s.spawn("child", child(Box::new(write)));
        std::future::pending().await
    };
    scope("outer").run(body).await
}
