//! What is done to schedules by commands and by the API.

use super::served::{Served, bearer, text};
use super::*;

#[test]
fn a_schedule_is_changed_only_as_it_was_seen() {
    let served = Served::start("etags", &shell("nothing", "true", ""));
    let admin = bearer(&served.token("admin"));
    let path = "/api/v1/schedules/nightly";
    let body = |rule: &str| format!(r#"{{"rule":"{rule}","kind":"nothing","reason":"a test"}}"#);
    let put = |headers: &str, rule: &str| {
        served.send("PUT", path, &format!("{admin}{headers}"), &body(rule))
    };

    assert_eq!(put("", "0 1 * * *").0, 428);
    assert_eq!(put("if-match: \"3\"\r\n", "0 1 * * *").0, 412);
    let (status, head, made) = put("if-none-match: *\r\n", "0 1 * * *");
    assert_eq!(status, 200, "{made}");
    let tag = head
        .split("etag: ")
        .nth(1)
        .unwrap()
        .split("\r\n")
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(put("if-none-match: *\r\n", "0 2 * * *").0, 412);
    let (status, head, _) = put(&format!("if-match: {tag}\r\n"), "0 2 * * *");
    assert_eq!(status, 200);
    assert!(!head.contains(&format!("etag: {tag}\r\n")), "{head}");
    assert_eq!(
        put(&format!("if-match: {tag}\r\n"), "0 3 * * *").0,
        412,
        "it was changed since"
    );
    let (status, _, wrong) = put("if-match: \"2\"\r\n", "0 25 * * *");
    assert_eq!(status, 400);
    assert!(wrong.contains("`25` is not an hour"), "{wrong}");

    let token = served.token("operator");
    let next = served.told(&token, &["schedules", "next", "nightly", "--count", "2"]);
    assert!(next.starts_with("AT "), "{next}");
    assert_eq!(
        next.lines()
            .filter(|line| line.contains("T02:00:00Z"))
            .count(),
        2,
        "{next}"
    );
    let made = served.told(&token, &["schedules", "run", "nightly", "--reason", "now"]);
    assert_eq!(made, "job 1 is made\n");
    served.told(
        &token,
        &["schedules", "pause", "nightly", "--reason", "a freeze"],
    );
    let listed = served.told(&token, &["schedules", "list"]);
    assert!(
        listed.contains("nightly  nothing  every day at 02:00, UTC  paused: a freeze"),
        "{listed}"
    );
    served.server.stop();
}

#[test]
fn all_that_can_be_said_of_a_schedule_comes_back_with_what_its_change_has_left() {
    let schedule = "[schedules.nightly]\nrule = \"@yearly\"\nhandler = \"nothing\"\n";
    let rest = format!("{}{schedule}", shell("nothing", "true", ""));
    let served = Served::start("whole", &rest);
    let admin = bearer(&served.token("admin"));
    let put = |name: &str, headers: &str, body: &str| {
        let path = format!("/api/v1/schedules/{name}");
        let (status, head, told) = served.send("PUT", &path, &format!("{admin}{headers}"), body);
        (
            status,
            head,
            serde_json::from_str::<serde_json::Value>(&told).unwrap(),
        )
    };
    let body = r#"{"rule":"@daily","zone":"Europe/Berlin","missed":"run_all(1d)","overlap":"allow","jitter":"5m","start_deadline":"90s",
        "kind":"nothing","queue":"slow","payload":{"a":1},"max_attempts":3,"priority":-7,"limit_key":"db","min_version":4,"reason":"x"}"#;

    let (status, head, made) = put("whole", "if-none-match: *\r\n", body);

    assert_eq!(status, 200, "{made}");
    assert!(
        head.contains(&format!("etag: \"{}\"\r\n", made["revision"])),
        "{head}"
    );
    let said: serde_json::Value = serde_json::from_str(body).unwrap();
    for (field, value) in said.as_object().unwrap() {
        let value = match field.as_str() {
            "rule" | "reason" => continue,
            "jitter" => &serde_json::json!("300s"),
            _ => value,
        };
        assert_eq!(&made[field], value, "{field}");
    }
    assert!(made["warning"].is_null(), "{made}");
    let (_, _, found) = served.send("GET", "/api/v1/schedules/whole", &admin, "");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&found).unwrap(),
        made
    );
    let refused = [
        r#""jitter":"5""#,
        r#""start_deadline":"1ms""#,
        r#""min_version":2147483648"#,
    ];
    for wrong in refused {
        let body = format!(r#"{{"rule":"@daily",{wrong},"reason":"x"}}"#);
        assert_eq!(
            put("wrong", "if-none-match: *\r\n", &body).0,
            400,
            "{wrong}"
        );
    }
    let (_, head, _) = served.send("GET", "/api/v1/schedules/nightly", &admin, "");
    let tag = head
        .split("etag: ")
        .nth(1)
        .unwrap()
        .split("\r\n")
        .next()
        .unwrap();
    let body = r#"{"rule":"@daily","kind":"nothing","reason":"x"}"#;
    let (_, _, changed) = put("nightly", &format!("if-match: {tag}\r\n"), body);
    assert_eq!(
        changed["warning"],
        "the configuration of this server has the schedule nightly, and its next start changes it back to that"
    );
    served.server.stop();
}

