//! Sends each request when it is due, whatever became of those before.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::timeout_at;

use crate::connection::{Connection, Failure};
use crate::plan::{Plan, Refused, Reuse};
use crate::report::{Report, Tally};
use crate::request::Template;
use crate::schedule::Schedule;
use crate::ticks::Ticks;

/// Requests that are due within this go out together, which saves wake-ups; none is sent early.
const TICK: Duration = Duration::from_micros(100);

/// After so many the answers have a turn.
const AT_ONCE_MAX: usize = 64;

impl Plan {
    /// Sends all of it from the calling thread, which it occupies until the last client was answered or gave up.
    ///
    /// # Errors
    ///
    /// [`Refused`] as the source, when the plan is not in order; else what the system says when it has no timer or
    /// poll for us. What goes wrong with requests is in the report.
    ///
    /// # Panics
    ///
    /// When called from within a runtime: start a thread for it.
    pub fn run(&self) -> io::Result<Report> {
        let invalid = |why: Refused| io::Error::new(io::ErrorKind::InvalidInput, why);
        self.check().map_err(invalid)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async { send(self).await })
    }
}

/// What the requests of a run share.
struct Shared {
    plan: Plan,
    classes: Vec<Requests>,
    open: Cell<usize>,
    in_flight: Cell<usize>,
}

struct Requests {
    template: Template,
    tally: RefCell<Tally>,
    idle: RefCell<Vec<Held>>,
}

/// A connection that counts as open until it is dropped.
struct Held {
    connection: Connection,
    _count: Open,
}

/// Counts one connection, from before it is opened.
struct Open(Rc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

async fn send(plan: &Plan) -> io::Result<Report> {
    let cpu = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = plan.lasts().as_secs() as usize + 1;
    let classes = plan.classes.iter().map(|class| Requests {
        template: Template::new(class).expect("the plan was checked"),
        tally: RefCell::new(Tally::new(seconds)),
        idle: RefCell::default(),
    });
    let shared = Rc::new(Shared {
        plan: plan.clone(),
        classes: classes.collect(),
        open: Cell::new(0),
        in_flight: Cell::new(0),
    });

    // Seeds of classes are far apart, whatever the seed of the plan.
    let schedules = plan.classes.iter().zip(0_u64..).map(|(class, index)| {
        let seed = plan.seed.wrapping_add((index + 1) << 40);
        (Schedule::new(class, seed).peekable(), 0_u64)
    });
    let mut schedules: Vec<_> = schedules.collect();
    let ticks = Ticks::new()?;
    let start = Instant::now();
    loop {
        let next = schedules
            .iter_mut()
            .enumerate()
            .filter_map(|(index, (schedule, _))| schedule.peek().map(|&due_ns| (due_ns, index)));
        let Some((due_ns, _)) = next.min() else { break };
        let due = start + Duration::from_nanos(due_ns);
        let woken = Instant::now();
        if due > woken {
            ticks.until(due.max(woken + TICK)).await?;
        }
        let now_ns = (Instant::now() - start).as_nanos() as u64;
        let mut at_once = 0;
        for (index, (schedule, number)) in schedules.iter_mut().enumerate() {
            while at_once < AT_ONCE_MAX
                && let Some(due_ns) = schedule.next_if(|&due_ns| due_ns <= now_ns)
            {
                arrive(&shared, index, *number, start, Duration::from_nanos(due_ns));
                *number += 1;
                at_once += 1;
            }
        }
        yield_now().await;
    }
    // Bounded by the timeouts of the clients, whom nobody joins any more.
    while shared.in_flight.get() > 0 {
        ticks
            .until(Instant::now() + Duration::from_millis(1))
            .await?;
    }
    let lasted = start.elapsed();

    let mut report = Report {
        seed: plan.seed,
        seconds: lasted.as_secs_f64(),
        cpu_seconds: (seconds_of(clock_gettime(ClockId::ThreadCPUTime)) - seconds_of(cpu)).max(0.0),
        classes: Vec::new(),
    };
    for (class, requests) in plan.classes.iter().zip(&shared.classes) {
        // Each holds the shared part that holds it.
        requests.idle.take();
        report
            .classes
            .push(requests.tally.borrow().report(&class.name));
    }
    Ok(report)
}

fn seconds_of(time: rustix::time::Timespec) -> f64 {
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// One request is due: it goes out now, or it is unsent.
fn arrive(shared: &Rc<Shared>, index: usize, number: u64, start: Instant, due: Duration) {
    let requests = &shared.classes[index];
    let second = due.as_secs() as usize;
    requests.tally.borrow_mut().offered(second);
    let idle = loop {
        let held = requests.idle.borrow_mut().pop();
        match held {
            Some(held) if !held.connection.is_open() => {}
            held => break held,
        }
    };
    let connection = match idle {
        Some(held) => Ok(held),
        None => match place(shared) {
            Some(open) => Err(open),
            None => {
                requests.tally.borrow_mut().unsent();
                return;
            }
        },
    };
    shared.in_flight.set(shared.in_flight.get() + 1);
    let shared = Rc::clone(shared);
    spawn_local(async move {
        let class = &shared.plan.classes[index];
        let due_at = start + due;
        let requests = &shared.classes[index];
        let exchange = exchange(&shared, index, number, connection, due_at);
        let ended = timeout_at((due_at + class.timeout).into(), exchange).await;
        let latency = due_at.elapsed();
        let mut tally = requests.tally.borrow_mut();
        match ended {
            Err(_) => tally.gave_up(),
            Ok(Err(failure)) => tally.failed(failure.name()),
            Ok(Ok(answer)) => {
                let in_time = latency <= class.in_time;
                tally.answered(second, answer.status, answer.reason, latency, in_time);
            }
        }
        drop(tally);
        shared.in_flight.set(shared.in_flight.get() - 1);
    });
}

/// The right to open a connection, where there may be one more. Those who wait idle in other classes make room.
fn place(shared: &Rc<Shared>) -> Option<Open> {
    if shared.open.get() >= shared.plan.connections_max {
        let idle = shared
            .classes
            .iter()
            .find_map(|other| other.idle.borrow_mut().pop());
        drop(idle?);
    }
    shared.open.set(shared.open.get() + 1);
    Some(Open(Rc::clone(shared)))
}

async fn exchange(
    shared: &Rc<Shared>,
    index: usize,
    number: u64,
    connection: Result<Held, Open>,
    due: Instant,
) -> Result<crate::answer::Answer, Failure> {
    let class = &shared.plan.classes[index];
    let requests = &shared.classes[index];
    let mut held = match connection {
        Ok(held) => held,
        Err(count) => Held {
            connection: Connection::open(shared.plan.target)
                .await
                .map_err(|_| Failure::Connect)?,
            _count: count,
        },
    };
    let Connection { request, body, .. } = &mut held.connection;
    requests
        .template
        .write(number, shared.plan.target, request, body);
    let sent = || requests.tally.borrow_mut().sent(due.elapsed());
    let answer = held
        .connection
        .exchange(class.method == "HEAD", sent)
        .await?;
    if answer.keep_alive && class.reuse == Reuse::KeepAlive {
        requests.idle.borrow_mut().push(held);
    }
    Ok(answer)
}
