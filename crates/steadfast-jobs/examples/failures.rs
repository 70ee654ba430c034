//! Plays the scenarios of `tests/it/failures` in their long form: real processes, real signals, real
//! servers, with the usual lease of 30 s and large numbers. Prints a table; its exit code is 1 if an
//! invariant was broken or a scenario did not come out as it must.
//!
//! `cargo run --release -p steadfast-jobs --all-features --example failures -- [OPTIONS]`, or `./failures`
//!
//! - `--seed N`: for the moments at which processes are killed; by chance unless given, and told.
//! - `--rounds N`: plays everything so often, each time with the next seed. 1 unless given.
//! - `--only WORD`: those scenarios alone whose name contains the word.
//! - `--at-once N`: how many are played at once. 4 unless given.
//! - `--short`: with the numbers of the tests, and a lease of 3 s.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that shows a table"
)]

#[path = "../tests/it/failures/mod.rs"]
mod failures;

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use failures::{Form, On, Scenario};
use steadfast_core::{BoxError, clock, recover_async, rng};

struct Options {
    seed: u64,
    rounds: u64,
    only: String,
    at_once: usize,
    short: bool,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, BoxError> {
        let mut options = Self {
            seed: rng::bits() >> 32,
            rounds: 1,
            only: String::new(),
            at_once: 4,
            short: false,
        };
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--seed" => options.seed = value()?.parse()?,
                "--rounds" => options.rounds = value()?.parse()?,
                "--only" => options.only = value()?,
                "--at-once" => options.at_once = value()?.parse::<usize>()?.max(1),
                "--short" => options.short = true,
                other => {
                    return Err(format!("{other} is no option: see the head of this file").into());
                }
            }
        }
        Ok(options)
    }

    fn form(&self, round: u64) -> Form {
        let seed = self.seed.wrapping_add(round);
        let long = Form::long(seed);
        match self.short {
            true => Form {
                lease: Duration::from_secs(3),
                rescue: Duration::from_millis(300),
                is_long: false,
                ..long
            },
            false => long,
        }
    }
}

struct Row {
    name: String,
    on: On,
    held: bool,
    seen: String,
    took: Duration,
}

fn main() -> ExitCode {
    if let Some(code) = failures::role::play() {
        return code;
    }
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("failures: {error}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime
        .expect("a runtime can be made")
        .block_on(play(options))
}

async fn play(options: Options) -> ExitCode {
    let mut failed = 0;
    for round in 0..options.rounds {
        let form = options.form(round);
        println!(
            "Seed {}, lease {:?}, a scan each {:?}.\n",
            form.seed, form.lease, form.rescue
        );
        println!("| scenario | on | | seen | took |\n|---|---|---|---|---|");
        let rows = play_round(form, &options).await;
        for row in &rows {
            let verdict = if row.held { "held" } else { "**FAILED**" };
            let seen = row.seen.replace('|', "/").replace('\n', " ");
            println!(
                "| {} | {:?} | {verdict} | {seen} | {:.0} s |",
                row.name,
                row.on,
                row.took.as_secs_f64()
            );
        }
        let missed = rows.iter().filter(|row| !row.held).count();
        println!(
            "\n{} scenarios held, {missed} failed.\n",
            rows.len() - missed
        );
        failed += missed + usize::from(rows.is_empty());
    }
    ExitCode::from(u8::from(failed > 0))
}

async fn play_round(form: Form, options: &Options) -> Vec<Row> {
    let mut all: VecDeque<(Scenario, On)> = VecDeque::new();
    for scenario in failures::all() {
        let wanted = scenario.name.contains(&options.only);
        all.extend(
            scenario
                .on
                .iter()
                .filter(|_| wanted)
                .map(|on| (scenario, *on)),
        );
    }
    let order: Vec<(&str, On)> = all
        .iter()
        .map(|(scenario, on)| (scenario.name, *on))
        .collect();
    let queue = Arc::new(Mutex::new(all));
    let lanes: Vec<_> = (0..options.at_once)
        .map(|_| {
            let queue = queue.clone();
            steadfast_core::spawn("lane", async move {
                let mut rows = Vec::new();
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.pop_front());
                    let Some((scenario, on)) = next else {
                        return rows;
                    };
                    rows.push(play_one(scenario, form, on).await);
                }
            })
        })
        .collect();
    let mut rows = Vec::new();
    for lane in lanes {
        rows.extend(lane.await.expect("it catches what its scenarios do"));
    }
    rows.sort_by_key(|row| {
        order
            .iter()
            .position(|(name, on)| name.ends_with(&row.name) && *on == row.on)
    });
    rows
}

async fn play_one(scenario: Scenario, form: Form, on: On) -> Row {
    let name = scenario
        .name
        .split("failures::")
        .last()
        .unwrap_or(scenario.name)
        .to_owned();
    eprintln!("{name} on {on:?} …");
    let began = clock::now();
    let played = recover_async((scenario.play)(form, on)).await;
    let (held, seen) = match played {
        Ok(seen) => (true, seen),
        Err(panic) => (false, panic.message().chars().take(600).collect()),
    };
    Row {
        name,
        on,
        held,
        seen,
        took: clock::now() - began,
    }
}
