//! The status that is watched: in place on a terminal, and block by block elsewhere.

use std::net::TcpListener;
use std::process::ChildStdout;

use super::served::Served;
use super::*;
use crate::dev::screen;

/// Reads on until what was written is as it should be; gives all of it.
fn until(out: &mut ChildStdout, written: &mut Vec<u8>, wanted: impl Fn(&str) -> bool) -> String {
    loop {
        let text = String::from_utf8_lossy(written).into_owned();
        if wanted(&text) {
            return text;
        }
        let mut chunk = [0; 4_096];
        let read = out.read(&mut chunk).unwrap();
        assert_ne!(read, 0, "{text}");
        written.extend_from_slice(&chunk[..read]);
    }
}

fn watching(served: &Served, token: &str, mut command: Command) -> Child {
    command
        .env("STEADFAST_SERVER", format!("http://{}", served.address))
        .env("STEADFAST_TOKEN", token)
        .env("TERM", "xterm")
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn the_status_is_written_anew_in_place_on_a_terminal_and_in_blocks_elsewhere() {
    let served = Served::start("watch", &shell("nothing", "true", ""));
    let admin = served.token("admin");
    // It makes a terminal, as one that people sit at.
    let mut terminal = Command::new("script");
    let command = format!("exec {} status --watch", env!("CARGO_BIN_EXE_steadfast"));
    terminal.args(["-qefc", &command, "/dev/null"]);
    let mut seen = watching(&served, &admin, terminal);
    let mut plain = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    plain.args(["status", "--watch"]);
    let mut blocks = watching(&served, &admin, plain);
    let (mut out, mut other) = (seen.stdout.take().unwrap(), blocks.stdout.take().unwrap());
    let (mut drawn, mut told) = (Vec::new(), Vec::new());
    let none = |text: &str| text.contains("ended      0 completed");
    until(&mut out, &mut drawn, none);
    until(&mut other, &mut told, none);

    served.told(&admin, &["jobs", "run", "nothing", "--reason", "x"]);

    let drawn = until(&mut out, &mut drawn, |text| {
        let lines = screen(text);
        lines
            .iter()
            .any(|line| line.starts_with("ended      1 completed"))
    });
    let lines = screen(&drawn);
    let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("steadfast "), count("ended ")), (1, 1), "{lines:?}");
    assert!(drawn.matches("steadfast ").count() >= 2, "{drawn}");
    assert!(
        !drawn.contains("\x1b[3") && !drawn.contains("\x1b[1m"),
        "no colors: {drawn:?}"
    );
    let told = until(&mut other, &mut told, |text| {
        text.contains("ended      1 completed")
    });
    assert!(told.matches("steadfast ").count() >= 2, "{told}");
    assert!(!told.contains('\x1b'), "{told:?}");
    for child in [&mut seen, &mut blocks] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    served.server.stop();
}

#[test]
fn a_watch_goes_on_after_an_answer_that_is_lost_and_says_so() {
    let served = Served::start("watch-lost", &shell("nothing", "true", ""));
    let admin = served.token("admin");
    let between = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut watch = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    watch
        .args(["status", "--watch"])
        .env(
            "STEADFAST_SERVER",
            format!("http://{}", between.local_addr().unwrap()),
        )
        .env("STEADFAST_TOKEN", &admin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut watch = watch.spawn().unwrap();
    let mut out = watch.stdout.take().unwrap();
    let mut errors = BufReader::new(watch.stderr.take().unwrap());
    let answers =
        |times: usize| move |text: &str| text.matches("ended      0 completed").count() == times;
    let mut told = Vec::new();

    pass_one(&between, &served.address);
    until(&mut out, &mut told, answers(1));
    drop(between.accept().unwrap());
    let mut lost = String::new();
    errors.read_line(&mut lost).unwrap();
    assert!(lost.contains("error"), "{lost}");

    // Beside: one that has ended asks no more, and is seen to have ended.
    let address = served.address.clone();
    std::thread::spawn(move || pass_one(&between, &address));
    until(&mut out, &mut told, answers(2));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

/// Passes one request on, and its answer back; then the connection ends.
fn pass_one(between: &TcpListener, address: &str) {
    let (mut client, _) = between.accept().unwrap();
    let mut server = TcpStream::connect(address).unwrap();
    let mut request = vec![0; 16_384];
    let read = client.read(&mut request).unwrap();
    let request = String::from_utf8_lossy(&request[..read]).into_owned();
    let closing = request.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1);
    server.write_all(closing.as_bytes()).unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).unwrap();
    client.write_all(&answer).unwrap();
}
