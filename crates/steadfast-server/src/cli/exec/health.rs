//! Whether the program still works, as seen from outside.

use std::time::Duration;

use steadfast::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// So many checks in a row that fail are a hang: three, so that one lost packet or one long pause is
/// none.
const FAILURES_MAX: u32 = 3;

/// How much of an answer is read: enough for its first line.
const ANSWER_BYTES_MAX: u64 = 1024;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    address: String,
    /// Without one it is enough to be accepted.
    path: Option<String>,
}

impl Check {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let (address, path) = if let Some(rest) = url.strip_prefix("http://") {
            let split = rest.find('/').unwrap_or(rest.len());
            let path = &rest[split..];
            let path = if path.is_empty() { "/" } else { path };
            (&rest[..split], Some(path.to_owned()))
        } else if let Some(address) = url.strip_prefix("tcp://") {
            (address, None)
        } else {
            return Err("write http://HOST:PORT/PATH or tcp://HOST:PORT".to_owned());
        };
        let port = address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) || path.as_deref().is_some_and(has_control) {
            return Err("write http://HOST:PORT/PATH or tcp://HOST:PORT, with the port".to_owned());
        }
        Ok(Self {
            address: address.to_owned(),
            path,
        })
    }

    /// Asks until it hangs; gives why.
    ///
    /// Checks count from the first that succeeds, or from the end of the grace period.
    pub(super) async fn until_hung(&self, every: Duration, grace: Duration) -> String {
        let grace_ends = clock::now() + grace;
        let mut failures = 0;
        let mut was_well = false;
        loop {
            let next = clock::now() + every;
            let asked = match clock::timeout(every, self.ask()).await {
                Ok(asked) => asked,
                Err(_) => Err(format!("no answer within {every:?}")),
            };
            match asked {
                Ok(()) => (failures, was_well) = (0, true),
                Err(why) if was_well || clock::now() >= grace_ends => {
                    failures += 1;
                    tracing::warn!(target: "steadfast::exec", failures, "health check: {why}");
                    if failures == FAILURES_MAX {
                        return why;
                    }
                }
                Err(_) => {}
            }
            clock::sleep_until(next).await;
        }
    }

    async fn ask(&self) -> Result<(), String> {
        let connected = TcpStream::connect(&self.address).await;
        let mut stream = connected.map_err(|error| format!("{}: {error}", self.address))?;
        let Some(path) = &self.path else {
            return Ok(());
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: steadfast\r\nconnection: close\r\n\r\n",
            self.address
        );
        let broken = |error: std::io::Error| format!("{}: {error}", self.address);
        stream.write_all(request.as_bytes()).await.map_err(broken)?;
        let mut answer = Vec::new();
        let mut bounded = stream.take(ANSWER_BYTES_MAX);
        while !answer.contains(&b'\n') {
            if bounded.read_buf(&mut answer).await.map_err(broken)? == 0 {
                break;
            }
        }
        match status_of(&answer) {
            Some(status) if status < 400 => Ok(()),
            Some(status) => Err(format!("{path} answers {status}")),
            None => Err(format!("{path} gives no answer of HTTP")),
        }
    }
}

fn has_control(path: &str) -> bool {
    path.chars().any(|c| c.is_control() || c == ' ')
}

fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let status = line.strip_prefix("HTTP/1.")?.get(2..5)?;
    status.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_read_from_its_url() {
        let check = |url: &str, address: &str, path: Option<&str>| {
            let parsed = Check::parse(url).unwrap();
            assert_eq!(parsed.address, address);
            assert_eq!(parsed.path.as_deref(), path);
        };

        check("http://127.0.0.1:80/ok?x", "127.0.0.1:80", Some("/ok?x"));
        check("http://localhost:80", "localhost:80", Some("/"));
        check("tcp://[::1]:5432", "[::1]:5432", None);
        for wrong in [
            "",
            "https://a:1/",
            "http://a/",
            "tcp://a",
            "http://a:1/ b",
            "tcp://a:x",
        ] {
            assert!(Check::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_first_line_of_an_answer_matters() {
        assert_eq!(status_of(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(status_of(b"HTTP/1.0 503\r\n"), Some(503));
        for wrong in [
            &b""[..],
            b"HTTP/1.1",
            b"HTTP/2 200",
            b"SSH-2.0",
            b"HTTP/1.1 2\xff0 ",
        ] {
            assert_eq!(status_of(wrong), None);
        }
    }
}
