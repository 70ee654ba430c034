use std::pin::Pin;
use std::sync::{Arc, Barrier, mpsc};
use std::task::Poll;
use std::time::Duration;

use steadfast_core::watch::{self, Event, Mutex, SyncMutex};
use steadfast_core::{BoxError, scope, spawn};

use crate::watch_rig::{Rig, SECOND};

/// Gives other tasks of a current-thread runtime their turn.
async fn let_others_run() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn in_scope<T: Send + 'static>(name: &'static str, body: impl Future<Output = T>) -> T {
    let ended = scope(name)
        .run(async |_| Ok::<_, BoxError>(body.await))
        .await;
    ended.expect("it does not fail")
}

#[tokio::test]
async fn an_async_lock_excludes_and_serves_in_turn() {
    let lock = Arc::new(Mutex::new("turns", Vec::new()));
    let first = lock.lock().await;

    let waiters: Vec<_> = (0..5)
        .map(|i| {
            let lock = lock.clone();
            spawn("waiter", async move { lock.lock().await.push(i) })
        })
        .collect();
    let_others_run().await;
    assert!(first.is_empty(), "nobody gets in while it is held");
    drop(first);
    for waiter in waiters {
        waiter.await.unwrap();
    }

    assert_eq!(*lock.lock().await, [0, 1, 2, 3, 4]);
}

#[test]
fn a_sync_lock_excludes_many_threads() {
    let lock = SyncMutex::new("sum", 0u64);

    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..2_000 {
                    let mut sum = lock.lock();
                    let read = *sum;
                    std::hint::black_box(&mut sum);
                    *sum = read + 1;
                }
            });
        }
    });

    assert_eq!(lock.into_inner(), 8_000);
}

#[tokio::test]
async fn a_panic_of_the_holder_gives_the_lock_back() {
    static ASYNC: Mutex<u32> = Mutex::new("panics async", 0);
    static SYNC: SyncMutex<u32> = SyncMutex::new("panics sync", 0);

    let lost = spawn("unlucky", async {
        let mut guard = ASYNC.lock().await;
        let mut sync = SYNC.lock();
        (*guard, *sync) = (1, 1);
        panic!("half way");
    });
    assert!(lost.await.is_err());

    assert_eq!(*ASYNC.try_lock().unwrap(), 1, "as the panic left it");
    assert_eq!(*SYNC.try_lock().unwrap(), 1);
}

#[test]
fn the_place_of_the_holder_is_that_of_the_last_time() {
    let lock = SyncMutex::new("again", ());
    let holder = || {
        lock.try_lock()
            .map(drop)
            .unwrap_err()
            .holder()
            .unwrap()
            .place
    };

    let first = lock.lock();
    let first_line = line!() - 1;
    assert_eq!(holder().line(), first_line);
    drop(first);
    let _second = lock.lock();
    let second_line = line!() - 1;

    assert_eq!(holder().line(), second_line);
}

#[tokio::test]
async fn an_error_names_the_holder_and_its_place() {
    let lock = Arc::new(Mutex::new("orders", ()));
    let (taken, line) = (lock.clone(), line!() + 4);

    let holder = spawn("holder", async move {
        in_scope("checkout", async move {
            let _guard = taken.lock().await;
            std::future::pending::<()>().await;
        })
        .await;
    });
    let_others_run().await;
    let error = lock.try_lock().unwrap_err();

    let who = error.holder().unwrap();
    assert_eq!(who.who.scope_path.to_string(), "holder > checkout");
    assert_eq!(who.who.task.unwrap().as_str(), "holder");
    assert!(who.who.trace_id.is_some());
    assert_eq!((who.place.file(), who.place.line()), (file!(), line));
    assert!(!error.is_cycle() && !error.is_timeout());
    let text = error.to_string();
    assert!(
        text.starts_with("orders is held by `holder > checkout` (trace "),
        "{text}"
    );
    holder.abort();
}

