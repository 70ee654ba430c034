//! What generators of ids do when the clock is set back, and what the service of ids costs over HTTP.
//!
//! ```text
//! cargo run --release -p ids -- step            which of them make an id twice
//! cargo run --release -p ids -- http [SECONDS]  beside an empty answer of axum
//! ```
#![forbid(unsafe_code)]

mod http;
mod step;

use std::process::ExitCode;

const USAGE: &str = "usage: ids step | ids http [SECONDS]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["step"] => step::run(),
        ["step", "child", contender, ids] => step::child(contender, ids),
        ["http"] => http::run(20),
        ["http", seconds] => match seconds.parse() {
            Ok(seconds) => http::run(seconds),
            Err(_) => Err(USAGE.into()),
        },
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
