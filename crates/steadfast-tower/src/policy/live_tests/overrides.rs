//! Values that are held against the document for a time.

use super::*;

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
