//! Writes requests.

use std::io::Write;
use std::net::SocketAddr;

use crate::plan::{Class, Reuse};

/// A request with gaps for its number.
#[derive(Debug)]
pub(crate) struct Template {
    head: Vec<Piece>,
    body: Vec<Piece>,
    has_body: bool,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    /// The number, modulo this.
    Number(u64),
}

/// Written here, so that they are true.
const OURS: [&str; 3] = ["content-length", "transfer-encoding", "connection"];

impl Template {
    pub(crate) fn new(class: &Class) -> Result<Self, String> {
        let token = |text: &str| !text.is_empty() && text.bytes().all(is_token);
        let visible = |text: &str| {
            text.bytes()
                .all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
        };
        if !token(&class.method) {
            return Err(format!("`{}` is no method", class.method));
        }
        if !class.path.starts_with('/') || !visible(&class.path) || class.path.contains(' ') {
            return Err(format!("`{}` is no path", class.path));
        }
        let mut head = format!("{} {} HTTP/1.1\r\n", class.method, class.path);
        for (name, value) in &class.headers {
            if !token(name) || !visible(value) {
                return Err(format!("`{name}: {value}` is no header"));
            }
            if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
                return Err(format!("`{name}` is written without being named"));
            }
            head += &format!("{name}: {value}\r\n");
        }
        if class.reuse == Reuse::Never {
            head += "connection: close\r\n";
        }
        Ok(Template {
            head: pieces(&head),
            body: pieces(&class.body),
            has_body: !class.body.is_empty(),
        })
    }

    /// Replaces what is in `out`; `body` is room to write in.
    pub(crate) fn write(
        &self,
        number: u64,
        target: SocketAddr,
        out: &mut Vec<u8>,
        body: &mut Vec<u8>,
    ) {
        out.clear();
        fill(&self.head, number, out);
        // Writing to memory does not fail.
        let _ = write!(out, "host: {target}\r\n");
        if self.has_body {
            body.clear();
            fill(&self.body, number, body);
            let _ = write!(out, "content-length: {}\r\n", body.len());
        }
        out.extend_from_slice(b"\r\n");
        if self.has_body {
            out.extend_from_slice(body);
        }
    }
}

fn fill(pieces: &[Piece], number: u64, out: &mut Vec<u8>) {
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Number(modulus) => {
                let _ = write!(out, "{}", number % modulus);
            }
        }
    }
}

/// `{n}` and `{n%100}` are gaps; all other braces are text, as in JSON.
fn pieces(text: &str) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(open) = rest.find("{n") {
        let (before, gap) = rest.split_at(open);
        plain += before;
        let modulus = gap.find('}').and_then(|close| match &gap[2..close] {
            "" => Some((u64::MAX, close)),
            inner => {
                let modulus = inner.strip_prefix('%')?.parse().ok()?;
                (modulus > 0).then_some((modulus, close))
            }
        });
        match modulus {
            Some((modulus, close)) => {
                found.push(Piece::Text(std::mem::take(&mut plain)));
                found.push(Piece::Number(modulus));
                rest = &gap[close + 1..];
            }
            None => {
                plain += "{n";
                rest = &gap[2..];
            }
        }
    }
    plain += rest;
    found.push(Piece::Text(plain));
    found
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn written(class: &Class, number: u64) -> String {
        let template = Template::new(class).expect("the class is in order");
        let (mut out, mut body) = (b"old".to_vec(), Vec::new());
        template.write(
            number,
            "127.0.0.1:80".parse().expect("an address"),
            &mut out,
            &mut body,
        );
        String::from_utf8(out).expect("text in, text out")
    }

    fn class(method: &str, path: &str) -> Class {
        Class::new("c", method, path, Vec::new(), Duration::from_secs(1))
    }

    #[test]
    fn numbers_fill_the_gaps_and_the_length_follows() {
        let mut post = class("POST", "/orders/{n}");
        post.headers.push(("x-user".into(), "u{n%10}".into()));
        post.body = r#"{"item":{n},"note":"{name}"}"#.into();

        let written = written(&post, 123);

        assert_eq!(
            written,
            "POST /orders/123 HTTP/1.1\r\nx-user: u3\r\nhost: 127.0.0.1:80\r\ncontent-length: 28\r\n\r\n\
             {\"item\":123,\"note\":\"{name}\"}"
        );
    }

    #[test]
    fn a_short_connection_says_so() {
        let mut get = class("GET", "/");
        get.reuse = Reuse::Never;

        assert_eq!(
            written(&get, 0),
            "GET / HTTP/1.1\r\nconnection: close\r\nhost: 127.0.0.1:80\r\n\r\n"
        );
    }

    #[test]
    fn what_would_be_another_request_is_refused() {
        let mut split = class("GET", "/");
        split.headers.push(("x".into(), "1\r\ny: 2".into()));
        let mut length = class("GET", "/");
        length.headers.push(("Content-Length".into(), "1".into()));

        for wrong in [
            class("GET /", "/"),
            class("GET", "a"),
            class("GET", "/ x"),
            split,
            length,
        ] {
            assert!(Template::new(&wrong).is_err(), "{wrong:?}");
        }
    }
}
