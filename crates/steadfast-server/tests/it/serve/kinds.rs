//! What is made by hand of a handler: with the queue and the attempts that the handler says.

use serde_json::{Value, json};

use super::served::{Served, bearer, text};
use super::*;

#[tokio::test]
async fn what_is_made_by_hand_has_the_queue_and_the_attempts_of_its_handler() {
    let once = shell("once", "exit 3", "attempts = 1\nqueue = \"aside\"");
    let served = Served::start("kinds", &format!("[queues.aside]\npermits = 1\n{once}"));
    let admin = served.token("admin");
    let jobs = jobs(&served.folder).await;

    served.told(&admin, &["jobs", "run", "once", "--reason", "x"]);
    let job = until_state(&jobs, JobId::new(1).unwrap(), State::Discarded).await;
    assert_eq!((job.info.queue.as_str(), job.info.attempt), ("aside", 1));

    // Whoever says more is heard.
    let more = json!({ "kind": "once", "queue": "default", "max_attempts": 7, "delay": "1h", "reason": "x" });
    let head = bearer(&admin);
    let (status, _, told) = served.send("POST", "/api/v1/jobs", &head, &more.to_string());
    assert_eq!(status, 200, "{told}");
    let job = jobs.find(JobId::new(2).unwrap()).await.unwrap().unwrap();
    assert_eq!(
        (job.info.queue.as_str(), job.info.max_attempts),
        ("default", 7)
    );

    let new = json!({ "rule": "@yearly", "kind": "once", "reason": "x" });
    let head = format!("{head}if-none-match: *\r\n");
    let path = "/api/v1/schedules/by-hand";
    let (status, _, told) = served.send("PUT", path, &head, &new.to_string());
    assert_eq!(status, 200, "{told}");
    let schedule: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&schedule["queue"], &schedule["max_attempts"]),
        (&json!("aside"), &json!(1))
    );
    served.server.stop();
}

#[test]
fn a_job_is_told_all_that_the_api_takes_and_one_that_waits_keeps_what_it_has() {
    let served = Served::start("told-all", &shell("once", "true", ""));
    let admin = served.token("admin");
    let run = |what: &str, more: &[&str]| {
        let args = [&["jobs", "run", what, "--reason", "x"], more].concat();
        served.ask(&admin, &args)
    };
    let said = [
        "--delay",
        "1h",
        "--priority",
        "-7",
        "--max-attempts",
        "3",
        "--unique",
        "k",
        "--queue",
        "slow",
        "--payload",
        "[1]",
    ];

    let made = run("once", &said);
    assert_eq!(text(&made.stdout), "job 1 is enqueued\n", "{made:?}");
    let again = run("once", &said);

    assert_eq!(
        text(&again.stdout).trim(),
        "job 1 has this key, and keeps another one out",
        "{again:?}"
    );
    let (_, _, found) = served.send("GET", "/api/v1/jobs/1", &bearer(&admin), "");
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let job = &found["job"];
    let is = (
        &job["state"],
        &job["priority"],
        &job["max_attempts"],
        &job["queue"],
    );
    assert_eq!(
        is,
        (&"waiting".into(), &(-7).into(), &3.into(), &"slow".into())
    );
    assert_eq!(found["payload"], serde_json::json!([1]));
    let more = run("1", &["--priority", "1"]);
    assert_eq!(more.status.code(), Some(1));
    assert!(
        text(&more.stderr).contains("job 1 keeps what it was enqueued with"),
        "{more:?}"
    );
    served.server.stop();
}

#[test]
fn a_kind_that_no_handler_has_is_enqueued_with_a_warning() {
    let served = Served::start("strange", &shell("backup", "true", ""));
    let admin = served.token("admin");

    let made = served.ask(&admin, &["jobs", "run", "bakcup", "--reason", "x"]);

    assert!(made.status.success());
    assert_eq!(text(&made.stdout), "job 1 is enqueued\n");
    assert_eq!(
        text(&made.stderr),
        "warning: no handler of this server is called \"bakcup\": the job waits for a process that has one\n"
    );
    let head = format!("{}if-none-match: *\r\n", bearer(&admin));
    let new = json!({ "rule": "@yearly", "kind": "bakcup", "reason": "x" }).to_string();
    let (status, _, told) = served.send("PUT", "/api/v1/schedules/yearly", &head, &new);
    assert_eq!(status, 200, "{told}");
    let run = served.ask(&admin, &["schedules", "run", "yearly", "--reason", "x"]);
    assert_eq!(text(&run.stdout), "job 2 is made\n");
    assert_eq!(text(&run.stderr), text(&made.stderr));
    let known = served.ask(&admin, &["jobs", "run", "backup", "--reason", "x"]);
    assert_eq!(text(&known.stderr), "");
    served.server.stop();
}

#[tokio::test]
async fn the_output_of_a_job_that_is_done_is_shown_in_its_lines() {
    let script = r#"echo '::steadfast result {"rows": 10}'; echo one; echo two"#;
    let served = Served::start("output", &shell("lines", script, ""));
    let admin = served.token("admin");
    let jobs = jobs(&served.folder).await;
    served.told(&admin, &["jobs", "run", "lines", "--reason", "x"]);
    until_state(&jobs, JobId::new(1).unwrap(), State::Completed).await;

    let shown = served.told(&admin, &["jobs", "show", "1"]);

    assert!(shown.ends_with("\noutput\n    one\n    two\n"), "{shown}");
    assert!(shown.contains("\nresult     {"), "{shown}");
    assert!(shown.contains("\"result\":{\"rows\": 10}"), "{shown}");
    served.server.stop();
}

#[tokio::test]
async fn what_a_program_has_written_drives_no_terminal() {
    let script = r"printf '\033]0;mine\007\302\233one\n\033[2Jtwo\n' >&2; exit 3";
    let served = Served::start("escapes", &shell("escapes", script, "attempts = 1"));
    let admin = served.token("admin");
    let jobs = jobs(&served.folder).await;
    served.told(&admin, &["jobs", "run", "escapes", "--reason", "x"]);
    until_state(&jobs, JobId::new(1).unwrap(), State::Discarded).await;

    let shown = served.told(&admin, &["jobs", "show", "1"]);

    let is_obeyed = |char: char| char.is_control() && char != '\n';
    assert!(!shown.contains(is_obeyed), "{shown:?}");
    assert!(
        shown.contains("\n     ]0;mine  one\n     [2Jtwo"),
        "{shown}"
    );
    served.server.stop();
}
