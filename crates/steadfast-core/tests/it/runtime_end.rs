use std::sync::{Arc, Mutex};

use steadfast_core::{BoxError, Scope, ScopeError, WaitGroup, reaper, scope, spawn};

type Log = Arc<Mutex<Vec<&'static str>>>;

fn log() -> (Log, impl Fn(&'static str) + Clone + Send + 'static) {
    let log = Log::default();
    let writer = log.clone();
    (log, move |line| writer.lock().unwrap().push(line))
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
