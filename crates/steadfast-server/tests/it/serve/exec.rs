//! Programs as jobs: those that work, and all that do not.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use serde_json::Value;
use steadfast::jobs::State;

use super::*;
use crate::alive::{Alive, until_all_have_ended};

fn result(job: &JobDetail) -> Value {
    job.result().unwrap().expect("there is a result")
}

fn error(job: &JobDetail) -> &str {
    job.info.error.as_deref().expect("there is an error")
}

#[tokio::test]
async fn a_program_is_told_of_its_run_and_of_nothing_else() {
    let folder = Folder::new("told");
    let script = "env | sort; echo payload: $(cat); pwd; echo aside >&2";
    let rest = format!(
        "env = [\"MODE=full\"]\npass_env = [\"TO_BE_PASSED\"]\ndir = \"{}\"",
        folder.path().display()
    );
    let config = folder.configure(&shell("told", script, &rest));
    let server = Server::start_with(&config, &[("TO_BE_PASSED", "yes"), ("SECRET", "no")]);
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "told", r#"{"order": 4711}"#, 3).await;
    let job = until_state(&jobs, id, State::Completed).await;

    let result = result(&job);
    let output = result["output"].as_str().unwrap();
    for told in [
        format!("STEADFAST_JOB={id}\n"),
        format!("STEADFAST_TERM={}\n", job.info.term),
        "STEADFAST_KIND=told\n".into(),
        "STEADFAST_ATTEMPT=1\n".into(),
        "STEADFAST_MAX_ATTEMPTS=3\n".into(),
        "MODE=full\n".into(),
        "TO_BE_PASSED=yes\n".into(),
        "payload: {\"order\": 4711}\n".into(),
        "aside\n".into(),
        format!("{}\n", folder.path().display()),
    ] {
        assert!(output.contains(&told), "{told} in {output}");
    }
    let trace = output.split("STEADFAST_TRACE_ID=").nth(1).unwrap();
    assert_eq!(trace.lines().next().unwrap().len(), 32);
    assert!(!output.contains("SECRET"), "{output}");
    assert_eq!(result["exit_code"], 0);
    server.stop();
}

#[tokio::test]
async fn a_program_leads_a_session_of_its_own_which_has_no_terminal() {
    let folder = Folder::new("session");
    let script = "echo $$; cut -d ' ' -f 5,6,7 /proc/$$/stat";
    let config = folder.configure(&shell("session", script, ""));
    let server = Server::start(&config);
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "session", "null", 1).await;
    let job = until_state(&jobs, id, State::Completed).await;

    let result = result(&job);
    let output = result["output"].as_str().unwrap();
    let (pid, stat) = output.trim().split_once('\n').unwrap();
    assert_eq!(stat, format!("{pid} {pid} 0"), "group, session, terminal");
    server.stop();
}

#[tokio::test]
async fn exit_codes_say_what_becomes_of_a_job() {
    let folder = Folder::new("codes");
    // What its payload says, once; then it is well.
    let script = format!(
        "read code; if [ $STEADFAST_TERM = 1 ]; then echo no luck >&2; exit $code; fi; echo well > {}/$code",
        folder.path().display()
    );
    let rest = "discard_on = [64]\nsnooze_on = [75]\nsnooze_for = \"1s\"\nbackoff = \"1ms\"\nbackoff_max = \"1ms\"";
    let server = Server::start(&folder.configure(&shell("codes", &script, rest)));
    let jobs = jobs(&folder).await;

    let failed = enqueue(&jobs, "codes", "3", 2).await;
    let discarded = enqueue(&jobs, "codes", "64", 5).await;
    let snoozed = enqueue(&jobs, "codes", "75", 1).await;

    let failed = until_state(&jobs, failed, State::Completed).await;
    assert_eq!(failed.info.attempt, 2);
    let discarded = until_state(&jobs, discarded, State::Discarded).await;
    assert_eq!(
        error(&discarded),
        "ended with exit code 64; what it wrote:\n    no luck"
    );
    assert_eq!(discarded.info.attempt, 1);
    let snoozed = until_state(&jobs, snoozed, State::Completed).await;
    assert_eq!(snoozed.info.max_attempts, 1, "no attempt was spent");
    server.stop();
}

