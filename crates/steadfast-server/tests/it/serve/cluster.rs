//! Servers that share a database, and what they do when others are killed and frozen.

use std::collections::BTreeSet;

use serde_json::Value;
use steadfast::jobs::Filter;
use steadfast::store::testing::{Database, Kind};

use super::*;

/// One of the servers of a cluster.
struct Cluster {
    folder: Folder,
    database: Database,
}

impl Cluster {
    fn config(&self, name: &str, rest: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.toml"));
        // The long form is with the usual one.
        let lease = if is_long() { "" } else { "lease = \"10s\"\n" };
        let text = format!(
            "[store]\nurl = \"env:STORE\"\n[node]\nservice = \"{name}\"\n{lease}\
             [queues.default]\npermits = 4\n[health]\nlisten = \"127.0.0.1:0\"\n{rest}"
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    fn start(&self, name: &str, rest: &str) -> Server {
        let host = self.host(name);
        std::fs::create_dir_all(&host).unwrap();
        let environment = [
            ("STORE", &*self.database.direct_url()),
            ("NODE", name),
            ("XDG_RUNTIME_DIR", host.to_str().unwrap()),
        ];
        Server::start_with(&self.config(name, rest), &environment)
    }

    /// Where a server keeps the file by which others on its host see that it lives.
    fn host(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("host-{name}"))
    }

    /// Runs a command, and gives what it prints.
    fn told(&self, args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        let output = command
            .args(args)
            .env("STORE", self.database.direct_url())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

#[tokio::test]
async fn of_three_servers_one_is_killed_and_one_frozen_and_the_third_does_the_work_and_tells_the_truth()
 {
    let cluster = Cluster {
        folder: Folder::new("cluster"),
        database: Database::make(Kind::Postgres).await,
    };
    let dir = cluster.folder.path().display();
    // On the first two servers it goes on until there is a gate.
    let script = format!(
        "echo $NODE >> {dir}/begun; if [ $NODE != third ]; then until [ -e {dir}/gate ]; do sleep 0.05; done; fi; \
         echo $NODE $STEADFAST_TERM"
    );
    let handler = shell("work", &script, "pass_env = [\"NODE\"]\n");
    let quiet = format!("[api]\nenabled = false\n{handler}");
    let mut first = cluster.start("first", &quiet);
    let second = cluster.start("second", &quiet);
    // Nobody reads its lines, of which each job has one.
    let api = format!(
        "[api]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"warn,steadfast::serve=info\"\n{handler}"
    );
    let mut third = cluster.start("third", &api);
    let told = third.line_with("the API is served");
    let address = told.split("address=").nth(1).unwrap();
    let server = format!("http://{}", address.split_whitespace().next().unwrap());
    let config = cluster.folder.path().join("third.toml");
    let token = cluster.told(&[
        "admin",
        "token",
        "create",
        "--name",
        "t",
        "--role",
        "viewer",
        "--config",
        config.to_str().unwrap(),
    ]);
    std::fs::write(cluster.folder.path().join("token"), token).unwrap();
    let token = cluster.folder.path().join("token");
    let ask = |args: &[&str]| -> Value {
        let asked = [
            "--json",
            "--server",
            &server,
            "--token-file",
            token.to_str().unwrap(),
        ];
        serde_json::from_str(&cluster.told(&[args, &asked].concat())).unwrap()
    };
    let store = cluster.database.open().await;
    let jobs = Jobs::open(&store).await.unwrap();
    let mut ids = Vec::new();
    let begun = || std::fs::read_to_string(cluster.folder.path().join("begun")).unwrap_or_default();
    wait_until("all are at work", async || {
        ids.push(enqueue(&jobs, "work", "null", 5).await);
        let begun = begun();
        ["first", "second"]
            .iter()
            .all(|name| begun.matches(name).count() >= 4)
            && begun.contains("third")
    })
    .await;

    // Each as if on a host of its own: nobody sees by a file that it is dead.
    std::fs::remove_dir_all(cluster.host("first")).unwrap();
    let since = clock::now();
    first.signal("KILL");
    first.ended();
    second.signal("STOP");
    // Work comes in until all that was there before is done.
    let mut open = ids.clone();
    wait_until("the third has done what the others held", async || {
        ids.push(enqueue(&jobs, "work", "null", 5).await);
        let mut left = Vec::new();
        for id in &open {
            let job = jobs.find(*id).await.unwrap().unwrap();
            if job.info.state != State::Completed {
                left.push(*id);
            }
        }
        open = left;
        open.is_empty()
    })
    .await;
    let mut ended = Vec::new();
    for id in &ids {
        ended.push((*id, until_state(&jobs, *id, State::Completed).await));
    }
    let done = clock::now() - since;
    let mut rescued = 0;
    let mut outputs = Vec::new();
    for (id, job) in ended {
        let result: Value = job.result().unwrap().unwrap();
        let output = result["output"].as_str().unwrap().to_owned();
        // By who has it, under the term under which it has it.
        assert_eq!(output, format!("third {}\n", job.info.term), "{job:?}");
        rescued += usize::from(job.info.term > 1);
        outputs.push((id, job.info.term, output));
    }
    assert!(rescued >= 8, "those that two servers held: {rescued}");
    // What the one that is left says.
    wait_until("the dead and the frozen are known to be gone", async || {
        ask(&["status"])["data"]["nodes_alive"] == 1
    })
    .await;
    let told = clock::now() - since;
    tell(&format!(
        "{} jobs, {rescued} of them taken over: all done {:.1} s after the kill, and the truth told after {:.1} s",
        ids.len(),
        done.as_secs_f64(),
        told.as_secs_f64()
    ));
    // A promise of the usual lease; how fast this machine is says little where all tests run.
    assert!(!is_long() || told < Duration::from_secs(40), "{told:?}");
    let status = ask(&["status"]);
    let count = |state: &str| status["data"]["jobs"][state].as_u64().unwrap_or_default();
    assert_eq!(
        (count("pending"), count("running"), count("completed")),
        (0, 0, ids.len() as u64),
        "{status}"
    );
    let alive = |nodes: &Value| -> BTreeSet<String> {
        let nodes = nodes["data"]["items"].as_array().unwrap().iter();
        let alive = nodes.filter(|node| node["ended"].is_null());
        alive
            .map(|node| node["service"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        alive(&ask(&["nodes", "list"])),
        BTreeSet::from(["third".to_owned()])
    );

    // The programs of the frozen one have ended well; it is too late to say so.
    std::fs::write(cluster.folder.path().join("gate"), "").unwrap();
    second.signal("CONT");
    wait_until("the frozen one has joined again", async || {
        alive(&ask(&["nodes", "list"])).contains("second")
    })
    .await;
    for (id, term, output) in &outputs {
        let job = jobs.find(*id).await.unwrap().unwrap();
        let result: Value = job.result().unwrap().unwrap();
        assert_eq!(
            (&job.info.term, result["output"].as_str()),
            (term, Some(&**output))
        );
    }
    // And it works again, for what is its own.
    third.stop();
    let last = enqueue(&jobs, "work", "null", 1).await;
    let last: Value = until_state(&jobs, last, State::Completed)
        .await
        .result()
        .unwrap()
        .unwrap();
    assert_eq!(last["output"], "second 1\n");
    let running = jobs.list(&Filter::state(State::Running), 1).await.unwrap();
    assert!(running.jobs.is_empty());
    second.stop();
    store.close().await;
}

#[tokio::test]
async fn a_server_that_is_killed_again_and_again_loses_no_occurrence_of_its_schedules() {
    let folder = Folder::new("no-run-lost");
    let ran = folder.path().join("ran");
    // Each third run kills the server that has started it, if that is its first attempt.
    let script = format!(
        "echo $STEADFAST_OCCURRENCE >> {0}; [ $(($(wc -l < {0}) % 3)) = 0 ] && [ $STEADFAST_TERM = 1 ] && kill -9 $PPID; true",
        ran.display()
    );
    let schedule =
        "[schedules.tick]\nrule = \"every 1s\"\nmissed = \"run_all(1h)\"\noverlap = \"allow\"\n";
    let config = folder.configure(&format!("{}{schedule}", shell("tick", &script, "")));
    let lines = || {
        let text = std::fs::read_to_string(&ran).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };

    for life in 0..6 {
        let mut server = Server::start(&config);
        let (code, rest) = server.ended();
        assert_eq!(code, None, "life {life} was ended by a signal: {rest}");
    }
    // A last life, in which what was begun is finished, and nothing kills it.
    let gentle = shell(
        "tick",
        &format!("echo $STEADFAST_OCCURRENCE >> {}", ran.display()),
        "",
    );
    let server = Server::start(&folder.configure(&format!("{gentle}{schedule}")));
    let before = lines().len();
    wait_until("it goes on", async || lines().len() > before + 3).await;
    let jobs = jobs(&folder).await;
    wait_until("what was begun is done", async || {
        let mut left = 0;
        for state in [State::Pending, State::Waiting, State::Running] {
            left += jobs
                .list(&Filter::state(state), 10)
                .await
                .unwrap()
                .jobs
                .len();
        }
        left == 0
    })
    .await;
    server.stop();

    let seconds: BTreeSet<i64> = lines()
        .iter()
        .map(|line| line.parse::<jiff::Timestamp>().unwrap().as_second())
        .collect();
    let (first, last) = (seconds.first().unwrap(), seconds.last().unwrap());
    let missing: Vec<_> = (*first..=*last)
        .filter(|second| !seconds.contains(second))
        .collect();
    assert!(missing.is_empty(), "lost: {missing:?} of {first} to {last}");
    assert!(seconds.len() > 12, "{seconds:?}");
    // No occurrence was made twice: what ran more than once is the same job.
    let done = jobs
        .list(&Filter::state(State::Completed), 500)
        .await
        .unwrap();
    assert_eq!(done.jobs.len(), seconds.len());
}
