use std::collections::VecDeque;

/// The queued tasks of one tier, oldest first.
///
/// A task that is withdrawn leaves a gap, because closing it would move all that came later. Gaps
/// count for nothing, and are swept out before they outnumber the tasks.
///
/// Invariants:
/// 1. Numbers grow from front to back.
/// 2. The front is no gap.
/// 3. There are at most `depth + GAPS_MAX` gaps.
pub(super) struct Queue<J> {
    entries: VecDeque<Entry<J>>,
    depth: usize,
}

struct Entry<J> {
    number: u64,
    /// When it was queued, in nanoseconds.
    since: u64,
    task: Option<J>,
}

/// How many gaps there may be beyond the number of tasks: 16, so that a short queue is not swept
/// at every withdrawal.
const GAPS_MAX: usize = 16;

impl<J> Queue<J> {
    pub(super) const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            depth: 0,
        }
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Gives number and time of the oldest task.
    pub(super) fn oldest(&self) -> Option<(u64, u64)> {
        self.entries
            .front()
            .map(|entry| (entry.number, entry.since))
    }

    /// `number` is larger than all before it.
    pub(super) fn push(&mut self, number: u64, since: u64, task: J) {
        debug_assert!(
            self.entries.back().is_none_or(|last| last.number < number),
            "invariant 1"
        );
        let task = Some(task);
        self.entries.push_back(Entry {
            number,
            since,
            task,
        });
        self.depth += 1;
    }

    /// Takes the oldest task, and the time since when it was queued.
    pub(super) fn pop(&mut self) -> Option<(J, u64)> {
        let entry = self.entries.pop_front()?;
        self.close_front();
        self.depth -= 1;
        Some((entry.task.expect("invariant 2"), entry.since))
    }

    /// Takes the task of that number, if it is still here.
    pub(super) fn withdraw(&mut self, number: u64) -> Option<J> {
        let found = self.entries.binary_search_by_key(&number, |e| e.number);
        let task = self.entries[found.ok()?].task.take()?;
        self.depth -= 1;
        self.close_front();
        if self.entries.len() - self.depth > self.depth + GAPS_MAX {
            self.entries.retain(|entry| entry.task.is_some());
        }
        Some(task)
    }

    /// Takes all tasks, oldest first.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = J> + use<J> {
        self.depth = 0;
        let entries = std::mem::take(&mut self.entries);
        entries.into_iter().filter_map(|entry| entry.task)
    }

    fn close_front(&mut self) {
        while self.entries.front().is_some_and(|e| e.task.is_none()) {
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Op {
        Push,
        Pop,
        /// The task at this place among all that were ever pushed.
        Withdraw(prop::sample::Index),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            3 => Just(Op::Push),
            1 => Just(Op::Pop),
            2 => any::<prop::sample::Index>().prop_map(Op::Withdraw),
        ];
        prop::collection::vec(op, 0..400)
    }

    proptest! {
        #[test]
        fn a_queue_with_gaps_behaves_like_a_list_without(ops in ops()) {
            let mut queue = Queue::new();
            let mut model: Vec<u64> = Vec::new();
            let mut next = 0;
            for op in ops {
                match op {
                    Op::Push => {
                        queue.push(next, next * 10, next);
                        model.push(next);
                        next += 1;
                    }
                    Op::Pop => {
                        let expected = (!model.is_empty()).then(|| model.remove(0));
                        prop_assert_eq!(queue.pop(), expected.map(|n| (n, n * 10)));
                    }
                    Op::Withdraw(_) if next == 0 => {}
                    Op::Withdraw(which) => {
                        let number = which.index(next as usize) as u64;
                        let place = model.iter().position(|n| *n == number);
                        prop_assert_eq!(queue.withdraw(number), place.map(|at| model.remove(at)));
                    }
                }
                prop_assert_eq!(queue.depth(), model.len());
                prop_assert_eq!(queue.oldest(), model.first().map(|n| (*n, n * 10)));
                let gaps = queue.entries.len() - queue.depth;
                prop_assert!(gaps <= queue.depth + GAPS_MAX, "{} gaps", gaps);
            }
            prop_assert_eq!(queue.clear().collect::<Vec<_>>(), model);
        }
    }

    #[test]
    fn tasks_that_come_and_go_behind_one_that_stays_take_no_memory() {
        let mut queue = Queue::new();
        queue.push(0, 0, ());

        for number in 1..100_000 {
            queue.push(number, 0, ());
            queue.withdraw(number);
        }

        assert!(queue.entries.len() < 64, "{}", queue.entries.len());
        assert_eq!(queue.depth(), 1);
    }
}
