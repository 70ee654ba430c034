//! Runs a plan: `load PLAN.toml [--target ADDRESS] [--seed NUMBER] [--json]`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;
use std::{env, fs};

use load::Plan;

const USAGE: &str = r#"usage: load PLAN.toml [--target ADDRESS] [--seed NUMBER] [--json]

Sends requests to a loopback address by a schedule, and prints what became of them.

  --target ADDRESS  instead of the one in the plan, such as 127.0.0.1:8080
  --seed NUMBER     instead of the one in the plan
  --json            print data instead of text

A plan:

  target = "127.0.0.1:8080"
  seed = 1                                    # the default
  connections_max = 1024                      # the default; at most 20000

  [[class]]
  name = "orders"
  request = "POST /orders"
  headers = { content-type = "application/json", x-user = "user-{n%100}" }
  body = '{"item": {n}}'                      # {n} is the number of the request
  arrivals = "poisson"                        # the default; or "constant"
  steps = [{ seconds = 10, rate = 700 }, { seconds = 10, rate = 10000 }]
  timeout_ms = 500                            # then the client closes the connection
  in_time_ms = 250                            # what counts as in time; default: the timeout
  reuse = "keep_alive"                        # the default; or "never": a connection each"#;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: Vec<String>) -> Result<(), Box<dyn Error>> {
    let (mut file, mut target, mut seed, mut json) = (None, None, None, false);
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .ok_or(format!("{arg} needs a value; see --help"))
        };
        match arg.as_str() {
            "--target" => target = Some(value()?.parse()?),
            "--seed" => seed = Some(value()?.parse()?),
            "--json" => json = true,
            _ if arg.starts_with('-') || file.is_some() => {
                return Err(format!("`{arg}` is not understood; see --help").into());
            }
            _ => file = Some(arg),
        }
    }
    let file = file.ok_or("which plan? see --help")?;
    let text = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let mut plan: Plan = text.parse().map_err(|error| format!("{file}: {error}"))?;
    plan.target = target.unwrap_or(plan.target);
    plan.seed = seed.unwrap_or(plan.seed);
    let report = plan.run()?;
    if json {
        println!("{}", report.to_json());
    } else {
        print!("{report}");
    }
    Ok(())
}
