//! The block guard.

use std::cell::{Cell, RefCell};

use steadfast_core::{defer, recover};

use crate::support::Events;

#[test]
fn blocks_run_last_in_first_out_in_every_way_out_of_theirs() {
    fn leave(how: &str, log: &RefCell<Vec<&'static str>>) -> Option<()> {
        for pass in 0..2 {
            defer! { log.borrow_mut().push("first"); }
            defer! { log.borrow_mut().push("second"); }
            match (how, pass) {
                ("continue", 0) => continue,
                ("break", 0) => break,
                ("return", _) => return None,
                ("question mark", _) => None?,
                ("panic", _) => panic!("out"),
                _ => {}
            }
            defer! { log.borrow_mut().push("not always"); }
        }
        Some(())
    }
    let both = ["second", "first"];
    let all = ["not always", "second", "first"];
    let cases: [(&str, Vec<&str>); 6] = [
        ("end", [all, all].concat()),
        ("continue", [&both[..], &all].concat()),
        ("break", both.to_vec()),
        ("return", both.to_vec()),
        ("question mark", both.to_vec()),
        ("panic", both.to_vec()),
    ];
    for (how, expected) in cases {
        let log = RefCell::new(Vec::new());
        let _ = recover(|| leave(how, &log));
        assert_eq!(log.take(), expected, "{how}");
    }
}

#[test]
fn a_block_sees_what_it_uses_as_it_is_at_the_end_and_a_moved_value_as_it_was() {
    let seen = RefCell::new(Vec::new());
    let cell = Cell::new(1);
    {
        let number = cell.get();
        let seen = &seen;
        defer! { seen.borrow_mut().push(cell.get()); }
        defer! { move => seen.borrow_mut().push(number); }
        cell.set(2);
    }

    assert_eq!(seen.take(), [1, 2]);
}

#[test]
fn a_block_that_panics_is_contained_and_says_where_it_stands() {
    let events = Events::default();
    let _listening = events.listen();
    let ran = Cell::new(false);

    let went_on = recover(|| {
        defer! { ran.set(true); }
        defer! { panic!("in the block"); }
    });

    assert!(went_on.is_ok());
    assert!(ran.get());
    let told = events.with_message("a deferred block panicked");
    assert_eq!(told.len(), 1);
    assert!(told[0].field("place").contains("defer.rs:"), "{told:?}");
}

#[test]
fn blocks_that_panic_while_unwinding_neither_abort_nor_replace_the_panic() {
    let ran = Cell::new(0);

    let panic = recover(|| {
        defer! { ran.set(ran.get() + 1); }
        defer! { panic!("first"); }
        defer! {
            assert!(std::thread::panicking());
            defer! { panic!("inner"); }
            ran.set(ran.get() + 1);
        }
        defer! { panic!("second"); }
        panic!("body");
    })
    .unwrap_err();

    assert_eq!((panic.message(), ran.get()), ("body", 2));
    assert!(panic.location().is_some());
}

#[test]
fn a_subscriber_that_panics_at_the_report_of_a_panicking_block_does_not_abort() {
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
    struct Panics;
    impl<S: tracing::Subscriber> Layer<S> for Panics {
        fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
            panic!("in the subscriber");
        }
    }
    let subscriber = tracing_subscriber::registry().with(Panics);
    let _listening = tracing::subscriber::set_default(subscriber);

    let panic = recover(|| {
        defer! { panic!("in the block"); }
        panic!("body");
    });

    assert_eq!(panic.unwrap_err().message(), "body");
}

#[test]
fn a_named_guard_runs_when_it_is_dropped_or_gives_its_cleanup_back() {
    let ran = Cell::new(0);

    let early = defer::guard(|| ran.set(ran.get() + 1));
    drop(early);
    assert_eq!(ran.get(), 1);

    let cleanup = defer::guard(|| ran.set(ran.get() + 10)).disarm();
    assert_eq!(ran.get(), 1);
    cleanup();
    assert_eq!(ran.get(), 11);
}
