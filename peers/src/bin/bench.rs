//! Prints the ratio table: `./bench [--markdown] [--go] [NAME…]`.

use std::collections::HashMap;
use std::env;
use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::process::{Command, ExitCode};

use peers::golang::Go;
use peers::harness::{Plan, measure};
use peers::table::{self, Section};
use peers::{Group, machine};

const USAGE: &str = "\
usage: ./bench [--markdown] [--go] [NAME…]
       ./bench --list

  NAME        measure only what has NAME in its name
  --markdown  print tables for a document
  --go        install a Go toolchain below peers/target if there is none on PATH
  --list      print the names of what is measured";

/// Path of the built Go program. `./bench` sets it where there is a toolchain.
const GO_PROGRAM: &str = "PEERS_GO";

fn main() -> ExitCode {
    let request = match Request::parse(env::args().skip(1)) {
        Ok(request) => request,
        Err(unknown) => {
            eprintln!("unknown option `{unknown}`\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if request.help {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match run(&request) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(request: &Request) -> Result<(), Box<dyn std::error::Error>> {
    let go = env::var_os(GO_PROGRAM)
        .map(|path| Go::start(Path::new(&path)))
        .transpose()?;
    let mut groups = peers::groups(go.as_ref());
    if request.list {
        for group in groups {
            println!("{}", group.name);
        }
        return Ok(());
    }
    groups.retain(|group| request.wants(&group.name));
    let allocations = count_allocations(&request.names)?;
    if groups.is_empty() && allocations.memory.is_empty() {
        return Err("nothing has such a name; --list prints them".into());
    }

    let plan = Plan::default();
    let mut sections = Vec::new();
    for group in &mut groups {
        if stderr().is_terminal() {
            eprintln!("measuring {}", group.name);
        }
        let summaries = measure(group, plan)?;
        let allocations = allocations_of(group, &allocations.counts);
        sections.push(Section::new(group, &summaries, &allocations));
    }

    let header = header(request, plan, go.as_ref())?;
    if request.markdown {
        print!("```text\n{header}```\n{}", table::markdown(&sections));
    } else {
        print!("{header}{}", table::text(&sections));
    }
    print_memory(&allocations.memory, request.markdown);
    Ok(())
}

/// One line each; there is nothing to time.
fn print_memory(memory: &[(String, String, f64)], markdown: bool) {
    if memory.is_empty() {
        return;
    }
    if markdown {
        println!("\n**memory**\n\n| | | bytes |\n|---|---|---:|");
    } else {
        println!("\nmemory (bytes)");
    }
    for (per, name, bytes) in memory {
        if markdown {
            println!("| {per} | {name} | {bytes:.0} |");
        } else {
            println!("  {per:<22}  {name:<44}  {bytes:>8.0}");
        }
    }
}

/// What was typed.
#[derive(Default)]
struct Request {
    typed: Vec<String>,
    names: Vec<String>,
    markdown: bool,
    list: bool,
    help: bool,
}

impl Request {
    fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut request = Request::default();
        for arg in args {
            match arg.as_str() {
                "--markdown" => request.markdown = true,
                "--list" => request.list = true,
                "--help" | "-h" => request.help = true,
                // Done by `./bench` before this program starts.
                "--go" => {}
                option if option.starts_with('-') => return Err(arg),
                name => request.names.push(name.to_lowercase()),
            }
            request.typed.push(arg);
        }
        Ok(request)
    }

    fn wants(&self, group: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| group.contains(name))
    }
}

/// Says what the figures were taken on and with. No date: two runs of one commit on one
/// machine should differ in figures alone.
fn header(request: &Request, plan: Plan, go: Option<&Go>) -> std::io::Result<String> {
    let command: Vec<&str> = ["./bench"]
        .into_iter()
        .chain(request.typed.iter().map(String::as_str))
        .collect();
    let go = match go {
        Some(go) => go.version()?,
        None => "skipped: no go on PATH; `./bench --go` installs one below peers/target".into(),
    };
    Ok(format!(
        "machine  {}\nrust     {}, release profile as cargo has it\ngo       {go}\n\
         peers    {}\ncommand  {}\nfigures  median of {} alternated rounds, batches of {:?}\n",
        machine::processor(),
        machine::compiler(),
        machine::peers(),
        command.join(" "),
        plan.rounds,
        plan.batch,
    ))
}

/// Allocations by group and contender.
type Counts = HashMap<(String, String), f64>;

/// What the other program has counted.
#[derive(Default)]
struct Allocations {
    counts: Counts,
    /// Of what, whose, bytes.
    memory: Vec<(String, String, f64)>,
}

/// Runs the same contenders in the program beside this one, which counts allocations.
fn count_allocations(names: &[String]) -> Result<Allocations, Box<dyn std::error::Error>> {
    let counter = env::current_exe()?.with_file_name("allocations");
    let output = Command::new(&counter)
        .args(names)
        .output()
        .map_err(|error| format!("cannot run {}: {error}", counter.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("allocations were not counted: {said}").into());
    }
    let mut allocations = Allocations::default();
    for line in String::from_utf8(output.stdout)?.lines() {
        let [group, contender, count] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("`{line}` is no count of allocations").into());
        };
        let count = count.parse()?;
        if group.starts_with("memory ") {
            allocations
                .memory
                .push((group.into(), contender.into(), count));
        } else {
            allocations
                .counts
                .insert((group.into(), contender.into()), count);
        }
    }
    Ok(allocations)
}

fn allocations_of(group: &mut Group, counted: &Counts) -> Vec<Option<f64>> {
    let name = group.name.clone();
    group
        .contenders_mut()
        .map(|contender| {
            let key = (name.clone(), contender.name().to_owned());
            counted.get(&key).copied()
        })
        .collect()
}
