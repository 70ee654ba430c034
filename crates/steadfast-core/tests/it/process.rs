//! What becomes of whole processes: each test runs a program of `examples/dying.rs`.

use std::io::Write;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

/// The programs stand beside the test binary; `cargo test` builds them along with it.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test
        .parent()
        .unwrap()
        .with_file_name("examples")
        .join("dying");
    assert!(path.exists(), "{path:?} is missing: cargo build --examples");
    path
}

struct Ended {
    stdout: String,
    stderr: String,
    status: ExitStatus,
}

fn run(name: &str) -> Ended {
    let output = Command::new(program()).arg(name).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended {
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        status: output.status,
    }
}

fn check(name: &str, stdout: &str) -> Ended {
    let ended = run(name);
    assert_eq!(ended.stdout, stdout, "stderr of {name}: {}", ended.stderr);
    ended
}

#[test]
fn two_panicking_cleanups_do_not_abort() {
    let ended = check(
        "two-panicking-cleanups",
        "alive: one after [\"body\", \"two\"]\n",
    );
    assert!(ended.status.success());
}

#[test]
fn a_panic_in_a_guard_while_unwinding_does_not_abort() {
    let ended = check("panic-while-unwinding", "alive: body\n");
    assert!(ended.status.success());
}

#[test]
fn a_guard_that_is_the_first_use_of_all_may_come_while_the_thread_unwinds() {
    let ended = check(
        "first-guard-while-unwinding",
        "alive: Some(\"body\"), later\n",
    );
    assert!(ended.status.success(), "{}", ended.stderr);
}

#[test]
fn a_payload_whose_drop_panics_again_and_again_does_no_harm() {
    assert!(check("payload-that-panics", "alive\n").status.success());
}

#[test]
fn the_abort_policy_aborts_with_a_report_and_runs_no_cleanup() {
    const SIGABRT: i32 = 6;
    for (form, place) in [
        ("abort-by-policy", "panicked in ledger"),
        ("abort-by-policy-async", "panicked in main > ledger"),
    ] {
        let ended = check(form, "");

        assert_eq!(ended.status.signal(), Some(SIGABRT), "{form}");
        for told in [place, "balance is negative"] {
            assert!(ended.stderr.contains(told), "{form}: {}", ended.stderr);
        }
    }
}

#[test]
fn a_panic_that_nobody_catches_is_reported_within_a_second() {
    check("uncaught-in-a-thread", "nobody joins, contained: false\n");
}

#[test]
fn a_panic_under_a_lock_of_tracing_is_recorded_and_does_not_deadlock() {
    check(
        "panic-under-a-lock-of-tracing",
        "alive: in a layer, counted 1\n",
    );
}

#[test]
fn a_storm_of_equal_panics_is_counted_exactly() {
    check("storm", "counted 100000, contained 100000\n");
}

#[test]
fn cleanups_pending_at_the_end_of_main_run_in_order_under_run() {
    let ended = run("pending-cleanups-under-run");

    assert!(ended.status.success(), "{}", ended.stderr);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for kind in ["inner", "outer"] {
        let count = lines.iter().filter(|line| line.starts_with(kind)).count();
        assert_eq!(count, 2, "{lines:?}");
    }
    assert_eq!(lines[0], "inner cleanup ran");
    assert_eq!(lines[3], "outer cleanup ran");
}

#[test]
fn a_foreign_runtime_that_ends_first_loses_no_cleanup() {
    for name in [
        "foreign-multi-thread",
        "foreign-current-thread",
        "foreign-background",
    ] {
        check(
            name,
            "inner cleanup ran\nouter cleanup ran\nruntime ended\n",
        );
    }
}

#[test]
fn a_cleanup_whose_runtime_is_gone_says_so_and_spares_the_others() {
    let ended = run("foreign-io");

    let report = ended.stdout;
    assert!(
        report.contains("dropped and reaped"),
        "{report}{}",
        ended.stderr
    );
    assert!(report.contains("still works          ran"), "{report}");
    assert!(
        report.contains("say good-bye         runtime gone"),
        "{report}"
    );
}

#[test]
fn main_that_fails_or_panics_says_why_and_has_its_exit_code() {
    let failed = run("fail");
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        failed.stderr.contains("error: cannot read the config"),
        "{}",
        failed.stderr
    );

    let panicked = run("panic-in-main");
    assert_eq!(panicked.status.code(), Some(101));
    assert!(panicked.stderr.contains("no config"), "{}", panicked.stderr);
}

