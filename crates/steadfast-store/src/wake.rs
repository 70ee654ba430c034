//! Wake-ups: something has changed, look at it now and not at the next poll.
//!
//! A wake-up is a hint. It may come late, twice, or not at all: whoever waits for one polls as
//! well, only seldom.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use steadfast_core::report::EventDoc;
use tokio::sync::broadcast;

use crate::{Error, Store};

/// How many wake-ups wait for somebody who does not look: 256. Whoever has missed some is told to
/// look at everything.
const WAITING_MAX: usize = 256;

/// The longest wake-up, channel and payload together: 4,000 bytes, half of what PostgreSQL takes.
const BYTES_MAX: usize = 4_000;

pub(crate) const EVENTS: &[EventDoc] = &[EventDoc::new(
    "steadfast::store",
    &["warn"],
    "no wake-ups until it is connected again",
    &["error", "failures"],
)
.when("The connection that wake-ups come over was lost, or could not be made.")
.action("See the error; until then work is found by polling, a little later.")];

/// Wake-ups of one channel; made by [`Store::wakes`].
pub struct Wakes(broadcast::Receiver<Wake>);

/// A wake-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake {
    /// What somebody sent.
    Payload(Arc<str>),
    /// Something has changed, or something may have been missed: look at everything.
    Everything,
}

impl Wakes {
    /// Waits for the next one. Never ends while nothing is pushed, as behind a pooler that gives out
    /// transactions: wait for your next poll beside it.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Wake {
        match self.0.recv().await {
            Ok(wake) => wake,
            Err(broadcast::error::RecvError::Lagged(_)) => Wake::Everything,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl fmt::Debug for Wakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wakes").finish_non_exhaustive()
    }
}

/// Who waits for what.
#[derive(Default)]
pub(crate) struct Hub(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    channels: HashMap<String, broadcast::Sender<Wake>>,
    listening: bool,
}

impl Hub {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribe(&self, channel: &str) -> broadcast::Receiver<Wake> {
        let mut inside = self.inside();
        // Channels have fixed names, so there are few, and none is ever forgotten.
        let sender = inside
            .channels
            .entry(channel.to_owned())
            .or_insert_with(|| broadcast::Sender::new(WAITING_MAX));
        sender.subscribe()
    }

    /// Tells whether the caller is the first who asks, and is to begin to listen.
    fn begin_to_listen(&self) -> bool {
        !std::mem::replace(&mut self.inside().listening, true)
    }

    pub(crate) fn tell(&self, channel: &str, wake: Wake) {
        if let Some(sender) = self.inside().channels.get(channel) {
            // Nobody listens right now: nobody is woken.
            let _ = sender.send(wake);
        }
    }

    pub(crate) fn tell_everything(&self) {
        for sender in self.inside().channels.values() {
            let _ = sender.send(Wake::Everything);
        }
    }
}

impl Store {
    /// Listens to the wake-ups of a channel, a fixed name such as `jobs`, from now on.
    ///
    /// On PostgreSQL they are pushed over a connection of their own, to all processes. On SQLite
    /// they are pushed within the process; that another process has changed something is noticed
    /// within 50 ms, without a payload. Behind a pooler that gives out transactions only those of
    /// this process arrive.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn wakes(&self, channel: &str) -> Wakes {
        let receiver = self.hub().subscribe(channel);
        if self.hub().begin_to_listen() {
            self.listen();
        }
        Wakes(receiver)
    }

    /// Wakes everybody who listens to a channel. Call it after the commit of what they shall see: in
    /// a transaction, PostgreSQL would have all commits with wake-ups wait for each other.
    ///
    /// # Errors
    /// When the database cannot be asked, or channel and payload have more than 4,000 bytes (SF-1114).
    ///
    /// # Cancel safety
    /// Dropped half-way, they were woken or not.
    pub async fn wake(&self, channel: &str, payload: &str) -> Result<(), Error> {
        if channel.len() + payload.len() > BYTES_MAX {
            return Err(crate::config::config(
                "payload",
                "must have at most 4,000 bytes together with its channel",
            ));
        }
        self.hub().tell(channel, Wake::Payload(payload.into()));
        self.push(channel, payload).await
    }
}
