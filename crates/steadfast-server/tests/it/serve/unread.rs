use super::*;

/// A server, and the address of its API, which has a line for each request.
fn started(folder: &Folder) -> (Server, String) {
    let mut server = Server::start(&folder.configure(&shell("noop", "true", "")));
    let told = server.line_with("the API is served");
    let (_, address) = told.split_once("address=").unwrap();
    let address = address.split_whitespace().next().unwrap().to_owned();
    (server, address)
}

/// Asks for something that is not there, by a path so long that its line has more than a KiB.
fn ask(address: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let path = "x".repeat(2_000);
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
}

#[test]
fn where_lines_are_json_what_is_told_at_the_start_is_so_too() {
    let folder = Folder::new("json-start");
    let json = "[log]\nformat = \"json\"\n[handlers.gone]\nexec = [\"/nowhere/program\"]\n";
    let config = folder.configure(json);
    let mut child = serve(&["--config", config.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap());
    let mut server = Server {
        child,
        lines,
        health: String::new(),
    };

    let (mut is_warned, mut is_told) = (false, false);
    while !is_told {
        let line = server.line_with("");
        let told: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        is_warned |= told["level"] == "WARN" && line.contains("/nowhere/program");
        is_told = line.contains("health is told");
    }
    drop(server);
    assert!(is_warned);

    // And why it does not start.
    let listen = "[calls]\nlisten = \"127.0.0.1:4999\"\n[ids]\nlisten = \"127.0.0.1:4999\"\n";
    let config = folder.configure(&format!("{json}{listen}"));
    let refused = output(&["--config", config.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(78));
    let told: serde_json::Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!(told["error"]["code"], "SF-2102", "{told}");
}

#[test]
fn a_server_goes_on_while_nobody_reads_its_lines_and_says_later_how_many_were_lost() {
    let folder = Folder::new("unread");
    let (mut server, address) = started(&folder);

    // 3 MiB: more than the pipe has room for, what is in writing, and what waits.
    for _ in 0..3_000 {
        ask(&address);
    }

    let told = server.line_with("steadfast::log: ");
    assert!(told.contains(" lines were lost: "), "{told}");
    server.stop();
}

#[test]
fn a_server_ends_when_it_is_told_to_while_nobody_reads_its_lines() {
    let folder = Folder::new("unread-end");
    let (mut server, address) = started(&folder);
    // More than a pipe has room for.
    for _ in 0..200 {
        ask(&address);
    }

    server.signal("TERM");

    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn no_line_is_lost_that_somebody_reads() {
    let folder = Folder::new("read");
    let (mut server, address) = started(&folder);
    for _ in 0..20 {
        ask(&address);
    }

    server.signal("TERM");

    let (_, rest) = server.ended();
    assert_eq!(rest.matches("request ended").count(), 20, "{rest}");
    assert!(rest.contains("shutdown ended"), "{rest}");
    assert!(!rest.contains("lost"), "{rest}");
}
