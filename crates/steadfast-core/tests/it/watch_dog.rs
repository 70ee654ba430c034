use std::sync::mpsc;
use std::time::Duration;

use steadfast_core::report::{self, Value};
use steadfast_core::watch::{self, Config, Event};
use steadfast_core::{BoxError, scope};

use crate::support::in_own_process;
use crate::watch_rig::{Rig, SECOND};

const CONFIG: Config = Config {
    stall_limit: SECOND,
    wait_limit: SECOND,
    unpolled_limit: SECOND,
    tick: SECOND,
};

#[test]
fn numbers_out_of_range_are_refused_with_the_bound() {
    let short = Duration::from_millis(999);
    let cases = [
        (
            Config {
                tick: Duration::ZERO,
                ..CONFIG
            },
            "tick of 0ns is not between 1ms and 10s",
        ),
        (
            Config {
                tick: 11 * SECOND,
                ..CONFIG
            },
            "tick of 11s is not between",
        ),
        (
            Config {
                stall_limit: short,
                ..CONFIG
            },
            "stall_limit of 999ms is shorter than the tick",
        ),
        (
            Config {
                wait_limit: short,
                ..CONFIG
            },
            "wait_limit of 999ms is shorter",
        ),
        (
            Config {
                unpolled_limit: short,
                ..CONFIG
            },
            "unpolled_limit of 999ms is shorter",
        ),
    ];

    for (config, message) in cases {
        let refused = watch::start(config).unwrap_err();

        assert!(refused.to_string().starts_with(message), "{refused}");
        assert!(!refused.is_running());
    }
}

#[test]
fn there_is_one_watchdog_at_a_time() {
    let rig = Rig::start();

    assert!(watch::start(CONFIG).unwrap_err().is_running());

    drop(rig);
}

#[test]
fn work_without_progress_is_told_as_stuck_and_as_resumed() {
    let mut rig = Rig::start();
    let (work, line) = (
        scope("nightly").run_sync(|_| Ok::<_, BoxError>(watch::progress("import", SECOND)?)),
        line!() - 1,
    );
    let work = work.unwrap();

    assert!(rig.advance(SECOND, "import").is_empty());
    for _ in 0..10 {
        work.beat();
        assert!(
            rig.advance(3 * SECOND, "import").is_empty(),
            "a beat in time"
        );
    }
    assert!(
        rig.advance(3 * SECOND, "import").is_empty(),
        "three intervals are not over"
    );
    let told = rig.advance(SECOND, "import");
    let [Event::Stuck(stuck)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(
        (stuck.silent, stuck.every, stuck.age),
        (4 * SECOND, SECOND, 35 * SECOND)
    );
    assert_eq!((stuck.place.file(), stuck.place.line()), (file!(), line));
    assert!(work.is_stuck());
    assert!(rig.advance(9 * SECOND, "import").is_empty(), "told once");

    work.beat();
    let told = rig.advance(SECOND, "import");
    assert!(
        matches!(&told[..], [Event::Resumed(e)] if e.silent == 14 * SECOND),
        "{told:?}"
    );
    assert!(!work.is_stuck());
    drop(work);
    assert!(
        rig.advance(60 * SECOND, "import").is_empty(),
        "it is watched no more"
    );
}

#[test]
fn stuck_work_is_told_with_the_scopes_that_still_run() {
    let mut rig = Rig::start();

    let told = scope("nightly").run_sync(|_| {
        let _work = watch::progress("export", SECOND)?;
        rig.advance(SECOND, "export");
        Ok::<_, BoxError>(rig.advance(4 * SECOND, "export"))
    });

    let told = told.unwrap();
    let [Event::Stuck(stuck)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(stuck.who.scope_path.to_string(), "nightly");
    let text = told[0].to_string();
    assert!(
        text.starts_with("export is stuck: no progress for 4s, promised every 1s"),
        "{text}"
    );
}

#[test]
fn an_interval_that_is_no_time_is_refused() {
    let error = watch::progress("nothing", Duration::ZERO).unwrap_err();

    assert!(!error.is_retryable());
}

/// A runtime on a thread of its own that can be made to block inside of a poll.
struct Blocked {
    release: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
    handle: tokio::runtime::Handle,
    poke: tokio::sync::mpsc::UnboundedSender<()>,
    blocks: mpsc::Receiver<()>,
}

fn runtime() -> Blocked {
    let (release, released) = mpsc::channel();
    let (poke, mut pokes) = tokio::sync::mpsc::unbounded_channel();
    let (blocking, blocks) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("slow-runtime".into())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            tell.send(runtime.handle().clone()).unwrap();
            runtime.block_on(async {
                while pokes.recv().await.is_some() {
                    let body = async {
                        blocking.send(()).unwrap();
                        Ok::<_, BoxError>(released.recv()?)
                    };
                    scope("render").run(async |_| body.await).await.unwrap();
                }
            });
        });
    Blocked {
        release,
        thread: thread.unwrap(),
        handle: told.recv().unwrap(),
        poke,
        blocks,
    }
}

