use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

use crate::serve::Folder;

fn steadfast(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.args(args).output().unwrap()
}

fn check(args: &[&str], code: i32, stdout: &str, stderr: &str) {
    let output = steadfast(args);
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout, "{args:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), stderr, "{args:?}");
    assert_eq!(output.status.code(), Some(code), "{args:?}");
}

#[test]
fn help_says_what_there_is() {
    check(
        &["--help"],
        0,
        "\
Keeps services up

Usage: steadfast <COMMAND>

Commands:
  dev          Runs a small shop that you can hurt, and shows what becomes of it
  drill        Hurts a shop of its own on purpose, and tells whether its customers noticed: about a minute
  serve        Runs schedules and jobs, as a file says
  doctor       Finds what is wrong with a configuration, a service or a project, and says how to put it right
  batches      Finds how many rows a batch should have
  ids          Reads ids, hands them out, and proves that none is there twice
  exec         Runs a program of yours, and keeps it up
  status       Shows how a server and its store are
  jobs         Looks at jobs, and changes what becomes of them
  schedules    Looks at schedules, and changes them
  nodes        Looks at the processes that share the store
  panics       Looks at what has panicked in a server
  routes       Looks at what a service serves and calls, and takes a hand to it for a while
  policy       Looks at the policy of a service, checks one, and puts another in force
  audit        Looks at who did what
  admin        Says who may use the API
  db           Brings the tables of the store up to date, and copies it
  completions  Writes what a shell needs to complete commands
  man          Writes the pages of the manual
  help         Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help
  -V, --version  Print version
",
        "",
    );
}

#[test]
fn an_address_that_is_none_is_refused_with_the_option() {
    check(
        &["dev", "--listen", "nowhere"],
        2,
        "",
        "\
error[SF-2310]: invalid value 'nowhere' for '--listen <ADDRESS>': invalid socket address syntax
  fix: see `--help` of the command

For more information, try '--help'.
",
    );
}

#[test]
fn an_address_that_is_taken_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let output = steadfast(&["dev", "--listen", &address]);

    let stderr = String::from_utf8_lossy(&output.stderr);
    let expected = format!(
        "error: cannot listen on {address} (SF-2309): choose another address with --listen\n"
    );
    assert!(stderr.contains(&expected), "{stderr}");
    assert!(
        stderr.contains("because: Address already in use"),
        "{stderr}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_is_not_understood_is_told_with_a_code_and_what_to_write() {
    let check = |args: &[&str], expect: &str| {
        let output = steadfast(args);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.starts_with("error[SF-2310]: "), "{told}");
        assert!(told.contains(expect), "{told}");
    };
    check(
        &["jobs", "list", "--limit", "many"],
        "\n  fix: write a whole number\n",
    );
    let gaps = ["schedules", "backfill", "a", "--reason", "x"];
    check(
        &[
            &gaps[..],
            &["--from", "2026-11-01", "--to", "2026-12-01T00:00:00Z"],
        ]
        .concat(),
        "\n  fix: write a point in time with its zone: 2026-12-01T00:00:00Z\n",
    );
    check(&["jobz"], "a similar subcommand exists: 'jobs'");
    check(
        &["exec", "--supervise", "--backoff-max", "1ms", "--", "true"],
        "longest wait 1ms is shorter than the first wait 100ms",
    );
    // What only counts where something is restarted.
    check(&["exec", "--restarts", "9", "--", "true"], "--supervise");

    let output = steadfast(&["jobs", "list", "--json", "--limit", "many"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(told["version"], 1);
    assert_eq!(told["error"]["code"], "SF-2310");
    assert_eq!(told["error"]["fix"], "write a whole number");
    let help = steadfast(&["jobs", "list", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    // Its own options, and whom to ask.
    let help = String::from_utf8_lossy(&help.stdout);
    let (own, of_server) = help.split_once("\nServer:\n").unwrap();
    assert!(
        own.contains("--limit") && !own.contains("--token-file"),
        "{help}"
    );
    assert!(of_server.contains("--token-file"), "{help}");
}

#[test]
fn a_token_is_not_sent_to_another_machine_in_clear_unless_that_is_said() {
    // An address as any other, where nobody listens.
    const AWAY: &str = "http://0.0.0.0:1";
    let ask = |args: &[&str], token: &str, in_clear: &str| {
        let asked = Command::new(env!("CARGO_BIN_EXE_steadfast"))
            .args(args)
            .env("STEADFAST_TOKEN", token)
            .env("STEADFAST_IDS_TOKEN", token)
            .env("STEADFAST_IN_CLEAR", in_clear)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&asked.stderr).into_owned();
        (asked.status.code(), told)
    };
    let status = ["status", "--server", AWAY];
    let ids = ["ids", "next", "orders", "--at", AWAY];

    let refused = "\
error[SF-2302]: the token would cross the network in clear
  because: http://0.0.0.0:1 is another machine, by http://
  fix: ask by https://, or through a tunnel to 127.0.0.1; say --in-clear where nobody else is on the way
";
    assert_eq!(ask(&status, "secret", ""), (Some(1), refused.to_owned()));
    assert_eq!(ask(&ids, "secret", "0"), (Some(1), refused.to_owned()));
    let said = [&status[..], &["--in-clear"]].concat();
    for (code, told) in [
        ask(&said, "secret", ""),
        ask(&ids, "secret", "1"),
        ask(&status, "", ""),
        ask(&["status", "--server", "http://localhost:1"], "secret", ""),
    ] {
        assert_eq!(code, Some(7), "{told}");
    }
}

#[test]
fn completions_and_pages_are_made_of_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let written = steadfast(&["completions", shell]);
        let text = String::from_utf8_lossy(&written.stdout);
        assert!(
            text.contains("redrive") && text.contains("generate-config"),
            "{shell}"
        );
    }
    let folder = std::env::temp_dir().join(format!("steadfast-man-{}", std::process::id()));
    let written = steadfast(&["man", "--output", folder.to_str().unwrap()]);
    assert_eq!(written.status.code(), Some(0));
    let page = std::fs::read_to_string(folder.join("steadfast-jobs-redrive.1")).unwrap();
    assert!(page.contains("Puts some ended jobs back to work"), "{page}");
    assert!(
        page.contains(".SH \"EXIT STATUS\"\n.TP\n\\fB0\\fR\ndone\n"),
        "{page}"
    );
    std::fs::remove_dir_all(folder).unwrap();

    let refused = steadfast(&["man", "--output", "/dev/null/pages"]);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        told.starts_with("error[SF-2300]: cannot write pages to /dev/null/pages"),
        "{told}"
    );
}

