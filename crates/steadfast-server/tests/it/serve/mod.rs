//! `steadfast serve`, as a process over a real store.

mod api;
mod audit;
mod bulk;
mod cluster;
mod crontab;
mod exec;
mod http;
mod ids;
mod import;
mod kinds;
mod late_api;
mod live;
mod lives;
mod queues;
mod revisions;
mod schedules;
mod served;
mod stalled;
mod tls;
mod tokens;
mod unbegun;
mod unhandled;
mod unread;
mod warden;
mod watch;
mod writes;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use steadfast::clock;
use steadfast::jobs::{JobDetail, JobId, Jobs, Options, State};
use steadfast::store::{Config, Store};

/// How long a test waits for what must come: long enough for a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with a configuration and a store.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        Self::below(&std::env::temp_dir(), name)
    }

    /// One on the disk, which folders for temporary files may not be.
    pub(crate) fn in_target(name: &str) -> Self {
        Self::below(Path::new(env!("CARGO_TARGET_TMPDIR")), name)
    }

    fn below(dir: &Path, name: &str) -> Self {
        let path = dir.join(format!("steadfast-serve-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn store(&self) -> PathBuf {
        self.0.join("jobs.db")
    }

    /// Writes a configuration with the store here and any free port.
    pub(crate) fn configure(&self, rest: &str) -> PathBuf {
        self.configure_at(&format!("sqlite:{}", self.store().display()), rest)
    }

    /// Writes one with the store somewhere else.
    pub(crate) fn configure_at(&self, store: &str, rest: &str) -> PathBuf {
        let path = self.0.join("steadfast.toml");
        let text = format!(
            "[store]\nurl = \"{store}\"\n[health]\nlisten = \"127.0.0.1:0\"\n[api]\nlisten = \"127.0.0.1:0\"\n{rest}"
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server that runs, with its lines.
pub(crate) struct Server {
    child: Child,
    lines: BufReader<ChildStderr>,
    pub(crate) health: String,
}

impl Server {
    pub(crate) fn start(config: &Path) -> Self {
        Self::start_with(config, &[])
    }

    pub(crate) fn start_with(config: &Path, environment: &[(&str, &str)]) -> Self {
        Self::start_all(&[config], environment)
    }

    pub(crate) fn start_all(configs: &[&Path], environment: &[(&str, &str)]) -> Self {
        let configs = configs
            .iter()
            .flat_map(|config| ["--config", config.to_str().unwrap()]);
        let mut command = serve(&configs.collect::<Vec<_>>());
        Self::begun(command.envs(environment.iter().copied()))
    }

    pub(crate) fn begun(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self {
            child,
            lines,
            health: String::new(),
        };
        let told = server.line_with("health is told");
        let address = told.split("address=").nth(1).unwrap();
        server.health = address.split_whitespace().next().unwrap().to_owned();
        server
    }

    /// Reads on to a line with this.
    pub(crate) fn line_with(&mut self, part: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "no line with {part:?} in:\n{seen}");
            if line.contains(part) {
                return line;
            }
            seen += &line;
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end; gives the exit code and the lines that were not read.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }

    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        let (code, rest) = self.ended();
        assert_eq!(code, Some(0), "{rest}");
    }

    pub(crate) fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.health).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // For a test that failed; it has ended by itself otherwise.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn serve(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.arg("serve").args(args).env_remove("RUST_LOG");
    command
}

pub(crate) fn output(args: &[&str]) -> Output {
    serve(args).output().unwrap()
}

/// The jobs of a folder, as another process of the store sees them.
pub(crate) async fn jobs(folder: &Folder) -> Jobs {
    let store = Store::open(Config::sqlite(folder.store())).await.unwrap();
    Jobs::open(&store).await.unwrap()
}

pub(crate) async fn enqueue(jobs: &Jobs, kind: &str, payload: &str, attempts: u32) -> JobId {
    let options = Options::new().max_attempts(attempts);
    jobs.enqueue_kind(kind, payload, options).await.unwrap()
}

/// Waits until a job is as it should be.
pub(crate) async fn until(
    jobs: &Jobs,
    id: JobId,
    wanted: impl Fn(&JobDetail) -> bool,
) -> JobDetail {
    let since = clock::now();
    loop {
        let job = jobs.find(id).await.unwrap().expect("the job is there");
        if wanted(&job) {
            return job;
        }
        assert!(clock::now() - since < PATIENCE, "not in time: {job:?}");
        clock::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn until_state(jobs: &Jobs, id: JobId, state: State) -> JobDetail {
    let job = until(jobs, id, |job| {
        job.info.state == state || job.info.state.is_terminal()
    })
    .await;
    assert_eq!(job.info.state, state, "{job:?}");
    job
}

/// Waits until something is so.
pub(crate) async fn wait_until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let since = clock::now();
    while !is_so().await {
        assert!(clock::now() - since < PATIENCE, "not in time: {what}");
        clock::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether the long forms are asked for: `STEADFAST_TEST_LONG=1`, or `./failures`.
pub(crate) fn is_long() -> bool {
    std::env::var_os("STEADFAST_TEST_LONG").is_some_and(|long| !long.is_empty())
}

/// Tells what was seen, to whoever runs a long form, and where a test fails.
#[allow(
    clippy::print_stdout,
    reason = "what a test prints is shown when it fails"
)]
pub(crate) fn tell(seen: &str) {
    println!("{seen}");
}

/// As `[handlers.NAME]` with a script of the shell.
pub(crate) fn shell(name: &str, script: &str, rest: &str) -> String {
    format!("[handlers.{name}]\nexec = [\"/bin/sh\", \"-c\", '''{script}''']\n{rest}\n")
}
