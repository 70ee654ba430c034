//! A service in a process of its own, and what is asked of it from here.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a service may take to begin, and to answer about itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service that ends with this value.
pub(crate) struct Service {
    child: Child,
    /// Where it serves.
    pub(crate) address: SocketAddr,
    /// Where it tells about itself, and is told what goes wrong with it.
    pub(crate) control: SocketAddr,
}

impl Service {
    /// Starts `loopback serve` with these words, and waits until it listens.
    pub(crate) fn start(words: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .args(words)
            // It ends when this end is closed, also when we are killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line)?;
        let mut addresses = line.split_whitespace().map(str::parse);
        match (addresses.next(), addresses.next()) {
            (Some(Ok(address)), Some(Ok(control))) => Ok(Self {
                child,
                address,
                control,
            }),
            _ => {
                let _ = child.kill();
                Err(format!("`serve {}` has not begun: {line:?}", words.join(" ")).into())
            }
        }
    }

    /// Asks the service about itself, or tells it something.
    pub(crate) fn ask(&self, path: &str) -> Result<serde_json::Value, Box<dyn Error>> {
        let answer = get(self.control, path, &[])?;
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// One of the counts of the service.
    pub(crate) fn count(&self, name: &str) -> Result<f64, Box<dyn Error>> {
        let counts = self.ask("/counts")?;
        let count = counts[name].as_f64();
        count.ok_or_else(|| format!("the service does not count `{name}`").into())
    }

    /// How long its threads were on a processor.
    pub(crate) fn cpu(&self) -> Result<Duration, Box<dyn Error>> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()))?;
        let mut ns = 0;
        for task in tasks {
            let stat = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = stat.split_whitespace().next();
            ns += first.ok_or("an empty schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(ns))
    }

    /// Asks the service to end, as whoever deploys does.
    pub(crate) fn terminate(&self) -> Result<(), Box<dyn Error>> {
        let pid = i32::try_from(self.child.id())?;
        let pid = Pid::from_raw(pid).ok_or("a process has a number")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// Waits until it has ended, and tells how long that took; `None` if it takes longer.
    pub(crate) fn ended_within(
        &mut self,
        most: Duration,
    ) -> Result<Option<(ExitStatus, Duration)>, Box<dyn Error>> {
        let began = Instant::now();
        while began.elapsed() < most {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some((status, began.elapsed())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(None)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer as it came.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Sends one request and reads to the end of the connection.
pub(crate) fn get(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Answer, Box<dyn Error>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(request, "{name}: {value}\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no head")?;
    let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
    Ok(Answer {
        status,
        body: body.to_owned(),
    })
}