/// Answers one request as somebody else's service does; gives its address.
fn somebody_else(status: &'static str, kind: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
    });
    address
}

#[test]
fn what_somebody_else_answers_is_not_taken_for_ours() {
    let of_another = r#"{"type":"about:blank","title":"t","status":404,"code":"E1","detail":"d"}"#;
    for (kind, body) in [
        ("application/json", r#"{"detail":"Not Found"}"#),
        ("application/problem+json", r#"{"detail":"Not Found"}"#),
        ("application/problem+json", of_another),
    ] {
        let address = somebody_else("404 Not Found", kind, body);
        check(
            &["status", "--server", &address],
            7,
            "",
            &format!(
                "error[SF-2303]: what is at {address} is not the API of steadfast: it has answered 404\n  fix: say with \
                 --server where [api] of the server listens, and below which path it is mounted\n"
            ),
        );
    }
}

#[test]
fn a_token_of_several_words_is_refused_before_anybody_is_asked() {
    let folder = Folder::new("token-words");
    let file = folder.path().join("token");
    std::fs::write(&file, "sf_1\nsf_2\n").unwrap();
    let file = file.to_str().unwrap();

    for args in [
        &["status", "--server", "http://127.0.0.1:9"][..],
        &["ids", "next", "order", "--at", "http://127.0.0.1:9"],
    ] {
        check(
            &[args, &["--token-file", file]].concat(),
            5,
            "",
            "\
error[SF-2306]: what is given as the token is none
  fix: give the token as `steadfast admin token create` has printed it: one word, alone in its file
",
        );
    }
}

#[test]
fn a_store_that_cannot_be_looked_at_is_not_told_as_one_that_is_not_there() {
    let folder = Folder::new("store-loop");
    let place = folder.path().join("loop");
    std::os::unix::fs::symlink(&place, &place).unwrap();
    let config = folder.configure_at(&format!("sqlite:{}", place.display()), "");

    let listed = steadfast(&[
        "admin",
        "token",
        "list",
        "--config",
        config.to_str().unwrap(),
    ]);

    assert_eq!(listed.status.code(), Some(1));
    let told = String::from_utf8_lossy(&listed.stderr);
    let expect = format!(
        "error[SF-2300]: cannot look at the store at {}\n",
        place.display()
    );
    assert!(told.starts_with(&expect), "{told}");
}
