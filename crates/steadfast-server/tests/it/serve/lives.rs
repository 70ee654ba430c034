//! From the start of a server to its end, however that comes.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use super::*;
use crate::alive::{Alive, until_all_have_ended};

#[test]
fn the_generated_configuration_lacks_only_work_and_mistakes_are_told_with_their_line() {
    let folder = Folder::new("generated");
    let generated = output(&["--generate-config"]);
    assert_eq!(generated.status.code(), Some(0));
    let path = folder.path().join("generated.toml");
    std::fs::write(&path, &generated.stdout).unwrap();

    let checked = output(&["--check", "--config", path.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(0), "{told}");
    assert!(
        told.starts_with("warning: nothing is to be run\n"),
        "{told}"
    );
    assert_eq!(told.matches("warning: ").count(), 1, "{told}");

    let wrong = folder.configure("[shutdown]\ndrian = \"5s\"\n");
    let refused = output(&["--config", wrong.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{told}");
    assert!(
        told.contains("unknown key \"drian\" in [shutdown]"),
        "{told}"
    );
    assert!(told.contains("steadfast.toml:8:1"), "{told}");
    assert!(told.contains("fix: write drain"), "{told}");

    // It may be on a disk that is mounted later: whoever starts the server tries again.
    for (also, code) in [(&["--check"][..], 78), (&[], 1)] {
        let nowhere = output(&[&["--config", "/no/such/file.toml"], also].concat());
        let told = String::from_utf8_lossy(&nowhere.stderr);
        assert_eq!(nowhere.status.code(), Some(code), "{told}");
        assert!(
            told.contains("steadfast serve --generate-config > /no/such/file.toml"),
            "{told}"
        );
    }
}

#[test]
fn what_the_machine_does_not_have_is_refused_at_the_start_and_before() {
    let folder = Folder::new("machine");
    let check = |rest: &str, at_start: i32, place: &str, expect: &str| {
        let config = folder.configure(rest);
        for (also, code) in [(&["--check"][..], 78), (&[], at_start)] {
            let args = [&["--config", config.to_str().unwrap()], also].concat();
            let refused = output(&args);
            let told = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(code), "{told}");
            assert!(told.starts_with("error[SF-2102]: the configuration is refused\n"));
            assert!(told.contains(expect), "{told}");
            assert!(told.contains(&format!("steadfast.toml:{place}")), "{told}");
            assert!(told.contains(" = fix: "), "{told}");
        }
    };
    let well = shell("a", "true", "");
    let http = "[handlers.a]\nhttp = \"http://127.0.0.1:1/\"\n";

    check("enabled = false\n", 78, "1:1", "nothing is to be run");
    // What may come by itself is tried again by whoever starts it.
    check(
        &format!("{http}secret = \"file:/no/such\"\n"),
        1,
        "9:10",
        "cannot open /no/such",
    );
    let short = folder.path().join("short");
    std::fs::write(&short, "short").unwrap();
    check(
        &format!("{http}secret = \"file:{}\"\n", short.display()),
        1,
        "9:10",
        "it has 5 bytes, and needs at least 32",
    );
    check(
        &format!("tls_certificate = \"/no/such\"\ntls_key = \"/no/such\"\n{well}"),
        1,
        "7:19",
        "the certificate of [api] cannot be used",
    );
    check(
        &format!(
            "[calls]\nlisten = \"127.0.0.1:4711\"\n[ids]\nlisten = \"127.0.0.1:4711\"\n[generators.a]\n{well}"
        ),
        78,
        "10:10",
        "[calls] listens on 127.0.0.1:4711, too",
    );
}

#[test]
fn an_api_alone_is_served() {
    let folder = Folder::new("alone");
    let mut server = Server::start(&folder.configure(""));

    server.line_with("the API is served");
    server.line_with("ready");

    assert!(server.get("/readyz").starts_with("HTTP/1.1 200 "));
    server.stop();
}

#[test]
fn a_schedule_whose_only_time_has_passed_is_told() {
    let folder = Folder::new("passed");
    let once = |rule: &str| {
        let schedule = format!("[schedules.once]\nrule = \"{rule}\"\nhandler = \"a\"\n");
        let config = folder.configure(&format!("{}{schedule}", shell("a", "true", "")));
        let checked = output(&["--check", "--config", config.to_str().unwrap()]);
        assert_eq!(checked.status.code(), Some(0));
        String::from_utf8_lossy(&checked.stderr).into_owned()
    };

    let passed = once("at 2020-01-01T10:00");

    assert!(
        passed.starts_with(
            "warning: its time has passed: a store to which it is new may run it at once\n"
        ),
        "{passed}"
    );
    assert_eq!(once("at 9000-01-01T10:00"), "");
}

#[test]
fn a_variable_that_is_not_set_is_refused_at_the_start_and_told_before() {
    let folder = Folder::new("unset");
    let http = "[handlers.a]\nhttp = \"http://127.0.0.1:1/\"\nsecret = \"env:NO_SUCH_VARIABLE\"\n";
    let config = folder.configure_at("env:NO_SUCH_VARIABLE", http);
    let config = config.to_str().unwrap();

    let (checked, refused) = (
        output(&["--config", config, "--check"]),
        output(&["--config", config]),
    );

    let told = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(0), "{told}");
    assert_eq!(
        told.matches("warning: the variable NO_SUCH_VARIABLE is not set here")
            .count(),
        2
    );
    assert_eq!(
        String::from_utf8_lossy(&checked.stdout),
        "the configuration can be served here: handlers 1, schedules 0\n"
    );
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{told}");
    assert!(told.contains("steadfast.toml:2:7"), "{told}");
    assert!(told.contains("steadfast.toml:9:10"), "{told}");
}

#[test]
fn a_store_that_a_file_names_may_come_with_that_file() {
    let folder = Folder::new("store-file");
    let place = folder.path().join("place");
    let config = folder.configure_at(
        &format!("file:{}", place.display()),
        &shell("a", "true", ""),
    );
    let check = |expect: &str| {
        for (also, code) in [(&["--check"][..], 78), (&[], 1)] {
            let refused = output(&[&["--config", config.to_str().unwrap()], also].concat());
            let told = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(code), "{told}");
            assert!(
                told.contains(expect) && told.contains("steadfast.toml:2:7"),
                "{told}"
            );
        }
    };

    check("cannot open ");
    std::fs::write(&place, "\n").unwrap();
    check(" is empty");
    // Half of it is written.
    std::fs::write(&place, "postg").unwrap();
    check("store.url is no place of a store");
}