/// Moves the time until something is told; a runtime that runs gives its beats by itself.
fn advance_until_told(rig: &mut Rig, names: &str) -> Vec<Event> {
    for _ in 0..1_000_000 {
        let told = rig.advance(Duration::ZERO, names);
        if !told.is_empty() {
            return told;
        }
        std::thread::yield_now();
    }
    panic!("nothing is told");
}

#[test]
fn a_runtime_that_is_stalled_is_told_with_the_scope_that_blocks_it_and_when_it_runs_again() {
    let mut rig = Rig::start();
    let runtime = runtime();
    rig.watchdog
        .watch_runtime("stalled", &runtime.handle)
        .unwrap();
    runtime.poke.send(()).unwrap();
    runtime.blocks.recv().unwrap();

    assert!(rig.advance(SECOND, "stalled").is_empty());
    rig.advance(SECOND, "stalled");
    let mut told = rig.advance(2 * SECOND, "stalled");
    told.retain(|event| matches!(event, Event::RuntimeStalled(_)));
    let [Event::RuntimeStalled(stalled)] = &told[..] else {
        panic!("{told:?}");
    };
    let busy = stalled
        .busy
        .iter()
        .find(|busy| busy.thread.as_str() == "slow-runtime");
    let busy = busy.expect("the thread is named");
    assert_eq!(
        busy.polling
            .iter()
            .map(|name| name.as_str())
            .collect::<Vec<_>>(),
        ["render"]
    );
    assert!(busy.since >= stalled.late);

    runtime.release.send(()).unwrap();
    let told = advance_until_told(&mut rig, "stalled");
    assert!(matches!(told[0], Event::RuntimeResumed(_)), "{told:?}");

    drop(runtime.poke);
    runtime.thread.join().unwrap();
    assert!(
        rig.advance(60 * SECOND, "stalled").is_empty(),
        "it has ended, and is not late"
    );
}

#[test]
fn what_the_watch_knows_is_in_the_report() {
    let mut rig = Rig::start();
    let _work = watch::progress("reported", SECOND).unwrap();
    rig.advance(SECOND, "reported");
    rig.advance(4 * SECOND, "reported");

    let snapshot = report::snapshot();
    let value = |name: &str| {
        let found = snapshot.metrics().find(|m| m.name == name);
        found.unwrap().value.clone()
    };
    assert_eq!(value("steadfast_watch_armed"), Value::Armed(true));
    let Value::Gauge(stuck) = value("steadfast_watch_stuck") else {
        panic!("a gauge");
    };
    assert!(stuck >= 1.0);
}

