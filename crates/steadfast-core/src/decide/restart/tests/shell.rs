//! A shell without tasks: keeps the books about three named children.

use super::super::*;
use crate::decide::backoff::{Backoff, Jitter};
use std::time::Duration;

pub(super) const SECOND: u64 = 1_000_000_000;

/// One second between failure and restart, always.
pub(super) fn steady_backoff() -> Backoff {
    Backoff::new(Duration::from_secs(1), Duration::from_secs(1))
        .unwrap()
        .with_jitter(Jitter::None)
}

pub(super) fn rules(strategy: Strategy, restarts: u32, within_seconds: u64) -> Rules {
    let intensity = Intensity::new(restarts, Duration::from_secs(within_seconds)).unwrap();
    Rules::new(strategy, intensity).with_backoff(steady_backoff())
}

/// Reads `P`, `T`, `t` as permanent, transient, temporary.
pub(super) fn restart_kind(letter: char) -> Restart {
    match letter {
        'P' => Restart::Permanent,
        'T' => Restart::Transient,
        't' => Restart::Temporary,
        other => panic!("no kind of restart is called {other}"),
    }
}

/// A child of this kind with the default limits.
pub(super) fn spec(kind: char) -> ChildSpec {
    ChildSpec::new(restart_kind(kind))
}

/// Runs a group whose children are called `a`, `b`, `c` in the order in which they were added,
/// and writes down each command in words.
pub(super) struct Shell {
    pub(super) group: Supervision,
    pub(super) now: u64,
    log: Vec<String>,
    live: Vec<Instance>,
    unanswered: Vec<Command>,
}

impl Shell {
    pub(super) fn new(rules: Rules, specs: impl IntoIterator<Item = ChildSpec>) -> Self {
        let mut group = Supervision::new(rules);
        for spec in specs {
            group.add(spec, 0).unwrap();
        }
        Self {
            group,
            now: 0,
            log: Vec::new(),
            live: Vec::new(),
            unanswered: Vec::new(),
        }
    }

    /// A group of three that is started and calm, with an empty log.
    pub(super) fn running(rules: Rules, kinds: &str) -> Self {
        let specs = kinds.chars().map(spec);
        let mut shell = Self::new(rules, specs);
        shell.start();
        shell.settle();
        assert_eq!(shell.group.status(), Status::Running);
        shell.log.clear();
        shell
    }

    pub(super) fn start(&mut self) {
        self.group.start(self.now).unwrap();
        self.drain();
    }

    pub(super) fn stop(&mut self) {
        self.group.stop(self.now);
        self.drain();
    }

    pub(super) fn tick(&mut self, now: u64) {
        self.now = now;
        self.group.tick(now);
        self.drain();
    }

    pub(super) fn ready(&mut self, name: char) -> bool {
        let instance = self.instance(name);
        self.unanswered
            .retain(|command| *command != Command::Start(instance));
        let answer = self.group.ready(instance, self.now);
        self.drain();
        answer
    }

    pub(super) fn ended(&mut self, name: char, end: End) -> Verdict {
        let instance = self.instance(name);
        self.live.retain(|live| *live != instance);
        self.unanswered.retain(|command| {
            *command != Command::Start(instance)
                && *command != Command::Stop(instance)
                && *command != Command::Abort(instance)
        });
        let verdict = self.group.ended(instance, end, self.now, 0);
        self.drain();
        verdict
    }

    /// Calls the group, then carries out what it says.
    pub(super) fn request<R>(&mut self, call: impl FnOnce(&mut Supervision, u64) -> R) -> R {
        let answer = call(&mut self.group, self.now);
        self.drain();
        answer
    }

    /// Answers everything as well-behaved children do, and lets time pass, until nothing is left
    /// to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            if let Some(command) = self.unanswered.first().copied() {
                match command {
                    Command::Start(instance) => {
                        self.ready(name(instance.child));
                    }
                    Command::Stop(instance) => {
                        self.ended(name(instance.child), End::Stopped);
                    }
                    Command::Abort(instance) => {
                        self.ended(name(instance.child), End::Cancelled);
                    }
                    other => panic!("{other:?} needs no answer"),
                }
            } else if let Some(wake) = self.group.wake_at() {
                self.tick(wake.max(self.now));
            } else {
                return;
            }
        }
        panic!("group does not settle: {:?}", self.group);
    }

    /// Takes what was written down since the last time.
    pub(super) fn log(&mut self) -> String {
        std::mem::take(&mut self.log).join(", ")
    }

    /// The states of all children, in a word each.
    pub(super) fn states(&self) -> String {
        let words: Vec<String> = self
            .group
            .children()
            .map(|child| {
                let state = match child.state {
                    ChildState::AtRest => "rest",
                    ChildState::Waiting { .. } => "waiting",
                    ChildState::Starting => "starting",
                    ChildState::Running => "running",
                    ChildState::Stopping => "stopping",
                    ChildState::WrittenOff => "lost",
                };
                format!("{} {state}", name(child.id))
            })
            .collect();
        words.join(", ")
    }

    pub(super) fn id(name: char) -> ChildId {
        let id = name as u64 - 'a' as u64 + 1;
        super::super::child::ChildId(id)
    }

    pub(super) fn instance(&self, name: char) -> Instance {
        let id = Self::id(name);
        let live = self.live.iter().find(|instance| instance.child == id);
        *live.unwrap_or_else(|| panic!("{name} does not live"))
    }

    fn drain(&mut self) {
        while let Some(command) = self.group.next_command() {
            let words = match command {
                Command::Start(instance) => {
                    self.live.push(instance);
                    self.unanswered.push(command);
                    format!("start {}{}", name(instance.child), instance.run)
                }
                Command::Stop(instance) => {
                    self.unanswered
                        .retain(|old| *old != Command::Start(instance));
                    self.unanswered.push(command);
                    format!("stop {}{}", name(instance.child), instance.run)
                }
                Command::Abort(instance) => {
                    self.unanswered.retain(|old| {
                        *old != Command::Start(instance) && *old != Command::Stop(instance)
                    });
                    self.unanswered.push(command);
                    format!("abort {}{}", name(instance.child), instance.run)
                }
                Command::WriteOff(instance) => {
                    self.unanswered
                        .retain(|old| *old != Command::Abort(instance));
                    format!("write off {}{}", name(instance.child), instance.run)
                }
                Command::Forget(child) => format!("forget {}", name(child)),
                Command::Ready => "ready".to_owned(),
                Command::Finish(outcome) => format!("finish {}", word(outcome)),
            };
            self.log.push(words);
        }
    }
}

pub(super) fn name(child: ChildId) -> char {
    char::from(b'a' + (child.0 - 1) as u8)
}

fn word(outcome: Outcome) -> String {
    match outcome {
        Outcome::Stopped => "stopped".to_owned(),
        Outcome::Significant(child) => format!("significant {}", name(child)),
        Outcome::StartFailed { child, end } => format!("start failed {} {end:?}", name(child)),
        Outcome::TooManyRestarts { child, end } => format!("too many {} {end:?}", name(child)),
        Outcome::Stuck { child } => format!("stuck {}", name(child)),
    }
}
