//! The queue core against a model that knows all and is simple: every sequence of calls, in one
//! thread, with the checks of the invariants after each of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::inbox::Posted;
use super::*;
use crate::context::Name;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Task(u64);

impl Carded for Task {
    fn card(&self) -> Card {
        Card {
            name: Name::new("task"),
            trace_id: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Worker(usize),
    Submitter(Task),
}

#[derive(Debug, Clone, Copy)]
struct Submitter {
    task: Task,
    tier: Tier,
    number: u64,
}

#[derive(Debug, Clone)]
enum Op {
    Try(u8),
    Wait(u8),
    /// A woken submitter, or one that is polled for no reason, comes back.
    ComeBack(Index),
    GiveUp(Index),
    Withdraw(Index),
    /// A worker that is busy or woken comes for work; so may, for no reason, one that rests.
    Work(Index),
    Resize(usize),
    Lose(Index),
    Look,
    Close,
    Stop,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let index = any::<Index>;
    let op = prop_oneof![
        20 => (0..3u8).prop_map(Op::Try),
        8 => (0..3u8).prop_map(Op::Wait),
        8 => index().prop_map(Op::ComeBack),
        3 => index().prop_map(Op::GiveUp),
        4 => index().prop_map(Op::Withdraw),
        40 => index().prop_map(Op::Work),
        3 => (1..5usize).prop_map(Op::Resize),
        1 => index().prop_map(Op::Lose),
        3 => Just(Op::Look),
    ];
    let end = prop_oneof![Just(Op::Close), Just(Op::Stop)];
    (prop::collection::vec(op, 0..300), end, 0..4usize).prop_map(|(mut ops, end, more)| {
        ops.push(end);
        ops.extend((0..more).map(|_| Op::Try(0)));
        ops
    })
}

const QUEUE_MAX: usize = 4;

/// What should be true, kept in the plainest way.
struct World {
    line: Line<Task, Who>,
    inbox: Inbox<Task>,
    /// The sign of the gate.
    sign: u8,
    now: u64,
    next_task: u64,
    /// Accepted and not started, oldest first.
    queued: [VecDeque<Task>; Tier::COUNT],
    numbers: BTreeMap<Task, (Tier, u64)>,
    /// At the door, in order, with their numbers.
    waiting: [VecDeque<(Task, u64)>; Tier::COUNT],
    /// Woken at the door, and not back yet.
    kept: BTreeMap<Task, (Tier, u64)>,
    busy: BTreeMap<usize, Task>,
    /// Hired or woken, and not here yet.
    coming: BTreeSet<usize>,
    resting: BTreeSet<usize>,
    target: usize,
    passed_over: u32,
    open: bool,
    started: u64,
    ended: u64,
    cancelled: u64,
}

impl World {
    fn new(target: usize) -> Self {
        let mut world = Self {
            line: Line::new(QUEUE_MAX, target),
            inbox: Inbox::new(),
            sign: 0,
            now: 0,
            next_task: 0,
            queued: Default::default(),
            numbers: BTreeMap::new(),
            waiting: Default::default(),
            kept: BTreeMap::new(),
            busy: BTreeMap::new(),
            coming: BTreeSet::new(),
            resting: BTreeSet::new(),
            target,
            passed_over: 0,
            open: true,
            started: 0,
            ended: 0,
            cancelled: 0,
        };
        world.resize(target);
        world
    }

    fn act(&mut self, op: &Op) {
        self.now += 1;
        match op {
            Op::Try(tier) => self.try_submit(*tier),
            Op::Wait(tier) => self.wait(*tier),
            Op::ComeBack(which) => {
                if let Some(submitter) = pick(&self.submitters(), which) {
                    self.come_back(submitter);
                }
            }
            Op::GiveUp(which) => {
                if let Some(submitter) = pick(&self.submitters(), which) {
                    self.give_up(submitter);
                }
            }
            Op::Withdraw(which) => self.withdraw(which),
            Op::Work(which) => {
                if let Some(id) = pick(&self.members(), which) {
                    self.work(id);
                }
            }
            Op::Resize(target) => self.resize(*target),
            Op::Lose(which) => self.lose(which),
            Op::Look => self.whole_line(),
            Op::Close => self.close(),
            Op::Stop => self.stop(),
        }
        self.check();
    }

    fn members(&self) -> Vec<usize> {
        let members = self.busy.keys().chain(&self.coming);
        members.chain(&self.resting).copied().collect()
    }

    /// Who is at a door, or has been let in and is not back yet.
    fn submitters(&self) -> Vec<Submitter> {
        let waiting = self.waiting.iter().enumerate().flat_map(|(tier, door)| {
            let tier = Tier::new(tier as u8).unwrap();
            door.iter().map(move |(task, number)| Submitter {
                task: *task,
                tier,
                number: *number,
            })
        });
        let kept = self.kept.iter().map(|(task, (tier, number))| Submitter {
            task: *task,
            tier: *tier,
            number: *number,
        });
        waiting.chain(kept).collect()
    }

    /// Calls the line as `Shared::change` does.
    fn change<R>(
        &mut self,
        change: impl FnOnce(&mut Line<Task, Who>, &mut Inbox<Task>, &mut Wakes<Who>) -> R,
    ) -> R {
        self.sign = 0;
        let mut wakes = Wakes::new();
        let changed = change(&mut self.line, &mut self.inbox, &mut wakes);
        self.woken(wakes);
        changed
    }

    fn woken(&mut self, wakes: Wakes<Who>) {
        for who in wakes {
            match who {
                Who::Worker(id) => {
                    if self.resting.remove(&id) {
                        self.coming.insert(id);
                    } else {
                        assert!(self.busy.contains_key(&id), "worker {id} was woken twice");
                    }
                }
                Who::Submitter(task) => {
                    let waiting = self.waiting.iter_mut().enumerate();
                    let found = waiting.into_iter().find_map(|(tier, door)| {
                        let (first, number) = *door.front()?;
                        (first == task).then(|| {
                            door.pop_front();
                            (Tier::new(tier as u8).unwrap(), number)
                        })
                    });
                    let place = found.expect("only the first at a door is let in");
                    self.kept.insert(task, place);
                }
            }
        }
    }

    fn new_task(&mut self) -> Task {
        self.next_task += 1;
        Task(self.next_task)
    }

    /// Does as `submit::enter`.
    fn enter(&mut self, tier: Tier, task: Task) -> Result<(), bool> {
        let now = self.now;
        let entered = match self.inbox.post(tier, now, task) {
            Posted::Accepted(number) => {
                self.sign |= 1 << tier.number();
                Ok(number)
            }
            Posted::Closed(task) => Err(Refused::Closed(task)),
            Posted::Ask(task) => {
                self.change(|line, inbox, wakes| line.enter(inbox, tier, now, task, wakes))
            }
        };
        let at = usize::from(tier.number());
        let full = self.queued[at].len() + self.kept_of(tier) >= QUEUE_MAX;
        match entered {
            Ok(number) => {
                assert!(self.open && !full, "accepted into a queue without room");
                self.queued[at].push_back(task);
                self.numbers.insert(task, (tier, number));
                Ok(())
            }
            Err(Refused::Full(_)) => {
                assert!(full, "rejected from a queue with room");
                Err(true)
            }
            Err(Refused::Closed(_)) => {
                assert!(!self.open);
                Err(false)
            }
        }
    }

    fn kept_of(&self, tier: Tier) -> usize {
        self.kept.values().filter(|(t, _)| *t == tier).count()
    }

    fn try_submit(&mut self, tier: u8) {
        let task = self.new_task();
        let _ = self.enter(Tier::new(tier).unwrap(), task);
    }

    fn wait(&mut self, tier: u8) {
        let (task, tier) = (self.new_task(), Tier::new(tier).unwrap());
        if let Err(true) = self.enter(tier, task) {
            let who = Who::Submitter(task);
            let number = self.change(|line, inbox, _| line.wait(inbox, tier, who));
            self.waiting[usize::from(tier.number())].push_back((task, number));
        }
    }

    fn come_back(&mut self, Submitter { task, tier, number }: Submitter) {
        if !self.kept.contains_key(&task) {
            let waits = self.line.waiting(tier, number).copied();
            assert_eq!(waits, Some(Who::Submitter(task)));
            return;
        }
        assert!(self.line.waiting(tier, number).is_none());
        self.kept.remove(&task);
        let now = self.now;
        let entered =
            self.change(|line, inbox, wakes| line.enter_kept(inbox, tier, now, task, wakes));
        match entered {
            Ok(number) => {
                assert!(self.open);
                self.queued[usize::from(tier.number())].push_back(task);
                self.numbers.insert(task, (tier, number));
            }
            Err(Refused::Closed(_)) => assert!(!self.open),
            Err(Refused::Full(_)) => panic!("the room was not kept"),
        }
    }

    fn give_up(&mut self, Submitter { task, tier, number }: Submitter) {
        let waited = self.kept.remove(&task).is_none();
        if waited {
            self.waiting[usize::from(tier.number())].retain(|(other, _)| *other != task);
        }
        let struck = self.change(|line, inbox, wakes| {
            let struck = line.give_up(tier, number, wakes);
            line.settle(inbox, wakes);
            struck
        });
        assert_eq!(struck, waited.then_some(Who::Submitter(task)));
    }

    fn withdraw(&mut self, which: &Index) {
        let all: Vec<_> = self.numbers.iter().map(|(t, place)| (*t, *place)).collect();
        let Some((task, (tier, number))) = pick(&all, which) else {
            return;
        };
        let queue = &mut self.queued[usize::from(tier.number())];
        let at = queue.iter().position(|other| *other == task);
        let expected = at.and_then(|at| queue.remove(at));
        self.cancelled += u64::from(expected.is_some());
        let got = self.change(|line, inbox, wakes| line.withdraw(inbox, tier, number, wakes));
        assert_eq!(got, expected);
    }

    /// Does as `Shared::next`.
    fn work(&mut self, id: usize) {
        let verdict = self.busy.remove(&id).map(|_| {
            self.ended += 1;
            Verdict::Ok
        });
        if !self.coming.remove(&id) {
            self.resting.remove(&id);
        }
        let mut wakes = Wakes::new();
        self.line.arrive(id, verdict);
        self.line.enroll(id, Who::Worker(id));
        if self.line.needs(self.sign) {
            self.sign = 0;
            self.line.take_over(&mut self.inbox);
        }
        let next = self.line.tell(id, self.now, &mut wakes);
        match next {
            Next::Start(task) => self.start(id, task),
            Next::Rest => {
                assert!(self.open && self.total() == 0, "rests though there is work");
                self.resting.insert(id);
            }
            Next::Leave => {
                let size = self.members().len() + 1;
                let over = !self.open && self.total() == 0;
                assert!(size > self.target || over, "leaves though it is needed");
            }
        }
        if self.line.is_unsettled() {
            self.sign = 0;
            self.line.settle(&mut self.inbox, &mut wakes);
        }
        self.woken(wakes);
    }

    fn start(&mut self, id: usize, task: Task) {
        assert!(self.busy.len() < self.target, "one too many");
        let waiting: Vec<_> = (0..Tier::COUNT)
            .filter(|tier| !self.queued[*tier].is_empty())
            .collect();
        let (first, lower) = waiting.split_first().expect("something is queued");
        let tier = if lower.is_empty() {
            self.passed_over = 0;
            first
        } else if self.passed_over == PASSED_OVER_MAX {
            self.passed_over = 0;
            let oldest = |tier: &&usize| self.numbers[&self.queued[**tier][0]].1;
            lower.iter().min_by_key(oldest).unwrap()
        } else {
            self.passed_over += 1;
            first
        };
        assert_eq!(self.queued[*tier].pop_front(), Some(task), "out of turn");
        self.busy.insert(id, task);
        self.started += 1;
    }

    fn resize(&mut self, target: usize) {
        self.target = target;
        let hired = self.change(|line, inbox, wakes| line.resize(inbox, target, wakes));
        self.coming.extend(hired);
    }

    fn lose(&mut self, which: &Index) {
        let all = self.members();
        let Some(id) = pick(&all, which) else {
            return;
        };
        self.cancelled += u64::from(self.busy.remove(&id).is_some());
        self.coming.remove(&id);
        self.resting.remove(&id);
        let last = all.len() == 1;
        let tasks = self.change(|line, inbox, wakes| line.lost(inbox, id, wakes));
        if last {
            self.open = false;
            self.cleared(tasks);
        } else {
            assert!(tasks.is_empty());
        }
    }

    fn whole_line(&mut self) {
        self.sign = 0;
        self.line.take_over(&mut self.inbox);
        for tier in 0..Tier::COUNT {
            assert_eq!(self.line.depth(tier), self.queued[tier].len());
            assert_eq!(self.line.at_door(tier), self.waiting[tier].len());
        }
    }

    fn close(&mut self) {
        self.open = false;
        self.change(|line, inbox, wakes| line.close(inbox, wakes));
    }

    fn stop(&mut self) {
        self.open = false;
        let tasks = self.change(|line, inbox, wakes| line.stop(inbox, wakes));
        self.cleared(tasks);
    }

    fn cleared(&mut self, tasks: Vec<Task>) {
        let expected: Vec<_> = self.queued.iter_mut().flat_map(|q| q.drain(..)).collect();
        self.cancelled += expected.len() as u64;
        assert_eq!(tasks, expected);
    }

    fn total(&self) -> usize {
        self.queued.iter().map(VecDeque::len).sum()
    }

    fn check(&self) {
        for tier in 0..Tier::COUNT {
            let taken = self.queued[tier].len() + self.kept_of(Tier::new(tier as u8).unwrap());
            assert!(!self.open || taken <= QUEUE_MAX, "{taken} in tier {tier}");
            let waiting = self.waiting[tier].len();
            assert!(
                waiting == 0 || self.open && taken == QUEUE_MAX,
                "waits though there is room"
            );
        }
        assert!(
            self.total() == 0 || self.resting.is_empty() || !self.coming.is_empty(),
            "a worker rests, tasks are queued, and nobody comes"
        );
        assert!(
            self.open || self.resting.is_empty(),
            "rests after the close"
        );
        assert_eq!(self.line.crew().in_flight(), self.busy.len());
        assert_eq!(self.line.crew().size(), self.members().len());
        assert_eq!(self.line.crew().running().count(), self.busy.len());
        let counts = self.line.counts();
        assert_eq!(counts.completed, self.ended);
        assert_eq!(counts.cancelled, self.cancelled);
        assert_eq!(counts.started.iter().sum::<u64>(), self.started);
        assert_eq!(
            self.line.has_ended(),
            !self.open && self.members().is_empty()
        );
    }

    /// Lets everybody end who is still there.
    fn run_to_the_end(&mut self) {
        let mut rounds = 0;
        while let Some(id) = self.members().first().copied() {
            self.now += 1;
            self.work(id);
            self.check();
            rounds += 1;
            assert!(rounds < 10_000, "workers do not leave");
        }
        assert_eq!(self.total(), 0, "accepted and never run");
        assert!(self.waiting.iter().all(VecDeque::is_empty));
        assert_eq!(self.numbers.len() as u64, self.ended + self.cancelled);
    }
}

fn pick<T: Copy>(all: &[T], which: &Index) -> Option<T> {
    (!all.is_empty()).then(|| *which.get(all))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_happens_nothing_is_lost_and_limits_and_order_hold(
        target in 1..5usize,
        ops in ops(),
    ) {
        let mut world = World::new(target);
        for op in &ops {
            world.act(op);
        }
        world.run_to_the_end();
    }
}

#[test]
fn a_lower_tier_starts_after_it_was_passed_over_so_often() {
    let mut world = World::new(1);
    let low = Task(1);
    world.act(&Op::Try(2));
    // More important than the one before, but it has not waited as long.
    world.act(&Op::Try(1));
    let mut starts = 0;

    while world.queued[2].front() == Some(&low) {
        world.act(&Op::Try(0));
        world.work(0);
        starts += 1;
    }

    assert_eq!(starts, PASSED_OVER_MAX + 1);
    assert_eq!(world.busy[&0], low);
    assert_eq!(world.queued[1].len(), 1);
}

#[test]
fn waiters_are_let_in_one_by_one_in_their_order() {
    let mut world = World::new(1);
    world.act(&Op::Try(1));
    world.work(0);
    for _ in 0..QUEUE_MAX {
        world.act(&Op::Try(1));
    }
    for _ in 0..3 {
        world.act(&Op::Wait(1));
    }
    let waiting: Vec<_> = world.waiting[1].iter().map(|(task, _)| *task).collect();
    assert_eq!(waiting.len(), 3);

    for expected in waiting {
        world.work(0);
        assert_eq!(world.kept.keys().copied().collect::<Vec<_>>(), [expected]);
        world.act(&Op::Try(1));
        assert_eq!(world.queued[1].len(), QUEUE_MAX - 1, "the room is kept");
        let back = world.submitters().pop().expect("let in");
        assert_eq!(back.task, expected);
        world.come_back(back);
    }
}
