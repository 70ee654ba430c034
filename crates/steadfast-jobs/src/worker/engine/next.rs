//! What to ask the store for next, and when.

use super::held::Queue;
use super::operation::{Asked, Operation};
use super::{ENDS_MAX, Engine, LINGER, nanos};
use crate::decide::turn::Turn;
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
        if !self.legacy.late.is_empty() && now >= self.locked_until {
            return Some(self.offer_late());
        }
        for turn in self.turn.then() {
            let operation = match turn {
                Turn::Exchange => self.next_exchange(now, draining),
                Turn::Check => (!self.perhaps.is_empty()).then(|| self.check_perhaps()),
                Turn::PutBack => {
                    let due = self.ends_are_due(now) && !self.back.is_empty();
                    due.then(|| self.put_back())
                }
                Turn::Suspect => self.next_suspect(now, draining),
                Turn::Rejected => {
                    let any = !self.legacy.rejected.is_empty();
                    any.then(|| self.note_rejected())
                }
                Turn::Limited => {
                    let due = self.limited_due(now, draining);
                    due.map(|queue| self.claim_limited(now, queue, draining))
                }
            };
            if operation.is_some() {
                self.turn = turn;
                return operation;
            }
        }
        None
    }

    fn ends_are_due(&self, now: u64) -> bool {
        let urgent = self.flights.is_empty() || self.done.len() + self.back.len() >= ENDS_MAX;
        self.since
            .is_some_and(|since| urgent || now >= since + nanos(LINGER))
    }

    fn next_exchange(&mut self, now: u64, draining: bool) -> Option<Operation> {
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
        let exchanges = claim || (self.ends_are_due(now) && !self.done.is_empty());
        exchanges.then(|| self.exchange(wants))
    }

    fn next_suspect(&mut self, now: u64, draining: bool) -> Option<Operation> {
        let due = !draining && now >= self.suspect_at() && self.asks_for_suspect(now);
        due.then(|| self.claim_suspect())
    }

    /// Gives when a suspect is next asked for, of queues without limits: one that is full has its turn once it has room.
    fn suspect_at(&self) -> u64 {
        let queues = self.queues.iter().filter(|queue| queue.takes_suspect());
        queues
            .map(|queue| queue.next_suspect)
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Tells whether the last free permit of a queue is left for a suspect: from when one is to be asked for until there
    /// is an answer. Where others wait all the time, none would ever be free for it.
    pub(super) fn waits_for_suspect(&self, now: u64, queue: &Queue) -> bool {
        let asked = queue.next_suspect == u64::MAX;
        let due = now >= queue.next_suspect && self.asks_for_suspect(now);
        // A store that does not answer is no reason to let a permit idle.
        !queue.limited && self.failures == 0 && (asked || due)
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
                self.suspect_at()
            } else {
                u64::MAX
            };
            claims.min(suspects)
        };
        let locked = if self.locked.is_empty() && self.legacy.late.is_empty() {
            u64::MAX
        } else {
            self.locked_until
        };
        let limited = self.next_limited(draining);
        let next = ends.min(polls).min(limited).min(locked);
        let at_once =
            self.uncertain || !self.perhaps.is_empty() || !self.legacy.rejected.is_empty();
        let next = if at_once { now } else { next };
        next.max(self.not_before)
    }

    /// Tells whether a queue with limits is to be asked: for jobs, or to have what is held of it count, which a node has
    /// to see to that has no room as well.
    fn asks_limited(&self, queue: &Queue, draining: bool) -> bool {
        let claims = !draining && queue.has_room() && self.settings.wants_any();
        queue.limited && (claims || queue.limits_are_new)
    }

    pub(super) fn limited_due(&self, now: u64, draining: bool) -> Option<usize> {
        let queues = self.queues.iter().enumerate();
        let due = queues
            .filter(|(_, queue)| now >= queue.next_poll && self.asks_limited(queue, draining));
        due.min_by_key(|(_, queue)| queue.next_poll)
            .map(|(index, _)| index)
    }

    fn next_limited(&self, draining: bool) -> u64 {
        let queues = self.queues.iter();
        let asked = queues.filter(|queue| self.asks_limited(queue, draining));
        asked.map(|queue| queue.next_poll).min().unwrap_or(u64::MAX)
    }

    pub(super) fn asks_for_suspect(&self, now: u64) -> bool {
        !alone::is_taken(now) && self.settings.wants_any()
    }
}
