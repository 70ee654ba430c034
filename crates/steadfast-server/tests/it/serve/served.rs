//! A server that is asked by its API, and by commands.

use super::*;

/// A server with its API, and a token of each role.
pub(super) struct Served {
    pub(super) folder: Folder,
    pub(super) server: Server,
    pub(super) address: String,
    /// Where the store is, for a configuration that says `env:STORE`.
    store: String,
}

impl Served {
    pub(super) fn start(name: &str, rest: &str) -> Self {
        let folder = Folder::new(name);
        let config = folder.configure(rest);
        Self::started(folder, &config, String::new())
    }

    /// One whose store is somewhere else.
    pub(super) fn start_at(name: &str, store: &str, rest: &str) -> Self {
        let folder = Folder::new(name);
        let config = folder.configure_at("env:STORE", rest);
        Self::started(folder, &config, store.to_owned())
    }

    fn started(folder: Folder, config: &Path, store: String) -> Self {
        let mut server = Server::start_with(config, &[("STORE", &store)]);
        let told = server.line_with("the API is served");
        let address = told.split("address=").nth(1).unwrap();
        let address = address.split_whitespace().next().unwrap().to_owned();
        Self {
            folder,
            server,
            address,
            store,
        }
    }

    pub(super) fn token(&self, role: &str) -> String {
        let made = self.admin(&["token", "create", "--name", role, "--role", role]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        text(&made.stdout).trim().to_owned()
    }

    pub(super) fn admin(&self, args: &[&str]) -> Output {
        let config = self.folder.path().join("steadfast.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command
            .arg("admin")
            .args(args)
            .args(["--config", config.to_str().unwrap()])
            .env("STORE", &self.store);
        command.output().unwrap()
    }

    /// Runs a command that asks this server.
    pub(super) fn ask(&self, token: &str, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command
            .args(args)
            .env("STEADFAST_SERVER", format!("http://{}", self.address))
            .env("STEADFAST_TOKEN", token)
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    pub(super) fn told(&self, token: &str, args: &[&str]) -> String {
        let output = self.ask(token, args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Sends a request; gives status, head and body.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        loop {
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            head.push_str(&line);
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = String::new();
        // Of one that does not end, the head is enough.
        if !head.contains("text/event-stream") {
            lines.read_to_string(&mut body).unwrap();
        }
        (status, head, body)
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}
