//! What to ask the store for next, and when.

use steadfast_core::rng;

use super::held::Queue;
use super::operation::{Asked, Operation};
use super::{ENDS_MAX, Engine, LINGER, SUSPECT_EVERY, nanos};
use crate::decide::poll::apart;
use crate::worker::alone;

impl Engine {
    /// Gives how many jobs each queue could take, with where to look for them.
    pub(super) fn wants(&self, now: u64) -> Vec<Asked> {
        if !self.settings.wants_any() {
            return Vec::new();
        }
        let permits: usize = self.queues.iter().map(|queue| queue.permits).sum();
        let ahead = self.pace.ahead();
        let want = |(index, queue): (usize, &Queue)| {
            // What is held ahead is shared by the queues along their permits.
            let target = queue.permits + ahead * queue.permits / permits.max(1);
            let want = target.saturating_sub(queue.running + queue.ready.len());
            (want > 0 && !queue.limited).then(|| (index, queue.floor.from(now, self.woken), want))
        };
        self.queues.iter().enumerate().filter_map(want).collect()
    }

    pub(super) fn next_operation(&mut self, now: u64, draining: bool) -> Option<Operation> {
        if now < self.not_before {
            return None;
        }
        self.note_held(now);
        if self.uncertain || now >= self.locked_until {
            self.try_locked(now);
        }
        if self.uncertain {
            return Some(self.find_out());
        }
        if !self.perhaps.is_empty() {
            return Some(self.check_perhaps());
        }
        if !self.legacy.late.is_empty() && now >= self.locked_until {
            return Some(self.offer_late());
        }
        let urgent = self.flights.is_empty() || self.done.len() + self.back.len() >= ENDS_MAX;
        let due = self
            .since
            .is_some_and(|since| urgent || now >= since + nanos(LINGER));
        if due && !self.back.is_empty() {
            return Some(self.put_back());
        }
        let wants = if draining {
            Vec::new()
        } else {
            self.wants(now)
        };
        let held: usize = self
            .queues
            .iter()
            .map(|queue| queue.running + queue.ready.len())
            .sum();
        let wanted: usize = wants.iter().map(|(_, _, want)| want).sum();
        // While there is more, small claims would be many claims: they go along with the ends.
        let looks = || {
            let mut asked = wants.iter().map(|(index, _, _)| &self.queues[*index]);
            asked.any(|queue| queue.floor.is_due(now))
        };
        let ask = self.woken || now >= self.next_poll || (self.more && wanted >= held) || looks();
        let claim = wanted > 0 && ask;
        let exchanges = claim || (due && !self.done.is_empty());
        // A busy queue has an exchange due at any time: anything else has its turn after each.
        if (!exchanges || self.exchanged)
            && let Some(other) = self.next_other(now, draining)
        {
            self.exchanged = false;
            return Some(other);
        }
        self.exchanged = exchanges;
        exchanges.then(|| self.exchange(wants))
    }

    /// Gives what is due beside exchanges, the rarest first.
    fn next_other(&mut self, now: u64, draining: bool) -> Option<Operation> {
        if !draining && self.asks_for_suspect(now) && now >= self.next_suspect {
            self.next_suspect = now + nanos(apart(SUSPECT_EVERY, rng::bits()));
            return Some(self.claim_suspect());
        }
        if !self.legacy.rejected.is_empty() {
            return Some(self.note_rejected());
        }
        let limited = self.limited_due(now).filter(|_| !draining);
        limited.map(|queue| self.claim_limited(queue))
    }

    pub(super) fn wake_at(&self, now: u64, draining: bool) -> u64 {
        let ends = self.since.map_or(u64::MAX, |since| since + nanos(LINGER));
        let polls = if draining {
            u64::MAX
        } else {
            let full = self.wants(now).is_empty();
            let claims = if self.woken { now } else { self.next_poll };
            let claims = if full { u64::MAX } else { claims };
            let suspects = if self.asks_for_suspect(now) {
                self.next_suspect
            } else {
                u64::MAX
            };
            claims.min(suspects).min(self.next_limited())
        };
        let locked = if self.locked.is_empty() && self.legacy.late.is_empty() {
            u64::MAX
        } else {
            self.locked_until
        };
        let next = ends.min(polls).min(locked);
        let at_once =
            self.uncertain || !self.perhaps.is_empty() || !self.legacy.rejected.is_empty();
        let next = if at_once { now } else { next };
        next.max(self.not_before)
    }

    pub(super) fn limited_due(&self, now: u64) -> Option<usize> {
        let due = |queue: &Queue| queue.limited && queue.has_room() && now >= queue.next_poll;
        let queues = self
            .queues
            .iter()
            .enumerate()
            .filter(|(_, queue)| due(queue));
        let first = queues.min_by_key(|(_, queue)| queue.next_poll);
        let place = first.map(|(index, _)| index);
        place.filter(|_| self.settings.wants_any())
    }

    pub(super) fn next_limited(&self) -> u64 {
        let queues = self.queues.iter();
        let polls = queues.filter(|queue| queue.limited && queue.has_room());
        let next = polls.map(|queue| queue.next_poll).min();
        next.filter(|_| self.settings.wants_any())
            .unwrap_or(u64::MAX)
    }

    pub(super) fn asks_for_suspect(&self, now: u64) -> bool {
        !alone::is_taken(now) && self.settings.wants_any()
    }
}
