//! Who did what, and who was refused.

use serde_json::Value;

use super::served::{Served, bearer, text};
use super::*;

/// The entries that a list has: who, what, and what became of it.
fn listed(served: &Served, token: &str, args: &[&str]) -> Vec<(String, String, String)> {
    let list = ["audit", "list", "--json"];
    let told = served.told(token, &[&list[..], args].concat());
    let told: Value = serde_json::from_str(&told).unwrap();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    let items = told["data"]["items"].as_array().unwrap().iter();
    let told = items.map(|entry| {
        let actor = text(entry, "actor");
        let name = actor.split(" (").next().unwrap().to_owned();
        (name, text(entry, "action"), text(entry, "outcome"))
    });
    told.collect()
}

#[test]
fn the_audit_is_listed_by_who_what_and_when_a_page_at_a_time() {
    let served = Served::start("audit", &shell("nothing", "true", ""));
    let (admin, operator) = (served.token("admin"), served.token("operator"));
    for (token, queue) in [(&admin, "a"), (&operator, "b"), (&admin, "c")] {
        served.told(token, &["jobs", "pause", queue, "--reason", "a freeze"]);
    }
    served.told(&operator, &["jobs", "run", "nothing", "--reason", "x"]);
    let entry = |who: &str, action: &str| (who.to_owned(), action.to_owned(), "done".to_owned());

    let of_operator = listed(&served, &operator, &["--actor", "operator"]);

    let expect = [
        entry("operator", "jobs.enqueue"),
        entry("operator", "queues.pause"),
    ];
    assert_eq!(of_operator, expect);
    let pauses = ["--action", "queues.pause"];
    assert_eq!(listed(&served, &admin, &pauses).len(), 3);
    assert_eq!(listed(&served, &admin, &["--since", "1h"]).len(), 6);
    assert_eq!(
        listed(&served, &admin, &["--since", "2100-01-01T00:00:00Z"]),
        []
    );
    let first = served.ask(
        &admin,
        &["audit", "list", "--limit", "2", "--action", "queues.pause"],
    );
    let lines = text(&first.stdout);
    assert!(lines.starts_with("AT "), "{lines}");
    assert!(
        lines.contains("queues.pause  queue c  done     a freeze"),
        "{lines}"
    );
    let more = text(&first.stderr);
    let cursor = more
        .trim()
        .strip_prefix("There are more: --cursor ")
        .unwrap();
    let rest = [&pauses[..], &["--cursor", cursor]].concat();
    assert_eq!(
        listed(&served, &admin, &rest),
        [entry("admin", "queues.pause")]
    );
    let wrong = served.ask(&admin, &["audit", "list", "--since", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(2));
    served.server.stop();
}

#[test]
fn lines_and_audit_say_who_has_asked_and_from_where() {
    let served = Served::start("who", "behind_proxy = true\n");
    let viewer = served.token("viewer");
    for _ in 0..20 {
        let head = "authorization: Bearer sf_guessed\r\nx-forwarded-for: 1.1.1.1, 10.0.0.9\r\n";
        let (status, ..) = served.send("GET", "/api/v1/jobs", head, "");
        assert_eq!(status, 401);
    }
    let (status, ..) = served.send("GET", "/api/v1/jobs", &bearer(&viewer), "");
    assert_eq!(status, 200);

    let admin = served.token("admin");
    let refused = listed(&served, &admin, &["--action", "jobs.read"]);

    let outcome = "SF-2202: there is no such token, or it does not hold any more".to_owned();
    let who = "nobody who is known, at 10.0.0.9".to_owned();
    assert_eq!(refused, [(who, "jobs.read".to_owned(), outcome)]);
    let mut server = served.server;
    let guessed = server.line_with("status=401");
    assert!(guessed.contains("client=10.0.0.9"), "{guessed}");
    let known = server.line_with("route=/api/v1/jobs status=200");
    assert!(known.contains("client=127.0.0.1"), "{known}");
    assert!(known.contains("actor=\"viewer (token"), "{known}");
    server.stop();
}

#[test]
fn who_is_refused_for_want_of_a_right_is_noted_once_however_often_he_tries() {
    let served = Served::start("refused", &shell("nothing", "true", ""));
    let (admin, viewer) = (served.token("admin"), served.token("viewer"));
    for _ in 0..20 {
        let path = "/api/v1/queues/mail/pause";
        let (status, _, told) = served.send("POST", path, &bearer(&viewer), r#"{"reason":"x"}"#);
        assert_eq!(status, 403, "{told}");
    }

    let refused = listed(&served, &admin, &["--actor", "viewer"]);

    let outcome = "SF-2203: the role viewer may not do queues.pause".to_owned();
    assert_eq!(
        refused,
        [("viewer".to_owned(), "queues.pause".to_owned(), outcome)]
    );
    served.server.stop();
}
