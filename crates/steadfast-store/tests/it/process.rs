//! Other processes: this test program once more, in one of its roles.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use steadfast_core::clock;
use steadfast_store::{Config, LockConfig, NodeConfig, Store};

const ROLE: &str = "STEADFAST_TEST_ROLE";

/// A process in one of the roles; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    lines: BufReader<ChildStdout>,
}

/// Starts a role, with what it is told in the environment.
pub(crate) fn start(role: &str, told: &[(&str, &str)]) -> Process {
    start_in(None, role, told)
}

/// Starts a role in a namespace of the network.
pub(crate) fn start_in(namespace: Option<&str>, role: &str, told: &[(&str, &str)]) -> Process {
    let own = std::env::current_exe().unwrap();
    let mut command = match namespace {
        Some(name) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", name]).arg(own);
            command
        }
        None => Command::new(own),
    };
    let mut child = command
        .args(["--exact", "process::a_role_of_a_test", "--nocapture"])
        .env(ROLE, role)
        .envs(told.iter().copied())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    Process { child, lines }
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says something, and gives what follows on the line.
    pub(crate) fn says(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(
                self.lines.read_line(&mut line).unwrap() > 0,
                "it ended without {word}"
            );
            if let Some(at) = line.find(word) {
                return line[at + word.len()..].trim().to_owned();
            }
        }
    }

    /// Gives what it says until it ends.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        rest
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.id().into(), name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(process: i64, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &process.to_string()])
        .status()
        .unwrap();
    assert!(sent.success(), "{name} to {process}");
}

/// What a process that a test has started does. In the run of all tests it has no role.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_of_a_test() {
    match std::env::var(ROLE).as_deref() {
        Ok("hold_the_file") => hold_the_file().await,
        Ok("be_a_node") => be_a_node().await,
        Ok("hold_a_lock") => hold_a_lock().await,
        Ok("relay") => relay().await,
        Ok("migrate_until_killed") => crate::migrate::migrate_until_killed().await,
        Ok("write_until_killed") => crate::sink::write_until_killed().await,
        Ok(role) => panic!("{role} is no role"),
        Err(_) => {}
    }
}

#[allow(clippy::print_stdout, reason = "this is how it answers")]
pub(crate) fn say(what: &str) {
    println!("{what}");
}

/// Holds the lock of a file of SQLite that it knows nothing of.
async fn hold_the_file() {
    use sqlx::Connection;
    let file = std::env::var("FILE").unwrap();
    let mut conn = sqlx::SqliteConnection::connect(&file).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut conn)
        .await
        .unwrap();
    say("held");
    std::future::pending().await
}

/// Registers, and tells what becomes of its life.
async fn be_a_node() {
    let store = Store::open(Config::parse(&std::env::var("URL").unwrap()).unwrap()).await;
    let lease: u64 = std::env::var("LEASE_MS").unwrap().parse().unwrap();
    let config = NodeConfig::new("child", "1").with_lease(Duration::from_millis(lease));
    let node = store.unwrap().join(config).await.unwrap();
    loop {
        let life = node.alive().await.unwrap();
        say(&format!("alive {}", life.id()));
        while life.is_held() {
            clock::sleep(Duration::from_millis(5)).await;
        }
        say(&format!("fenced {}", life.id()));
    }
}

/// Takes a lock, and tells what becomes of it.
async fn hold_a_lock() {
    let store = Store::open(Config::parse(&std::env::var("URL").unwrap()).unwrap()).await;
    let lease: u64 = std::env::var("LEASE_MS").unwrap().parse().unwrap();
    let config = LockConfig {
        lease: Duration::from_millis(lease),
        ..LockConfig::default()
    };
    let lock = store.unwrap().lock("asleep", config).await.unwrap();
    say("held");
    while lock.is_held() {
        clock::sleep(Duration::from_millis(5)).await;
    }
    say("lost");
    lock.cancel().cancelled().await;
    say("cancelled");
    std::future::pending().await
}

/// Takes connections, and leads each to a server: at a socket of the file system, or at an address.
async fn relay() {
    use tokio::io::copy_bidirectional;
    use tokio::net::{TcpListener, TcpStream, UnixStream};
    let (socket, bind) = (
        std::env::var("SOCKET").unwrap(),
        std::env::var("BIND").unwrap(),
    );
    let listener = TcpListener::bind((bind.as_str(), 0)).await.unwrap();
    say(&format!("listens at {}", listener.local_addr().unwrap()));
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let socket = socket.clone();
        steadfast_core::spawn("relay", async move {
            if socket.starts_with('/') {
                let mut server = UnixStream::connect(socket).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            } else {
                let mut server = TcpStream::connect(socket).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