#[tokio::test(start_paused = true)]
async fn a_wait_with_a_limit_ends_with_the_name_of_the_holder() {
    let lock = Mutex::new("limited", ());
    let sync = SyncMutex::new("limited sync", ());
    let (held, held_sync) = (lock.lock().await, sync.lock());

    let error = lock.lock_within(SECOND).await.unwrap_err();
    assert!(error.is_timeout());
    assert!(
        error
            .to_string()
            .starts_with("limited was not free within 1s: held by"),
        "{error}"
    );
    let error = std::thread::scope(|threads| {
        let waits = threads.spawn(|| sync.lock_within(Duration::from_millis(2)).map(drop));
        waits.join().unwrap().unwrap_err()
    });
    assert!(error.is_timeout());

    drop((held, held_sync));
    assert!(lock.lock_within(SECOND).await.is_ok());
    assert!(sync.lock_within(SECOND).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_leaves_the_queue_to_the_others() {
    let lock = Arc::new(Mutex::new("gives up", ()));
    let held = lock.lock().await;
    let impatient = lock.clone();
    let gives_up = spawn("impatient", async move {
        impatient.lock_within(SECOND).await.is_err()
    });
    let patient = lock.clone();
    let waits = spawn("patient", async move { drop(patient.lock().await) });

    assert!(gives_up.await.unwrap());
    drop(held);

    waits.await.unwrap();
}

#[tokio::test]
async fn a_long_wait_is_told_once_and_again_when_it_has_doubled() {
    let mut rig = Rig::start();
    let lock = Arc::new(Mutex::new("slow wait", ()));
    let held = lock.lock().await;
    let waiting = lock.clone();
    let waiter = spawn("waiter", async move { drop(waiting.lock().await) });
    let_others_run().await;

    let mut told = Vec::new();
    for second in 1..=10 {
        for event in rig.advance(SECOND, "slow wait") {
            let Event::SlowWait(event) = event else {
                panic!("{event:?}");
            };
            assert_eq!(event.who.scope_path.to_string(), "waiter");
            assert!(!event.for_itself && event.holder.is_some());
            told.push(second);
        }
    }

    assert_eq!(told, [2, 4, 8]);
    drop(held);
    waiter.await.unwrap();
}

/// Has two scopes of one task take two locks in different order, each polled by hand.
async fn cross<'a>(locks: [&'a Mutex<()>; 2]) -> [Pin<Box<dyn Future<Output = bool> + 'a>>; 2] {
    let take = |name, first: &'a Mutex<()>, second: &'a Mutex<()>| {
        Box::pin(in_scope(name, async move {
            let _first = first.lock().await;
            tokio::task::yield_now().await;
            second.lock_within(60 * SECOND).await.is_ok()
        })) as Pin<Box<dyn Future<Output = bool> + 'a>>
    };
    let mut both = [
        take("forth", locks[0], locks[1]),
        take("back", locks[1], locks[0]),
    ];
    for _ in 0..2 {
        for one in &mut both {
            assert!(poll_once(one).await.is_none());
        }
    }
    both
}

