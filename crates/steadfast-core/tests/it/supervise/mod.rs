//! Groups of children that fail in every way.

mod nested;
mod panics;
mod requests;
mod runtime;
mod starting;
mod stopping;
mod storm;
mod strategies;
mod watching;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::supervise::{
    Backoff, Child, ChildSnapshot, ChildState, Intensity, Jitter, Restart, Rules, Strategy,
    Supervisor, SupervisorBuilder,
};
use steadfast_core::{BoxError, clock};
use tokio::sync::oneshot;

/// Allows so many restarts a minute, with a second between failure and restart.
fn rules(strategy: Strategy, restarts: u32) -> Rules {
    let second = Duration::from_secs(1);
    let backoff = Backoff::new(second, second).unwrap();
    let intensity = Intensity::new(restarts, Duration::from_secs(60)).unwrap();
    Rules::new(strategy, intensity).with_backoff(backoff.with_jitter(Jitter::None))
}

fn group(strategy: Strategy, restarts: u32) -> SupervisorBuilder {
    Supervisor::builder("group", rules(strategy, restarts))
}

/// Lets everything happen that needs no time.
async fn settle() {
    clock::sleep(Duration::from_millis(1)).await;
}

async fn seconds(seconds: u64) {
    clock::sleep(Duration::from_secs(seconds)).await;
}

fn child(group: &Supervisor, name: &str) -> ChildSnapshot {
    let snapshot = group.snapshot();
    snapshot.child(name).expect("it is in the group").clone()
}

fn state(group: &Supervisor, name: &str) -> ChildState {
    child(group, name).state
}

/// Children that do as they are told, and write down what is asked of them.
#[derive(Clone, Default)]
struct Puppets(Arc<Mutex<Strings>>);

#[derive(Default)]
struct Strings {
    log: Vec<String>,
    pulls: HashMap<&'static str, oneshot::Sender<Pull>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Pull {
    Done,
    Fail,
    Panic,
}

impl Puppets {
    fn child(&self, name: &'static str, restart: Restart) -> Child {
        let puppets = self.clone();
        Child::new(name, restart, move |context| {
            let puppets = puppets.clone();
            let (sender, pulled) = oneshot::channel();
            puppets.0.lock().unwrap().pulls.insert(name, sender);
            puppets.write(format!("start {name}{}", context.run()));
            async move {
                tokio::select! {
                    pull = pulled => match pull.unwrap() {
                        Pull::Done => Ok(()),
                        Pull::Fail => Err(BoxError::from("pulled")),
                        Pull::Panic => panic!("pulled"),
                    },
                    _ = context.stopping() => {
                        puppets.write(format!("stop {name}{}", context.run()));
                        Ok(())
                    }
                }
            }
        })
    }

    fn permanent(&self, name: &'static str) -> Child {
        self.child(name, Restart::Permanent)
    }

    /// A group of `a`, `b` and `c`, calm and with an empty log.
    async fn trio(&self, builder: SupervisorBuilder, kinds: [Restart; 3]) -> Supervisor {
        let group = ["a", "b", "c"]
            .into_iter()
            .zip(kinds)
            .fold(builder, |group, (name, kind)| {
                group.child(self.child(name, kind))
            })
            .start()
            .await
            .unwrap();
        settle().await;
        assert_eq!(self.log(), "start a1, start b1, start c1");
        group
    }

    /// Makes a child end, and gives it the time to do so.
    async fn pull(&self, name: &'static str, pull: Pull) {
        let string = self.0.lock().unwrap().pulls.remove(name).unwrap();
        string.send(pull).unwrap();
        settle().await;
    }

    fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().log.push(line.into());
    }

    /// Takes what was written down since the last time.
    fn log(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap().log).join(", ")
    }
}
