//! Queues: listed, paused, and told of where somebody looks.

use super::served::{Served, text};
use super::*;

#[test]
fn whoever_pauses_a_queue_that_nobody_uses_is_warned_with_the_name_that_may_have_been_meant() {
    let of_email = "queue = \"email\"\n[queues.email]\npermits = 1";
    let served = Served::start("misspelt", &shell("nothing", "true", of_email));
    let admin = served.token("admin");
    let act = |action: &str, queue: &str| {
        let done = served.ask(&admin, &["jobs", action, queue, "--reason", "x"]);
        assert!(done.status.success(), "{done:?}");
        text(&done.stderr)
    };

    let warned = "warning: no job of a queue \"emial\" was found; did you mean \"email\"?\n";
    assert_eq!(act("pause", "emial"), warned);
    assert_eq!(act("resume", "emial"), warned);
    assert_eq!(act("pause", "email"), "");
    // One that somebody has enqueued to is known.
    let run = [
        "jobs", "run", "nothing", "--queue", "emial", "--reason", "x",
    ];
    assert!(served.ask(&admin, &run).status.success());
    assert_eq!(act("pause", "emial"), "");
    served.server.stop();
}

#[tokio::test]
async fn a_paused_queue_is_told_by_the_list_the_status_and_the_metrics() {
    let served = Served::start("queues", &shell("nothing", "true", ""));
    let token = served.token("operator");
    assert_eq!(served.told(&token, &["jobs", "queues"]), "no queues\n");
    assert!(!served.told(&token, &["status"]).contains("PAUSED"));
    let pause = ["jobs", "pause", "default", "--reason", "a freeze"];
    served.told(&token, &pause);
    served.told(&token, &["jobs", "run", "nothing", "--reason", "x"]);
    let jobs = jobs(&served.folder).await;
    jobs.limit("mail", Some(5), Some(2)).await.unwrap();

    let listed = served.told(&token, &["jobs", "queues"]);

    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines[0].split_whitespace().count(), 5, "{listed}");
    assert!(lines[1].starts_with("default  1        0"), "{listed}");
    assert!(lines[1].contains("paused since 2"), "{listed}");
    assert!(lines[1].ends_with("Z: a freeze"), "{listed}");
    assert_eq!(
        lines[2], "mail     0        0        5, 2 a key",
        "{listed}"
    );
    let status = served.told(&token, &["status"]);
    assert!(status.contains("queues     PAUSED: default\n"), "{status}");
    let gauge = "steadfast_jobs_queue_paused{queue=\"default\"} 1\n";
    let told = async || served.server.get("/metrics").contains(gauge);
    wait_until("the gauge", told).await;
    // Somebody who has mistyped a queue is told of one that has limits, though nothing was ever in it.
    let typo = served.ask(&token, &["jobs", "pause", "mial", "--reason", "x"]);
    assert_eq!(
        text(&typo.stderr),
        "warning: no job of a queue \"mial\" was found; did you mean \"mail\"?\n"
    );
    served.server.stop();
}
