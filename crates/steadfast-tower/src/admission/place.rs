use std::sync::Arc;

use steadfast_core::clock;
use steadfast_core::decide::admission::Queued;
use tokio::sync::oneshot;

use super::shared::{Shared, Turn};

/// A place in the queue; given up when it is dropped.
pub(super) struct Place {
    shared: Arc<Shared>,
    queued: Queued,
    /// Before the drop: a turn that comes until then is dropped with it, and goes on to the next.
    turn: oneshot::Receiver<Turn>,
}

impl Place {
    pub(super) fn new(shared: Arc<Shared>, queued: Queued, turn: oneshot::Receiver<Turn>) -> Self {
        Self {
            shared,
            queued,
            turn,
        }
    }

    /// Waits for the turn, for as long as that is of use.
    pub(super) async fn wait(mut self) -> Turn {
        let leave_at = clock::instant_at(self.queued.leave_at);
        tokio::select! {
            // A permit that has come is used, however late it is.
            biased;
            turn = &mut self.turn => return turn.expect("tellers are removed with their tickets"),
            () = clock::sleep_until(leave_at) => {}
        }
        match self.shared.give_up(self.queued.ticket) {
            Some(refusal) => Err(refusal),
            // Decided already, and about to be told.
            None => (&mut self.turn)
                .await
                .expect("tellers tell what was decided"),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.give_up(self.queued.ticket);
    }
}
