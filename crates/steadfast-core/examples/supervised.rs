//! A small service under supervision: a group of three, one of which fails now and then.
//!
//! ```text
//! cargo run -p steadfast-core --example supervised
//! ```
//!
//! It prints what happens to its children, and every two seconds a page of what they are doing.
//! After ten seconds the clock starts to fail for good: the group gives up, and the exit code is
//! 1. Ctrl-C before that stops it in order, with exit code 0.

#![allow(
    clippy::print_stdout,
    reason = "a program that shows something to people"
)]

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::supervise::{
    Backoff, Child, ChildContext, Event, EventKind, Intensity, Restart, Rules, Strategy,
    Supervisor, SupervisorBuilder,
};
use steadfast_core::{BoxError, Shutdown, clock};

const SECOND: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    steadfast_core::run(service)
}

async fn service(shutdown: Shutdown) -> Result<(), BoxError> {
    let group = describe()?
        .stop_on(&shutdown.stop_accepting())
        .observe(print_event)
        .start()
        .await?;

    let mut ended = std::pin::pin!(group.ended());
    loop {
        match clock::timeout(2 * SECOND, &mut ended).await {
            // A failed group is an error of the program: its exit code says so.
            Ok(end) => return Ok(end.into_result()?),
            Err(_) => println!("\n{}\n", group.snapshot()),
        }
    }
}

fn describe() -> Result<SupervisorBuilder, BoxError> {
    let started = clock::now();
    let backoff = Backoff::new(SECOND / 4, 2 * SECOND)?;
    let rules = |strategy, restarts| -> Result<Rules, BoxError> {
        let intensity = Intensity::new(restarts, 10 * SECOND)?;
        Ok(Rules::new(strategy, intensity).with_backoff(backoff))
    };

    // The counter adds up what the clock writes; if the clock fails, both start anew.
    let inner = rules(Strategy::RestForOne, 5)?;
    let time = Child::group("time", Restart::Permanent, move || {
        let ticks = Arc::new(Mutex::new(0));
        let written = ticks.clone();
        Supervisor::builder("time", inner.clone())
            .child(Child::permanent("clock", move |child| {
                tick(child, written.clone(), started)
            }))
            .child(Child::permanent("counter", move |child| {
                count(child, ticks.clone())
            }))
    });

    Ok(
        Supervisor::builder("service", rules(Strategy::OneForOne, 2)?)
            .child(Child::permanent("listener", listen).ready_within(5 * SECOND))
            .child(time)
            .child(Child::transient("migration", migrate)),
    )
}

/// Needs a moment to get ready, then waits for the end.
async fn listen(child: ChildContext) {
    clock::sleep(SECOND / 2).await;
    child
        .scope()
        .defer("close the port", || println!("  port is closed"));
    child.ready();
    let cause = child.stopping().await;
    println!("  listener stops: {cause}");
}

/// Ticks, panics at every fifth tick, and fails at once when the program is ten seconds old.
async fn tick(
    child: ChildContext,
    ticks: Arc<Mutex<u32>>,
    started: clock::Instant,
) -> Result<(), BoxError> {
    while !child.is_stopping() {
        if clock::now() - started > 10 * SECOND {
            return Err("the quartz is broken".into());
        }
        clock::sleep(SECOND / 2).await;
        let mut ticks = ticks
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *ticks += 1;
        assert!(!ticks.is_multiple_of(5), "tick {ticks} went wrong");
    }
    Ok(())
}

async fn count(child: ChildContext, ticks: Arc<Mutex<u32>>) {
    let waiting = child.stop_token().run(clock::sleep(SECOND));
    if waiting.await.is_ok() {
        let ticks = *ticks
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        println!("  {ticks} ticks so far");
        child.stopping().await;
    }
}

/// Work that has an end: done once, not started again.
async fn migrate(_: ChildContext) -> Result<(), BoxError> {
    clock::sleep(SECOND).await;
    println!("  the tables are up to date");
    Ok(())
}

fn print_event(event: &Event) {
    let child = event.child.map_or("(group)", |child| child.name.as_str());
    match &event.kind {
        EventKind::Ended { end, .. } => println!("{child}: {end}"),
        EventKind::Escalated(error) => println!("{child}: gives up: {error}"),
        kind => println!("{child}: {}", kind.as_str()),
    }
}
