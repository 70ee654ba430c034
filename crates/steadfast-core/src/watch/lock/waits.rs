use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;

use super::core::{Core, Hold};
use crate::decide::lateness::Overdue;
use crate::decide::wait_cycle::{self, Cycle, Pending};
use crate::watch::event::{self, Event};
use crate::watch::party::Key;
use crate::watch::polls::Polling;
use crate::watch::{HolderNotPolled, Link, SlowWait, WaitCycle, time};

/// How many waits are watched at a time: 4,096. Waits that come while it is full work; nobody
/// sees that they last, or that they close a circle.
pub(in crate::watch) const WAITS_MAX: usize = 4_096;

/// Every wait that is going on.
///
/// 1. Its lock is taken before the state of a [`Core`], never after.
/// 2. A wait is entered and looked through in one step, and whoever holds a lock has published
///    that before it waits for another. So of the waits that make a circle, the last one to be
///    entered sees all the others.
/// 3. No reference to a node is made or dropped under it: the last one runs the code of others.
static WAITS: LazyLock<Mutex<Waits>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Waits {
    next_id: u64,
    live: HashMap<u64, Wait>,
    /// The waits of each party and of each blocked thread.
    by_node: HashMap<Node, SmallVec<[u64; 2]>>,
    unwatched: u64,
}

#[derive(Clone)]
struct Wait {
    lock: LockRef,
    waiter: Hold,
    /// When the lock was handed to this waiter, if it was not polled since; or zero.
    handed_at: Arc<AtomicU64>,
    slow: Option<Overdue>,
    unpolled: Option<Overdue>,
}

#[derive(Clone)]
struct LockRef(Arc<Core>);

impl PartialEq for LockRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What has to go on before another can.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Node {
    Party(Key),
    /// A thread that is blocked: whatever would be polled on it has to wait.
    Thread(u64),
}

fn waits() -> MutexGuard<'static, Waits> {
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A wait that is going on; it ends with the drop.
pub(super) struct Waiting {
    /// Absent when it is not watched.
    pub(super) id: Option<u64>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let ended = waits().end(id);
            drop(ended);
        }
    }
}

/// Starts a wait, and says so when it closes a circle. `None` if the lock refuses circles and this
/// caller can be refused.
pub(super) fn start(
    core: &Arc<Core>,
    waiter: Hold,
    handed_at: Arc<AtomicU64>,
    can_refuse: bool,
) -> Option<Waiting> {
    let mut waits = waits();
    let Some(id) = waits.begin(core, waiter, handed_at) else {
        return Some(Waiting { id: None });
    };
    let waiting = Waiting { id: Some(id) };
    let wait = &waits.live[&id];
    let Some(cycle) = waits.search(core, &wait.waiter).filter(|cycle| cycle.sure) else {
        return Some(waiting);
    };
    let links = waits.links(wait, &cycle);
    drop(waits);
    let refused = can_refuse && core.refuses_cycles;
    event::hand_over(Event::WaitCycle(describe(links, refused)));
    (!refused).then_some(waiting)
}

/// Tells whether a wait of the code at hand would close a circle.
pub(super) fn would_close_circle(core: &Arc<Core>, waiter: &Hold) -> bool {
    let cycle = waits().search(core, waiter);
    cycle.is_some_and(|cycle| cycle.sure)
}

/// How many waits are going on, and how many were not watched.
pub(in crate::watch) fn counts() -> (usize, u64) {
    let waits = waits();
    (waits.live.len(), waits.unwatched)
}

/// Looks at all waits; gives what there is to tell.
pub(in crate::watch) fn look(
    now: u64,
    wait_limit: Duration,
    unpolled_limit: Duration,
) -> Vec<Event> {
    let (mut slow, mut handed) = (Vec::new(), Vec::new());
    for wait in waits().live.values_mut() {
        let overdue = wait.slow.get_or_insert_with(|| Overdue::new(wait_limit));
        if overdue.is_due(wait.waiter.age_ns(now)) {
            slow.push(wait.clone());
        }
        let handed_at = wait.handed_at.load(Ordering::Acquire);
        if handed_at == 0 {
            wait.unpolled = None;
            continue;
        }
        let unpolled_ns = now.saturating_sub(handed_at);
        let unpolled = wait
            .unpolled
            .get_or_insert_with(|| Overdue::new(unpolled_limit));
        // While somebody else holds the lock it was woken for another reason.
        if !wait.lock.0.is_held() && unpolled.is_due(unpolled_ns) {
            handed.push((wait.clone(), unpolled_ns));
        }
    }
    let slow = slow.into_iter().map(|wait| wait.slow_wait(now));
    let handed = handed
        .into_iter()
        .map(|(wait, unpolled_ns)| not_polled(&wait.lock.0, &wait.waiter, now, unpolled_ns, true));
    slow.chain(handed).collect()
}

/// Looks at all locks that are held; gives those whose holder is not polled.
pub(in crate::watch) fn look_at_holders(now: u64, limit: Duration) -> Vec<Event> {
    let unpolled = |core: Arc<Core>| {
        let hold = core.holder()?;
        let Polling::Ended(at) = hold.party.polling() else {
            return None;
        };
        // Whoever takes a lock is being polled, whatever the last tick has seen.
        let unpolled_ns = now.saturating_sub(at.max(hold.since));
        let due = core.is_unpolled_due(&hold, unpolled_ns, limit);
        due.then(|| not_polled(&core, &hold, now, unpolled_ns, false))
    };
    super::core::all()
        .into_iter()
        .filter_map(unpolled)
        .collect()
}