#[tokio::test]
async fn a_circle_of_async_waits_is_told_and_not_refused_unless_the_lock_says_so() {
    let mut rig = Rig::start();
    let locks = [Mutex::new("cross one", ()), Mutex::new("cross two", ())];

    let both = cross([&locks[0], &locks[1]]).await;

    let told = rig.advance(Duration::ZERO, "cross");
    let [Event::WaitCycle(cycle)] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(!cycle.refused);
    assert_eq!(cycle.links.len(), 2);
    assert_eq!(cycle.links[0].lock.as_str(), "cross one");
    assert_eq!(cycle.links[0].who.scope_path.to_string(), "back");
    let text = told[0].to_string();
    for part in [
        "circle of waits: `back`",
        "`forth`",
        "cross two",
        "watch_locks.rs:",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    drop(both);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_refuses_circles_lets_one_side_go_on() {
    let locks = [
        Mutex::new("refuse one", ()).refusing_cycles(),
        Mutex::new("refuse two", ()).refusing_cycles(),
    ];
    let take = |name, first: usize, second: usize| {
        let locks = &locks;
        in_scope(name, async move {
            let _first = locks[first].lock().await;
            tokio::task::yield_now().await;
            match locks[second].lock_within(60 * SECOND).await {
                Ok(_) => "taken",
                Err(error) if error.is_cycle() => "refused",
                Err(_) => "late",
            }
        })
    };

    let (forth, back) = tokio::join!(take("forth", 0, 1), take("back", 1, 0));

    // Whose wait is the last one is the join's choice.
    let mut ended = [forth, back];
    ended.sort_unstable();
    assert_eq!(ended, ["refused", "taken"]);
}

#[tokio::test]
async fn futures_that_one_scope_joins_are_in_no_circle_and_a_wait_for_oneself_is_told_when_old() {
    let mut rig = Rig::start();
    let lock = Mutex::new("joined", ());

    let joined = in_scope("joins", async {
        let work = async {
            let _guard = lock.lock_within(60 * SECOND).await.unwrap();
            tokio::task::yield_now().await;
        };
        let same = async {
            let _guard = lock.lock_within(60 * SECOND).await.unwrap();
        };
        tokio::join!(work, same);
    });
    joined.await;
    assert!(rig.advance(2 * SECOND, "joined").is_empty());

    let mut twice = Box::pin(in_scope("twice", async {
        let _first = lock.lock().await;
        let _second = lock.lock().await;
    }));
    assert!(poll_once(&mut twice).await.is_none());
    assert!(rig.advance(SECOND, "joined").is_empty());
    let told = rig.advance(SECOND, "joined");
    assert!(
        told.iter()
            .any(|event| matches!(event, Event::SlowWait(e) if e.for_itself)),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_lock_whose_holder_is_not_polled_is_told_while_its_task_goes_on() {
    let mut rig = Rig::start();
    let lock = Mutex::new("unpolled", ());
    let line = line!() + 3;
    let mut left_alone = Box::pin(in_scope("left alone", async {
        // Taken, and kept across an await that is not driven on.
        let _guard = lock.lock().await;
        std::future::pending::<()>().await;
    }));
    assert!(poll_once(&mut left_alone).await.is_none());

    assert!(rig.advance(SECOND, "unpolled").is_empty());
    let told = rig.advance(SECOND, "unpolled");
    let [Event::HolderNotPolled(event)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(event.holder.who.scope_path.to_string(), "left alone");
    assert_eq!(event.holder.place.line(), line);
    assert!(!event.handed_over);
    assert_eq!(event.unpolled, 2 * SECOND);

    assert!(
        rig.advance(SECOND, "unpolled").is_empty(),
        "told again at twice the age"
    );
    assert_eq!(rig.advance(SECOND, "unpolled").len(), 1);
}

#[tokio::test]
async fn a_holder_that_is_polled_now_and_then_is_not_told() {
    let mut rig = Rig::start();
    let lock = Mutex::new("polled", ());
    let mut driven = Box::pin(in_scope("driven", async {
        let _guard = lock.lock().await;
        std::future::pending::<()>().await;
    }));

    for _ in 0..5 {
        assert!(poll_once(&mut driven).await.is_none());
        assert!(rig.advance(SECOND, "polled").is_empty());
    }
}

#[tokio::test]
async fn a_holder_inside_of_a_long_poll_is_not_told_as_unpolled() {
    let mut rig = Rig::start();
    let lock = Mutex::new("long poll", ());

    let told = scope("blocks").run_sync(|_| {
        let _guard = lock.try_lock().unwrap();
        Ok::<_, BoxError>(rig.advance(10 * SECOND, "long poll"))
    });

    assert!(told.unwrap().is_empty());
}

#[tokio::test]
async fn nothing_is_claimed_of_a_guard_that_its_scope_has_returned_until_it_is_adopted() {
    let mut rig = Rig::start();
    static LOCK: Mutex<()> = Mutex::new("returned", ());
    let mut outer = Box::pin(in_scope("outer", async {
        let guard = in_scope("inner", async { LOCK.lock().await }).await;
        tokio::task::yield_now().await;
        guard.adopt();
        std::future::pending::<()>().await;
    }));

    assert!(poll_once(&mut outer).await.is_none());
    assert!(rig.advance(10 * SECOND, "returned").is_empty());
    assert!(poll_once(&mut outer).await.is_none());
    assert!(rig.advance(SECOND, "returned").is_empty());
    assert_eq!(rig.advance(SECOND, "returned").len(), 1);
}

#[tokio::test]
async fn a_guard_that_moves_to_another_task_is_judged_by_that_once_it_is_adopted() {
    let mut rig = Rig::start();
    static LOCK: Mutex<()> = Mutex::new("adopted", ());
    let (hand_over, adopts) = tokio::sync::oneshot::channel();
    let (poke, mut pokes) = tokio::sync::mpsc::unbounded_channel();
    let taker = spawn("taker", async move {
        let _ = hand_over.send(LOCK.lock().await);
        std::future::pending::<()>().await;
    });
    let owner = spawn("owner", async move {
        let guard = adopts.await.unwrap();
        guard.adopt();
        while pokes.recv().await.is_some() {}
    });

    for _ in 0..5 {
        let_others_run().await;
        assert!(rig.advance(SECOND, "adopted").is_empty());
        poke.send(()).unwrap();
    }

    let error = LOCK.try_lock().unwrap_err();
    assert_eq!(error.holder().unwrap().who.scope_path.to_string(), "owner");
    taker.abort();
    drop(poke);
    owner.await.unwrap();
}

#[tokio::test]
async fn nothing_is_claimed_of_a_scope_that_has_ended_even_if_its_handle_lives() {
    let mut rig = Rig::start();
    static LOCK: Mutex<()> = Mutex::new("outlives", ());
    let handle = Arc::new(std::sync::Mutex::new(None));
    let kept = handle.clone();
    let ended = scope("short").run(async |s| {
        s.defer("keep the frame in force", || {});
        *kept.lock().unwrap() = Some(s);
        Ok::<_, BoxError>(LOCK.lock().await)
    });

    let guard = ended.await.unwrap();

    assert!(rig.advance(10 * SECOND, "outlives").is_empty());
    drop((guard, handle.lock().unwrap().take()));
}

#[tokio::test]
async fn a_waiter_that_was_woken_for_another_reason_has_not_got_the_lock() {
    let mut rig = Rig::start();
    let lock = Mutex::new("budget", ());
    let _held = lock.lock().await;
    let mut queued = Box::pin(lock.lock());
    assert!(poll_once(&mut queued).await.is_none());

    // With no budget left the queue wakes the waiter at once, to be polled again later.
    spend_the_budget_and_poll(&mut queued).await;
    tokio::task::yield_now().await;

    let told = rig.advance(10 * SECOND, "budget");
    let slow = |event: &Event| matches!(event, Event::SlowWait(_));
    let handed = |event: &Event| matches!(event, Event::HolderNotPolled(e) if e.handed_over);
    assert!(
        told.iter().any(slow) && !told.iter().any(handed),
        "{told:?}"
    );
}

async fn spend_the_budget_and_poll(future: &mut (impl Future + Unpin)) {
    std::future::poll_fn(|cx| {
        while let Poll::Ready(spent) = tokio::task::coop::poll_proceed(cx) {
            spent.made_progress();
        }
        assert!(Pin::new(&mut *future).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn a_lock_held_by_another_task_of_this_thread_cannot_be_waited_for() {
    let lock = SyncMutex::new("same thread", ());
    let mut holds = Box::pin(in_scope("holds", async {
        let _guard = lock.lock();
        tokio::task::yield_now().await;
    }));
    assert!(poll_once(&mut holds).await.is_none());

    let here = in_scope("here", async { lock.try_lock().unwrap_err().is_cycle() }).await;
    let elsewhere = std::thread::scope(|threads| {
        let thread = threads.spawn(|| lock.try_lock().unwrap_err().is_cycle());
        thread.join().unwrap()
    });

    assert!(here, "the holder is polled by this thread alone");
    assert!(!elsewhere);
}

#[test]
fn a_thread_that_waits_is_woken_when_the_lock_is_given_back() {
    let mut rig = Rig::start();
    let lock = Arc::new(SyncMutex::new("woken", ()));
    for _ in 0..20 {
        let held = lock.lock();
        let (waiting, (taken, takes)) = (lock.clone(), mpsc::channel());
        std::thread::spawn(move || {
            drop(waiting.lock());
            taken.send(()).unwrap();
        });
        while rig.advance(2 * SECOND, "woken").is_empty() {
            std::thread::yield_now();
        }
        // It is told once it waits, and asleep soon after.
        std::thread::yield_now();

        drop(held);

        takes.recv_timeout(10 * SECOND).expect("it is woken");
    }
}

#[tokio::test]
async fn a_lock_that_was_handed_to_a_waiter_that_nobody_polls_is_told() {
    let mut rig = Rig::start();
    let lock = Mutex::new("handed", ());
    let held = lock.lock().await;
    let mut forgotten = Box::pin(in_scope("forgotten", async { drop(lock.lock().await) }));
    assert!(poll_once(&mut forgotten).await.is_none());
    drop(held);

    // The queue has handed the lock over: it is free for nobody, and held by nobody who runs.
    assert!(lock.try_lock().is_err());
    assert!(rig.advance(SECOND, "handed").is_empty());
    let told = rig.advance(SECOND, "handed");
    let handed = told.iter().find_map(|event| match event {
        Event::HolderNotPolled(event) => Some(event),
        _ => None,
    });
    let handed = handed.expect("it is told");
    assert!(handed.handed_over);
    assert_eq!(handed.holder.who.scope_path.to_string(), "forgotten");

    assert!(poll_once(&mut forgotten).await.is_some());
    assert!(lock.try_lock().is_ok());
}

#[tokio::test]
async fn a_circle_across_async_and_sync_locks_is_told_when_its_last_wait_starts() {
    let mut rig = Rig::start();
    let one = Arc::new(Mutex::new("circle async", ()));
    let two = Arc::new(SyncMutex::new("circle sync", ()).refusing_cycles());

    let (holds, waits) = (Arc::new(Barrier::new(2)), one.clone());
    let (thread_holds, thread_two) = (holds.clone(), two.clone());
    let (waits_now, waiting) = mpsc::channel();
    // A thread with a runtime of its own holds the sync lock across an await for the async one.
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(in_scope("takes two", async move {
            let _two = thread_two.lock();
            thread_holds.wait();
            let mut wait = Box::pin(waits.lock());
            assert!(poll_once(&mut wait).await.is_none());
            waits_now.send(()).unwrap();
            drop(wait.await);
        }));
    });
    in_scope("takes one", async {
        let guard = one.lock().await;
        holds.wait();
        waiting.recv().unwrap();
        let error = two.lock_within(SECOND).unwrap_err();
        assert!(error.is_cycle());
        drop(guard);
    })
    .await;
    thread.join().unwrap();

    let told = rig.advance(Duration::ZERO, "circle");
    let [Event::WaitCycle(cycle)] = &told[..] else {
        panic!("{told:?}");
    };
    let links: Vec<_> = cycle
        .links
        .iter()
        .map(|link| {
            let path = |who: &watch::Who| who.scope_path.to_string();
            (path(&link.who), link.lock.as_str(), path(&link.holder.who))
        })
        .collect();
    let (one, two) = ("takes one".to_owned(), "takes two".to_owned());
    assert_eq!(
        links,
        [
            (one.clone(), "circle sync", two.clone()),
            (two, "circle async", one)
        ]
    );
    assert!(cycle.refused);
}
