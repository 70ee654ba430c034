//! What programs have started, and the process that ends it when a server is killed.

use std::os::unix::process::CommandExt;

use super::*;
use crate::alive::{Alive, until_all_have_ended};

const TOLD: &str = "[log]\nlevel = \"info,steadfast::process=debug\"\n";

/// Goes on in three processes, one of which nobody but its group tells whose it is.
fn busy(alive: &Alive) -> String {
    shell(
        "busy",
        &alive.held("(sleep 1000 &); { (sleep 1000; :) & }"),
        "",
    )
}

fn warden_in(line: &str) -> String {
    let id = line.split("pid=").nth(1).expect("its process is told");
    id.split_whitespace().next().unwrap().to_owned()
}

fn kill(signal: &str, process: &str) {
    let sent = Command::new("kill").args(["-s", signal, process]).status();
    assert!(sent.unwrap().success());
}

/// What a warden goes on after, each by its name and number.
const SIGNALS: [(&str, u32); 8] = [
    ("TERM", 15),
    ("INT", 2),
    ("HUP", 1),
    ("QUIT", 3),
    ("USR1", 10),
    ("USR2", 12),
    ("ALRM", 14),
    ("PIPE", 13),
];

/// Waits until it takes all of them: it begins with one after the other.
async fn until_it_stands(warden: &str) {
    wait_until("the warden stands", async || {
        let status = std::fs::read_to_string(format!("/proc/{warden}/status")).unwrap();
        let caught = status.split("SigCgt:\t").nth(1).unwrap();
        let caught = u64::from_str_radix(caught.lines().next().unwrap(), 16).unwrap();
        SIGNALS
            .iter()
            .all(|(_, number)| caught & (1 << (number - 1)) != 0)
    })
    .await;
}

#[tokio::test]
async fn programs_of_many_jobs_end_with_a_server_that_is_killed_with_all_that_they_have_started() {
    let folder = Folder::new("many");
    let alive = Alive::new("serve-many");
    let config = folder.configure(&format!("{TOLD}{}", busy(&alive)));
    let mut server = Server::start(&config);
    let jobs = jobs(&folder).await;
    for _ in 0..5 {
        enqueue(&jobs, "busy", "null", 1).await;
    }
    let watched = alive.watch();
    let warden = warden_in(&server.line_with("a warden is there"));
    wait_until("all run", async || {
        let running = steadfast::jobs::Filter::state(State::Running);
        jobs.list(&running, 10).await.unwrap().jobs.len() == 5
    })
    .await;

    let held = std::fs::read_dir(format!("/proc/{warden}/fd")).unwrap();
    let held: Vec<_> = held
        .filter_map(|file| std::fs::read_link(file.unwrap().path()).ok())
        .collect();
    let of_server = held.iter().find(|file| file.starts_with(folder.path()));
    assert_eq!(of_server, None, "it holds what is the server's: {held:?}");
    server.signal("KILL");
    server.ended();

    until_all_have_ended(watched);
    let gone = Path::new("/proc").join(warden);
    wait_until("the warden has ended, too", async || !gone.exists()).await;
}

#[tokio::test]
async fn a_warden_ends_with_its_server_alone_and_is_followed_by_another_that_knows_what_runs() {
    let folder = Folder::new("warden");
    let alive = Alive::new("serve-warden");
    let config = folder.configure(&format!("{TOLD}{}", busy(&alive)));
    let mut server = Server::start(&config);
    let jobs = jobs(&folder).await;
    let id = enqueue(&jobs, "busy", "null", 1).await;
    let watched = alive.watch();

    let first = warden_in(&server.line_with("a warden is there"));
    until_it_stands(&first).await;
    for (signal, _) in SIGNALS {
        kill(signal, &first);
    }
    kill("KILL", &first);
    let told = server.line_with("the warden has ended");
    assert!(told.contains("signal: 9"), "by another signal: {told}");
    let second = warden_in(&server.line_with("a warden is there"));
    assert_ne!(first, second);
    let job = jobs.find(id).await.unwrap().unwrap();
    assert_eq!((job.info.state, job.info.term), (State::Running, 1));
    server.signal("KILL");
    server.ended();

    until_all_have_ended(watched);
}

#[tokio::test]
async fn a_warden_that_was_frozen_keeps_nobody_waiting_and_has_missed_nothing() {
    let folder = Folder::new("deaf");
    let quick = "for i in 1 2 3; do echo $i; done";
    let alive = Alive::new("serve-deaf");
    let config = folder.configure(&format!(
        "{TOLD}{}{}",
        busy(&alive),
        shell("quick", quick, "")
    ));
    let mut server = Server::start(&config);
    let jobs = jobs(&folder).await;
    let id = enqueue(&jobs, "busy", "null", 1).await;
    let watched = alive.watch();
    let warden = warden_in(&server.line_with("a warden is there"));
    // A process that is stopped when its parent dies is hung up.
    until_it_stands(&warden).await;

    // What it is told waits for it, and nobody else does.
    kill("STOP", &warden);
    let done = enqueue(&jobs, "quick", "null", 1).await;
    until_state(&jobs, done, State::Completed).await;
    let job = jobs.find(id).await.unwrap().unwrap();
    assert_eq!(job.info.state, State::Running);
    server.signal("KILL");
    server.ended();
    kill("CONT", &warden);

    until_all_have_ended(watched);
}

fn warden() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.arg("warden").stderr(Stdio::piped());
    command
}

#[test]
fn a_warden_that_is_started_by_hand_says_who_starts_it() {
    let ended = warden().stdin(Stdio::null()).output().unwrap();

    assert_eq!(
        String::from_utf8_lossy(&ended.stderr),
        "error: standard input is not a pipe; `serve` and `exec` start a warden by themselves\n"
    );
    assert_eq!(ended.status.code(), Some(2));
}

#[test]
fn a_warden_passes_over_what_is_no_word_and_kills_no_group_that_is_over() {
    let sleep = || {
        let mut command = Command::new("sleep");
        command.arg("1000").process_group(0).spawn().unwrap()
    };
    let (mut known, mut over) = (sleep(), sleep());
    let mut warden = warden().stdin(Stdio::piped()).spawn().unwrap();
    let mut words = warden.stdin.take().unwrap();
    words.write_all(&[0xff; 100_000]).unwrap();
    write!(
        words,
        "\n+{0}\n+{1}\nkill -9 {1}\n+{1}x\n-{1}\n*{1}\n+{1}",
        known.id(),
        over.id()
    )
    .unwrap();

    drop(words);

    let told = warden.wait_with_output().unwrap();
    assert_eq!(told.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&told.stderr), "");
    assert_eq!(known.wait().unwrap().code(), None, "killed");
    assert!(over.try_wait().unwrap().is_none(), "what is over is left");
    over.kill().unwrap();
    over.wait().unwrap();
}
