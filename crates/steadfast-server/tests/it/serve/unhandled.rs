//! Kinds that have lost their handler.

use super::served::{Served, text};
use super::*;

#[test]
fn jobs_that_nobody_does_are_told_in_the_log_in_the_status_and_by_the_doctor() {
    let nightly = "[schedules.nightly]\nrule = \"@yearly\"\nhandler = \"backup\"\n";
    let before = format!("{}{nightly}", shell("backup", "true", ""));
    let served = Served::start("unhandled", &before);
    let admin = served.token("admin");
    let status = served.told(&admin, &["status"]);
    assert!(!status.contains("NONE"), "{status}");
    // Whoever deletes what the file has is told that it comes back.
    let deleted = served.ask(&admin, &["schedules", "delete", "nightly", "--reason", "x"]);
    assert_eq!(
        text(&deleted.stderr),
        "warning: the configuration of this server has the schedule nightly, and its next start adds it again\n"
    );
    let args = ["jobs", "run", "other", "--queue", "nope", "--reason", "x"];
    let ran = text(&served.ask(&admin, &args).stderr);
    assert!(
        ran.contains("no node claims from the queue \"nope\" now: the job waits until one does"),
        "{ran}"
    );
    let Served { folder, server, .. } = served;
    server.stop();
    let mut server = Server::start(&folder.configure(&before));
    server.line_with("ready");
    server.stop();

    let lease = "[node]\nlease = \"1s\"\n";
    let config = folder.configure(&format!("{lease}{}", shell("other", "true", "")));
    let mut server = Server::start(&config);
    let others = server.line_with("the store has schedules that the file does not have");
    assert!(others.contains("names=\"nightly\""), "{others}");
    let served = server.line_with("the API is served");
    let told = server.line_with("no node has a handler of the kind backup");
    assert!(
        told.contains("0 jobs of it wait, and more are made by the schedule nightly"),
        "{told}"
    );
    assert!(
        told.contains("`steadfast schedules delete nightly --reason WHY`"),
        "{told}"
    );
    let told = server.line_with("no node claims from the queue nope: 1 job of it waits");
    assert!(told.contains("add [queues.nope]"), "{told}");
    let address = served.split("address=").nth(1).unwrap();
    let ask = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        let server = format!("http://{}", address.split_whitespace().next().unwrap());
        command
            .args(args)
            .env("STEADFAST_SERVER", server)
            .env("STEADFAST_TOKEN", &admin);
        text(&command.output().unwrap().stdout)
    };
    let status = ask(&["status"]);
    assert!(status.contains("handlers   NONE for backup\n"), "{status}");
    let found = ask(&["doctor", "--config", config.to_str().unwrap()]);
    assert!(
        found.contains("warn  store.handlers      no node has a handler of the kind backup"),
        "{found}"
    );

    assert!(
        found.contains("ok    store.schedules     in the store and not in the configuration, made by others or taken out of it: nightly;"),
        "{found}"
    );

    let nope = "nodes      NONE CLAIMS FROM nope\n";
    assert!(status.contains(nope), "{status}");
    let nope = "warn  store.queues        no node claims from the queue nope";
    assert!(found.contains(nope), "{found}");

    assert_eq!(
        ask(&["jobs", "cancel", "1", "--reason", "x"]),
        "job 1 is cancelled\n"
    );
    assert_eq!(
        ask(&["schedules", "delete", "nightly", "--reason", "x"]),
        "schedule nightly: deleted\n"
    );
    assert!(!ask(&["status"]).contains("NONE"));
    server.stop();
}

#[test]
fn a_node_that_is_started_anew_is_waited_for_before_its_kinds_are_told() {
    let served = Served::start("anew", &shell("here", "true", ""));
    let admin = served.token("admin");
    let there = Folder::new("anew-there");
    let store = format!("sqlite:{}", served.folder.path().join("jobs.db").display());
    let config = there.configure_at(&store, &shell("there", "true", ""));
    let mut other = Server::start(&config);
    other.line_with("ready");
    other.stop();
    let args = ["jobs", "run", "there", "--reason", "x"];
    served.told(&admin, &args);

    let status = served.told(&admin, &["status"]);

    assert!(status.contains("jobs       1 pending"), "{status}");
    assert!(!status.contains("NONE"), "{status}");
    served.server.stop();
}

#[test]
fn whoever_says_no_token_or_asks_somebody_else_is_told_so() {
    let served = Served::start("first-contact", &shell("nothing", "true", ""));
    let admin = served.token("admin");

    let nobody = served.ask("", &["jobs", "list"]);
    assert_eq!(nobody.status.code(), Some(5));
    let told = text(&nobody.stderr);
    assert!(
        told.starts_with("error[SF-2202]: no token\n  fix: set STEADFAST_TOKEN or --token-file"),
        "{told}"
    );

    let health = format!("http://{}", served.server.health);
    let other = served.ask(&admin, &["jobs", "list", "--server", &health]);
    assert_eq!(other.status.code(), Some(7));
    let told = text(&other.stderr);
    let expect = format!(
        "error[SF-2303]: what is at {health} is not the API of steadfast: it has answered 404\n"
    );
    assert!(told.starts_with(&expect), "{told}");
    served.server.stop();
}

#[test]
fn a_proxy_whose_server_is_away_is_told_from_the_server() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let proxy = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        let page = "<html><h1>502 Bad Gateway</h1>nginx</html>";
        write!(
            stream,
            "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{page}",
            page.len()
        )
        .unwrap();
    });

    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    let asked = command
        .args(["jobs", "list", "--server", &url])
        .env("STEADFAST_TOKEN", "sf_x");
    let asked = asked.output().unwrap();

    assert_eq!(asked.status.code(), Some(7));
    let told = text(&asked.stderr);
    let expect = format!(
        "error[SF-2304]: a proxy answered for the API at {url}: 502\n  fix: see that `steadfast serve` runs behind it"
    );
    assert!(told.starts_with(&expect), "{told}");
    proxy.join().unwrap();
}

#[test]
fn a_store_in_a_folder_that_is_not_there_is_waited_for_with_what_to_do_about_a_file() {
    let folder = Folder::new("no-folder");
    let config = folder.configure_at("sqlite:gone/jobs.db", &shell("nothing", "true", ""));
    let mut server = Server::start(&config);

    let told = server.line_with("the store cannot be opened; it is tried again");

    assert!(told.contains("fix=\"make the folder of the file"), "{told}");
    std::fs::create_dir(folder.path().join("gone")).unwrap();
    server.line_with("ready");
    server.stop();
}
