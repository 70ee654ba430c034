//! `recover` and `recover_async`.

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use steadfast_core::{Panic, recover, recover_async};

use crate::support::Bomb;

#[test]
fn a_value_passes_and_a_panic_becomes_an_error() {
    assert_eq!(recover(|| 7).unwrap(), 7);

    let panic = recover(|| panic!("number {}", 7)).unwrap_err();

    assert_eq!(panic.message(), "number 7");
    assert_eq!(panic.location().unwrap().line(), line!() - 3);
    assert!(panic.location().unwrap().file().ends_with("recover.rs"));
    assert!(
        panic.thread().contains("a_value_passes"),
        "{}",
        panic.thread()
    );
    assert!(panic.at().is_some());
}

#[tokio::test]
async fn an_async_panic_before_and_after_an_await_becomes_an_error() {
    assert_eq!(recover_async(async { 7 }).await.unwrap(), 7);

    let before = recover_async(async { panic!("before") }).await.unwrap_err();
    let after = recover_async(async {
        tokio::task::yield_now().await;
        panic!("after")
    });
    let after = after.await.unwrap_err();

    assert_eq!((before.message(), after.message()), ("before", "after"));
}

#[tokio::test]
async fn a_future_whose_drop_panics_after_its_value_gives_that_panic() {
    let panic = recover_async(async {
        let _bomb = Bomb("drop");
        7
    });
    assert_eq!(panic.await.unwrap_err().message(), "drop");

    struct Ready(#[allow(dead_code, reason = "dropped")] Bomb);
    impl Future for Ready {
        type Output = Bomb;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Bomb> {
            Poll::Ready(Bomb("value"))
        }
    }
    let panic = recover_async(Ready(Bomb("future"))).await.unwrap_err();
    assert_eq!(panic.message(), "future");
}

#[tokio::test]
async fn a_future_that_panics_twice_gives_the_newer_panic_with_the_older_attached() {
    struct Twice(#[allow(dead_code, reason = "dropped")] Bomb);
    impl Future for Twice {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            panic!("poll")
        }
    }

    let panic = recover_async(Twice(Bomb("drop"))).await.unwrap_err();

    assert_eq!(panic.message(), "drop");
    assert_eq!(panic.superseded()[0].message(), "poll");
}

#[test]
fn a_wrapper_dropped_before_its_end_contains_the_panic_of_the_drop() {
    drop(recover_async(async move {
        let _bomb = Bomb("never polled");
        std::future::pending::<()>().await;
    }));
    let mut polled = Box::pin(recover_async(async {
        let _bomb = Bomb("polled");
        std::future::pending::<()>().await;
    }));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(polled.as_mut().poll(&mut cx).is_pending());
    drop(polled);
}

#[test]
fn a_panic_in_a_drop_during_unwinding_can_be_recovered_and_leaves_the_outer_one_intact() {
    struct Recovers;
    impl Drop for Recovers {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            let inner = recover(|| panic!("inner")).unwrap_err();
            assert_eq!(inner.message(), "inner");
            assert!(inner.location().is_some());
        }
    }

    let outer = recover(|| {
        let _recovers = Recovers;
        panic!("outer");
    })
    .unwrap_err();

    assert_eq!(outer.message(), "outer");
    assert!(outer.location().is_some());
    assert!(outer.superseded().is_empty());
}

#[test]
fn a_panic_that_other_code_caught_meanwhile_does_not_take_its_place() {
    struct CaughtByOthers;
    impl Drop for CaughtByOthers {
        fn drop(&mut self) {
            assert!(catch_unwind(|| panic!("caught by others")).is_err());
        }
    }
    for _ in 0..20 {
        assert!(catch_unwind(|| panic!("stale")).is_err());
    }

    let mut line = 0;
    let outer = recover(|| {
        let _drop = CaughtByOthers;
        line = line!() + 1;
        panic!("outer {}", black_box(1));
    })
    .unwrap_err();

    assert_eq!(outer.message(), "outer 1");
    let location = outer
        .location()
        .expect("the record is found behind the newer one");
    assert_eq!(location.line(), line);
}

