//! A crontab, from its lines to jobs that have run.

use steadfast::jobs::schedule::{RanNow, Schedules};

use super::*;

const CRONTAB: &str = r#"# what ada has collected over the years
MAILTO=ada@example.org
GREETING="good morning"
CRON_TZ=Europe/Berlin
30 6 * * 1-5 printf '\%s\n' "$GREETING" && cat%Dear Ada,%it is late.
@daily /usr/bin/env true
@reboot ./warm-up
70 * * * * never
"#;

fn import(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command
        .args(["schedules", "import"])
        .args(args)
        .output()
        .unwrap()
}

#[tokio::test]
async fn a_crontab_is_taken_over_and_its_lines_run_as_they_did() {
    let folder = Folder::new("import");
    let (from, to) = (
        folder.path().join("crontab"),
        folder.path().join("crontab.toml"),
    );
    std::fs::write(&from, CRONTAB).unwrap();
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());

    let user = Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap();
    let of_user = ["--user", user.trim()];
    let imported = import(
        &[
            &[from, "--zone", "Asia/Tokyo", "--output", to],
            &of_user[..],
        ]
        .concat(),
    );

    assert_eq!(imported.status.code(), Some(8));
    let told = String::from_utf8_lossy(&imported.stderr);
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(
        told[0].starts_with("line 2, different: MAILTO=ada@example.org: nothing is sent by mail")
    );
    assert!(told[1].starts_with("line 7, not taken over: the start of a machine is not a time"));
    assert!(
        told[2].starts_with("line 8, not taken over: "),
        "{}",
        told[2]
    );
    assert_eq!(
        told[3],
        "2 lines are taken over, in Asia/Tokyo unless they say another zone; 2 not"
    );
    let through = import(&[from, "--output", "-"]);
    let document = String::from_utf8_lossy(&through.stdout);
    assert!(document.contains("[handlers."), "{document}");
    let again = import(&[from, "--output", to]);
    assert_eq!(again.status.code(), Some(1), "what is there is left alone");

    let document = std::fs::read_to_string(to).unwrap();
    let of_user = format!("\nuser = \"{}\"\n", user.trim());
    assert_eq!(document.matches(&of_user).count(), 2, "{document}");

    let config = folder.configure("");
    let mut server = Server::start_all(&[&config, Path::new(to)], &[]);
    server.line_with("ready");
    let jobs = jobs(&folder).await;
    let schedules = Schedules::new(&jobs);
    let view = schedules.find("cron-printf").await.unwrap().unwrap();
    assert_eq!(
        view.schedule.plan().describe(),
        "at 06:30 on Monday to Friday, Europe/Berlin"
    );
    let RanNow::Made(id) = schedules.run_now("cron-printf").await.unwrap() else {
        panic!("nothing else runs");
    };
    let job = until_state(&jobs, id, State::Completed).await;
    let result: serde_json::Value = job.result().unwrap().unwrap();
    assert_eq!(result["output"], "good morning\nDear Ada,\nit is late.\n");
    assert!(schedules.find("cron-env").await.unwrap().is_some());
    server.stop();
}

#[test]
fn whose_a_crontab_is_has_to_be_said() {
    let folder = Folder::new("import-whose");
    let from = folder.path().join("crontab");
    std::fs::write(&from, "0 1 * * * bin/a\n0 2 * * * bin/a\n").unwrap();
    let from = from.to_str().unwrap();

    let unsaid = import(&[from, "--zone", "UTC"]);
    let strange = import(&[from, "--zone", "UTC", "--user", "nobody-of-that-name"]);
    let refused = import(&[from, "--system", "--user", "root"]);

    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(unsaid.status.code(), Some(0));
    let told = text(&unsaid.stderr);
    let expect = "line 1, different: it does not say whose it is, so its programs run as whoever `steadfast serve` runs as; \
                  say --user NAME\n";
    assert!(told.starts_with(expect), "{told}");
    assert_eq!(told.lines().count(), 2, "{told}");
    assert_eq!(strange.status.code(), Some(0));
    let told = text(&strange.stderr);
    let expect = "line 1, different: there is no user nobody-of-that-name in /etc/passwd";
    assert!(told.starts_with(expect), "{told}");
    assert_eq!(told.lines().count(), 2, "{told}");
    // Whose it is changes no name, and with it no schedule that is there.
    let line = "user = \"nobody-of-that-name\"\n";
    assert_eq!(text(&strange.stdout).matches(line).count(), 2);
    assert_eq!(
        text(&strange.stdout).replace(line, ""),
        text(&unsaid.stdout)
    );
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    assert!(
        told.contains("--user is for the crontab of a user"),
        "{told}"
    );
}

#[test]
fn a_crontab_of_the_system_is_known_by_its_place_and_by_the_option() {
    let folder = Folder::new("import-system");
    let from = folder.path().join("crontab");
    let text = "0 1 * * * root run-parts /etc/cron.daily\n";
    std::fs::write(&from, text).unwrap();
    let from = from.to_str().unwrap();

    let imported = import(&[from, "--system", "--zone", "UTC"]);
    let as_a_users = import(&[from, "--zone", "UTC"]);
    let told = String::from_utf8_lossy(&as_a_users.stderr);
    assert!(
        told.starts_with("line 1, different: every command begins with the name of a user of this machine; if this is a crontab of the system, say --system"),
        "{told}"
    );
    assert!(!String::from_utf8_lossy(&imported.stderr).contains("--system"));
    let of_others = folder.path().join("of-others");
    let theirs = "0 2 * * * nobody-of-that-name true\n".repeat(2);
    std::fs::write(&of_others, format!("{text}{theirs}")).unwrap();
    let of_others = import(&[of_others.to_str().unwrap(), "--system", "--zone", "UTC"]);
    assert_eq!(of_others.status.code(), Some(0));
    let told = String::from_utf8_lossy(&of_others.stderr);
    let expect = "line 2, different: there is no user nobody-of-that-name in /etc/passwd";
    assert!(told.starts_with(expect), "{told}");
    assert_eq!(told.matches("no user").count(), 1, "{told}");
    let refused = import(&[from, "--system", "--zone", "Mars/Olympus"]);
    let nowhere = import(&["/no/such/crontab"]);

    assert_eq!(imported.status.code(), Some(0));
    let document = String::from_utf8_lossy(&imported.stdout);
    for line in [
        "[handlers.\"cron-run-parts\"]",
        "exec = [\"/bin/sh\", \"-c\", \"run-parts /etc/cron.daily\"]",
        "user = \"root\"",
        "attempts = 1",
        "rule = \"0 1 * * *\"",
        "zone = \"UTC\"",
    ] {
        assert!(
            document.lines().any(|is| is == line),
            "{line} in {document}"
        );
    }
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("because: "));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("cannot read /no/such/crontab"));
}
