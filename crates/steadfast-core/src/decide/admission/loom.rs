//! Every interleaving of requests that leave with requests that are about to wait.

use loom::sync::{Arc, Mutex};
use loom::thread;

use super::{AdmissionConfig, AdmissionQueue, Gate, Leave, Next, Offer, Waiter};
use crate::context::Tier;

/// The shell in its smallest form: what a queued request would wake up by is a count here.
struct Shell {
    gate: Gate,
    queue: Mutex<(AdmissionQueue, u32)>,
}

impl Shell {
    fn new(limit: u32) -> Arc<Self> {
        let queue = AdmissionQueue::new(AdmissionConfig::default()).unwrap();
        Arc::new(Self {
            gate: Gate::new(limit),
            queue: Mutex::new((queue, 0)),
        })
    }

    /// Returns whether the request is in; otherwise it waits.
    fn arrive(&self) -> bool {
        if self.gate.try_enter(Tier::CORE) {
            return true;
        }
        let mut held = self.queue.lock().unwrap();
        let (queue, woken) = &mut *held;
        let Offer::Queued(_) = queue.offer(Waiter::new(Tier::CORE), 0) else {
            unreachable!("there is room");
        };
        self.fill(queue, woken);
        false
    }

    fn fill(&self, queue: &mut AdmissionQueue, woken: &mut u32) {
        queue.fill(&self.gate, 0, |next| wake(next, woken));
    }

    fn leave(&self) {
        if self.gate.leave(Tier::CORE) == Leave::HandOver {
            let mut held = self.queue.lock().unwrap();
            let (queue, woken) = &mut *held;
            queue.hand_over(&self.gate, 0, |next| wake(next, woken));
        }
    }
}

fn wake(next: Next, woken: &mut u32) {
    match next {
        Next::Admit(_) => *woken += 1,
        Next::TooLate(_) => unreachable!("without a deadline"),
    }
}

#[test]
fn nobody_waits_while_there_is_room() {
    loom::model(|| {
        let shell = Shell::new(1);
        assert!(shell.arrive());

        let leaving = {
            let shell = shell.clone();
            thread::spawn(move || shell.leave())
        };
        let entered = shell.arrive();
        leaving.join().unwrap();

        let (queue, woken) = &*shell.queue.lock().unwrap();
        assert!(
            queue.is_empty(),
            "the permit that came back was handed over"
        );
        assert_eq!(u32::from(entered) + woken, 1);
        assert_eq!(shell.gate.in_flight(), 1);
    });
}

#[test]
fn permits_are_neither_lost_nor_doubled() {
    loom::model(|| {
        let shell = Shell::new(1);
        assert!(shell.arrive());

        let threads: Vec<_> = (0..2)
            .map(|_| {
                let shell = shell.clone();
                thread::spawn(move || {
                    if shell.arrive() {
                        shell.leave();
                    }
                })
            })
            .collect();
        shell.leave();
        for thread in threads {
            thread.join().unwrap();
        }
        // Whoever was woken leaves now.
        loop {
            let woken = std::mem::take(&mut shell.queue.lock().unwrap().1);
            if woken == 0 {
                break;
            }
            for _ in 0..woken {
                shell.leave();
            }
        }

        assert!(shell.queue.lock().unwrap().0.is_empty());
        assert_eq!(shell.gate.in_flight(), 0);
        assert!(
            shell.gate.try_enter(Tier::CORE),
            "no mark of waiting is left"
        );
    });
}

#[test]
fn a_raised_limit_lets_waiters_in() {
    loom::model(|| {
        let shell = Shell::new(0);

        let raising = {
            let shell = shell.clone();
            thread::spawn(move || {
                shell.gate.set_limit(1);
                let mut held = shell.queue.lock().unwrap();
                let (queue, woken) = &mut *held;
                shell.fill(queue, woken);
            })
        };
        let entered = shell.arrive();
        raising.join().unwrap();

        let (queue, woken) = &*shell.queue.lock().unwrap();
        assert!(queue.is_empty());
        assert_eq!(u32::from(entered) + woken, 1);
    });
}
