//! Scenarios over real sockets: services behind steadfast in processes of their own, and the open-loop generator of
//! `peers/load` as their clients.
//!
//! ```text
//! loopback                      all of them, about five minutes
//! loopback tenfold S8           some of them
//! loopback --tries 3 tenfold    again, where a target is missed
//! ```
//!
//! Prints a table as Markdown and exits with 1 where a target is missed. Everything listens on loopback, on ports
//! that the system gives, for as long as the run lasts. `loopback serve NAME` is what the run starts as its services.
#![forbid(unsafe_code)]

mod child;
mod control;
mod runs;
mod serving;
mod table;

use std::process::ExitCode;

use table::Table;

/// Runs of one scenario at most: on a machine that others use, a figure that depends on the processor may be missed
/// by chance, and a table says how often it was tried.
const TRIES_MAX: u32 = 10;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = words.split_first()
        && first == "serve"
    {
        return serving::serve(rest);
    }
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("loopback: {why}");
            ExitCode::from(2)
        }
    }
}

fn run(words: &[String]) -> Result<bool, Box<dyn std::error::Error>> {
    let mut tries = 1;
    let mut names = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--tries" => {
                let number = words.next().and_then(|word| word.parse().ok());
                let number = number.filter(|tries| (1..=TRIES_MAX).contains(tries));
                tries = number.ok_or_else(|| format!("--tries takes 1 to {TRIES_MAX}"))?;
            }
            name => names.push(name),
        }
    }
    let known = runs::RUNS.map(|(name, _)| name);
    if let Some(stranger) = names.iter().find(|name| !known.contains(name)) {
        return Err(format!("there is no `{stranger}`, but {}", known.join(", ")).into());
    }

    let mut all = Table::default();
    for (name, measure) in runs::RUNS {
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        for number in 1..=tries {
            eprintln!("{name}, try {number} of {tries}");
            let table = measure()?;
            let met = table.is_met();
            if met || number == tries {
                all.add(table, number);
                break;
            }
            eprintln!("{}", table.missed().join("\n"));
        }
    }
    println!("{all}");
    Ok(all.is_met())
}
