//! A process of a scenario: started, listened to, hurt.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast_core::clock;
use tokio::sync::watch;

use super::PATIENCE;
use super::role::{Heard, ROLE, Role, said};

/// A process that is killed with its scenario, whatever happens.
pub(crate) struct Process {
    child: Child,
    heard: Arc<Mutex<Heard>>,
    news: watch::Receiver<u64>,
    stopped: bool,
    /// Where it keeps files of its own.
    folder: PathBuf,
}

impl Process {
    pub(crate) fn start(role: &Role, folder: PathBuf, env: &[(&str, String)]) -> Self {
        std::fs::create_dir_all(&folder).expect("the folder of the scenario takes another one");
        let mut command = Command::new(std::env::current_exe().expect("it is running"));
        if cfg!(test) {
            command.args(["failures::a_role", "--exact", "--nocapture"]);
        }
        let mut child = command
            .env(ROLE, serde_json::to_string(role).expect("a role is JSON"))
            // On PostgreSQL the file that says that it lives is here, out of the way of others.
            .env("XDG_RUNTIME_DIR", &folder)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program can be started again");
        let out = BufReader::new(child.stdout.take().expect("its output is ours"));
        let heard: Arc<Mutex<Heard>> = Arc::default();
        let (tell, news) = watch::channel(0);
        let to = heard.clone();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if let Some((word, rest)) = said(&line) {
                    let mut heard = to.lock().unwrap_or_else(PoisonError::into_inner);
                    heard
                        .entry(word.to_owned())
                        .or_default()
                        .push(rest.to_owned());
                }
                tell.send_modify(|count| *count += 1);
            }
        });
        Self {
            child,
            heard,
            news,
            stopped: false,
            folder,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what it has said under a word.
    pub(crate) fn said(&self, word: &str) -> Vec<String> {
        self.heard().get(word).cloned().unwrap_or_default()
    }

    /// Waits until it has said a word so often.
    pub(crate) async fn says(&mut self, word: &str, times: usize) -> Vec<String> {
        let until = clock::now() + PATIENCE;
        loop {
            self.news.borrow_and_update();
            let said = self.said(word);
            if said.len() >= times {
                return said;
            }
            let left = until.saturating_duration_since(clock::now());
            let heard = clock::timeout(left, self.news.changed()).await;
            if !matches!(heard, Ok(Ok(()))) && self.said(word).len() < times {
                let ended = self.child.try_wait();
                panic!(
                    "{word} was not said {times} times: {:?}, {ended:?}",
                    self.heard()
                );
            }
        }
    }

    pub(crate) fn signal(&mut self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "{name} to {id}");
        self.stopped = name == "STOP";
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_some())
    }

    /// Waits until it has ended.
    pub(crate) async fn ends(&mut self) -> ExitStatus {
        let until = clock::now() + PATIENCE;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status;
            }
            assert!(clock::now() < until, "it does not end: {:?}", self.heard());
            clock::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.stopped {
            self.signal("CONT");
        }
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