#[test]
fn two_equal_messages_are_told_apart() {
    struct CaughtByOthers;
    impl Drop for CaughtByOthers {
        fn drop(&mut self) {
            assert!(catch_unwind(|| panic!("same {}", black_box(1))).is_err());
        }
    }

    let mut line = 0;
    let outer = recover(|| {
        let _drop = CaughtByOthers;
        line = line!() + 2;
        let message = format!("same {}", black_box(1));
        panic!("{message}");
    })
    .unwrap_err();

    assert_eq!(outer.location().unwrap().line(), line);
}

#[test]
fn a_payload_raised_past_the_hook_has_no_place_and_an_unknown_kind() {
    assert!(catch_unwind(|| panic!("")).is_err());

    let panic = recover(|| resume_unwind(Box::new("past the hook"))).unwrap_err();

    assert_eq!(panic.message(), "past the hook");
    assert!(panic.location().is_none());
    assert_eq!(panic.kind().as_str(), "unknown");
    assert!(panic.fingerprint().is_none());
}

#[test]
fn a_panic_raised_again_is_the_same_value() {
    let first = recover(|| panic!("once")).unwrap_err();

    let again = recover(|| first.clone().resume()).unwrap_err();
    let by_any = recover(|| panic_any(first.clone())).unwrap_err();
    let through_others = recover(|| {
        let payload = catch_unwind(AssertUnwindSafe(|| first.clone().resume())).unwrap_err();
        resume_unwind(payload)
    })
    .unwrap_err();
    let raised_by_others = recover(|| {
        let payload = catch_unwind(|| panic!("others {}", black_box(1))).unwrap_err();
        resume_unwind(payload)
    })
    .unwrap_err();

    for panic in [again, by_any, through_others] {
        assert!(panic.is_same(&first));
        assert_eq!(panic.location(), first.location());
    }
    assert_eq!(raised_by_others.message(), "others 1");
    assert!(raised_by_others.location().is_some());
    assert!(!raised_by_others.is_same(&first));
}

#[test]
fn a_panic_of_another_thread_is_carried_to_the_joiner_as_a_value() {
    let joined = std::thread::Builder::new()
        .name("worker".into())
        .spawn(|| recover(|| panic!("there")).unwrap_err())
        .unwrap()
        .join()
        .unwrap();

    assert_eq!((joined.message(), joined.thread()), ("there", "worker"));
    let raised: Panic = recover(|| joined.clone().resume()).unwrap_err();
    assert!(raised.is_same(&joined));
}

#[test]
fn recovering_and_raising_again_through_many_levels_keeps_one_panic_without_history() {
    fn level(n: usize) {
        if n == 0 {
            panic!("innermost");
        }
        recover(|| level(n - 1)).unwrap_err().resume();
    }

    let panic = recover(|| level(200)).unwrap_err();

    assert_eq!(panic.message(), "innermost");
    assert!(panic.superseded().is_empty());
}

#[test]
fn a_thread_local_that_panics_while_its_thread_ends_is_contained() {
    struct AtExit;
    impl Drop for AtExit {
        fn drop(&mut self) {
            let panic = recover(|| panic!("at exit")).unwrap_err();
            assert_eq!(panic.message(), "at exit");
        }
    }
    thread_local!(static AT_EXIT: AtExit = const { AtExit });

    let thread = std::thread::spawn(|| AT_EXIT.with(|_| ()));

    assert!(thread.join().is_ok());
}

#[test]
fn a_thread_remembers_only_the_latest_panics_that_other_code_caught() {
    const REMEMBERED: usize = 8;
    let mut payloads: Vec<_> = (0..=REMEMBERED)
        .map(|i| std::panic::catch_unwind(|| panic!("number {i}")).unwrap_err())
        .collect();
    let latest = payloads.pop().unwrap();
    let oldest = payloads.remove(0);

    let latest = recover(|| std::panic::resume_unwind(latest)).unwrap_err();
    let oldest = recover(|| std::panic::resume_unwind(oldest)).unwrap_err();

    assert!(latest.location().is_some());
    assert!(oldest.location().is_none());
    assert_eq!(oldest.message(), "number 0");
}
