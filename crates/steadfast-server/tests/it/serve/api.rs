//! The API and the commands that ask it, over a real server.

use serde_json::Value;

use steadfast::store::testing::{Database, Kind};
use steadfast::store::{Error, binds};

use super::served::{Served, bearer, text};
use super::*;

/// What each role may do, said once more and by hand.
fn may(role: &str, action: &str) -> bool {
    match role {
        "admin" => true,
        "operator" => !matches!(
            action,
            "schedules.write" | "policy.write" | "tokens.read" | "tokens.write"
        ),
        "viewer" => matches!(
            action,
            "status.read"
                | "jobs.read"
                | "queues.read"
                | "schedules.read"
                | "nodes.read"
                | "panics.read"
                | "routes.read"
                | "policy.read"
        ),
        _ => false,
    }
}

#[test]
fn every_endpoint_lets_in_each_role_that_may_and_nobody_else() {
    // Nobody reads its lines meanwhile, and a pipe holds so many of them.
    let log = "[log]\nlevel = \"warn,steadfast::serve=info\"\n";
    let served = Served::start("rights", &format!("{log}{}", shell("nothing", "true", "")));
    let (status, _, document) = served.send("GET", "/api/v1/openapi.json", "", "");
    assert_eq!(status, 200);
    let document: Value = serde_json::from_str(&document).unwrap();
    let tokens = ["viewer", "operator", "admin"].map(|role| (role, served.token(role)));

    let mut checked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "999999").replace("{name}", "nowhere");
        for (method, operation) in methods.as_object().unwrap() {
            let method = method.to_uppercase();
            let needs = operation["description"].as_str().unwrap();
            let action = needs.split('`').nth(1).unwrap();
            for nobody in [
                "",
                "authorization: Bearer sf_0\r\n",
                "authorization: Basic YTpi\r\n",
            ] {
                let (status, head, _) = served.send(&method, &path, nobody, "{}");
                assert_eq!(status, 401, "{method} {path}");
                assert!(head.contains("www-authenticate: Bearer"), "{head}");
            }
            for (role, token) in &tokens {
                let (status, _, body) = served.send(&method, &path, &bearer(token), "{}");
                let is_refused = status == 403 && body.contains("SF-2203");
                assert_eq!(
                    !is_refused,
                    may(role, action),
                    "{role}: {method} {path}: {status} {body}"
                );
                assert_ne!(status, 401, "{role}: {method} {path}");
                assert!(status < 500, "{role}: {method} {path}: {status} {body}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 3 * 40, "all of them: {checked}");
    let admin = bearer(&tokens[2].1);
    for nowhere in ["/api/v1/nothing", "/", "//api/v1/status", "/api/v1/jobs/"] {
        let (status, head, body) = served.send("GET", nowhere, "", "");
        assert_eq!(status, 404, "{nowhere}: {body}");
        assert!(
            head.contains("content-type: application/problem+json"),
            "{head}"
        );
        assert!(body.contains("SF-2205"), "{body}");
    }
    // The letters of a scheme may be of either size.
    let lower = admin.replace("Bearer", "bearer");
    let (status, _, body) = served.send("GET", "/api/v1/status", &lower, "");
    assert_eq!(status, 200, "{body}");
    // Whatever is asked in no way that there is, is told so, and no guard takes it for a forgotten route.
    for method in ["TRACE", "PATCH", "OPTIONS"] {
        let (status, head, body) = served.send(method, "/api/v1/jobs", &admin, "");
        assert_eq!(status, 405, "{method}: {body}");
        assert!(head.contains("allow: GET,HEAD,POST\r\n"), "{head}");
        assert!(body.contains("SF-2213"), "{body}");
    }
    let (status, head, body) = served.send("HEAD", "/api/v1/jobs", &admin, "");
    assert_eq!((status, &*body), (200, ""), "{head}");
    let (status, _, body) = served.send("GET", "/api/v1/jobs/-1", &admin, "");
    assert_eq!(status, 400);
    assert!(body.contains("SF-2201"), "{body}");
    let armed = served.server.get("/metrics");
    assert!(armed.contains("\nsteadfast_guard_armed 1\n"), "{armed}");
    served.server.stop();
}

#[tokio::test]
async fn jobs_are_run_looked_at_and_changed_by_commands_and_all_of_it_is_audited() {
    let failing = shell("failing", "echo no luck >&2; exit 3", "");
    let served = Served::start(
        "commands",
        &format!("{}{failing}", shell("echo", "cat", "")),
    );
    let (admin, viewer) = (served.token("admin"), served.token("viewer"));
    let jobs = jobs(&served.folder).await;
    let why = ["--reason", "a test"];

    let made = served.told(
        &admin,
        &[&["jobs", "run", "echo", "--payload", "{\"n\":1}"], &why[..]].concat(),
    );
    assert_eq!(made, "job 1 is enqueued\n");
    until_state(&jobs, JobId::new(1).unwrap(), State::Completed).await;
    let shown = served.told(&viewer, &["jobs", "show", "1"]);
    assert!(
        shown.starts_with("job 1 of kind echo is completed\nqueue      default, priority 0\n"),
        "{shown}"
    );
    assert!(shown.contains("payload    {\"n\":1}\n"), "{shown}");
    assert!(shown.contains("\noutput\n    {\"n\":1}\n"), "{shown}");

    for _ in 0..2 {
        served.told(&admin, &[&["jobs", "run", "failing"], &why[..]].concat());
    }
    for id in [2, 3] {
        // They have 20 attempts: they are given up by hand.
        until(&jobs, JobId::new(id).unwrap(), |job| job.info.attempt > 0).await;
        served.told(
            &admin,
            &[&["jobs", "cancel", &id.to_string()], &why[..]].concat(),
        );
        until_state(&jobs, JobId::new(id).unwrap(), State::Cancelled).await;
    }
    let listed = served.told(&viewer, &["jobs", "list", "--state", "cancelled"]);
    assert!(
        listed.starts_with("ID  KIND     QUEUE    STATE      ATTEMPTS"),
        "{listed}"
    );
    assert_eq!(listed.lines().count(), 3, "{listed}");
    let listed = served.told(
        &viewer,
        &[
            "jobs",
            "list",
            "--state",
            "cancelled",
            "--limit",
            "1",
            "--json",
        ],
    );
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (
            &listed["version"],
            listed["data"]["items"].as_array().unwrap().len()
        ),
        (&1.into(), 1)
    );
    let cursor = listed["data"]["next"].as_str().unwrap();
    let rest = served.told(
        &viewer,
        &[
            "jobs",
            "list",
            "--state",
            "cancelled",
            "--cursor",
            cursor,
            "--json",
        ],
    );
    let rest: Value = serde_json::from_str(&rest).unwrap();
    assert_ne!(
        rest["data"]["items"][0]["id"],
        listed["data"]["items"][0]["id"]
    );

    served.told(&admin, &[&["jobs", "pause", "default"], &why[..]].concat());
    let redrive = [&["jobs", "redrive", "--state", "cancelled"], &why[..]].concat();
    let dry = served.told(&admin, &[&redrive[..], &["--dry-run"]].concat());
    assert!(
        dry.starts_with("2 jobs would be put back to work; the same command with --yes 2 in place of --dry-run does it\n"),
        "{dry}"
    );
    let unsaid = served.ask(&admin, &redrive);
    assert_eq!(unsaid.status.code(), Some(1));
    assert!(
        text(&unsaid.stderr).contains("2 jobs: say --yes 2, or see with --dry-run"),
        "{}",
        text(&unsaid.stderr)
    );
    let wrong = served.ask(&admin, &[&redrive[..], &["--yes", "5"]].concat());
    assert!(text(&wrong.stderr).contains("there are 2 such jobs, not 5; nothing was changed"));
    let redriven = served.told(&admin, &[&redrive[..], &["--yes", "2"]].concat());
    assert!(
        redriven.starts_with("2 jobs are put back to work\n"),
        "{redriven}"
    );
    served.told(&admin, &[&["jobs", "resume", "default"], &why[..]].concat());

    let (_, _, audit) = served.send("GET", "/api/v1/audit", &bearer(&admin), "");
    let audit: Value = serde_json::from_str(&audit).unwrap();
    let done: Vec<_> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            (
                entry["action"].as_str().unwrap(),
                entry["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        done,
        [
            ("queues.resume", "done"),
            ("jobs.redrive", "done"),
            ("queues.pause", "done"),
            ("jobs.cancel", "done"),
            ("jobs.cancel", "done"),
            ("jobs.enqueue", "done"),
            ("jobs.enqueue", "done"),
            ("jobs.enqueue", "done"),
            // Made at the store, both of them.
            ("tokens.write", "done"),
            ("tokens.write", "done"),
        ]
    );
    assert_eq!(audit["items"][0]["reason"], "a test");
    assert!(
        audit["items"][0]["actor"]
            .as_str()
            .unwrap()
            .starts_with("admin (token ")
    );
    served.server.stop();
}

#[tokio::test]
async fn how_far_a_run_has_come_is_shown_by_the_server_that_runs_it() {
    let script = "echo '::steadfast progress 40 copied 4 of 10'; exec sleep 600";
    let served = Served::start("progress", &shell("copy", script, "stop_within = \"1s\""));
    let admin = served.token("admin");
    served.told(&admin, &["jobs", "run", "copy", "--reason", "x"]);

    wait_until("the run has said how far it is", async || {
        let shown = served.told(&admin, &["jobs", "show", "1"]);
        shown.contains("progress   40 % copied 4 of 10\n")
    })
    .await;
    let other = Folder::new("progress-other");
    let store = format!("sqlite:{}", served.folder.path().join("jobs.db").display());
    let config = other.configure_at(&store, &shell("other", "true", ""));
    let mut second = Server::start(&config);
    let told = second.line_with("the API is served");
    let address = told.split("address=").nth(1).unwrap();
    let address = address.split_whitespace().next().unwrap();
    let at = format!("http://{address}");
    let shown = served.told(&admin, &["jobs", "show", "1", "--server", &at]);
    assert!(
        shown.contains("is running\n") && !shown.contains("progress "),
        "{shown}"
    );
    second.stop();
    served.server.stop();
}

#[tokio::test]
async fn a_payload_is_kept_to_the_letter_and_whoever_is_kept_out_by_a_key_is_told_so() {
    let served = Served::start("letter", &shell("echo", "cat", ""));
    let admin = served.token("admin");
    let jobs = jobs(&served.folder).await;
    let payload = r#"{"z":12345678901234567890123,"price":1.10,"a":1,"a":2}"#;

    let args = ["jobs", "run", "echo", "--payload", payload, "--reason", "x"];
    served.told(&admin, &args);
    let body = format!(
        r#"{{"kind":"echo","payload":{payload},"unique":"one","delay":"1h","reason":"x"}}"#
    );
    let send = || {
        served
            .send("POST", "/api/v1/jobs", &bearer(&admin), &body)
            .2
    };
    let (first, second): (Value, Value) = (
        serde_json::from_str(&send()).unwrap(),
        serde_json::from_str(&send()).unwrap(),
    );

    let id = |number: u64| JobId::new(number).unwrap();
    let ran = until_state(&jobs, id(1), State::Completed).await;
    let result: Value = ran.result().unwrap().unwrap();
    assert_eq!(
        (&*ran.payload, &result["output"]),
        (payload, &payload.into())
    );
    let shown = served.told(&admin, &["jobs", "show", "1"]);
    assert!(
        shown.contains(&format!("payload    {payload}\n")),
        "{shown}"
    );
    assert_eq!(first["outcome"], "enqueued");
    assert_eq!(second["outcome"], "kept-out");
    assert_eq!(first["job"], second["job"]);
    let waits = jobs.find(id(first["job"].as_u64().unwrap())).await.unwrap();
    assert_eq!(waits.unwrap().payload, payload);
    served.server.stop();
}

#[test]
fn commands_that_fail_say_a_code_a_fix_and_by_their_exit_code_what_it_was() {
    let mut served = Served::start("failures", &shell("nothing", "true", ""));
    served.server.line_with("ready");
    let (admin, viewer) = (served.token("admin"), served.token("viewer"));
    let check = |token: &str, args: &[&str], code: i32, expect: &str| {
        let failed = served.ask(token, args);
        assert_eq!(
            failed.status.code(),
            Some(code),
            "{args:?}: {}",
            text(&failed.stderr)
        );
        assert_eq!(text(&failed.stderr), expect, "{args:?}");
        assert_eq!(text(&failed.stdout), "");
    };

    check(
        &viewer,
        &["jobs", "show", "4711"],
        4,
        "error[SF-2205]: there is no job 4711, or not any more\n  fix: list what there is\n",
    );
    check(
        "",
        &["jobs", "list"],
        5,
        "error[SF-2202]: no token\n  \
         fix: set STEADFAST_TOKEN or --token-file; `steadfast admin token create`, where the store is, makes one\n",
    );
    check(
        "strange",
        &["jobs", "list"],
        5,
        "error[SF-2202]: there is no such token, or it does not hold any more\n  \
         fix: `steadfast admin token create` makes one; say it as `authorization: Bearer …`\n",
    );
    check(
        &viewer,
        &["jobs", "cancel", "1", "--reason", "x"],
        5,
        "error[SF-2203]: the role viewer may not do jobs.cancel\n  fix: use a token that may\n",
    );
    check(
        &admin,
        &["jobs", "cancel", "1", "--reason", ""],
        1,
        "error[SF-2201]: a reason has 1 to 500 bytes, and no control characters\n  fix: say why, in words that help whoever reads the audit\n",
    );
    check(
        &admin,
        &["schedules", "pause", "nothing", "--reason", "x"],
        4,
        "error[SF-2205]: there is no schedule \"nothing\"\n  fix: list what there is\n",
    );
    check(
        &admin,
        &["jobs", "list", "--state", "sleeping"],
        1,
        "error[SF-2201]: no job is \"sleeping\"\n  \
         fix: say one of pending, running, waiting, completed, discarded, cancelled, quarantined\n",
    );
    let missing = served.ask(&admin, &["jobs", "cancel", "1"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("--reason <TEXT>"));
    let json = served.ask(&admin, &["jobs", "show", "4711", "--json"]);
    let json: Value = serde_json::from_slice(&json.stderr).unwrap();
    assert_eq!(
        (&json["version"], &json["error"]["code"]),
        (&1.into(), &"SF-2205".into())
    );

    // What keeps a server from being asked is told apart from a server that is away.
    let barred = |server: &str, token: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command.args(["status", "--server", server]);
        let asked = command.env("STEADFAST_TOKEN", token).output().unwrap();
        (asked.status.code(), text(&asked.stderr))
    };
    let address = served.address.clone();
    for (server, token, code, says) in [
        (
            address.clone(),
            "t",
            2,
            format!(
                "error[SF-2305]: \"{address}\" is not the address of a server\n  \
                 fix: write http://HOST:PORT, or https://HOST:PORT\n"
            ),
        ),
        (
            format!("http://{address}"),
            "one\ntwo",
            5,
            "error[SF-2306]: what is given as the token is none\n  fix: ".into(),
        ),
        (
            format!("https://{address}"),
            "t",
            7,
            format!("error[SF-2308]: what is at https://{address} does not speak TLS\n"),
        ),
    ] {
        let (exit, told) = barred(&server, token);
        assert_eq!(exit, Some(code), "{told}");
        assert!(told.starts_with(&says), "{told}");
    }

    // A token that is revoked opens nothing.
    let revoked = served.admin(&["token", "revoke", "2"]);
    assert!(revoked.status.success());
    assert_eq!(served.ask(&viewer, &["status"]).status.code(), Some(5));
    let tokens = text(&served.admin(&["token", "list"]).stdout);
    assert!(
        tokens.starts_with("ID  NAME    MAY     HOLDS\n2   viewer  viewer  revoked "),
        "{tokens}"
    );

    let address = served.address.clone();
    served.server.signal("TERM");
    served.server.ended();
    let mut nobody = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    nobody.args(["status", "--server", &format!("http://{address}")]);
    let nobody = nobody.output().unwrap();
    assert_eq!(nobody.status.code(), Some(7));
    let told = text(&nobody.stderr);
    assert!(
        told.starts_with(&format!(
            "error[SF-2301]: cannot reach a server at http://{address}\n"
        )),
        "{told}"
    );
    assert!(
        told.ends_with("fix: start `steadfast serve`, or say where it is with --server\n"),
        "{told}"
    );
}

#[test]
fn a_body_that_is_too_large_is_told_apart_from_one_that_is_wrong() {
    let served = Served::start("too-large", &shell("nothing", "true", ""));
    let admin = bearer(&served.token("admin"));
    let new = |payload: &str| format!(r#"{{"kind":"nothing","payload":"{payload}","reason":"x""#);

    let (too_large, _, told) =
        served.send("POST", "/api/v1/jobs", &admin, &new(&"x".repeat(2 << 20)));
    let (wrong, ..) = served.send("POST", "/api/v1/jobs", &admin, &new("x"));

    assert_eq!((too_large, wrong), (413, 400), "{told}");
    served.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_waits_for_an_action_although_whoever_has_asked_has_left() {
    let database = Database::make(Kind::Postgres).await;
    let handler = shell("nothing", "true", "");
    let mut served = Served::start_at("ends-acting", &database.direct_url(), &handler);
    let admin = bearer(&served.token("admin"));
    let later = r#"{"kind":"nothing","delay":"1h","reason":"a test"}"#;
    assert_eq!(served.send("POST", "/api/v1/jobs", &admin, later).0, 200);
    let other = database.open().await;
    let patient = Config {
        transaction_timeout: PATIENCE,
        ..database.config()
    };
    let store = Store::open(patient).await.unwrap();
    let outcome = "SELECT outcome FROM steadfast.api_audit WHERE action = 'jobs.cancel'";

    let held: Result<(), Error> = store
        .write(async |mut tx| {
            let lock = "SELECT id FROM steadfast.job WHERE id = 1 FOR UPDATE";
            tx.sql(lock, binds![]).await?;
            let mut asked = TcpStream::connect(&served.address).unwrap();
            let cancel = "POST /api/v1/jobs/1/cancel HTTP/1.1\r\nhost: here\r\n";
            let body = r#"{"reason":"a test"}"#;
            let length = body.len();
            write!(
                asked,
                "{cancel}{admin}content-length: {length}\r\n\r\n{body}"
            )
            .unwrap();
            wait_until("it is noted", async || {
                let noted: Result<_, Error> = other
                    .write(async |mut tx| tx.sql(outcome, binds![]).await)
                    .await;
                !noted.unwrap().is_empty()
            })
            .await;
            drop(asked);
            served.server.signal("TERM");
            wait_until("everything else has ended", async || {
                let nodes = other.nodes(None, 10).await.unwrap();
                nodes.iter().all(|node| node.ended.is_some())
            })
            .await;
            Ok(())
        })
        .await;
    held.unwrap();
    served.server.ended();

    let noted: Result<_, Error> = other
        .write(async |mut tx| tx.sql(outcome, binds![]).await)
        .await;
    let outcome: Option<String> = noted.unwrap().one().unwrap().get(0).unwrap();
    // Where that took longer than a statement may, it is said that it failed.
    assert!(outcome.is_some());
}

#[test]
fn what_is_asked_twice_is_refused_by_name_wherever_something_can_be_asked() {
    let served = Served::start("twice", &shell("nothing", "true", ""));
    let may = bearer(&served.token("admin"));
    let (_, _, document) = served.send("GET", "/api/v1/openapi.json", "", "");
    let document: Value = serde_json::from_str(&document).unwrap();

    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let parameters = methods["get"]["parameters"].as_array().into_iter();
        let named = parameters.flatten().filter(|known| known["in"] == "query");
        for name in named.map(|known| known["name"].as_str().unwrap()) {
            asked += 1;
            let path = path.replace("{name}", "x").replace("{id}", "1");
            let twice = format!("{path}?{name}=1&{name}=2");
            let (status, _, body) = served.send("GET", &twice, &may, "");
            let problem: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(status, 400, "{twice}: {body}");
            let title = format!("the parameter {name:?} is said more than once");
            assert_eq!(problem["title"], title, "{twice}");
        }
    }
    assert!(asked > 10, "{asked}");
    served.server.stop();
}

#[test]
fn the_status_is_told_at_a_glance_and_as_it_changes() {
    let served = Served::start("status", &shell("nothing", "true", ""));
    let admin = served.token("admin");

    let status = served.told(&admin, &["status"]);
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        status.starts_with(&format!(
            "steadfast {version}\nstore      sqlite: up\nnodes      1 alive\n"
        )),
        "{status}"
    );
    let nodes = served.told(&admin, &["nodes", "list"]);
    assert!(nodes.contains("alive, last sign"), "{nodes}");
    assert_eq!(served.told(&admin, &["panics", "list"]), "no panics\n");

    let mut stream = TcpStream::connect(&served.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET /api/v1/events HTTP/1.1\r\nhost: here\r\n{}\r\n",
        bearer(&admin)
    )
    .unwrap();
    let mut lines = BufReader::new(stream);
    let mut until = |part: &str| loop {
        let mut line = String::new();
        assert_ne!(
            lines.read_line(&mut line).unwrap(),
            0,
            "ended without {part}"
        );
        if line.contains(part) {
            return line;
        }
    };
    until("content-type: text/event-stream");
    assert!(until("data: ").contains(r#""completed":0"#));
    served.told(&admin, &["jobs", "run", "nothing", "--reason", "x"]);
    until(r#""completed":1"#);
    served.server.stop();
}

#[test]
fn an_api_that_takes_no_changes_takes_none_and_one_that_all_can_reach_is_refused() {
    let folder = Folder::new("public");
    let text_of = |path: PathBuf, listen: &str| {
        let config = std::fs::read_to_string(&path).unwrap().replacen(
            "[api]\nlisten = \"127.0.0.1:0\"",
            listen,
            1,
        );
        std::fs::write(&path, config).unwrap();
        path
    };
    let config = text_of(
        folder.configure(&shell("a", "true", "")),
        "[api]\nlisten = \"0.0.0.0:0\"",
    );
    let refused = output(&["--config", config.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(78));
    let told = text(&refused.stderr);
    assert!(
        told.contains("tokens would cross the network in clear"),
        "{told}"
    );
    assert!(told.contains("set behind_proxy = true"), "{told}");
    let checked = output(&["--check", "--config", config.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(78));
    assert!(text(&checked.stderr).contains("set behind_proxy = true"));

    let served = Served::start(
        "read-only",
        &format!("read_only = true\n{}", shell("a", "true", "")),
    );
    let admin = served.token("admin");
    assert!(served.ask(&admin, &["status"]).status.success());
    let refused = served.ask(&admin, &["jobs", "run", "a", "--reason", "x"]);
    assert_eq!(refused.status.code(), Some(10));
    assert_eq!(
        text(&refused.stderr),
        "error[SF-2204]: this API takes no changes: it was started with read_only = true\n  fix: set `read_only = false` in `[api]`, or ask another\n"
    );
    served.server.stop();
}
