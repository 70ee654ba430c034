//! What the tests of the watch have in common.

use std::sync::mpsc;
use std::time::Duration;

use steadfast_core::watch::{self, ByHand, Config, Event, Observer};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A watchdog whose time is moved by hand, and the events that it tells.
pub(crate) struct Rig {
    pub(crate) watchdog: ByHand,
    events: mpsc::Receiver<Event>,
    _observer: Observer,
}

impl Rig {
    pub(crate) fn start() -> Self {
        let watchdog = watch::start_by_hand(Config {
            stall_limit: SECOND,
            wait_limit: SECOND,
            unpolled_limit: SECOND,
            tick: SECOND,
        });
        let watchdog = watchdog.expect("no other one runs");
        let (sender, events) = mpsc::channel();
        let observer = watch::observe(move |event| drop(sender.send(event.clone())));
        Self {
            watchdog,
            events,
            _observer: observer.expect("there is room"),
        }
    }

    /// Moves the time, and gives what is told of the locks, the work and the runtimes whose names
    /// start so: tests run beside each other.
    pub(crate) fn advance(&mut self, by: Duration, names: &str) -> Vec<Event> {
        self.watchdog.advance(by);
        let ours = |event: &Event| match event {
            Event::SlowWait(e) => e.lock.as_str().starts_with(names),
            Event::HolderNotPolled(e) => e.lock.as_str().starts_with(names),
            Event::WaitCycle(e) => e.links[0].lock.as_str().starts_with(names),
            Event::Stuck(e) | Event::Resumed(e) => e.name.as_str().starts_with(names),
            Event::RuntimeStalled(e) => e.runtime.as_str().starts_with(names),
            Event::RuntimeResumed(e) => e.runtime.as_str().starts_with(names),
            _ => unreachable!("a new kind of event: {event}"),
        };
        self.events.try_iter().filter(ours).collect()
    }
}
