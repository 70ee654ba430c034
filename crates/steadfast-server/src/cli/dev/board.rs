//! The board: how the shop is, at a glance.

use std::net::SocketAddr;
use std::time::Duration;

use steadfast::clock::{self, Instant};
use steadfast::report::{self, Snapshot, Value};
use steadfast::tower::Guard;
use steadfast::tower::breaker::EndpointStatus;
use steadfast::{Shutdown, panic};

use crate::cli::ask::routes::{left, seconds};
use crate::cli::screen::Screen;
use crate::traffic::{Recent, Totals, Traffic};

/// How often it is written anew: each second.
const DRAW_EVERY: Duration = Duration::from_secs(1);

/// How often a line is told where no board can stay: every 10 s, if something has changed.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How wide it is: 80 columns, less one.
const WIDTH: usize = 79;

/// Where the shop and its gateway are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    pub(super) shop: SocketAddr,
    pub(super) gateway: SocketAddr,
}

/// Everything that is on it.
#[derive(Debug, Clone)]
struct Seen {
    up: Duration,
    routes: Vec<RouteSeen>,
    /// What is called, in a line each; whether it is left alone.
    called: Vec<(String, bool)>,
    worker: Worker,
    panics: u64,
    uncaught: u64,
    places: usize,
}

#[derive(Debug, Clone)]
struct RouteSeen {
    name: String,
    lately: Traffic,
    over: Duration,
    total: Traffic,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Worker {
    done: u64,
    running: u64,
    failed: u64,
    rescued: u64,
}

/// Keeps the board until the end begins.
pub(super) async fn keep(screen: &Screen, guard: &Guard, places: Places, shutdown: &Shutdown) {
    let (begun, mut recent) = (clock::now(), Recent::default());
    let mut told: Option<String> = None;
    let every = if screen.is_terminal() {
        DRAW_EVERY
    } else {
        TELL_EVERY
    };
    let stop = shutdown.stop_accepting();
    loop {
        let seen = look(guard, &mut recent, begun);
        if screen.is_terminal() {
            screen.draw(board(&seen, places, screen.has_color()));
        } else {
            let line = line(&seen);
            if told.as_ref().is_some_and(|told| *told != line) {
                screen.show(&line);
            }
            told = Some(line);
        }
        if stop.run(clock::sleep(every)).await.is_err() {
            return;
        }
    }
}

fn look(guard: &Guard, recent: &mut Recent, begun: Instant) -> Seen {
    let (now, snapshot) = (clock::now(), report::snapshot());
    let totals = Totals::of(&snapshot);
    recent.note(now, totals.clone());
    let names: Vec<String> = guard.routes().into_iter().map(|of| of.name).collect();
    let routes = names.iter().map(|name| {
        let all = names.iter().map(String::as_str);
        let (lately, over) = recent.of_route(name, all.clone(), (now, &totals));
        RouteSeen {
            name: name.clone(),
            lately,
            over,
            total: totals.of_route(name, all),
        }
    });
    let called = guard.dependencies().into_iter().map(|of| {
        let open = of.endpoints.iter().find(|endpoint| !endpoint.is_closed());
        let breaker = open.map_or_else(|| "closed".to_owned(), told_breaker);
        let (done, failed, rejected) = (of.succeeded, of.failed, of.rejected);
        let line = format!(
            "{}: {done} done, {failed} failed, {rejected} rejected; breaker {breaker}",
            of.name
        );
        (line, open.is_some())
    });
    let groups = panic::groups();
    let count = groups.iter().map(|group| group.count).sum::<u64>();
    let contained = groups.iter().map(|group| group.contained).sum::<u64>();
    Seen {
        up: now - begun,
        routes: routes.collect(),
        called: called.collect(),
        worker: worker(&snapshot),
        panics: count,
        uncaught: count.saturating_sub(contained),
        places: groups.len(),
    }
}

fn told_breaker(endpoint: &EndpointStatus) -> String {
    use steadfast::decide::breaker::BreakerState;
    match (endpoint.breaker.forced, endpoint.breaker.state) {
        (Some((_, time)), _) => format!("forced, {} left", left(time.as_secs())),
        (None, BreakerState::Closed) => "closed".to_owned(),
        (None, BreakerState::Open { left }) => format!("OPEN, {:.0} s left", left.as_secs_f64()),
        (None, BreakerState::HalfOpen { .. }) => "half-open".to_owned(),
        (None, BreakerState::Ramp { share }) => format!("coming back, {:.0} %", share * 100.0),
    }
}

fn worker(snapshot: &Snapshot) -> Worker {
    let mut worker = Worker::default();
    for metric in snapshot.metrics() {
        match (metric.name, &metric.value) {
            ("steadfast_jobs_running", Value::Gauge(running)) => {
                worker.running += *running as u64;
            }
            ("steadfast_jobs_total", Value::Counter(count)) => {
                let event = metric
                    .labels
                    .first()
                    .map_or("", |(_, event)| event.as_str());
                match event {
                    "completed" => worker.done += count,
                    "retried" | "discarded" => worker.failed += count,
                    "rescued" => worker.rescued += count,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    worker
}

/// The board, in lines of at most [`WIDTH`] columns.
fn board(seen: &Seen, places: Places, has_color: bool) -> String {
    let mut lines = vec![
        (
            format!(
                "-- the shop at http://{}, open for {} {}",
                places.shop,
                left(seen.up.as_secs()),
                "-".repeat(WIDTH)
            ),
            Tone::Dim,
        ),
        (
            format!(
                "{:33} {:>7} {:>7} {:>5}  {}",
                "ROUTE (the last minute)", "RATE/S", "P99", "5XX", "REJECTED"
            ),
            Tone::Dim,
        ),
    ];
    for route in &seen.routes {
        lines.push(row(route));
    }
    for (line, is_open) in &seen.called {
        let tone = if *is_open { Tone::Bad } else { Tone::Plain };
        lines.push((line.clone(), tone));
    }
    let Worker {
        done,
        running,
        failed,
        rescued,
    } = seen.worker;
    lines.push((
        format!("worker: {done} jobs done, {running} running, {failed} failed, {rescued} rescued"),
        Tone::Plain,
    ));
    let panics = match seen.panics {
        0 => "panics: none".to_owned(),
        count => format!(
            "panics: {count} (places: {}, not contained: {})",
            seen.places, seen.uncaught
        ),
    };
    let tone = if seen.uncaught > 0 {
        Tone::Bad
    } else {
        Tone::Plain
    };
    lines.push((panics, tone));
    lines.push((format!("try: {}", hint(seen, places)), Tone::Plain));
    lines
        .into_iter()
        .map(|(line, tone)| tone.of(&line, has_color) + "\n")
        .collect()
}

fn row(route: &RouteSeen) -> (String, Tone) {
    let lately = &route.lately;
    let rate = match route.over.is_zero() {
        true => 0.0,
        false => lately.requests as f64 / route.over.as_secs_f64(),
    };
    let rejected: Vec<String> = lately
        .rejected
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let line = format!(
        "{:33} {rate:>7.1} {:>7} {:>5}  {}",
        route.name,
        seconds(lately.durations.quantile(0.99)),
        lately.failed,
        match rejected.is_empty() {
            true => "-".to_owned(),
            false => rejected.join(", "),
        }
    );
    let is_bad = lately.failed > 0 || !rejected.is_empty();
    (line, if is_bad { Tone::Bad } else { Tone::Plain })
}

/// How a line looks; what it says is in its words.
#[derive(Debug, Clone, Copy)]
enum Tone {
    Plain,
    Dim,
    Bad,
}

impl Tone {
    fn of(self, line: &str, has_color: bool) -> String {
        let line: String = line.chars().take(WIDTH).collect();
        match (self, has_color) {
            (Self::Plain, _) | (_, false) => line,
            (Self::Dim, true) => format!("\x1b[2m{line}\x1b[0m"),
            (Self::Bad, true) => format!("\x1b[31m{line}\x1b[0m"),
        }
    }
}

/// What has not been seen yet.
fn hint(seen: &Seen, places: Places) -> String {
    let Places { shop, gateway } = places;
    let is_called_badly = seen.called.iter().any(|(_, is_open)| *is_open);
    let rejected = seen.routes.iter().any(|of| !of.total.rejected.is_empty());
    if is_called_badly {
        return format!("curl -X PUT http://{gateway}/mood/well    (left alone till then)");
    }
    if seen.panics == 0 {
        return format!("curl -i http://{shop}/recommendations/bob    (it panics)");
    }
    if !rejected {
        return format!("seq 9 | xargs -P9 -I_ curl -s http://{shop}/statements");
    }
    format!("curl -X PUT http://{gateway}/mood/failing    (payments fail)")
}

/// The same in a line, where no board can stay.
fn line(seen: &Seen) -> String {
    let sum = |of: fn(&Traffic) -> u64| {
        seen.routes
            .iter()
            .map(|route| of(&route.total))
            .sum::<u64>()
    };
    let (requests, failed) = (sum(|of| of.requests), sum(|of| of.failed));
    let rejected = sum(|of| of.rejected.values().sum());
    let Worker {
        done,
        running,
        rescued,
        ..
    } = seen.worker;
    format!(
        "the shop: {requests} requests, {failed} answered with 5xx, {rejected} rejected; {done} jobs done, \
         {running} running, {rescued} rescued; {} panics",
        seen.panics
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        let name = "GET /recommendations/{customer}";
        let mut lately = Traffic {
            requests: 60,
            failed: 2,
            ..Traffic::default()
        };
        lately.rejected.insert("overloaded".into(), 3);
        Seen {
            up: Duration::from_secs(75),
            routes: vec![RouteSeen {
                name: name.into(),
                total: lately.clone(),
                lately,
                over: Duration::from_secs(60),
            }],
            called: vec![(
                "payments: 4 done, 0 failed, 0 rejected; breaker closed".into(),
                false,
            )],
            worker: Worker {
                done: 7,
                running: 1,
                failed: 0,
                rescued: 2,
            },
            panics: 2,
            uncaught: 0,
            places: 1,
        }
    }

    fn places() -> Places {
        Places {
            shop: "127.0.0.1:4000".parse().unwrap(),
            gateway: "127.0.0.1:4001".parse().unwrap(),
        }
    }

    #[test]
    fn the_board_has_the_numbers_in_80_columns_and_its_color_says_nothing_alone() {
        let plain = board(&seen(), places(), false);
        let colored = board(&seen(), places(), true);

        let lines: Vec<_> = plain.lines().collect();
        assert!(
            lines.iter().all(|line| line.chars().count() < 80),
            "{plain}"
        );
        assert!(lines.len() <= 8, "room for six routes in 24 lines: {plain}");
        assert_eq!(
            lines[2],
            "GET /recommendations/{customer}       1.0       -     2  3 overloaded"
        );
        assert_eq!(
            lines[4],
            "worker: 7 jobs done, 1 running, 0 failed, 2 rescued"
        );
        assert_eq!(lines[5], "panics: 2 (places: 1, not contained: 0)");
        assert!(!plain.contains('\x1b') && colored.contains("\x1b[31mGET /rec"));
        assert_eq!(
            line(&seen()),
            "the shop: 60 requests, 2 answered with 5xx, 3 rejected; 7 jobs done, 1 running, 2 rescued; 2 panics"
        );
    }

    #[test]
    fn what_to_try_is_what_was_not_seen_yet() {
        let hint_of = |change: fn(&mut Seen)| {
            let mut seen = seen();
            change(&mut seen);
            hint(&seen, places())
        };

        assert!(hint(&seen(), places()).chars().count() < WIDTH - 5);
        assert!(hint_of(|seen| seen.panics = 0).contains("/recommendations/bob"));
        assert!(hint_of(|seen| seen.routes.clear()).contains("/statements"));
        assert!(hint_of(|_| {}).contains("/mood/failing"));
        assert!(hint_of(|seen| seen.called[0].1 = true).contains("/mood/well"));
    }
}
