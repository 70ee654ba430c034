//! Who is told of a change, and of what.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn observers_are_told_what_differs() {
    let live = live();
    let told = Arc::new(Told::default());
    live.observe(&told);

    change(&live, with_permits(100));
    assert_eq!(told.take(), ["admissions.http.permits 200 100"]);

    live.revert(1, signed("worse"), at(2)).unwrap();
    assert_eq!(told.take(), ["admissions.http.permits 100 200"]);

    hold(&live, "timeouts.call.timeout", "200ms").unwrap();
    assert_eq!(told.take(), ["timeouts.call.timeout \"300ms\" \"200ms\""]);

    live.expire(at(60));
    assert_eq!(told.take(), ["timeouts.call.timeout \"200ms\" \"300ms\""]);
}

#[test]
fn a_change_says_which_tables_it_touches() {
    let live = live();
    let touched = Arc::new(Mutex::new(Vec::new()));
    let seen = touched.clone();
    let observer = Arc::new(move |change: &PolicyChange| {
        for table in [["admissions", "http"], ["breakers", "careful"]] {
            seen.lock().unwrap().push(change.touches(&table));
        }
    });
    live.observe(&observer);

    change(&live, with_permits(100));

    assert_eq!(*touched.lock().unwrap(), [true, false]);
}

#[test]
fn an_observer_that_is_gone_is_not_told() {
    let live = live();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let observer = Arc::new(move |_: &PolicyChange| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    live.observe(&observer);
    change(&live, with_permits(100));

    drop(observer);
    change(&live, with_permits(150));

    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn an_observer_may_change_the_policy() {
    let live = Arc::new(live());
    let told = Arc::new(Told::default());
    let weak = Arc::downgrade(&live);
    let reverting = Arc::new(move |change: &PolicyChange| {
        if change.after.policy().admissions["http"]
            .permits
            .most()
            .get()
            < 50
        {
            let live = weak.upgrade().unwrap();
            live.revert(1, signed("too few"), at(2)).unwrap();
        }
    });
    live.observe(&reverting);
    live.observe(&told);

    change(&live, with_permits(30));

    assert_eq!(permits(&live), 200);
    assert_eq!(
        told.take(),
        [
            "admissions.http.permits 200 30",
            "admissions.http.permits 30 200"
        ]
    );
}

#[test]
fn a_panic_of_an_observer_harms_nobody() {
    let live = live();
    let panicking = Arc::new(|_: &PolicyChange| panic!("observer"));
    let told = Arc::new(Told::default());
    live.observe(&panicking);
    live.observe(&told);

    change(&live, with_permits(100));
    change(&live, with_permits(150));

    assert_eq!(permits(&live), 150);
    assert_eq!(told.take().len(), 2);
}

#[test]
fn changes_of_many_threads_are_told_until_the_newest() {
    let live = live();
    let last = Arc::new(Mutex::new(0));
    let seen = last.clone();
    let observer = Arc::new(move |change: &PolicyChange| {
        let n = change.after.revision().n();
        let mut last = seen.lock().unwrap();
        assert!(change.before.revision().n() < n && *last < n);
        *last = n;
    });
    live.observe(&observer);

    std::thread::scope(|scope| {
        for thread in 0..4 {
            let live = &live;
            scope.spawn(move || {
                for round in 0..10 {
                    let document = with_permits(60 + thread * 10 + round);
                    let proposal = live.propose(document, signed("race"));
                    // Whoever comes second is refused; that is what is under test.
                    let _ = live.apply(proposal, at(1));
                    assert!(permits(live) >= 60);
                }
            });
        }
    });

    assert_eq!(*last.lock().unwrap(), live.in_force().revision().n());
    assert!(live.in_force().revision().n() > 10);
}
