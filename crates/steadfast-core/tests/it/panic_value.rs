//! What a `Panic` knows.

use std::cell::RefCell;
use std::hint::black_box;
use std::panic::panic_any;
use std::sync::{Arc, Barrier};

use steadfast_core::panic::{Check, Kind, MESSAGE_BYTES_MAX};
use steadfast_core::{Panic, context, recover, scope};

use crate::support::Bomb;

fn caught<R>(f: impl FnOnce() -> R) -> Panic {
    let Err(panic) = recover(f) else {
        panic!("it did not panic")
    };
    panic
}

#[test]
#[allow(clippy::unnecessary_literal_unwrap, reason = "made to panic")]
#[allow(unconditional_panic, reason = "made to panic")]
fn failed_checks_of_the_runtime_are_classified() {
    let numbers = vec![1, 2, 3];
    let text = "aé";
    let (zero, three, nine) = (black_box(0usize), black_box(3usize), black_box(9usize));
    let cell = RefCell::new(0);
    let shared = cell.borrow();
    let other = RefCell::new(0);
    let exclusive = other.borrow_mut();
    let mut destination = [0; 2];
    type Cause<'a> = Box<dyn FnOnce() + 'a>;
    let cases: Vec<(&str, Check, Cause<'_>)> = vec![
        (
            "vec index",
            Check::Index,
            Box::new(|| ignore(numbers[nine])),
        ),
        (
            "array index",
            Check::Index,
            Box::new(|| ignore([1, 2][nine])),
        ),
        (
            "remove",
            Check::Index,
            Box::new(|| ignore(numbers.clone().remove(nine))),
        ),
        (
            "swap_remove",
            Check::Index,
            Box::new(|| ignore(numbers.clone().swap_remove(nine))),
        ),
        (
            "insert",
            Check::Index,
            Box::new(|| numbers.clone().insert(nine, 0)),
        ),
        (
            "split_off",
            Check::Index,
            Box::new(|| ignore(numbers.clone().split_off(nine))),
        ),
        (
            "range end",
            Check::Slice,
            Box::new(|| ignore(numbers[..nine].to_vec())),
        ),
        (
            "range start",
            Check::Slice,
            Box::new(|| ignore(numbers[nine..].to_vec())),
        ),
        (
            "range order",
            Check::Slice,
            Box::new(|| ignore(numbers[three..zero].to_vec())),
        ),
        (
            "inclusive",
            Check::Slice,
            Box::new(|| ignore(numbers[zero..=usize::MAX].to_vec())),
        ),
        (
            "split_at",
            Check::Slice,
            Box::new(|| ignore(numbers.split_at(nine).0.to_vec())),
        ),
        (
            "drain",
            Check::Slice,
            Box::new(|| ignore(numbers.clone().drain(nine..))),
        ),
        (
            "str boundary",
            Check::Slice,
            Box::new(|| ignore(text[..black_box(2)].to_owned())),
        ),
        (
            "str range",
            Check::Slice,
            Box::new(|| ignore(text[nine..].to_owned())),
        ),
        (
            "str order",
            Check::Slice,
            Box::new(|| ignore(text[black_box(1)..zero].to_owned())),
        ),
        (
            "str split_at",
            Check::Slice,
            Box::new(|| ignore(text.split_at(nine))),
        ),
        (
            "division",
            Check::Division,
            Box::new(|| ignore(three / zero)),
        ),
        (
            "remainder",
            Check::Division,
            Box::new(|| ignore(three % zero)),
        ),
        (
            "division overflow",
            Check::Division,
            Box::new(|| ignore(black_box(i8::MIN) / black_box(-1))),
        ),
        (
            "remainder overflow",
            Check::Division,
            Box::new(|| ignore(black_box(i8::MIN) % black_box(-1))),
        ),
        (
            "none",
            Check::UnwrapNone,
            Box::new(|| black_box(None::<()>).unwrap()),
        ),
        (
            "err",
            Check::UnwrapErr,
            Box::new(|| black_box(Err::<(), _>("e")).unwrap()),
        ),
        (
            "unwrap_err",
            Check::UnwrapErr,
            Box::new(|| black_box(Ok::<_, ()>(1)).unwrap_err()),
        ),
        (
            "borrow_mut",
            Check::Borrow,
            Box::new(|| ignore(cell.borrow_mut())),
        ),
        ("borrow", Check::Borrow, Box::new(|| ignore(other.borrow()))),
        (
            "copy",
            Check::CopyLength,
            Box::new(|| destination.copy_from_slice(&numbers)),
        ),
        (
            "clone",
            Check::CopyLength,
            Box::new(|| [0; 2].clone_from_slice(&numbers)),
        ),
        (
            "duration",
            Check::Overflow,
            Box::new(|| ignore(std::time::Duration::MAX * 2)),
        ),
        ("future", Check::PolledAfterEnd, Box::new(poll_after_end)),
    ];
    let mut wrong = Vec::new();
    for (name, check, cause) in cases {
        let panic = caught(cause);
        if panic.kind() != Kind::RuntimeCheck(check) {
            wrong.push(format!("{name}: {} is {}", panic.message(), panic.kind()));
        }
    }
    drop((shared, exclusive));

    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Uses a value.
fn ignore<T>(value: T) {
    black_box(value);
}

fn poll_after_end() {
    let mut future = Box::pin(async {});
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = future.as_mut().poll(&mut cx);
    let _ = future.as_mut().poll(&mut cx);
}

#[test]
#[cfg(debug_assertions)]
fn overflows_are_classified_where_they_are_checked() {
    let (min, max) = (black_box(i8::MIN), black_box(i8::MAX));
    type Case = (&'static str, fn(i8, i8) -> i8);
    let cases: [Case; 6] = [
        ("add", |_, max| max + black_box(1)),
        ("subtract", |min, _| min - black_box(1)),
        ("multiply", |_, max| max * black_box(2)),
        ("negate", |min, _| -min),
        ("shift left", |_, max| max << black_box(9)),
        ("shift right", |_, max| max >> black_box(9)),
    ];
    for (name, cause) in cases {
        let panic = caught(|| cause(min, max));
        assert_eq!(
            panic.kind(),
            Kind::RuntimeCheck(Check::Overflow),
            "{name}: {panic:?}"
        );
    }
}

#[test]
fn what_code_said_is_told_from_runtime_checks_and_what_cannot_be_told_is_unknown() {
    let said: [(&str, fn()); 6] = [
        ("panic", || panic!("attempt to open the file")),
        ("expect", || black_box(None).expect("a value")),
        ("assert", || assert!(black_box(1) == 2)),
        ("unreachable", || unreachable!("index out of range")),
        ("panic_any", || panic_any(3)),
        ("empty", || panic!("")),
    ];
    for (name, cause) in said {
        assert_eq!(caught(cause).kind(), Kind::User, "{name}");
    }

    // Raised by the standard library with a message that is not known here.
    let unknown = caught(|| char::from_digit(1, black_box(99)));
    assert_eq!(unknown.kind(), Kind::Unknown, "{unknown:?}");
}

#[test]
fn payloads_of_any_type_can_be_had_back() {
    #[derive(Debug, PartialEq, Clone)]
    struct Custom(Vec<u8>);

    let scalar = caught(|| panic_any(42i32));
    assert_eq!(scalar.payload::<i32>().as_deref(), Some(&42));
    assert!(scalar.payload::<u32>().is_none());
    assert_eq!(scalar.take_payload::<u32>(), None);
    assert_eq!(scalar.message(), "(payload that is not a text)");

    let custom = caught(|| panic_any(Custom(vec![1])));
    assert_eq!(*custom.payload::<Custom>().unwrap(), Custom(vec![1]));
    assert_eq!(
        custom.clone().take_payload::<Custom>(),
        Some(Custom(vec![1]))
    );
    assert!(custom.payload::<Custom>().is_none());

    let literal = caught(|| panic!("literal"));
    assert_eq!(literal.take_payload::<&'static str>(), Some("literal"));
    assert_eq!(literal.message(), "literal");

    let formatted = caught(|| panic!("formatted {}", black_box(1)));
    assert_eq!(
        formatted.take_payload::<String>(),
        Some("formatted 1".to_owned())
    );
    assert_eq!(formatted.message(), "formatted 1");

    let not_sync = caught(|| panic_any(std::cell::Cell::new(7)));
    assert_eq!(
        not_sync
            .take_payload::<std::cell::Cell<i32>>()
            .unwrap()
            .get(),
        7
    );

    let boxed = caught(|| {
        let payload = std::panic::catch_unwind(|| panic!("inner {}", black_box(1))).unwrap_err();
        panic_any(payload)
    });
    assert_eq!(boxed.message(), "inner 1");
    let inner = boxed
        .take_payload::<Box<dyn std::any::Any + Send>>()
        .unwrap();
    assert_eq!(inner.downcast_ref::<String>().unwrap(), "inner 1");
    assert_eq!(boxed.message(), "inner 1");
}

#[test]
fn only_the_first_taker_gets_the_payload() {
    let panic = caught(|| panic_any(vec![1u8]));
    let barrier = Arc::new(Barrier::new(4));

    let takers: Vec<_> = (0..4)
        .map(|_| {
            let (panic, barrier) = (panic.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                panic.take_payload::<Vec<u8>>().is_some()
            })
        })
        .collect();
    let got = takers.into_iter().map(|t| t.join().unwrap());

    assert_eq!(got.filter(|got| *got).count(), 1);
}

#[test]
fn who_asks_for_another_type_leaves_the_payload_where_it_is() {
    let panic = caught(|| panic_any(42u8));

    assert!(panic.payload::<u16>().is_none());
    assert!(panic.take_payload::<u16>().is_none());

    assert_eq!(panic.take_payload::<u8>(), Some(42));
}

#[test]
fn a_payload_whose_drop_panics_is_contained_however_often_it_does() {
    /// Panics with another of its kind when it is dropped.
    struct Russian(u8);
    impl Drop for Russian {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic_any(Russian(self.0 - 1));
            }
        }
    }

    drop(caught(|| panic_any(Bomb("payload"))));
    drop(caught(|| panic_any(Russian(3))));
    drop(caught(|| panic_any(Russian(100))));

    let ended = scope("bomb").run_sync::<(), _>(|_| panic_any(Bomb("payload")));
    assert!(ended.unwrap_err().panic().is_some());
}

