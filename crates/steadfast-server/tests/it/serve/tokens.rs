//! Tokens for machines, which may do the actions that they were made for.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::served::{Served, bearer, text};
use super::*;

/// Every endpoint as (method, path, action).
fn endpoints(served: &Served) -> Vec<(String, String, String)> {
    let (_, _, document) = served.send("GET", "/api/v1/openapi.json", "", "");
    let document: Value = serde_json::from_str(&document).unwrap();
    let mut endpoints = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "999999").replace("{name}", "nowhere");
        for (method, operation) in methods.as_object().unwrap() {
            let needs = operation["description"].as_str().unwrap();
            let action = needs.split('`').nth(1).unwrap().to_owned();
            endpoints.push((method.to_uppercase(), path.clone(), action));
        }
    }
    endpoints
}

/// Makes a token over the API, as a token may.
fn make(served: &Served, maker: &str, rights: &Value) -> (u16, String) {
    let mut new = json!({ "name": "machine", "expires_in": "1h", "reason": "a test" });
    let rights = rights.as_object().unwrap().clone();
    new.as_object_mut().unwrap().extend(rights);
    let path = "/api/v1/tokens";
    let (status, _, told) = served.send("POST", path, &bearer(maker), &new.to_string());
    if status != 200 {
        return (status, told);
    }
    let made: Value = serde_json::from_str(&told).unwrap();
    (status, made["token"].as_str().unwrap().to_owned())
}

#[test]
fn a_token_of_an_action_opens_what_needs_it_and_nothing_else() {
    // Its lines are not read, and there would be a thousand.
    let quiet = "[log]\nlevel = \"warn,steadfast::serve=info\"\n";
    let rest = format!("{quiet}{}", shell("nothing", "true", ""));
    let served = Served::start("actions", &rest);
    let admin = served.token("admin");
    let endpoints = endpoints(&served);
    let actions: BTreeSet<&str> = endpoints.iter().map(|(.., action)| &**action).collect();
    let check = |token: &str, method: &str, path: &str, may: bool, who: &str| {
        let (status, _, told) = served.send(method, path, &bearer(token), "{}");
        assert_ne!(status, 401, "{who}: {method} {path}");
        let is_refused = status == 403 && told.contains("SF-2203");
        assert_eq!(!is_refused, may, "{who}: {method} {path}: {status} {told}");
        assert!(status < 500, "{who}: {method} {path}: {status} {told}");
    };

    let mut checked = 0;
    for action in &actions {
        let (status, only) = make(&served, &admin, &json!({ "actions": [action] }));
        assert_eq!(status, 200, "{only}");
        let others: Vec<_> = actions.iter().filter(|other| *other != action).collect();
        let (status, but) = make(&served, &admin, &json!({ "actions": others }));
        assert_eq!(status, 200, "{but}");
        for (method, path, needs) in &endpoints {
            check(
                &only,
                method,
                path,
                needs == action,
                &format!("only {action}"),
            );
            if needs == action {
                check(&but, method, path, false, &format!("all but {action}"));
            }
            checked += 1;
        }
    }
    assert!(checked >= 20 * 39, "all of them: {checked}");
    served.server.stop();
}

