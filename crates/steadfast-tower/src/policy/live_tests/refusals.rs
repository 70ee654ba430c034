//! Observers that cannot follow a change, or doubt it.

use super::*;

/// Cannot have more than so many permits.
struct Small(u32);

impl PolicyObserver for Small {
    fn changed(&self, change: &PolicyChange) {
        assert!(self.refuses(change.after.policy()).is_none());
    }

    fn refuses(&self, next: &Policy) -> Option<String> {
        assert_ne!(self.0, 0, "a bug in it");
        let permits = next.admissions["http"].permits.most().get();
        (permits > self.0).then(|| format!("{permits} permits are too many for me"))
    }
}

#[test]
fn what_an_observer_cannot_do_is_refused_and_all_is_as_it_was() {
    let live = live();
    let small = Arc::new(Small(500));
    live.observe(&small);
    let before = live.in_force();

    let proposal = live.propose(with_permits(501), signed("more"));
    let refused = live.apply(proposal, at(0)).unwrap_err().to_string();
    let held = hold(&live, "admissions.http.permits", "502").unwrap_err();

    assert!(
        refused.ends_with("501 permits are too many for me"),
        "{refused}"
    );
    assert!(held.ends_with("502 permits are too many for me"), "{held}");
    assert!(Arc::ptr_eq(&before, &live.in_force()));
    assert_eq!(live.history().len(), 1);
    assert_eq!(change(&live, with_permits(500)), 2);
}

/// Lets as many wait as are served, at least.
struct Patient;

impl PolicyObserver for Patient {
    fn changed(&self, change: &PolicyChange) {
        assert!(self.refuses(change.after.policy()).is_none());
    }

    fn refuses(&self, next: &Policy) -> Option<String> {
        let http = &next.admissions["http"];
        (http.queue < http.permits.most()).then(|| "too few may wait".to_owned())
    }
}

#[test]
fn an_override_ends_with_the_one_without_which_an_observer_cannot_follow_it() {
    let queue = "admissions.http.queue";
    let page = document(
        "[timeouts.page]\ntimeout = \"1s\"\n\
         [admissions.http]\npermits = 20\nqueue = 40\nqueue_wait = \"100ms\"\n\
         [routes.\"/\"]\ntimeout = \"page\"\nadmission = \"http\"\n",
    );
    let live = LivePolicy::new(Revision::new("page", 1, page, signed("first"), at(0)));
    let told = Arc::new(Patient);
    live.observe(&told);
    hold(&live, queue, "600").unwrap();
    hold(&live, "admissions.http.permits", "600").unwrap();

    assert!(live.release(&queue.parse().unwrap()));

    assert_eq!(permits(&live), 20);
    assert!(live.in_force().overrides().is_empty());
}

#[test]
fn an_observer_that_panics_when_it_is_asked_has_refused() {
    let live = live();
    let broken = Arc::new(Small(0));
    live.observe(&broken);

    let proposal = live.propose(with_permits(400), signed("more"));

    assert!(live.apply(proposal, at(0)).is_err());
    assert_eq!(permits(&live), 200);
}

#[test]
fn a_revision_that_an_observer_refuses_is_not_adopted() {
    struct Never;
    impl PolicyObserver for Never {
        fn changed(&self, _: &PolicyChange) {}
        fn refuses(&self, next: &Policy) -> Option<String> {
            (next.admissions["http"].permits.most().get() == 150).then(|| "too few".to_owned())
        }
    }
    let live = live();
    let never = Arc::new(Never);
    live.observe(&never);
    let kept = Revision::new("shop", 7, with_permits(150), signed("kept"), at(3));

    let refused = live.adopt(kept, at(4)).unwrap_err();

    assert_eq!(refused.to_string(), "it cannot be put in force: too few");
    assert_eq!(live.in_force().revision().n(), 1);
    assert_eq!(live.history().len(), 1);
}

#[test]
fn what_an_observer_doubts_is_adopted_and_not_applied() {
    struct Doubts;
    impl PolicyObserver for Doubts {
        fn changed(&self, _: &PolicyChange) {}
        fn doubts(&self, _: &Policy) -> Option<String> {
            Some("who knows".to_owned())
        }
    }
    let live = live();
    let doubts = Arc::new(Doubts);
    live.observe(&doubts);
    let proposal = live.propose(with_permits(150), signed("change"));

    let refusals = [
        live.check(&proposal, at(1)).unwrap_err(),
        live.apply(proposal, at(1)).map(drop).unwrap_err(),
        live.revert(1, signed("back"), at(1)).map(drop).unwrap_err(),
    ];

    for refused in refusals {
        assert_eq!(refused.to_string(), "it cannot be put in force: who knows");
    }
    let kept = Revision::new("shop", 7, with_permits(150), signed("kept"), at(3));
    assert!(live.adopt(kept, at(4)).is_ok());
    // What is in force already is held against as ever.
    assert!(hold(&live, "admissions.http.queue", "7").is_ok());
}