/// Forgets what was told: a new watchdog has its own limits.
pub(in crate::watch) fn forget_told() {
    for wait in waits().live.values_mut() {
        (wait.slow, wait.unpolled) = (None, None);
    }
    for core in super::core::all() {
        core.forget_unpolled();
    }
}

fn not_polled(core: &Core, hold: &Hold, now: u64, unpolled_ns: u64, handed_over: bool) -> Event {
    Event::HolderNotPolled(HolderNotPolled {
        lock: core.name,
        holder: hold.describe(now),
        unpolled: Duration::from_nanos(unpolled_ns),
        handed_over,
    })
}

fn describe(links: Vec<(Wait, Hold)>, refused: bool) -> WaitCycle {
    let now = time::now();
    let link = |(wait, holder): (Wait, Hold)| Link {
        who: wait.waiter.who(),
        place: wait.waiter.place,
        lock: wait.lock.0.name,
        holder: holder.describe(now),
    };
    WaitCycle {
        links: links.into_iter().map(link).collect(),
        refused,
    }
}

impl Wait {
    fn slow_wait(&self, now: u64) -> Event {
        let holder = self.lock.0.holder();
        let for_itself = |holder: &Hold| holder.party.key == self.waiter.party.key;
        Event::SlowWait(SlowWait {
            lock: self.lock.0.name,
            who: self.waiter.who(),
            place: self.waiter.place,
            waited: Duration::from_nanos(self.waiter.age_ns(now)),
            for_itself: holder.as_ref().is_some_and(for_itself),
            holder: holder.map(|holder| holder.describe(now)),
        })
    }
}

/// Those who must go on before one goes on who uses a lock of that kind: a guard of a blocking
/// lock stays on its thread, and a wait for one blocks it.
fn nodes(hold: &Hold, blocking: bool) -> SmallVec<[Node; 2]> {
    let thread = blocking.then_some(Node::Thread(hold.party.thread));
    [Node::Party(hold.party.key)]
        .into_iter()
        .chain(thread)
        .collect()
}

impl Waits {
    fn begin(&mut self, core: &Arc<Core>, waiter: Hold, handed_at: Arc<AtomicU64>) -> Option<u64> {
        if self.live.len() == WAITS_MAX {
            self.unwatched += 1;
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        for node in nodes(&waiter, core.blocking) {
            self.by_node.entry(node).or_default().push(id);
        }
        let wait = Wait {
            lock: LockRef(core.clone()),
            waiter,
            handed_at,
            slow: None,
            unpolled: None,
        };
        self.live.insert(id, wait);
        Some(id)
    }

    fn end(&mut self, id: u64) -> Option<Wait> {
        let wait = self.live.remove(&id)?;
        for node in nodes(&wait.waiter, wait.lock.0.blocking) {
            if let Some(ids) = self.by_node.get_mut(&node) {
                ids.retain(|known| *known != id);
                if ids.is_empty() {
                    self.by_node.remove(&node);
                }
            }
        }
        Some(wait)
    }

    fn search(&self, core: &Arc<Core>, waiter: &Hold) -> Option<Cycle<LockRef, Node>> {
        let wait = Pending {
            lock: LockRef(core.clone()),
            blocking: core.blocking,
        };
        let waiters = nodes(waiter, core.blocking);
        let holders = |lock: &LockRef| self.holders(lock);
        let waits = |node: &Node| self.of(node).map(Wait::pending).collect();
        wait_cycle::find(&wait, &waiters, holders, waits)
    }

    /// Who must go on before a lock is free.
    fn holders(&self, lock: &LockRef) -> Vec<Node> {
        let holder = self.holder(&lock.0);
        holder.map_or_else(Vec::new, |hold| nodes(&hold, lock.0.blocking).into_vec())
    }

    /// Who has a lock, or the waiter to whom it was handed and that has not come to take it.
    fn holder(&self, core: &Core) -> Option<Hold> {
        core.holder().or_else(|| {
            let id = core.handed.load(Ordering::Acquire).checked_sub(1)?;
            Some(self.live.get(&id)?.waiter.clone())
        })
    }

    /// What a party or a blocked thread waits for.
    fn of(&self, node: &Node) -> impl Iterator<Item = &Wait> {
        let ids = self.by_node.get(node).into_iter().flatten();
        ids.filter_map(|id| self.live.get(id))
    }

    /// Gives the waits of a circle, each with the holder it waits for.
    fn links(&self, first: &Wait, cycle: &Cycle<LockRef, Node>) -> Vec<(Wait, Hold)> {
        let mut wait = Some(first);
        let mut links = Vec::new();
        for (i, hop) in cycle.hops.iter().enumerate() {
            if let (Some(wait), Some(holder)) = (wait, self.holder(&hop.lock.0)) {
                links.push((wait.clone(), holder));
            }
            let next = cycle.hops.get(i + 1);
            wait = next.and_then(|next| self.of(&hop.holder).find(|wait| wait.lock == next.lock));
        }
        links
    }
}

impl Wait {
    fn pending(&self) -> Pending<LockRef> {
        Pending {
            lock: self.lock.clone(),
            blocking: self.lock.0.blocking,
        }
    }
}