#[test]
fn tokens_of_actions_are_made_listed_and_never_more_than_who_makes_them() {
    let served = Served::start("action-tokens", &shell("nothing", "true", ""));
    let create =
        |args: &[&str]| served.admin(&[&["token", "create", "--name", "ci"], args].concat());
    let made = create(&["--action", "jobs.run", "--action", "jobs.read"]);
    assert!(
        text(&made.stderr).starts_with("token 1 of ci (jobs.read, jobs.run) holds until "),
        "{}",
        text(&made.stderr)
    );
    let token = text(&made.stdout).trim().to_owned();
    assert_eq!(served.told(&token, &["jobs", "list"]), "no jobs\n");
    let refused = served.ask(&token, &["jobs", "run", "nothing", "--reason", "x"]);
    assert_eq!(refused.status.code(), Some(5));
    assert_eq!(
        text(&refused.stderr),
        "error[SF-2203]: this token may do jobs.read, jobs.run, and not jobs.enqueue\n  fix: use a token that may\n"
    );
    let listed = text(&served.admin(&["token", "list"]).stdout);
    assert!(
        listed.starts_with(
            "ID  NAME  MAY                 HOLDS\n1   ci    jobs.read jobs.run  until "
        ),
        "{listed}"
    );
    // Of a token only its hash is in the store.
    for ending in ["jobs.db", "jobs.db-wal"] {
        let file = std::fs::read(served.folder.path().join(ending)).unwrap_or_default();
        let secret = token.as_bytes();
        assert!(
            !file.windows(secret.len()).any(|part| part == secret),
            "{ending}"
        );
    }

    assert!(create(&["--expires-in", "30d"]).status.success());
    let wrong = create(&["--action", "jobs.rnu"]);
    assert_eq!(wrong.status.code(), Some(2));
    let told = text(&wrong.stderr);
    assert!(
        told.contains("tip: a similar value exists: 'jobs.run'"),
        "{told}"
    );
    let both = create(&["--role", "admin", "--action", "jobs.run"]);
    assert_eq!(both.status.code(), Some(2));

    // Whoever may make tokens makes none that may more.
    let maker = create(&["--action", "tokens.write", "--action", "jobs.read"]);
    let maker = text(&maker.stdout).trim().to_owned();
    for more in [
        json!({ "role": "admin" }),
        json!({ "role": "viewer" }),
        json!({ "actions": ["jobs.read", "jobs.run"] }),
    ] {
        let (status, told) = make(&served, &maker, &more);
        assert_eq!(status, 403, "{more}: {told}");
        assert!(told.contains("and so makes none that may"), "{told}");
    }
    let (status, lesser) = make(&served, &maker, &json!({ "actions": ["jobs.read"] }));
    assert_eq!(status, 200, "{lesser}");
    assert_eq!(served.told(&lesser, &["jobs", "list"]), "no jobs\n");
    for wrong in [
        json!({}),
        json!({ "actions": [] }),
        json!({ "actions": ["jobs.everything"] }),
        json!({ "role": "viewer", "actions": ["jobs.read"] }),
    ] {
        let (status, told) = make(&served, &maker, &wrong);
        assert_eq!(status, 400, "{wrong}: {told}");
    }
    served.server.stop();
}

#[test]
fn what_a_token_has_made_holds_no_longer_than_it_and_is_revoked_with_it() {
    let served = Served::start("makers", &shell("nothing", "true", ""));
    let admin = served.token("admin");
    let ask = |token: &str, method: &str, path: &str, body: &Value| {
        let path = format!("/api/v1/tokens{path}");
        let (status, _, told) = served.send(method, &path, &bearer(token), &body.to_string());
        (status, serde_json::from_str::<Value>(&told).unwrap())
    };
    let new = |name: &str, holds: &str| json!({ "name": name, "role": "admin", "expires_in": holds, "reason": "x" });
    let secret = |made: &Value| made["token"].as_str().unwrap().to_owned();

    let (_, short) = ask(&admin, "POST", "", &new("short", "2h"));
    let (_, long) = ask(&secret(&short), "POST", "", &new("long", "720h"));
    let (_, longest) = ask(&secret(&long), "POST", "", &new("longest", "8784h"));
    let (_, apart) = ask(&admin, "POST", "", &new("apart", "2h"));

    assert_eq!(short["expires"], long["expires"]);
    assert_eq!(short["expires"], longest["expires"]);
    let why = json!({ "reason": "it leaked" });
    let (status, revoked) = ask(&admin, "DELETE", &format!("/{}", short["id"]), &why);
    assert_eq!(status, 200, "{revoked}");
    assert_eq!(
        revoked["warning"],
        "what it has made is revoked with it: 3 (long), 4 (longest)"
    );
    for gone in [&short, &long, &longest] {
        assert_eq!(ask(&secret(gone), "GET", "", &Value::Null).0, 401);
    }
    let (status, listed) = ask(&secret(&apart), "GET", "", &Value::Null);
    assert_eq!(status, 200);
    let makers = listed["items"].as_array().unwrap().iter();
    let makers: Vec<_> = makers.map(|token| token["made_by"].as_i64()).collect();
    assert_eq!(makers, [Some(1), Some(3), Some(2), Some(1), None]);
    // At the store, too.
    let revoked = served.admin(&["token", "revoke", "1"]);
    assert_eq!(
        text(&revoked.stderr),
        "warning: what it has made is revoked with it: 5 (apart)\n"
    );
    served.server.stop();
}