#[test]
fn a_schedule_is_added_and_changed_by_commands_which_leave_what_is_not_said() {
    let served = Served::start("by-commands", &shell("nothing", "true", ""));
    let token = served.token("admin");
    let ask = |args: &[&str]| {
        let args = [&["schedules"], args, &["--reason", "x"]].concat();
        let output = served.ask(&token, &args);
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let find = || {
        let (_, _, told) = served.send("GET", "/api/v1/schedules/nightly", &bearer(&token), "");
        serde_json::from_str::<serde_json::Value>(&told).unwrap()
    };
    let add = [
        "add",
        "nightly",
        "--rule",
        "0 1 * * *",
        "--zone",
        "Europe/Berlin",
        "--handler",
        "nothing",
        "--payload",
        "[1]",
        "--priority",
        "-5",
        "--limit-key",
        "db",
        "--start-deadline",
        "2h",
    ];

    let dry = ask(&[&add[..], &["--dry-run"]].concat());
    assert_eq!(dry.0, Some(0), "{dry:?}");
    assert!(
        dry.1
            .starts_with("+ rule = 0 1 * * *\n+ zone = Europe/Berlin\n"),
        "{dry:?}"
    );
    assert!(dry.1.ends_with("\nnothing was changed\n"), "{dry:?}");
    assert_eq!(find()["code"], "SF-2205");
    let added = ask(&add);
    assert_eq!(added.0, Some(0), "{added:?}");
    let told = "\nschedule nightly: every day at 01:00, Europe/Berlin, next ";
    assert!(added.1.contains(told), "{added:?}");
    let again = ask(&add);
    assert_eq!((again.0, &again.2[..16]), (Some(6), "error[SF-2207]: "));
    let first = find();
    let revision = first["revision"].to_string();

    let set = [
        "set",
        "nightly",
        "--jitter",
        "5m",
        "--limit-key",
        "",
        "--revision",
        &revision,
    ];
    let dry = ask(&[&set[..], &["--dry-run"]].concat());
    let changes =
        "- jitter = 0ns\n+ jitter = 300s\n- limit_key = db\n+ limit_key = -\nschedule nightly: ";
    assert!(dry.1.starts_with(changes), "{dry:?}");
    assert_eq!(find(), first, "nothing was changed");
    let changed = ask(&set);
    assert!(changed.1.starts_with(changes), "{changed:?}");
    let stale = ask(&[&set[..], &["--dry-run"]].concat());
    assert_eq!((stale.0, stale.2), (ask(&set).0, ask(&set).2));
    let second = find();
    for (field, value) in first.as_object().unwrap() {
        let is_changed = matches!(&**field, "jitter" | "limit_key" | "revision");
        assert_eq!(second[field] != *value, is_changed, "{field}");
    }
    // A rule that counts from the end of a run, which knows neither missed nor overlapping ones.
    let after = ask(&["set", "nightly", "--rule", "after 5m"]);
    assert_eq!(after.0, Some(0), "{after:?}");
    let same = ask(&["set", "nightly"]);
    assert_eq!(same.0, Some(0), "{same:?}");
    assert!(same.1.starts_with("schedule nightly: "), "{same:?}");
    let unknown = ask(&["set", "nihtly", "--jitter", "1s"]);
    assert_eq!(unknown.0, Some(4), "{unknown:?}");

    for (action, what) in [
        (
            "run",
            "would have a job made now, unless an earlier one has not ended: ",
        ),
        ("pause", "would be paused: "),
        ("resume", "would go on: "),
        ("delete", "would be deleted: "),
    ] {
        let before = find();
        let dry = ask(&[action, "nightly", "--dry-run"]);
        assert!(
            dry.1.starts_with(&format!("schedule nightly {what}")),
            "{dry:?}"
        );
        assert!(dry.1.ends_with("\nnothing was changed\n"), "{dry:?}");
        assert_eq!(find(), before);
        let stale = ask(&[action, "nightly", "--revision", &revision, "--dry-run"]);
        assert_eq!(stale.0, Some(6), "{stale:?}");
    }
    served.server.stop();
}

#[test]
fn occurrences_are_filled_in_once_their_number_is_known() {
    let schedule = "[schedules.nightly]\nrule = \"@daily\"\nhandler = \"nothing\"\n";
    let rest = format!("{}{schedule}", shell("nothing", "true", ""));
    let served = Served::start("backfill", &rest);
    let token = served.token("operator");
    let fill = |from: &str, to: &str, more: &[&str]| {
        let (from, to) = (format!("{from}T00:00:00Z"), format!("{to}T00:00:00Z"));
        let args = ["schedules", "backfill", "nightly", "--reason", "x"];
        let range = ["--from", &from, "--to", &to];
        served.ask(&token, &[&args[..], &range, more].concat())
    };
    let dry = |from: &str, to: &str| text(&fill(from, to, &["--dry-run"]).stdout);
    let failed = |output: Output| (output.status.code(), text(&output.stderr));

    assert_eq!(
        dry("2026-01-01", "2026-01-04"),
        "3 jobs would be made (--yes 3), of 2026-01-01T00:00:00Z to 2026-01-03T00:00:00Z, 0 occurrences had one\n"
    );
    assert_eq!(
        dry("2020-01-01", "2026-01-01"),
        "1000+ jobs would be made (--yes 1000), of 2020-01-01T00:00:00Z to 2022-09-26T00:00:00Z, 0 occurrences had one; go on with --from 2022-09-27T00:00:00Z\n"
    );
    let (code, told) = failed(fill("2026-01-01", "2026-01-04", &[]));
    assert_eq!(code, Some(1));
    assert!(told.contains("3 occurrences: say --yes 3"), "{told}");
    let (_, told) = failed(fill("2026-01-01", "2026-01-04", &["--yes", "4"]));
    assert!(
        told.contains("there are 3 such occurrences, not 4; nothing was changed"),
        "{told}"
    );
    let (code, told) = failed(fill("2026-01-04", "2026-01-01", &["--dry-run"]));
    assert_eq!(code, Some(2));
    assert!(
        told.contains("--to 2026-01-01T00:00:00Z is not after --from 2026-01-04T00:00:00Z"),
        "{told}"
    );

    let filled = fill("2026-01-01", "2026-01-04", &["--yes", "3"]);

    assert_eq!(
        text(&filled.stdout),
        "3 jobs are made, 0 occurrences had one\n"
    );
    assert_eq!(
        dry("2026-01-01", "2026-01-04"),
        "0 jobs would be made, 3 occurrences had one\n"
    );
    let none = fill("2026-01-01", "2026-01-04", &[]);
    assert_eq!(
        text(&none.stdout),
        "0 jobs are made, 3 occurrences had one\n"
    );
    // By the API alone.
    let send = |fields: &str| {
        let body = format!(r#"{{"reason":"x",{fields}}}"#);
        let path = "/api/v1/schedules/nightly/backfill";
        let (status, _, told) = served.send("POST", path, &bearer(&token), &body);
        (status, told)
    };
    let past = r#""from":"2026-01-04T00:00:00Z","to":"2026-01-09T00:00:00Z""#;
    let (_, some) = send(&format!(r#"{past},"limit":2"#));
    assert!(
        some.contains(r#""made":2"#) && some.contains(r#""rest":"2026-01-06T00:00:00Z""#),
        "{some}"
    );
    assert_eq!(send(&format!(r#"{past},"limit":0"#)).0, 400);
    let (status, told) = send(r#""from":"2026-01-04T00:00:00Z","to":"2026-01-04T00:00:00Z""#);
    assert_eq!(status, 400);
    assert!(
        told.contains("its end has to be after its beginning"),
        "{told}"
    );
    served.server.stop();
}

#[test]
fn whatever_is_done_to_a_schedule_is_refused_where_another_one_was_seen() {
    let schedule = "[schedules.nightly]\nrule = \"@yearly\"\nhandler = \"nothing\"\n";
    let rest = format!("{}{schedule}", shell("nothing", "true", ""));
    let served = Served::start("seen", &rest);
    let token = served.token("admin");
    let path = "/api/v1/schedules/nightly";
    let send = |method: &str, action: &str, seen: &str, body: &str| {
        let headers = format!("{}if-match: {seen}\r\n", bearer(&token));
        served.send(method, &format!("{path}{action}"), &headers, body)
    };
    let why = r#"{"reason":"x"}"#;
    let past = r#"{"reason":"x","from":"2026-01-01T00:00:00Z","to":"2026-01-04T00:00:00Z"}"#;
    let changes = [
        ("POST", "/run", why),
        ("POST", "/backfill", past),
        ("POST", "/pause", why),
        ("POST", "/resume", why),
        ("DELETE", "", why),
    ];

    for (method, action, body) in changes {
        let (status, _, told) = send(method, action, "\"4711\"", body);
        assert_eq!(status, 412, "{method} {action}: {told}");
        assert!(
            told.contains("was changed since it was looked at"),
            "{told}"
        );
        assert_eq!(
            send(method, action, "\"x\"", body).0,
            412,
            "no ETag is that"
        );
    }
    for (method, action, body) in changes {
        let (_, head, _) = served.send("GET", path, &bearer(&token), "");
        let tag = head.split("etag: ").nth(1).unwrap();
        let tag = tag.split("\r\n").next().unwrap();
        let (status, _, told) = send(method, action, tag, body);
        assert_eq!(status, 200, "{method} {action}: {told}");
    }
    served.server.stop();
}

#[test]
fn a_command_changes_a_schedule_only_at_the_revision_that_it_names() {
    let schedule = "[schedules.nightly]\nrule = \"@yearly\"\nhandler = \"nothing\"\n";
    let rest = format!("{}{schedule}", shell("nothing", "true", ""));
    let served = Served::start("revision", &rest);
    let token = served.token("admin");
    let listed = served.told(&token, &["schedules", "list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let seen = listed["data"]["items"][0]["revision"].to_string();
    let act = |action: &str| {
        let args = [
            "schedules",
            action,
            "nightly",
            "--revision",
            &seen,
            "--reason",
            "x",
        ];
        served.ask(&token, &args)
    };

    assert_eq!(text(&act("pause").stdout), "schedule nightly: paused\n");
    let late = act("delete");

    assert_eq!(late.status.code(), Some(6));
    let told = "error[SF-2207]: the schedule \"nightly\" was changed since it was looked at\n";
    assert!(text(&late.stderr).starts_with(told), "{late:?}");
    served.server.stop();
}
