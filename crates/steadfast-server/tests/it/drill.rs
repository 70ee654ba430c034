//! `steadfast drill`, with its real processes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use steadfast::clock;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(120);

fn drill() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.arg("drill");
    command
}

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("steadfast-drilled-{:016x}", steadfast::rng::bits()))
}

fn criteria(report: &Value) -> Vec<(String, Value)> {
    let scenarios = report["protected"]["scenarios"].as_array().unwrap();
    let criteria = scenarios.iter().flat_map(|scenario| {
        let rows = scenario["criteria"].as_array().unwrap();
        let title = scenario["title"].as_str().unwrap();
        rows.iter()
            .map(move |row| (format!("{title}: {}", row["criterion"]), row.clone()))
    });
    criteria.collect()
}

/// The figures are kept in `target/tmp`. On a machine that does much else, times and shares say more about
/// the machine; what is lost, done twice or answered without its id does not depend on it.
#[test]
fn the_short_form_loses_nothing_and_keeps_its_figures() {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let junit = kept.join("drill-short.xml");

    let told = drill()
        .args(["--short", "--json", "--junit"])
        .arg(&junit)
        .output()
        .unwrap();

    let stderr = String::from_utf8_lossy(&told.stderr);
    let report: Value = serde_json::from_slice(&told.stdout).unwrap_or_else(|_| panic!("{stderr}"));
    std::fs::write(kept.join("drill-short.json"), &told.stdout).unwrap();
    assert_eq!(report["version"], 1);
    let report = &report["data"];
    let code = if report["met"] == true { 0 } else { 3 };
    assert_eq!(told.status.code(), Some(code), "{stderr}");
    let criteria = criteria(report);
    assert_eq!(criteria.len(), 13);
    for (name, row) in &criteria {
        assert!(
            !row["measured"].is_null(),
            "{name} was not seen: {row}\n{stderr}"
        );
        let counted = ["count", "cents"].contains(&row["unit"].as_str().unwrap());
        assert!(!counted || row["met"] == true, "{name}: {row}\n{stderr}");
    }
    let tests = std::fs::read_to_string(junit).unwrap();
    assert_eq!(tests.matches("<testcase ").count(), 13, "{tests}");
}

#[test]
fn a_criterion_that_is_missed_is_told_and_is_the_exit_code() {
    let mut child = drill()
        .args(["--only", "calm"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();

    // A shop that stands still most of the time keeps nobody for two seconds.
    while child.try_wait().unwrap().is_none() {
        for shop in parts(&child, "shop") {
            let _ = kill_process(shop, Signal::STOP);
        }
        clock::block(Duration::from_millis(2_300));
        for shop in parts(&child, "shop") {
            let _ = kill_process(shop, Signal::CONT);
        }
        clock::block(Duration::from_millis(200));
    }

    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{stdout}");
    let line = stdout.lines().find(|line| line.contains("requests served"));
    assert!(
        line.is_some_and(|line| line.ends_with("MISSED")),
        "{stdout}"
    );
    assert!(stdout.contains("\n0 of 1 criteria met"), "{stdout}");
}

#[test]
fn whoever_is_killed_or_interrupted_leaves_no_process_and_no_folder() {
    for (signal, code) in [(Signal::INT, Some(1)), (Signal::KILL, None)] {
        let (kept, mut command) = (folder(), drill());
        let mut child = command
            .arg("--keep")
            .arg(&kept)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait(|| parts(&child, "worker").len() == 2);
        let all: Vec<Pid> = ["gateway", "shop", "worker"]
            .iter()
            .flat_map(|role| parts(&child, role))
            .collect();
        assert_eq!(all.len(), 4);

        let pid = Pid::from_raw(child.id() as i32).unwrap();
        kill_process(pid, signal).unwrap();
        let ended = child.wait().unwrap();

        assert_eq!(ended.code(), code);
        wait(|| all.iter().all(|part| !is_part(*part, "")));
        std::fs::remove_dir_all(kept).unwrap();
    }
}

#[test]
fn nothing_but_a_child_of_a_drill_can_be_hurt() {
    // The second names a process that is not its parent, as a variable that was left in an environment does.
    for named in [None, Some("1")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command
            .args(["drill-part", "gateway"])
            .env_remove("STEADFAST_DRILL");
        if let Some(named) = named {
            command.env("STEADFAST_DRILL", named);
        }

        let refused = command.stdin(Stdio::null()).output().unwrap();

        assert_eq!(refused.status.code(), Some(1));
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(
            told.starts_with("no faults here: only a process that `steadfast drill` has started"),
            "{told}"
        );
        assert_eq!(refused.stdout, b"");
    }
}

#[test]
fn what_there_is_is_listed_and_what_is_not_is_refused() {
    let run = |args: &[&str]| -> (Output, String) {
        let output = drill().args(args).output().unwrap();
        let told = [&output.stdout[..], &output.stderr[..]].concat();
        (output, String::from_utf8(told).unwrap())
    };

    let (listed, told) = run(&["--list"]);
    assert_eq!(listed.status.code(), Some(0));
    let (_, json) = run(&["--list", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let first = &json["data"]["scenarios"][0];
    assert!(told.starts_with(first["title"].as_str().unwrap()), "{told}");
    assert_eq!(first["criteria"][0]["at_least"], 99.5);
    for name in ["(gateway)", "(giving-up)", "breaker opens after", "≤ 3 s"] {
        assert!(told.contains(name), "{name} in\n{told}");
    }
    let (refused, told) = run(&["--only", "earthquake"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        told.contains("possible values: calm, panics, gateway"),
        "{told}"
    );
    let (refused, told) = run(&["--junit", "/dev/null/tests.xml"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        told.starts_with("error[SF-2300]: cannot write /dev/null/tests.xml"),
        "{told}"
    );
    let (refused, told) = run(&["--keep", "/tmp"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        told.starts_with("error[SF-2300]: cannot make the folder /tmp"),
        "{told}"
    );
}

/// The processes of a drill with this role.
fn parts(drill: &Child, role: &str) -> Vec<Pid> {
    let children = format!("/proc/{0}/task", drill.id());
    let Ok(tasks) = std::fs::read_dir(children) else {
        return Vec::new();
    };
    let children =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    let pids: Vec<Pid> = children
        .flat_map(|pids| {
            pids.split_whitespace()
                .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
                .collect::<Vec<_>>()
        })
        .collect();
    pids.into_iter().filter(|pid| is_part(*pid, role)).collect()
}

/// Whether a process is a part of a drill, and what became of it since.
fn is_part(pid: Pid, role: &str) -> bool {
    let words = std::fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
    words.is_ok_and(|words| {
        let mut words = words
            .split('\0')
            .skip_while(|word| *word != "drill-part")
            .skip(1);
        words.next().is_some_and(|is| role.is_empty() || is == role)
    })
}

fn wait(mut is: impl FnMut() -> bool) {
    let until = clock::now() + PATIENCE;
    while !is() {
        assert!(clock::now() < until, "it does not come");
        clock::block(Duration::from_millis(20));
    }
}