#[tokio::test]
async fn lines_of_the_protocol_say_how_far_it_is_and_how_it_ends() {
    let folder = Folder::new("protocol");
    let result_of = "echo before; echo '::steadfast progress 40 copied 4 of 10'; echo '::steadfast result {\"rows\": [1, 2]}'; echo after";
    let config = folder.configure(&[
        shell("answers", result_of, ""),
        shell("refuses", "echo '::steadfast discard no such table'; exit 1", ""),
        shell("waits", "[ $STEADFAST_TERM = 1 ] && echo '::steadfast snooze 1s the till is open'; exit 0", ""),
        shell(
            "comes-back",
            "[ $STEADFAST_TERM = 1 ] && echo '::steadfast retry-after 1s the bank is closed'; exit 0",
            "backoff = \"1h\"\nbackoff_max = \"24h\"",
        ),
        shell("mistakes", "echo one; echo '::steadfast progress 400'; echo '::steadfast frobnicate'", ""),
        shell("fails", "echo '::steadfast result {'; exit 1", ""),
    ].concat());
    let server = Server::start(&config);
    let jobs = jobs(&folder).await;

    let answers = enqueue(&jobs, "answers", "null", 1).await;
    let refuses = enqueue(&jobs, "refuses", "null", 9).await;
    let waits = enqueue(&jobs, "waits", "null", 1).await;
    let comes_back = enqueue(&jobs, "comes-back", "null", 2).await;
    let mistakes = enqueue(&jobs, "mistakes", "null", 1).await;
    let fails = enqueue(&jobs, "fails", "null", 1).await;

    let answers = until_state(&jobs, answers, State::Completed).await;
    let kept = result(&answers);
    assert_eq!(kept["result"]["rows"][1], 2);
    assert_eq!(kept["output"], "before\nafter\n");
    let refuses = until_state(&jobs, refuses, State::Discarded).await;
    assert_eq!(
        (error(&refuses), refuses.info.attempt),
        ("no such table", 1)
    );
    let put_off = until(&jobs, waits, |job| job.info.error.is_some()).await;
    assert_eq!(error(&put_off), "the till is open");
    until_state(&jobs, waits, State::Completed).await;
    let comes_back = until_state(&jobs, comes_back, State::Completed).await;
    assert_eq!(comes_back.info.attempt, 2);
    let mistakes = until_state(&jobs, mistakes, State::Completed).await;
    let kept = result(&mistakes);
    let note = "line 2 is not understood: ::steadfast progress 400";
    assert_eq!(kept["not_understood"], note);
    let output = "one\n::steadfast progress 400\n::steadfast frobnicate\n";
    assert_eq!(kept["output"], output);
    let fails = until_state(&jobs, fails, State::Discarded).await;
    let note = "; line 1 is not understood: ::steadfast result {; what it wrote:";
    assert!(error(&fails).contains(note), "{fails:?}");
    server.stop();
}

#[tokio::test]
async fn a_program_that_hangs_is_asked_to_end_when_its_time_is_up() {
    let folder = Folder::new("hang");
    let script = "trap 'echo told to end >&2; exit 0' TERM; echo '::steadfast progress 40 half-way'; sleep 1000 & wait";
    let rest = "timeout = \"1s\"\nattempts = 1";
    let server = Server::start(&folder.configure(&shell("hang", script, rest)));
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "hang", "null", 1).await;
    let job = until_state(&jobs, id, State::Discarded).await;

    let error = error(&job);
    assert!(
        error.contains("; asked to end; it had come to 40 % (half-way)"),
        "{error}"
    );
    assert!(error.ends_with("told to end"), "{error}");
    server.stop();
}

#[tokio::test]
async fn a_program_that_ignores_the_request_is_killed_with_all_that_it_has_started() {
    let folder = Folder::new("ignore");
    let alive = Alive::new("serve-ignore");
    let script = alive.held("trap '' TERM");
    let rest = "timeout = \"1s\"\nstop_within = \"100ms\"";
    let server = Server::start(&folder.configure(&shell("ignore", &script, rest)));
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "ignore", "null", 1).await;
    let watched = alive.watch();
    let job = until_state(&jobs, id, State::Discarded).await;

    let error = error(&job);
    assert!(error.contains("killed since it did not in time"), "{error}");
    until_all_have_ended(watched);
    server.stop();
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let folder = Folder::new("fork");
    let alive = Alive::new("serve-fork");
    // The child holds its outputs, too.
    let script = format!("exec 9>{}; sleep 1000 & echo left", alive.path());
    let server = Server::start(&folder.configure(&shell("fork", &script, "")));
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "fork", "null", 1).await;
    let watched = alive.watch();
    let job = until_state(&jobs, id, State::Completed).await;

    assert_eq!(result(&job)["output"], "left\n");
    until_all_have_ended(watched);
    server.stop();
}

