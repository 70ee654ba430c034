use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use steadfast_core::clock::{self, Instant};
use steadfast_core::spawn;
use tokio::sync::oneshot;

use super::place::Place;
use super::shared::Shared;

/// A request that is served at once by an admission that only looks on, and would have had to wait:
/// it holds the place that the request would have had, and after that its permit, for as long as the
/// request has taken. So what is counted is what would have happened.
///
/// There are never more of them than have places and permits.
pub struct Ghost {
    since: Instant,
    status: Option<StatusCode>,
    /// Until it is told; dropped without a word if the client left.
    ended: Option<oneshot::Sender<Ended>>,
}

struct Ended {
    took: Duration,
    status: StatusCode,
}

impl Ghost {
    pub(super) fn begin(shared: Arc<Shared>, place: Place) -> Self {
        let (ended, end) = oneshot::channel();
        spawn("shadow of a request", haunt(shared, place, end));
        Self {
            since: clock::now(),
            status: None,
            ended: Some(ended),
        }
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for Ghost {
    fn drop(&mut self) {
        if let (Some(ended), Some(status)) = (self.ended.take(), self.status) {
            let took = clock::now() - self.since;
            // Nobody listens when it was rejected meanwhile.
            let _ = ended.send(Ended { took, status });
        }
    }
}

impl fmt::Debug for Ghost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ghost").finish_non_exhaustive()
    }
}

async fn haunt(shared: Arc<Shared>, place: Place, mut end: oneshot::Receiver<Ended>) {
    let mut waits = pin!(place.wait());
    let mut ended = None;
    let turn = loop {
        tokio::select! {
            biased;
            turn = &mut waits => break turn,
            told = &mut end, if ended.is_none() => match told {
                Ok(told) => ended = Some(told),
                // Whoever leaves gives up its place.
                Err(_) => return,
            },
        }
    };
    let mut permit = match turn {
        Ok(permit) => permit,
        Err(refusal) => return refusal.tell(&shared).count_shadow(),
    };
    let began = clock::now();
    let ended = match ended {
        Some(ended) => ended,
        None => match end.await {
            Ok(ended) => ended,
            Err(_) => return,
        },
    };
    clock::sleep_until(began + ended.took).await;
    permit.answered(ended.status);
}