#[test]
fn main_that_fails_ends_although_nobody_reads_why() {
    let (mut full, _unread) = UnixStream::pair().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.write(&[b'x'; 64]).is_ok() {}
    full.set_nonblocking(false).unwrap();

    let ended = Command::new(program())
        .arg("fail")
        .stderr(OwnedFd::from(full))
        .status();

    assert_eq!(ended.unwrap().code(), Some(1));
}

#[test]
fn without_a_subscriber_troubles_are_on_standard_error_once() {
    let ended = run("unheard");

    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let lines: Vec<_> = ended.stderr.lines().collect();
    let told = |parts: &[&str]| {
        let told = |line: &&&str| parts.iter().all(|part| line.contains(part));
        assert_eq!(
            lines.iter().filter(told).count(),
            1,
            "{parts:?}: {lines:#?}"
        );
    };
    told(&[
        "ERROR steadfast::panic",
        "contained",
        "examples/dying.rs",
        "unlucky",
    ]);
    told(&["WARN steadfast::scope", "flush", "disk full"]);
    told(&["a pool still has tasks", "letters", "running=1", "queued=1"]);
    told(&["shutdown ended", "clean=false", "pool_tasks=2"]);
    assert!(
        !ended.stderr.contains("stack backtrace"),
        "{}",
        ended.stderr
    );
}

/// Starts a program that serves, and waits until it does.
fn start(name: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(program())
        .arg(name)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, stdout)
}

fn terminate(child: &Child) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_signal_runs_the_hooks_stops_accepting_and_cancels_what_is_left() {
    let (mut child, mut stdout) = start("serve");

    terminate(&child);
    let status = child.wait().unwrap();

    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let mut lines: Vec<_> = rest.lines().collect();
    // The hook and the main function are two tasks.
    lines[..2].sort_unstable();
    assert_eq!(
        lines,
        [
            "left",
            "stopped accepting: shutting down",
            "request was cancelled"
        ]
    );
    assert_eq!(status.code(), Some(130), "it was hurried");
}

#[test]
fn a_second_signal_ends_the_waiting_and_cleanups_still_run() {
    let (mut child, mut stdout) = start("serve-a-hanging-client");

    terminate(&child);
    // Signals of one kind that are pending are one: the second one must come after the first was
    // taken, which cannot be seen from outside. Repeating it does no harm.
    let status = loop {
        terminate(&child);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::yield_now();
    };

    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "hung up\n");
    assert_eq!(status.code(), Some(130));
}

#[test]
fn code_that_blocks_for_ever_does_not_keep_the_process() {
    let ended = run("block-for-ever");

    assert_eq!(ended.status.code(), Some(124), "{}", ended.stderr);
    assert!(ended.stderr.contains("hard limit"), "{}", ended.stderr);
}

#[test]
fn an_error_of_main_that_panics_when_it_is_shown_or_dropped_is_still_a_failure() {
    let ended = run("fail-with-an-error-that-panics");
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
}

#[test]
fn a_program_may_go_on_after_its_run() {
    assert!(check("go-on-after-run", "alive\n").status.success());
}

#[test]
fn main_that_outlasts_the_shutdown_is_left_behind_and_not_taken_for_code_that_blocks() {
    let ended = run("main-without-end");

    assert_eq!(ended.status.code(), Some(124), "{}", ended.stderr);
    let last = ended.stderr.lines().last();
    assert_eq!(
        last,
        Some("main did not end within the limits of the shutdown")
    );
}

#[test]
fn the_hard_limit_ends_main_before_the_last_resort_has_to() {
    let ended = run("hard-limit");

    assert_eq!(ended.status.code(), Some(124), "{}", ended.stderr);
    assert!(!ended.stderr.contains("blocks"), "{}", ended.stderr);
}

#[test]
fn a_run_inside_of_another_is_a_panic_that_spares_the_outer_one() {
    let ended = run("nested-run");

    let message = "alive: Cannot start a runtime from within a runtime";
    assert!(ended.stdout.starts_with(message), "{}", ended.stdout);
    assert!(ended.status.success(), "{}", ended.stderr);
}

#[test]
fn a_build_that_cannot_unwind_is_refused() {
    // The profile of the workspace that turns every catch off; built here, since tests unwind.
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let built = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline", "--manifest-path", manifest])
        .args(["--package", "steadfast-core"])
        .args([
            "--profile",
            "panic-abort",
            "--example",
            "dying",
            "--",
            "serve",
        ])
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();

    let stderr = String::from_utf8_lossy(&built.stderr);
    assert_eq!(built.status.code(), Some(78), "{stderr}");
    assert!(stderr.contains("built with panic = \"abort\""), "{stderr}");
}
