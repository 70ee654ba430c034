use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Sleep;

use crate::clock::{self, Instant};
use crate::{reaper, recover};

/// A timer that can move to another runtime with the future that holds it: a plain sleep panics
/// once the runtime that it belongs to has ended.
pub(super) struct Timer {
    deadline: Instant,
    sleep: Slept,
    on_fallback: bool,
}

enum Slept {
    Unset,
    Running(Pin<Box<Sleep>>),
    /// There is no runtime, or it has no timers: asked once, for each time raises a panic.
    Impossible,
}

impl Timer {
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            sleep: Slept::Unset,
            on_fallback: false,
        }
    }

    /// Tells whether the time is up; if not, `cx` is woken when it is. Where there are no timers
    /// that is never, as documented.
    pub(super) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let on_fallback = reaper::on_fallback();
        if self.on_fallback != on_fallback {
            self.on_fallback = on_fallback;
            self.sleep = Slept::Unset;
        }
        if let Slept::Running(sleep) = &mut self.sleep {
            match recover(|| sleep.as_mut().poll(cx)) {
                Ok(polled) => return polled.is_ready(),
                // Its runtime is going down; the one at hand may be another.
                Err(_) => self.sleep = Slept::Unset,
            }
        }
        if let Slept::Unset = self.sleep {
            self.sleep = Slept::Impossible;
            if tokio::runtime::Handle::try_current().is_ok() {
                let started = recover(|| {
                    let mut sleep = Box::pin(clock::timer_until(self.deadline));
                    let over = sleep.as_mut().poll(cx).is_ready();
                    (sleep, over)
                });
                if let Ok((sleep, over)) = started {
                    self.sleep = Slept::Running(sleep);
                    return over;
                }
            }
        }
        false
    }

    pub(super) async fn over(mut self) {
        poll_fn(|cx| match self.is_over(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}
