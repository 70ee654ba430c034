use crate::context::{Name, TraceId};

/// The workers of a pool: who works, who waits for work, who is too many.
///
/// Invariants:
/// 1. `size` is the number of members; `in_flight` of those that are busy; `coming` of those that
///    are on their way; `idle` holds those that rest.
/// 2. `target` is at least 1.
pub(super) struct Crew<W> {
    members: Vec<Option<Member<W>>>,
    vacant: Vec<usize>,
    /// The one that rested last is woken first: its caches are warm.
    idle: Vec<usize>,
    size: usize,
    target: usize,
    coming: usize,
    in_flight: usize,
}

struct Member<W> {
    /// Known from its first arrival on.
    waker: Option<W>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// Hired or woken, and not here yet.
    Coming,
    /// Being told what to do.
    Here,
    Resting,
    Busy(Running),
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) card: Card,
    /// Since when, in nanoseconds.
    pub(super) since: u64,
}

/// What the statistics tell of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Card {
    pub(super) name: Name,
    pub(super) trace_id: Option<TraceId>,
}

/// How many workers may be on their way for queued tasks: 2. Each that arrives wakes the next
/// while there is more to do, so the one who submits pays for few wake-ups, and a worker that is
/// awake already finds work before another is woken for it. Not 1: a runtime puts the worker
/// woken last into a place from which no other thread can take it, and it would be stuck there
/// behind a submitter that goes on without an await; the second one pushes it out.
pub(super) const COMING_MAX: usize = 2;

impl<W: Clone> Crew<W> {
    pub(super) const fn new(target: usize) -> Self {
        Self {
            members: Vec::new(),
            vacant: Vec::new(),
            idle: Vec::new(),
            size: 0,
            target,
            coming: 0,
            in_flight: 0,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn target(&self) -> usize {
        self.target
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn set_target(&mut self, target: usize) {
        self.target = target;
    }

    /// How many workers are too many.
    pub(super) fn surplus(&self) -> usize {
        self.size.saturating_sub(self.target)
    }

    /// Adds members up to the target, and gives their ids; they are on their way.
    pub(super) fn hire(&mut self) -> Vec<usize> {
        let ids = (self.size..self.target).map(|_| {
            let id = self.vacant.pop().unwrap_or(self.members.len());
            if id == self.members.len() {
                self.members.push(None);
            }
            self.members[id] = Some(Member {
                waker: None,
                state: State::Coming,
            });
            id
        });
        let ids: Vec<_> = ids.collect();
        self.size += ids.len();
        self.coming += ids.len();
        ids
    }

    /// Notes by what a member is woken.
    pub(super) fn enroll(&mut self, id: usize, waker: W) {
        self.member(id).waker = Some(waker);
    }

    /// A member comes for work; tells whether it was busy until now.
    pub(super) fn arrive(&mut self, id: usize) -> bool {
        let before = std::mem::replace(&mut self.member(id).state, State::Here);
        match before {
            State::Coming => self.coming -= 1,
            State::Resting => self.idle.retain(|other| *other != id),
            State::Busy(_) => self.in_flight -= 1,
            State::Here => {}
        }
        matches!(before, State::Busy(_))
    }

    /// A member that is here starts a task.
    pub(super) fn start(&mut self, id: usize, running: Running) {
        self.member(id).state = State::Busy(running);
        self.in_flight += 1;
    }

    /// A member that is here has nothing to do.
    pub(super) fn rest(&mut self, id: usize) {
        self.member(id).state = State::Resting;
        self.idle.push(id);
    }

    /// A member that is here leaves for good.
    pub(super) fn leave(&mut self, id: usize) {
        self.members[id] = None;
        self.vacant.push(id);
        self.size -= 1;
    }

    /// Tells whether one rests who may be called: not while enough are on their way.
    pub(super) fn can_call(&self) -> bool {
        self.coming < COMING_MAX && !self.idle.is_empty()
    }

    /// Wakes one that rests, unless enough are on their way.
    pub(super) fn call(&mut self) -> Option<W> {
        if self.can_call() { self.wake() } else { None }
    }

    /// Wakes one that rests.
    pub(super) fn wake(&mut self) -> Option<W> {
        let id = self.idle.pop()?;
        self.coming += 1;
        let member = self.member(id);
        member.state = State::Coming;
        member.waker.clone()
    }

    /// Gives the wakers of those that are busy.
    pub(super) fn busy(&self) -> impl Iterator<Item = W> {
        let busy = self.members.iter().flatten();
        busy.filter(|member| matches!(member.state, State::Busy(_)))
            .filter_map(|member| member.waker.clone())
    }

    /// Gives what is running, in the order of the workers' ids.
    pub(super) fn running(&self) -> impl Iterator<Item = Running> {
        self.members.iter().flatten().filter_map(|m| match m.state {
            State::Busy(running) => Some(running),
            State::Coming | State::Here | State::Resting => None,
        })
    }

    fn member(&mut self, id: usize) -> &mut Member<W> {
        let member = self.members[id].as_mut();
        member.expect("a worker uses its id until it leaves")
    }
}
