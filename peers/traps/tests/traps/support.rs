use std::fs;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use steadfast::tower::{Guard, PolicyDocument};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing_subscriber::fmt::MakeWriter;

/// Who was tried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Usual,
    Ours,
}

/// Tells what was seen of a trap, such as `t01`, once all about it was asserted: for the table that `./traps` prints.
/// The sentence has to stand in the page of the trap, so that pages tell what happens.
pub(crate) fn seen(trap: &str, side: Side, what: &str) {
    let page = page(trap);
    let text = fs::read_to_string(&page).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains(what),
        "{} does not say: {what}",
        page.display()
    );
    if let Some(table) = std::env::var_os("TRAPS_SEEN") {
        let mut table = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(table)
            .unwrap();
        // In one write: tests run at a time.
        table
            .write_all(format!("{trap}\t{side:?}\t{what}\n").as_bytes())
            .unwrap();
    }
}

fn page(trap: &str) -> PathBuf {
    let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/traps");
    let mut pages = fs::read_dir(pages)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let of_trap = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(&format!("{trap}-"))
    };
    pages
        .find(of_trap)
        .unwrap_or_else(|| panic!("docs/traps has no page {trap}-….md"))
}

/// Bounds a wait for what has to happen, far above what it takes.
pub(crate) async fn soon<T>(wait: impl Future<Output = T>) -> T {
    let bound = Duration::from_secs(60);
    tokio::time::timeout(bound, wait)
        .await
        .expect("what has to happen happens")
}

/// Runs what is ready: the runtime of a test has one thread.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Polls once.
pub(crate) async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Where handlers stand until the test has seen enough.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    inside: Arc<watch::Sender<usize>>,
    open: Arc<watch::Sender<bool>>,
    most: Arc<watch::Sender<usize>>,
}

impl Gate {
    /// Counts as inside until the gate opens, or the future is dropped.
    pub(crate) async fn pass(&self) {
        self.inside.send_modify(|inside| *inside += 1);
        let _inside = Inside(self);
        let now = *self.inside.borrow();
        self.most.send_modify(|most| *most = now.max(*most));
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
    }

    pub(crate) async fn until_inside(&self, count: usize) {
        let mut inside = self.inside.subscribe();
        soon(inside.wait_for(|inside| *inside == count))
            .await
            .unwrap();
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    pub(crate) fn inside(&self) -> usize {
        *self.inside.borrow()
    }

    /// How many were inside at once, at most.
    pub(crate) fn most(&self) -> usize {
        *self.most.borrow()
    }
}

struct Inside<'a>(&'a Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.send_modify(|inside| *inside -= 1);
    }
}

/// Puts a guard with this policy around the routes.
pub(crate) async fn guarded(policy: &str, app: Router) -> Router {
    let policy = PolicyDocument::new("policy.toml", policy).unwrap();
    let guard = Guard::new(policy.policy().clone()).unwrap();
    guard.protect(app).await.unwrap()
}

/// Serves on a free port of the loopback for as long as the test runs, as the documents of axum show it.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// What a client has seen until the connection was closed.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// None when the connection was closed without a head.
    pub(crate) status: Option<u16>,
    head: String,
    pub(crate) body: String,
    /// Whether the body has come to its end.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Why it was rejected.
    pub(crate) fn rejected(&self) -> Option<&str> {
        self.header("x-steadfast-rejected")
    }
}

/// Opens a connection and sends a request.
pub(crate) async fn send(address: SocketAddr, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

/// Asks on a connection of its own.
pub(crate) async fn ask(address: SocketAddr, path: &str) -> Answer {
    let mut socket = send(address, path).await;
    let mut bytes = Vec::new();
    // A reset is an end, too.
    let _ = soon(socket.read_to_end(&mut bytes)).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut answer = Answer {
        status: head.split(' ').nth(1).map(|status| status.parse().unwrap()),
        head: head.to_owned(),
        body: body.to_owned(),
        whole: body.ends_with("0\r\n\r\n"),
    };
    if let Some(length) = answer.header("content-length") {
        answer.whole = length.parse() == Ok(body.len());
    }
    answer
}

/// Asks so often at a time, each on a connection of its own.
pub(crate) fn ask_often(address: SocketAddr, path: &'static str, times: usize) -> JoinSet<Answer> {
    let mut asked = JoinSet::new();
    for _ in 0..times {
        asked.spawn(ask(address, path));
    }
    asked
}

/// The next answers.
pub(crate) async fn answers(asked: &mut JoinSet<Answer>, count: usize) -> Vec<Answer> {
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(soon(asked.join_next()).await.unwrap().unwrap());
    }
    answers
}

/// What was logged in this process, with spans in front of each line, down to the level DEBUG.
#[derive(Clone)]
pub(crate) struct Log(Arc<watch::Sender<String>>);

/// Begins to listen, if no test did before.
pub(crate) fn log() -> Log {
    static LOG: LazyLock<Log> = LazyLock::new(|| {
        let log = Log(Arc::default());
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(log.clone())
            .init();
        log
    });
    LOG.clone()
}

impl Log {
    /// The lines that have this in them.
    pub(crate) fn with(&self, part: &str) -> Vec<String> {
        let text = self.0.borrow();
        text.lines()
            .filter(|line| line.contains(part))
            .map(str::to_owned)
            .collect()
    }

    /// The same without what steadfast says: once a test of this process has installed it, it hears of every panic.
    pub(crate) fn usual_with(&self, part: &str) -> Vec<String> {
        let mut lines = self.with(part);
        lines.retain(|line| !line.contains(" steadfast::"));
        lines
    }

    /// Waits for as many lines that have all of this in them.
    pub(crate) async fn until_with(&self, parts: &[&str], count: usize) -> Vec<String> {
        let found = |text: &str| -> Vec<String> {
            let all = |line: &&str| parts.iter().all(|part| line.contains(part));
            text.lines().filter(all).map(str::to_owned).collect()
        };
        let mut log = self.0.subscribe();
        let text = soon(log.wait_for(|text| found(text).len() >= count))
            .await
            .unwrap();
        found(&text)
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .send_modify(|text| *text += &String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Collects text, for a subscriber of one test.
#[derive(Clone, Default)]
pub(crate) struct Text(Arc<Mutex<Vec<u8>>>);

impl Text {
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