/// A copy of the program for anybody: the one that is tested may be where nobody else comes to.
fn by_nobody(folder: &Folder, args: &[&str]) -> Output {
    let program = folder.path().join("steadfast");
    if !program.exists() {
        std::fs::hard_link(env!("CARGO_BIN_EXE_steadfast"), &program)
            .or_else(|_| std::fs::copy(env!("CARGO_BIN_EXE_steadfast"), &program).map(drop))
            .unwrap();
    }
    let mut command = Command::new(&program);
    command.arg("serve").args(args).env_remove("RUST_LOG");
    command.uid(65_534).gid(65_534).output().unwrap()
}

#[test]
fn a_look_by_somebody_else_does_not_refuse_what_root_may() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = Folder::new("rights");
    let config = folder.configure(&shell("a", "true", "user = \"root\""));
    let look = ["--check", "--config", config.to_str().unwrap()];

    assert_eq!(output(&look).stderr, b"");
    let told = by_nobody(&folder, &look);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    let told = String::from_utf8_lossy(&told.stderr);
    assert!(
        told.starts_with("warning: only root can run a program as \"root\""),
        "{told}"
    );
}

#[test]
fn a_file_that_may_not_be_read_is_a_warning_to_others_and_ends_no_server_for_good() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = Folder::new("closed");
    let closed = folder.path().join("closed");
    let path = closed.display();
    std::fs::write(&closed, "").unwrap();
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o600)).unwrap();
    let well = shell("a", "true", "");
    let http = "[handlers.b]\nhttp = \"https://127.0.0.1:1/\"\n";
    let (open, key) = (folder.path().join("certificate"), folder.path().join("key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&open)
        .output();
    assert!(made.unwrap().status.success());
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "x".repeat(32)).unwrap();
    for (store, rest) in [
        (format!("file:{path}"), well.clone()),
        (
            "sqlite:jobs.db".into(),
            format!("{http}secret = \"file:{path}\"\n"),
        ),
        (
            "sqlite:jobs.db".into(),
            format!(
                "{http}secret = \"file:{}\"\nca = \"{path}\"\n",
                secret.display()
            ),
        ),
        (
            "sqlite:jobs.db".into(),
            format!(
                "tls_certificate = \"{}\"\ntls_key = \"{}\"\n{well}",
                open.display(),
                key.display()
            ),
        ),
    ] {
        let config = folder.configure_at(&store, &rest);
        let config = ["--config", config.to_str().unwrap()];

        let looked = by_nobody(&folder, &[&config[..], &["--check"]].concat());
        let started = by_nobody(&folder, &config);

        let told = String::from_utf8_lossy(&looked.stderr);
        assert_eq!(looked.status.code(), Some(0), "{told}");
        assert!(
            told.starts_with("warning: ") && told.contains("Permission denied"),
            "{told}"
        );
        let told = String::from_utf8_lossy(&started.stderr);
        assert_eq!(started.status.code(), Some(1), "{told}");
        assert!(told.contains("Permission denied"), "{told}");
    }
}