#[tokio::test]
async fn a_flood_of_output_is_read_and_bounded() {
    let folder = Folder::new("flood");
    let script = "head -c 20000000 /dev/zero; head -c 20000000 /dev/zero | tr '\\0' '\\n' >&2; echo; echo the end";
    let server = Server::start(&folder.configure(&shell("flood", script, "output_bytes = 49152")));
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "flood", "null", 1).await;
    let job = until_state(&jobs, id, State::Completed).await;

    let kept = result(&job);
    assert_eq!(kept["output_bytes"], 40_000_009);
    let output = kept["output"].as_str().unwrap();
    assert!(output.contains("[… cut …]"));
    assert!(job.result.as_ref().unwrap().len() <= 60 * 1024);
    server.stop();
}

#[tokio::test]
async fn a_program_that_is_killed_has_failed_and_says_why() {
    let folder = Folder::new("killed");
    let server = Server::start(&folder.configure(&shell("killed", "kill -9 $$", "")));
    let jobs = jobs(&folder).await;

    let killed = enqueue(&jobs, "killed", "null", 1).await;

    let killed = until_state(&jobs, killed, State::Discarded).await;
    assert!(
        error(&killed).starts_with("ended by SIGKILL"),
        "{}",
        error(&killed)
    );
    server.stop();
}

#[tokio::test]
async fn what_a_program_has_written_is_told_with_its_failure_under_the_trace_of_its_job() {
    let folder = Folder::new("written");
    let script = "echo trace $STEADFAST_TRACE_ID; echo disk full; exit 1";
    let rest = "backoff = \"1ms\"\nbackoff_max = \"1ms\"";
    let mut server = Server::start(&folder.configure(&shell("written", script, rest)));
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "written", "null", 2).await;

    for end in ["a job failed and is tried again", "a job is discarded"] {
        let told = server.line_with(end);
        let (time, _) = told.split_once(' ').unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{told}");
        assert!(told.contains("exit code 1; what it wrote:"), "{told}");
        let trace = server.line_with("    trace ");
        let trace = trace.trim().strip_prefix("trace ").unwrap();
        let rest = server.line_with("    disk full");
        assert!(rest.contains(&format!("trace_id={trace}")), "{rest}");
    }
    let job = until_state(&jobs, id, State::Discarded).await;
    assert!(error(&job).ends_with("\n    disk full"), "{job:?}");
    server.stop();
}

#[tokio::test]
async fn nothing_that_a_program_says_moves_the_cursor_of_whoever_reads_the_log() {
    let folder = Folder::new("hostile");
    let clears = r"\033[2J\033]0;x\007\302\233";
    let config = folder.configure(
        &[
            shell(
                "refuses",
                &format!("printf '::steadfast discard no{clears}\\n'"),
                "",
            ),
            shell(
                "comes-back",
                &format!("printf '::steadfast retry-after 1h no{clears}\\n'"),
                "",
            ),
            shell(
                "fails",
                &format!("printf '::steadfast progress 40 no{clears}\\n'; exit 1"),
                "",
            ),
        ]
        .concat(),
    );
    let mut server = Server::start(&config);
    let jobs = jobs(&folder).await;
    let mut ids = Vec::new();
    for (kind, attempts) in [("refuses", 1), ("comes-back", 2), ("fails", 1)] {
        ids.push(enqueue(&jobs, kind, "null", attempts).await);
    }

    for id in ids {
        let job = until(&jobs, id, |job| job.info.error.is_some()).await;
        assert!(error(&job).contains("no [2J ]0;x  "), "{job:?}");
    }
    server.signal("TERM");
    let (_, told) = server.ended();
    assert!(told.matches("no [2J ]0;x").count() >= 3, "{told}");
    let moves = |char: char| char.is_control() && !matches!(char, '\n' | '\t');
    assert!(!told.contains(moves), "{told:?}");
}

#[tokio::test]
async fn a_program_without_a_sign_of_progress_is_stuck() {
    let folder = Folder::new("stuck");
    let script = "for i in 1 2 3; do echo '::steadfast beat'; sleep 0.1; done; sleep 1000 & wait";
    let rest = "beat_every = \"500ms\"\nstop_within = \"0s\"";
    let server = Server::start(&folder.configure(&shell("stuck", script, rest)));
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "stuck", "null", 1).await;
    let job = until_state(&jobs, id, State::Discarded).await;

    assert!(
        error(&job).contains("no sign of progress for three times 500ms"),
        "{}",
        error(&job)
    );
    server.stop();
}

#[tokio::test]
async fn a_job_that_is_cancelled_ends_its_program() {
    let folder = Folder::new("cancelled");
    let alive = Alive::new("serve-cancelled");
    let server = Server::start(&folder.configure(&shell("long", &alive.held("true"), "")));
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "long", "null", 5).await;
    let watched = alive.watch();
    jobs.cancel(id, "not wanted any more").await.unwrap();
    until_state(&jobs, id, State::Cancelled).await;

    until_all_have_ended(watched);
    server.stop();
}

