use std::collections::VecDeque;

/// Those who wait to put a task into the queue of one tier, in the order in which they came.
///
/// Room that becomes free is kept for the first of them, so that nobody who comes later can take
/// it while that one wakes up.
///
/// Invariant: numbers grow from front to back.
pub(super) struct Door<W> {
    waiting: VecDeque<(u64, W)>,
    kept: usize,
}

impl<W> Door<W> {
    pub(super) const fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            kept: 0,
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many tasks there is room kept for.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// `number` is larger than all before it.
    pub(super) fn wait(&mut self, number: u64, waker: W) {
        self.waiting.push_back((number, waker));
    }

    /// Gives the waker of one who still waits.
    pub(super) fn waiting(&mut self, number: u64) -> Option<&mut W> {
        let at = self.place(number)?;
        Some(&mut self.waiting[at].1)
    }

    /// Keeps room for the first one, who is to be woken.
    pub(super) fn keep(&mut self) -> Option<W> {
        let (_, waker) = self.waiting.pop_front()?;
        self.kept += 1;
        Some(waker)
    }

    /// Gives up the room that was kept for one: it has come in, or it comes no more.
    pub(super) fn give_up(&mut self) {
        debug_assert!(self.kept > 0, "room is given up once");
        self.kept -= 1;
    }

    /// Strikes out one who comes no more; `None` if it does not wait any longer.
    pub(super) fn strike(&mut self, number: u64) -> Option<W> {
        let at = self.place(number)?;
        self.waiting.remove(at).map(|(_, waker)| waker)
    }

    /// Sends all away, who are to be woken.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = W> + use<W> {
        self.kept = 0;
        std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|(_, waker)| waker)
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&number, |w| w.0).ok()
    }
}