#[test]
fn a_store_is_in_the_folder_of_its_file_and_a_token_makes_none() {
    let folder = Folder::new("beside");
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let config = folder.configure_at("sqlite:jobs.db", &shell("a", "true", ""));
    let token = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command.args(["admin", "token", "create", "--name", "a", "--config"]);
        command.arg(&config).current_dir(&elsewhere);
        command.output().unwrap()
    };

    let nowhere = token();
    let told = String::from_utf8_lossy(&nowhere.stderr);
    assert_eq!(nowhere.status.code(), Some(4), "{told}");
    let store = folder.store();
    let expect = format!("error[SF-2205]: there is no store at {}\n", store.display());
    assert!(told.starts_with(&expect), "{told}");
    assert!(!store.exists());

    let mut server = Server::start(&config);
    server.line_with("ready");
    server.stop();
    let made = token();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);

    // Whoever cannot read the configuration is told so, and not that the store has failed.
    std::fs::write(&config, "[stroe]\n").unwrap();
    let refused = token();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{told}");
    assert!(told.starts_with("error[SF-2102]"), "{told}");
}

#[test]
fn it_tells_whether_it_is_alive_and_ready_and_its_numbers() {
    let folder = Folder::new("health");
    let mut server = Server::start(&folder.configure(&shell("nothing", "true", "")));
    server.line_with("ready");

    let (alive, ready) = (server.get("/livez"), server.get("/readyz"));
    let metrics = server.get("/metrics");

    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(ready.ends_with(r#"{"ready":true,"reasons":[]}"#), "{ready}");
    assert!(metrics.contains("steadfast_jobs_permits 16"), "{metrics}");
    server.stop();
}

#[test]
fn a_store_that_is_away_is_waited_for_and_told_as_a_reason() {
    let folder = Folder::new("away");
    // A port that was free a moment ago: nobody answers there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let config = folder.path().join("steadfast.toml");
    let text = format!(
        "[store]\nurl = \"postgres://nobody@{address}/nothing\"\n[health]\nlisten = \"127.0.0.1:0\"\n[api]\nenabled = false\n{}",
        shell("nothing", "true", "")
    );
    std::fs::write(&config, text).unwrap();
    let mut server = Server::start(&config);
    let told = server.line_with("the store cannot be opened; it is tried again");

    let (alive, ready) = (server.get("/livez"), server.get("/readyz"));

    assert!(told.contains("cannot reach the database"), "{told}");
    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(ready.contains(r#""reason":"starting""#), "{ready}");
    server.stop();
}

#[tokio::test]
async fn a_schedule_of_the_file_makes_jobs_that_know_what_they_are_about() {
    let folder = Folder::new("schedule");
    let schedule = "[schedules.tick]\nrule = \"every 1s\"\npayload = '{\"n\": 1}'\n";
    let script = "echo $STEADFAST_SCHEDULE $STEADFAST_OCCURRENCE";
    let server =
        Server::start(&folder.configure(&format!("{}{schedule}", shell("tick", script, ""))));
    let jobs = jobs(&folder).await;

    let since = clock::now();
    let job = loop {
        let done = steadfast::jobs::Filter::state(State::Completed);
        if let Some(job) = jobs.list(&done, 1).await.unwrap().jobs.first() {
            break jobs.find(job.id).await.unwrap().unwrap();
        }
        assert!(clock::now() - since < PATIENCE, "no job was made");
        clock::sleep(Duration::from_millis(50)).await;
    };

    assert_eq!(job.payload, "{\"n\": 1}");
    let result: serde_json::Value = job.result().unwrap().unwrap();
    let output = result["output"].as_str().unwrap();
    assert!(
        output.starts_with("tick 20") && output.ends_with("Z\n"),
        "{output}"
    );
    server.stop();
}

#[tokio::test]
async fn a_program_that_runs_at_the_end_is_let_end_and_its_job_is_done() {
    let folder = Folder::new("drained");
    let gate = folder.path().join("gate");
    // Goes on until the test lets it.
    let script = format!(
        "echo up > {0}/up; until [ -e {0}/gate ]; do sleep 0.02; done; echo done",
        folder.path().display()
    );
    let mut server = Server::start(&folder.configure(&format!(
        "[shutdown]\ndrain = \"10m\"\n{}",
        shell("long", &script, "")
    )));
    let jobs = jobs(&folder).await;
    let id = enqueue(&jobs, "long", "null", 1).await;
    until(&jobs, id, |_| folder.path().join("up").exists()).await;

    server.signal("TERM");
    server.line_with("shutdown");
    std::fs::write(gate, "").unwrap();
    let (code, rest) = server.ended();

    assert_eq!(code, Some(0), "{rest}");
    until_state(&jobs, id, State::Completed).await;
}

#[tokio::test]
async fn a_program_that_takes_longer_than_the_end_is_handed_back_without_spending_an_attempt() {
    let folder = Folder::new("handed-back");
    let alive = Alive::new("serve-handed-back");
    let rest = format!(
        "[shutdown]\ndrain = \"100ms\"\n{}",
        shell("long", &alive.held("true"), "")
    );
    let mut server = Server::start(&folder.configure(&rest));
    let jobs = jobs(&folder).await;
    let id = enqueue(&jobs, "long", "null", 1).await;
    let watched = alive.watch();

    server.signal("TERM");
    let (code, rest) = server.ended();

    assert_eq!(code, Some(0), "{rest}");
    until_all_have_ended(watched);
    let job = jobs.find(id).await.unwrap().unwrap();
    assert_eq!(
        (job.info.state, job.info.attempt),
        (State::Pending, 0),
        "{job:?}"
    );
}

#[tokio::test]
async fn a_program_that_is_slow_to_end_has_all_of_its_time_and_its_job_is_handed_back() {
    // Longer than the end of the server takes that has no such program.
    const SLOW: &str = "12";
    if !is_long() {
        return;
    }
    let folder = Folder::new("slow-to-end");
    let dir = folder.path().display();
    let script = format!(
        "trap 'sleep {SLOW}; echo well > {dir}/ended; exit 0' TERM; echo up > {dir}/up; sleep 1000 & wait"
    );
    let rest = format!(
        "[shutdown]\ndrain = \"100ms\"\n{}",
        shell("slow", &script, "stop_within = \"60s\"")
    );
    let mut server = Server::start(&folder.configure(&rest));
    let jobs = jobs(&folder).await;
    let id = enqueue(&jobs, "slow", "null", 1).await;
    until(&jobs, id, |_| folder.path().join("up").exists()).await;

    server.signal("TERM");
    let (code, rest) = server.ended();

    assert_eq!(code, Some(0), "{rest}");
    assert!(folder.path().join("ended").exists(), "{rest}");
    let job = jobs.find(id).await.unwrap().unwrap();
    let is = (job.info.state, job.info.attempt, job.info.crashes);
    assert_eq!(is, (State::Pending, 0, 0), "{job:?}");
}

#[tokio::test]
async fn a_server_that_is_killed_takes_all_that_runs_with_it_and_another_one_runs_the_jobs() {
    let folder = Folder::new("killed-server");
    let alive = Alive::new("serve-killed-server");
    // The first run goes on, also in what it has started; those after it are done at once.
    let script = format!(
        "if [ $STEADFAST_TERM = 1 ]; then {}; fi; echo term $STEADFAST_TERM",
        alive.held("{ (sleep 1000; :) & }")
    );
    let config = folder.configure(&shell("long", &script, ""));
    let mut first = Server::start(&config);
    let jobs = jobs(&folder).await;
    let id = enqueue(&jobs, "long", "null", 1).await;
    let watched = alive.watch();

    first.signal("KILL");
    first.ended();
    until_all_have_ended(watched);
    let second = Server::start(&config);

    let job = until_state(&jobs, id, State::Completed).await;
    let result: serde_json::Value = job.result().unwrap().unwrap();
    let output = result["output"].as_str().unwrap();
    assert_eq!(output, format!("term {}\n", job.info.term));
    assert!(job.info.term > 1);
    second.stop();
}

#[test]
fn systemd_is_told_when_it_is_up_ready_and_ending() {
    let folder = Folder::new("systemd");
    let path = folder.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut text = [0; 200];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let config = folder.configure(&shell("nothing", "true", ""));
    let mut server = Server::start_with(&config, &[("NOTIFY_SOCKET", path.to_str().unwrap())]);

    assert_eq!(told(), "READY=1\nSTATUS=the store is being opened");
    assert_eq!(told(), "STATUS=ready");
    server.signal("TERM");
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(server.ended().0, Some(0));

    // That nobody hears it is no reason not to work.
    drop(socket);
    let mut server = Server::start_with(&config, &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    server.line_with("systemd cannot be told");
    server.line_with("ready");
    server.stop();
}

#[test]
fn a_server_that_is_told_to_end_drops_nothing_on_its_way() {
    let folder = Folder::new("drops-nothing");
    let config = folder.configure(&shell("nothing", "true", ""));
    let mut server = Server::start(&config);
    server.line_with("ready");

    server.signal("TERM");
    let (code, rest) = server.ended();

    assert_eq!(code, Some(0), "{rest}");
    assert!(!rest.contains("task was dropped"), "{rest}");
}