#[tokio::test]
async fn a_program_that_leaves_a_daemon_with_its_output_open_is_done_when_it_has_ended() {
    let folder = Folder::new("daemon");
    let pid = folder.path().join("pid");
    // Another session, which holds standard output and error for as long as it likes.
    let script = format!(
        "setsid sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000' & until [ -e {0} ]; do sleep 0.02; done; echo done",
        pid.display()
    );
    let server = Server::start(&folder.configure(&shell("daemon", &script, "")));
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "daemon", "null", 1).await;
    let job = until_state(&jobs, id, State::Completed).await;

    assert_eq!(result(&job)["output"], "done\n");
    let pid = std::fs::read_to_string(&pid).unwrap();
    let killed = Command::new("kill")
        .args(["-s", "KILL", pid.trim()])
        .status();
    assert!(
        killed.unwrap().success(),
        "one that has left is not ours to end"
    );
    server.stop();
}

#[tokio::test]
async fn a_program_is_looked_for_in_the_folder_that_it_runs_in() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new("relative");
    let below = folder.path().join("app");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(below.join("run.sh"), "#!/bin/sh\npwd\n").unwrap();
    std::fs::set_permissions(below.join("run.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    let dir = below.display();
    let config = folder.configure(&format!(
        "[handlers.here]\nexec = [\"./run.sh\"]\ndir = \"{dir}\"\n"
    ));
    let server = Server::start(&config);
    let jobs = jobs(&folder).await;

    let here = enqueue(&jobs, "here", "null", 1).await;
    let here = until_state(&jobs, here, State::Completed).await;
    assert_eq!(result(&here)["output"], format!("{dir}\n"));
    server.stop();
}

#[tokio::test]
async fn a_program_of_a_user_without_a_home_runs_all_the_same() {
    let folder = Folder::new("homeless");
    let config = folder.configure(&shell("who", "pwd; id -un", "user = \"nobody\""));
    if !is_root() {
        let refused = output(&["--config", config.to_str().unwrap()]);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(told.contains("only root can run a program as"), "{told}");
        return;
    }
    let server = Server::start(&config);
    let jobs = jobs(&folder).await;

    let who = enqueue(&jobs, "who", "null", 1).await;
    let who = until_state(&jobs, who, State::Completed).await;

    // Debian says that its home is /nonexistent.
    assert_eq!(result(&who)["output"], "/\nnobody\n");
    server.stop();
}

#[test]
fn whoever_becomes_another_user_has_all_of_its_groups() {
    let ended = Command::new(env!("CARGO_BIN_EXE_steadfast"))
        .args([
            "launch",
            "--uid=65534",
            "--gid=65534",
            "--gid=6",
            "--gid=26",
        ])
        .arg(std::process::id().to_string())
        .args(["--", "sh", "-c", "id -u; id -g; id -G"])
        .output()
        .unwrap();

    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    if !is_root() {
        assert!(told.starts_with("cannot become user 65534: "), "{told}");
        assert_eq!(ended.status.code(), Some(126));
        return;
    }
    let ids = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(ids, "65534\n65534\n65534 6 26\n", "{told}");
}

#[tokio::test]
async fn a_program_of_the_same_user_reads_no_secret_of_the_server() {
    let folder = Folder::new("spy");
    let spy = "cat /proc/$PPID/environ && exit 0; exit 64";
    let config = folder.configure(&shell("spy", spy, "discard_on = [64]"));
    let mut command = serve(&["--config", config.to_str().unwrap()]);
    command.env("MAIL_SECRET", "for nobody but the server");
    if is_root() {
        // Whom nothing is hidden from. The program may be where others do not get.
        let own = folder.path().join("steadfast");
        std::fs::copy(env!("CARGO_BIN_EXE_steadfast"), &own).unwrap();
        let all = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.path(), all).unwrap();
        let mut unprivileged = Command::new(own);
        unprivileged
            .args(command.get_args())
            .uid(65_534)
            .gid(65_534);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => unprivileged.env(name, value),
                None => unprivileged.env_remove(name),
            };
        }
        command = unprivileged;
    }
    let mut server = Server::begun(&mut command);
    // Whoever opens the file first makes it, and has it.
    server.line_with("ready");
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "spy", "null", 1).await;

    let job = until_state(&jobs, id, State::Discarded).await;
    assert!(error(&job).contains("Permission denied"), "{job:?}");
    server.stop();
}

fn is_root() -> bool {
    let told = Command::new("id").arg("-u").output().unwrap();
    told.stdout == b"0\n"
}
