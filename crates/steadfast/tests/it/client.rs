//! As much of curl as the documents use.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Runs `curl …` against `server`, whatever host the command names, and gives what curl prints.
pub(crate) fn run(command: &str, server: SocketAddr) -> String {
    let mut words = words(command).into_iter();
    assert_eq!(words.next().as_deref(), Some("curl"), "{command}");
    let (mut with_head, mut method, mut body) = (false, None, String::new());
    let (mut headers, mut url) = (Vec::new(), None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-i" => with_head = true,
            "-X" => method = words.next(),
            "-H" => headers.extend(words.next()),
            "-d" => body = words.next().unwrap(),
            word if word.starts_with("http://") => url = Some(word.to_owned()),
            other => panic!("{other:?} is not known here: {command}"),
        }
    }
    let url = url.expect("every call has a URL");
    let path = url["http://".len()..]
        .find('/')
        .map_or("/", |at| &url["http://".len() + at..]);
    let usual = if body.is_empty() { "GET" } else { "POST" };
    let mut request = format!(
        "{} {path} HTTP/1.1\r\nhost: page\r\n",
        method.as_deref().unwrap_or(usual)
    );
    for header in headers {
        request += &format!("{header}\r\n");
    }
    request += &format!("content-length: {}\r\n\r\n{body}", body.len());
    let (head, body) = exchange(&request, server);
    if with_head {
        format!("{head}\n{body}")
    } else {
        body
    }
}

/// Gives head and body of the answer; the connection stays open, as curl's does.
fn exchange(request: &str, server: SocketAddr) -> (String, String) {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        answer.read_line(&mut line).unwrap();
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        head += line;
        head.push('\n');
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

/// Splits a command as a shell does, with single quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in command.chars() {
        match c {
            '\'' => quoted ^= true,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
