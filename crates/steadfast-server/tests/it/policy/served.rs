//! The shop in a process of its own, with its API.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use steadfast::clock;

/// How long a test waits for what must come: long enough for a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Shop {
    child: Child,
    pub(crate) address: String,
    api: String,
    token: String,
    folder: PathBuf,
    /// Kept open: what is told has to go somewhere.
    _told: BufReader<ChildStdout>,
}

impl Shop {
    pub(crate) fn open(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("steadfast-shop-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let mut child = Command::new(env!("CARGO_BIN_EXE_steadfast"))
            .args(["dev", "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0"])
            .args(["--no-load", "--api", "127.0.0.1:0", "--data"])
            .arg(&folder)
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        let mut after = |mark: &str| loop {
            let mut line = String::new();
            assert_ne!(told.read_line(&mut line).unwrap(), 0, "no {mark:?}");
            if let Some((_, rest)) = line.split_once(mark) {
                return rest.to_owned();
            }
        };
        let address = after("open at http://")
            .split(". ")
            .next()
            .unwrap()
            .to_owned();
        let api = after("STEADFAST_SERVER=")
            .split(' ')
            .next()
            .unwrap()
            .to_owned();
        let token = std::fs::read_to_string(folder.join("token")).unwrap();
        Self {
            child,
            address,
            api,
            token: token.trim().to_owned(),
            folder,
            _told: told,
        }
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn get(&self, path: &str) -> String {
        self.send("GET", path)
    }

    pub(crate) fn post(&self, path: &str) -> String {
        self.send("POST", path)
    }

    fn send(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Runs a command that asks the API of the shop.
    pub(crate) fn ask(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command
            .args(args)
            .env("STEADFAST_SERVER", &self.api)
            .env("STEADFAST_TOKEN", &self.token)
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    pub(crate) fn told(&self, args: &[&str]) -> String {
        let output = self.ask(args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Checks how a command fails: nothing on standard output, all of it on the other.
    pub(crate) fn check(&self, args: &[&str], code: i32, stderr: &str) {
        let output = self.ask(args);
        assert_eq!(text(&output.stderr), stderr, "{args:?}");
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert_eq!(text(&output.stdout), "", "{args:?}");
    }

    /// Asks until the answer is as it should be.
    pub(crate) fn until(&self, args: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        let since = clock::now();
        loop {
            let told = self.told(args);
            if wanted(&told) {
                return told;
            }
            assert!(clock::now() - since < PATIENCE, "not in time: {told}");
        }
    }

    /// What became of actions of this name, the latest first.
    pub(crate) fn audited(&self, action: &str) -> Vec<String> {
        let mut stream = TcpStream::connect(self.api.trim_start_matches("http://")).unwrap();
        write!(
            stream,
            "GET /api/v1/audit HTTP/1.1\r\nhost: shop\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
            self.token
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let page: Value = serde_json::from_str(body).unwrap();
        let entries = page["items"].as_array().unwrap();
        let of_action = entries.iter().filter(|entry| entry["action"] == action);
        of_action
            .map(|entry| {
                assert_eq!(entry["actor"], "dev (token 1)");
                assert!(!entry["reason"].as_str().unwrap().is_empty());
                entry["outcome"].as_str().unwrap().to_owned()
            })
            .collect()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