#[test]
fn the_drop_of_a_payload_does_not_disturb_the_panic_that_unwinds() {
    struct Drops(Option<Panic>);
    impl Drop for Drops {
        fn drop(&mut self) {
            drop(self.0.take());
        }
    }
    struct PastTheHook;
    impl Drop for PastTheHook {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new(1u8));
        }
    }
    let inner = caught(|| panic_any(PastTheHook));

    let outer = caught(|| {
        let _drops = Drops(Some(inner));
        panic!("outer");
    });

    assert_eq!(outer.message(), "outer");
    assert!(outer.location().is_some());
}

#[test]
fn a_long_message_is_kept_whole_and_cut_between_characters_in_the_group() {
    let long = "é".repeat(MESSAGE_BYTES_MAX);

    let panic = caught(|| panic!("{long}"));

    assert_eq!(panic.message(), long);
    let fingerprint = panic.fingerprint().unwrap();
    let groups = steadfast_core::panic::groups();
    let group = groups
        .iter()
        .find(|group| group.fingerprint == fingerprint)
        .unwrap();
    assert_eq!(group.message.len(), MESSAGE_BYTES_MAX);
    assert!(long.starts_with(&group.message));
}

#[test]
fn an_empty_message_is_an_empty_message() {
    assert_eq!(caught(|| panic!("")).message(), "");
}

