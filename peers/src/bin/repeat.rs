//! Runs one contender so many times, for a profiler: `repeat GROUP CONTENDER TIMES`.
//!
//! Each name is a part of the one in the table; the first that fits is run. Under
//! `valgrind --tool=callgrind --toggle-collect='*::repeated'` what is counted is the loop alone.

use std::env;
use std::process::ExitCode;

use peers::Contender;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [group, contender, times] = &args[..] else {
        eprintln!("usage: repeat GROUP CONTENDER TIMES");
        return ExitCode::from(2);
    };
    let Ok(times) = times.parse() else {
        eprintln!("`{times}` is no number of times");
        return ExitCode::from(2);
    };
    let mut groups = peers::groups(None);
    let mut groups = groups.iter_mut().filter(|one| one.name.contains(group));
    let found = groups.find_map(|group| {
        let mut contenders = group.contenders_mut();
        contenders.find(|one| one.name().contains(contender))
    });
    let Some(contender) = found else {
        eprintln!("nothing has such names; `./bench --list` prints those of the groups");
        return ExitCode::FAILURE;
    };
    // What is made once is made before.
    contender.run(10);
    repeated(contender, times);
    ExitCode::SUCCESS
}

#[inline(never)]
fn repeated(contender: &mut Contender, times: u64) {
    let batch = contender.run(times);
    println!("{}: {} done", contender.name(), batch.units);
}