#[test]
fn an_observer_that_panics_is_removed_and_the_others_hear_on() {
    let mut rig = Rig::start();
    let _bad = watch::observe(|event| {
        if matches!(event, Event::Stuck(e) if e.name.as_str() == "observed") {
            panic!("cannot hear that");
        }
    });
    let _work = watch::progress("observed", SECOND).unwrap();

    rig.advance(SECOND, "observed");

    assert_eq!(rig.advance(4 * SECOND, "observed").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_watchdog_tells_and_stops() {
    let config = Config {
        stall_limit: 60 * SECOND,
        wait_limit: 60 * SECOND,
        unpolled_limit: 60 * SECOND,
        tick: Duration::from_millis(1),
    };
    let watchdog = loop {
        match watch::start(config) {
            Ok(watchdog) => break watchdog,
            // Other tests have theirs.
            Err(error) if error.is_running() => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let observer = watch::observe(move |event| {
        if let Event::Stuck(e) | Event::Resumed(e) = event
            && e.name.as_str() == "real"
        {
            sender.send(event.as_str()).unwrap();
        }
    });
    // Silent for three nanoseconds: stuck from the second look on.
    let work = watch::progress("real", Duration::from_nanos(1)).unwrap();

    assert_eq!(heard.recv().await, Some("stuck"));
    work.beat();
    assert_eq!(heard.recv().await, Some("resumed"));

    drop(watchdog);
    drop(observer);
    work.beat();
    while heard.recv().await.is_some() {}
    tokio::task::block_in_place(|| drop(Rig::start()));
}

#[test]
fn without_a_watchdog_nothing_is_stuck() {
    let mut rig = Rig::start();
    let work = watch::progress("left", SECOND).unwrap();
    rig.advance(SECOND, "left");
    rig.advance(4 * SECOND, "left");
    assert!(work.is_stuck());

    drop(rig);

    assert!(!work.is_stuck());
}

#[test]
fn an_observer_may_hold_another_and_panic_when_it_is_dropped() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the observer's Drop");
        }
    }
    let mut rig = Rig::start();
    let (other, bomb) = (watch::observe(|_| {}).unwrap(), Bomb);
    let outer = watch::observe(move |event| {
        let (_other, _bomb) = (&other, &bomb);
        if matches!(event, Event::Stuck(e) if e.name.as_str() == "held") {
            panic!("and its captures go with it");
        }
    });
    let work = watch::progress("held", SECOND).unwrap();

    rig.advance(SECOND, "held");
    assert_eq!(rig.advance(4 * SECOND, "held").len(), 1);

    work.beat();
    assert_eq!(rig.advance(SECOND, "held").len(), 1, "it goes on");
    drop(outer);
}

#[test]
fn the_handle_of_an_observer_that_was_removed_removes_no_other() {
    let mut rig = Rig::start();
    let bad = watch::observe(|event| {
        if matches!(event, Event::Stuck(e) if e.name.as_str() == "taken") {
            panic!("removed");
        }
    });
    let work = watch::progress("taken", SECOND).unwrap();
    rig.advance(SECOND, "taken");
    rig.advance(4 * SECOND, "taken");
    let (sender, heard) = mpsc::channel();
    let _good = watch::observe(move |event| {
        if matches!(event, Event::Resumed(e) if e.name.as_str() == "taken") {
            sender.send(()).unwrap();
        }
    });

    drop(bad);
    work.beat();
    rig.advance(SECOND, "taken");

    assert!(heard.try_recv().is_ok());
}

#[test]
fn an_observer_does_not_hear_of_what_it_causes_itself() {
    in_own_process(
        "watch_dog::an_observer_does_not_hear_of_what_it_causes_itself",
        || {
            static LOCK: watch::SyncMutex<()> = watch::SyncMutex::new("log", ()).refusing_cycles();
            let (sender, heard) = mpsc::channel();
            let _observer = watch::observe(move |event| {
                sender.send(event.as_str()).unwrap();
                let again = LOCK.lock_within(SECOND).map(drop);
                assert!(again.unwrap_err().is_cycle());
            });

            let _held = LOCK.lock();
            let refused = LOCK.lock_within(SECOND).map(drop);

            assert!(refused.unwrap_err().is_cycle());
            assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["wait_cycle"]);
        },
    );
}
