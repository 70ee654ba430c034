//! What a part tells in its log: lines of JSON, with the moment at which they came.

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use steadfast::clock::{self, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStderr;

use super::process::write_line;

/// How many lines are kept of one process: 100,000, a hundred times what a drill has. All are in the file.
const LINES_MAX: usize = 100_000;

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) at: Instant,
    target: String,
    message: String,
    whole: Value,
}

/// The log of a process, which grows.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<Line>>>);

impl Log {
    /// Reads a log as it comes, and writes it into a file.
    pub(super) fn follow(stderr: ChildStderr, mut file: File) -> Self {
        let log = Self::default();
        let to = log.clone();
        drop(steadfast::spawn("log", async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                write_line(&mut file, &line);
                to.push(&line);
            }
        }));
        log
    }

    fn push(&self, line: &str) {
        let mut lines = self.lock();
        if lines.len() < LINES_MAX {
            lines.push(Line::read(line));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many lines there are: from here on is new.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The last line, for whoever looks for why it ended.
    pub(super) fn last(&self) -> String {
        self.lock()
            .last()
            .map_or_else(|| "there is none".into(), |line| line.whole.to_string())
    }

    /// Gives the lines since one that say this.
    pub(super) fn since(&self, since: usize, target: &str, message: &str) -> Vec<Line> {
        let lines = self.lock();
        let new = lines.iter().skip(since);
        new.filter(|line| line.says(target, message))
            .cloned()
            .collect()
    }
}

impl Line {
    fn read(line: &str) -> Self {
        let whole: Value = serde_json::from_str(line).unwrap_or_else(|_| line.into());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            at: clock::now(),
            target: text(&whole["target"]),
            message: text(&whole["fields"]["message"]),
            whole,
        }
    }

    fn says(&self, target: &str, message: &str) -> bool {
        self.target == target && self.message.starts_with(message)
    }

    /// What it says of something.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        match &self.whole["fields"][name] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}
