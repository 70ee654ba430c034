//! A policy that changes while others read it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use steadfast_core::clock::Timestamp;
use steadfast_core::decide::policy::{FieldPath, Policy};

use super::document_tests::SHOP;
use super::*;

fn at(seconds: u64) -> Timestamp {
    (SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_457_100 + seconds)).into()
}

fn signed(reason: &str) -> Signed {
    Signed::new("ann", reason).unwrap()
}

fn document(text: &str) -> PolicyDocument {
    PolicyDocument::new("policy.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The shop with another number of permits.
fn with_permits(permits: u32) -> PolicyDocument {
    document(&SHOP.replace("permits = 200", &format!("permits = {permits}")))
}

fn live() -> LivePolicy {
    LivePolicy::new(Revision::new(
        "shop",
        1,
        document(SHOP),
        signed("first"),
        at(0),
    ))
}

fn change(live: &LivePolicy, document: PolicyDocument) -> u64 {
    let proposal = live.propose(document, signed("change"));
    live.apply(proposal, at(1)).unwrap().n()
}

fn permits(live: &LivePolicy) -> u32 {
    let in_force = live.in_force();
    in_force.policy().admissions["http"].permits.most().get()
}

fn held(path: &str, value: &str, until: Timestamp) -> Override {
    Override::new(path.parse().unwrap(), value, until, signed("INC-7")).unwrap()
}

fn hold(live: &LivePolicy, path: &str, value: &str) -> Result<(), String> {
    let held = live.hold(held(path, value, at(60)), at(0));
    held.map(drop).map_err(|refused| refused.to_string())
}

/// What observers are told: one line for each change.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl PolicyObserver for Told {
    fn changed(&self, change: &PolicyChange) {
        let line = |change: &steadfast_core::decide::policy::FieldChange| {
            let (before, after) = (&change.before, &change.after);
            let or_none = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".into());
            format!("{} {} {}", change.path, or_none(before), or_none(after))
        };
        self.0
            .lock()
            .unwrap()
            .extend(change.changes.iter().map(line));
    }
}

impl Told {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

// === Revisions ===

#[test]
fn a_proposal_changes_nothing_until_it_is_applied() {
    let live = live();

    let proposal = live.propose(with_permits(100), signed("less"));

    assert_eq!(permits(&live), 200);
    assert_eq!(proposal.changes().len(), 1);
    let revision = live.apply(proposal, at(1)).unwrap();
    assert_eq!(permits(&live), 100);
    assert_eq!(revision.n(), 2);
    assert_eq!(revision.signed().reason(), "less");
    assert_eq!(revision.at(), at(1));
    assert_eq!(revision.hash(), with_permits(100).hash());
    assert_eq!(revision.namespace().as_str(), "shop");
}

#[test]
fn a_proposal_shows_what_it_would_change_and_where() {
    let text = SHOP
        .replace("permits = 200", "permits = 100")
        .replace("queue_wait", "queue = 50\nqueue_wait")
        .replace("not_ready = \"5s\"\n", "");
    let hash = |document: &PolicyDocument| format!("{:#}", document.hash());
    let (before, after) = (document(SHOP), document(&text));

    let proposal = live().propose(after.clone(), signed("black friday"));

    assert_eq!(
        proposal.to_string(),
        format!(
            "shop revision 1 ({}) to {}, by ann: black friday\n\
             - admissions.http.permits = 200    policy.toml:3:1\n\
             + admissions.http.permits = 100    policy.toml:3:1\n\
             - admissions.http.queue = 100    default\n\
             + admissions.http.queue = 50    policy.toml:4:1\n\
             - drain.not_ready = \"5s\"    policy.toml:51:1\n",
            hash(&before),
            hash(&after)
        )
    );
}

#[test]
fn a_proposal_tells_that_nothing_would_change_and_what_is_to_be_warned_of() {
    let comment = live().propose(document(&format!("{SHOP}# end\n")), signed("comment"));
    let shadow = SHOP.replace("[timeouts.call]\n", "[timeouts.call]\nshadow = true\n");
    let shadow = live().propose(document(&shadow), signed("try"));

    assert!(
        comment
            .to_string()
            .ends_with("nothing that is in force would change\n")
    );
    assert!(
        shadow
            .to_string()
            .contains("warning[P034]: timeouts.call.shadow")
    );
}

#[test]
fn a_proposal_for_another_revision_is_refused() {
    let live = live();
    let late = live.propose(with_permits(50), signed("late"));
    change(&live, with_permits(100));

    let refused = live.apply(late, at(2)).unwrap_err();

    assert_eq!(
        refused.to_string(),
        "it was made for revision 1, and revision 2 is in force"
    );
    assert_eq!(permits(&live), 100);
}

#[test]
fn a_revert_is_the_next_revision_with_an_earlier_document() {
    let live = live();
    change(&live, with_permits(100));

    let reverted = live.revert(1, signed("worse"), at(2)).unwrap();

    assert_eq!(reverted.n(), 3);
    assert_eq!(permits(&live), 200);
    let kept: Vec<u64> = live.history().iter().map(|revision| revision.n()).collect();
    assert_eq!(kept, [1, 2, 3]);
}

#[test]
fn of_the_history_the_newest_are_kept() {
    let live = live();
    for permits in 0..60 {
        change(&live, with_permits(100 + permits));
    }

    let history = live.history();
    assert_eq!(history.len(), LivePolicy::HISTORY_MAX);
    assert_eq!(history.last().map(|revision| revision.n()), Some(61));
    let refused = live.revert(1, signed("too late"), at(2)).unwrap_err();
    assert_eq!(refused.to_string(), "revision 1 is not among the last 50");
}

#[test]
fn a_reader_keeps_what_it_has_while_others_change_it() {
    let live = live();
    let before = live.in_force();

    change(&live, with_permits(100));

    assert_eq!(before.revision().n(), 1);
    assert_eq!(before.policy().admissions["http"].permits.most().get(), 200);
    assert_eq!(live.in_force().revision().n(), 2);
}

// === Observers ===

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

// === Overrides ===

#[test]
fn an_override_holds_until_its_time() {
    let live = live();

    hold(&live, "admissions.http.permits", "150").unwrap();

    assert_eq!(permits(&live), 150);
    assert_eq!(live.in_force().revision().n(), 1);
    assert_eq!(live.in_force().until(), Some(at(60)));
    assert_eq!(live.at(at(59)).overrides().len(), 1);
    assert_eq!(live.at(at(60)).overrides().len(), 0);
    assert_eq!(permits(&live), 200);
    assert_eq!(live.expire(at(61)), None);
}

#[test]
fn an_override_can_be_released_and_replaced() {
    let live = live();
    let path: FieldPath = "admissions.http.permits".parse().unwrap();
    hold(&live, "admissions.http.permits", "150").unwrap();

    hold(&live, "admissions.http.permits", "160").unwrap();
    assert_eq!(permits(&live), 160);
    assert_eq!(live.in_force().overrides().len(), 1);

    assert!(live.release(&path));
    assert_eq!(permits(&live), 200);
    assert!(!live.release(&path));
}

#[test]
fn what_is_learned_can_be_held_fixed() {
    let live = live();

    hold(&live, "timeouts.page.timeout", "700ms").unwrap();

    let page = live.in_force().policy().timeouts["page"].timeout;
    assert!(!page.is_learned());
    assert_eq!(page.most().get(), Duration::from_millis(700));
}

#[test]
fn what_the_document_does_not_say_can_be_held_too() {
    let live = live();

    hold(&live, "routes.\"POST /orders\".deadline", "3s").unwrap();
    hold(&live, "drain.hard", "30s").unwrap();

    let in_force = live.in_force();
    assert!(in_force.policy().routes["POST /orders"].deadline.is_some());
    assert_eq!(in_force.policy().drain.hard.get(), Duration::from_secs(30));
}

#[test]
fn values_are_written_as_in_a_document_or_without_quotes() {
    let value = |text: &str| {
        let one = Override::new("a.b.c".parse().unwrap(), text, at(60), signed("x"));
        one.map(|one| one.value().to_owned()).ok()
    };

    assert_eq!(value("5").as_deref(), Some("5"));
    assert_eq!(value("0.5").as_deref(), Some("0.5"));
    assert_eq!(value("true").as_deref(), Some("true"));
    assert_eq!(value(" 2s ").as_deref(), Some("\"2s\""));
    assert_eq!(value("\"2s\"").as_deref(), Some("\"2s\""));
    assert_eq!(value("10 %").as_deref(), Some("\"10 %\""));
    assert_eq!(value("[\"GET\"]").as_deref(), Some("[\"GET\"]"));
    assert_eq!(value("1\n[trust]"), None);
    assert_eq!(value("a\u{1b}b"), None);
}

#[test]
fn an_override_that_makes_no_sense_is_refused() {
    let live = live();
    let check = |path: &str, value: &str, expect: &str| {
        let refused = hold(&live, path, value).unwrap_err();
        assert!(refused.contains(expect), "{path} = {value}\n{refused}");
    };

    check("admissions.http.permit", "5", "did you mean permits?");
    check("admissions.htpp.permits", "5", "did you mean http?");
    check(
        "admissions.http",
        "5",
        "there is no admissions.http to override",
    );
    check("admission.http.permits", "5", "there is no admission.http");
    check("routes", "5", "there is no routes to override");
    check("admissions.http.permits", "0", "0 is not from 1 to 1000000");
    check("timeouts.call.timeout", "learn", "has no \"timeout_floor\"");
    check("admissions.http.permits", "20", "error[P0");
    assert_eq!(permits(&live), 200);
    assert!(live.in_force().overrides().is_empty());
}

#[test]
fn an_override_has_an_end_that_is_near() {
    let live = live();
    let refused = |until: Timestamp| {
        let one = held("admissions.http.permits", "150", until);
        live.hold(one, at(10)).unwrap_err().to_string()
    };

    assert_eq!(
        refused(at(10)),
        "until 2026-11-23 18:05:10Z is over: it is 2026-11-23 18:05:10Z"
    );
    assert!(refused(at(10 + 86_401)).contains("is more than a day from now"));
    let longest = held("admissions.http.permits", "150", at(10 + 86_400));
    assert!(live.hold(longest, at(10)).is_ok());
}

#[test]
fn there_are_so_many_overrides_and_no_more() {
    let tables: String = (0..40)
        .map(|n| format!("[dependencies.d{n}]\ntimeout = \"call\"\n"))
        .collect();
    let document = document(&format!("{SHOP}{tables}"));
    let live = LivePolicy::new(Revision::new("shop", 1, document, signed("first"), at(0)));
    for n in 0..Override::MAX {
        hold(&live, &format!("dependencies.d{n}.rate"), "5").unwrap();
    }

    let refused = hold(&live, "dependencies.d39.rate", "5").unwrap_err();

    assert!(refused.contains("there are 32 overrides"), "{refused}");
    hold(&live, "dependencies.d0.rate", "6").unwrap();
}

#[test]
fn an_override_goes_on_over_a_change_if_it_still_fits() {
    let live = live();
    let ended = Arc::new(Mutex::new(Vec::new()));
    let seen = ended.clone();
    let observer = Arc::new(move |change: &PolicyChange| {
        let ended = change.ended().map(ToString::to_string);
        seen.lock().unwrap().extend(ended);
    });
    hold(&live, "admissions.http.permits", "150").unwrap();
    hold(&live, "streams.live.idle", "50s").unwrap();
    live.observe(&observer);

    let without_stream = SHOP
        .replace("[streams.live]\nconnections = 500\nidle = \"45s\"\n", "")
        .replace(
            "[routes.\"/events\"]\nkind = \"stream\"\nstream = \"live\"\n",
            "",
        );
    change(&live, document(&without_stream));

    assert_eq!(permits(&live), 150);
    assert_eq!(
        *ended.lock().unwrap(),
        ["streams.live.idle = \"50s\" until 2026-11-23 18:06:00Z, by ann: INC-7"]
    );
}

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
fn a_revision_that_is_kept_elsewhere_comes_in_force_under_its_own_number_and_overrides_go_on() {
    let live = live();
    let told = Arc::new(Told::default());
    live.observe(&told);
    hold(&live, "admissions.http.queue", "7").unwrap();
    told.take();
    let kept = |n, permits| Revision::new("shop", n, with_permits(permits), signed("kept"), at(3));

    live.adopt(kept(7, 150), at(4)).unwrap();

    assert_eq!(told.take(), ["admissions.http.permits 200 150"]);
    let in_force = live.in_force();
    assert_eq!(in_force.revision().n(), 7);
    assert_eq!(in_force.revision().at(), at(3));
    assert_eq!(in_force.overrides().len(), 1);
    let numbers = |live: &LivePolicy| -> Vec<u64> {
        live.history().iter().map(|revision| revision.n()).collect()
    };
    assert_eq!(numbers(&live), [1, 7]);

    // What was put in force here alone has the number of another one there.
    assert_eq!(change(&live, with_permits(180)), 8);
    live.adopt(kept(8, 160), at(5)).unwrap();
    assert_eq!(numbers(&live), [1, 7, 8]);
    assert_eq!(permits(&live), 160);
    assert_eq!(change(&live, with_permits(170)), 9);
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