#[test]
fn display_is_for_clients_and_describe_for_people_on_call() {
    let ended = scope("checkout").run_sync::<(), _>(|_| {
        context::put("order", "4711").unwrap();
        panic!("card 4929")
    });

    let error = ended.unwrap_err();
    let panic = error.panic().unwrap();
    let shown = panic.to_string();
    assert!(shown.starts_with("panicked in checkout (trace "), "{shown}");
    assert!(shown.contains(&panic.trace_id().unwrap().to_string()));
    assert!(!shown.contains("4929"));
    let described = panic.describe().to_string();
    assert!(
        described.contains("card 4929") && described.contains("kind user"),
        "{described}"
    );
    assert!(format!("{panic:?}").contains("card 4929"));
    assert_eq!(panic.entries()[0].1.as_ref(), "4711");
    assert_eq!(panic.span_id(), panic.context().span_id());
}

#[test]
fn describe_names_the_older_panics() {
    let ended = scope("two").run_sync::<(), _>(|s| {
        s.defer("second", || panic!("second"));
        panic!("first");
    });

    let described = ended.unwrap_err().panic().unwrap().describe().to_string();

    assert!(described.contains("\"second\""), "{described}");
    assert!(described.contains("after \"first\" at "), "{described}");
}

#[inline(never)]
fn unlucky_function() {
    panic!("with a trace");
}

#[tokio::test]
async fn a_backtrace_is_symbolized_elsewhere_and_starts_where_it_panicked() {
    let panic = caught(unlucky_function);
    let backtrace = panic.backtrace().await.unwrap();

    let first = backtrace.lines().next().unwrap();
    assert!(first.contains("unlucky_function"), "{backtrace}");
    assert!(backtrace.contains("panic_value.rs"), "{backtrace}");
}

#[test]
fn a_panic_is_an_error_that_can_be_sent_and_shared() {
    fn check<T: std::error::Error + Send + Sync + Clone + 'static>(_: &T) {}

    let panic = caught(|| panic!("x"));
    check(&panic);
    let boxed: steadfast_core::BoxError = panic.into();
    assert!(boxed.downcast_ref::<Panic>().is_some());
}

#[test]
fn a_payload_that_somebody_looks_at_is_not_taken_and_nobody_waits() {
    let panic = recover(|| std::panic::panic_any(42)).unwrap_err();

    let look = panic.payload::<i32>().unwrap();
    assert_eq!(panic.take_payload::<i32>(), None);
    drop(look);

    assert_eq!(panic.take_payload::<i32>(), Some(42));
}