#[tokio::test]
async fn a_token_whose_time_is_over_opens_nothing() {
    let served = Served::start("expired", &shell("nothing", "true", ""));
    let made = served.admin(&[
        "token",
        "create",
        "--name",
        "ci",
        "--action",
        "jobs.read",
        "--expires-in",
        "1h",
    ]);
    let token = text(&made.stdout).trim().to_owned();
    assert!(served.ask(&token, &["jobs", "list"]).status.success());
    let store = Store::open(Config::sqlite(served.folder.store()))
        .await
        .unwrap();
    let passed: Result<_, steadfast::store::Error> = store
        .write(async |mut tx| {
            let hours = "UPDATE steadfast_api_token SET expires_us = expires_us - 3600000000";
            tx.sql(hours, steadfast::store::binds![]).await
        })
        .await;
    passed.unwrap();

    let refused = served.ask(&token, &["jobs", "list"]);
    assert_eq!(refused.status.code(), Some(5));
    assert!(text(&refused.stderr).starts_with("error[SF-2202]: "));
    served.server.stop();
}

#[test]
fn tokens_that_are_made_and_revoked_at_the_store_stand_in_the_audit() {
    let served = Served::start("by-hand", &shell("nothing", "true", ""));
    let create = ["token", "create", "--name", "deploy", "--role", "admin"];
    let made = served.admin(&[&create[..], &["--reason", "INC-7: the pipeline"]].concat());
    let token = text(&made.stdout).trim().to_owned();
    served.token("viewer");
    assert!(served.admin(&["token", "revoke", "2"]).status.success());

    let again = served.admin(&["token", "revoke", "2"]);
    let empty = served.admin(&[&create[..], &["--reason", " "]].concat());

    assert_eq!(
        text(&again.stderr),
        "error[SF-2205]: no token 2 holds\n  fix: list what there is\n"
    );
    assert_eq!(again.status.code(), Some(4));
    assert!(text(&empty.stderr).starts_with("error[SF-2201]: a reason has"));
    let (_, _, audit) = served.send("GET", "/api/v1/audit", &bearer(&token), "");
    let audit: Value = serde_json::from_str(&audit).unwrap();
    let entries = audit["items"].as_array().unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            let part = |name: &str| entry[name].as_str().unwrap();
            (part("subject"), part("reason"), part("outcome"))
        })
        .collect();
    let usual = "by hand, at the store";
    assert_eq!(
        told,
        [
            ("token 2", usual, "SF-2205: no token 2 holds"),
            ("token 2", usual, "done"),
            ("token of viewer", usual, "done"),
            ("token of deploy", "INC-7: the pipeline", "done"),
        ]
    );
    let uid = Command::new("id").arg("-u").output().unwrap();
    let who = format!("user {} of ", text(&uid.stdout).trim());
    let actor = entries[0]["actor"].as_str().unwrap();
    assert!(actor.starts_with(&who), "{actor}");
    assert!(!audit.to_string().contains(&token), "{audit}");
    served.server.stop();
}
