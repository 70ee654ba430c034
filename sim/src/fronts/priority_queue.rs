//! The usual priority queue, for comparison: core overtakes, once it is in.

use std::collections::VecDeque;

use steadfast::context::Tier;

use crate::engine::{Decision, Front, Request};

/// A fixed limit with a bounded queue behind it, which rejects whoever comes when it is full.
#[derive(Clone, Debug)]
pub struct PriorityQueue {
    limit: u32,
    in_flight: u32,
    room: usize,
    waiting: [VecDeque<u32>; Tier::COUNT],
}

impl PriorityQueue {
    /// Makes one that lets `limit` in at a time and `room` wait.
    #[must_use]
    pub fn new(limit: u32, room: usize) -> Self {
        Self {
            limit,
            in_flight: 0,
            room,
            waiting: Default::default(),
        }
    }
}

impl Front for PriorityQueue {
    fn arrive(&mut self, request: &Request, _: u64, decisions: &mut Vec<Decision>) {
        let waiting: usize = self.waiting.iter().map(VecDeque::len).sum();
        if self.in_flight < self.limit {
            self.in_flight += 1;
            decisions.push(Decision::Admit(request.id));
        } else if waiting < self.room {
            self.waiting[usize::from(request.tier.number())].push_back(request.id);
        } else {
            decisions.push(Decision::Reject(request.id));
        }
    }

    fn ended(&mut self, _: &Request, _: u64, _: u64, decisions: &mut Vec<Decision>) {
        match self.waiting.iter_mut().find_map(VecDeque::pop_front) {
            Some(next) => decisions.push(Decision::Admit(next)),
            None => self.in_flight -= 1,
        }
    }

    fn gave_up(&mut self, request: &Request, _: u64) {
        self.waiting[usize::from(request.tier.number())].retain(|&id| id != request.id);
    }

    fn limit(&self) -> u32 {
        self.limit
    }
}
