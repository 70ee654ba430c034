//! The pages of the reference about commands, exit codes and errors: made of the code, and compared
//! with what is there. `STEADFAST_BLESS=1` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{ArgAction, CommandFactory};

use super::Cli;
use super::fail::{CODES, EXITS, EXITS_OF_EXEC};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn check(name: &str, expect: &str) {
    let path = root().join("docs/reference").join(name);
    if std::env::var_os("STEADFAST_BLESS").is_some() {
        std::fs::write(&path, expect).unwrap();
    }
    let is = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        is == expect,
        "docs/reference/{name} is out of date: run with STEADFAST_BLESS=1"
    );
}

#[test]
fn the_page_of_commands_is_what_the_program_takes() {
    let mut page = String::from(
        "# Commands\n\nWritten by a test from the program itself. `--help` of each says the same.\n\n\
         ## Exit codes\n\n| exit code | when |\n|---|---|\n",
    );
    for (code, when) in EXITS {
        writeln!(page, "| {code} | {when} |").unwrap();
    }
    writeln!(page, "\n{EXITS_OF_EXEC}").unwrap();
    page.push_str(
        "\nWith `--json` a command prints `{\"version\": 1, \"data\": …}` to standard output, and an error \
         `{\"version\": 1, \"error\": …}` to standard error. Members may be added; what else changes raises the version. \
         Commands without `--json` have nothing to tell programs: they run until they are ended, or write what is a form \
         of its own.\n",
    );
    let mut program = Cli::command();
    program.build();
    for command in program.get_subcommands() {
        describe(command, "steadfast", &mut page);
    }

    check("cli.md", &page);
}

fn describe(command: &clap::Command, before: &str, page: &mut String) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{before} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string);
    writeln!(page, "\n## `{name}`\n\n{}.", about.unwrap_or_default()).unwrap();
    let own = command.get_arguments();
    let own: Vec<_> = own
        .filter(|arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version"))
        .collect();
    if !own.is_empty() {
        page.push_str("\n| argument | says | without it |\n|---|---|---|\n");
    }
    for arg in own {
        let values = arg.get_value_names().unwrap_or_default();
        let values: Vec<String> = values.iter().map(|value| format!("<{value}>")).collect();
        let takes = match arg.get_action() {
            ArgAction::Set | ArgAction::Append => format!(" {}", values.join(" ")),
            _ => String::new(),
        };
        let shown = match arg.get_long() {
            Some(long) => format!("--{long}{takes}"),
            None => takes.trim().to_owned(),
        };
        let says = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let defaults = arg.get_default_values().iter();
        let defaults: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
        let without = match (defaults.is_empty(), arg.is_required_set()) {
            (false, _) if !takes.is_empty() => format!("`{}`", defaults.join(" ")),
            (_, true) => "refused".to_owned(),
            _ => String::new(),
        };
        let says = says.replace('|', "\\|").replace('\n', " ");
        writeln!(page, "| `{shown}` | {says} | {without} |").unwrap();
    }
    for inner in command.get_subcommands() {
        describe(inner, &name, page);
    }
}

/// The file in which the codes of a package are described, if it has some.
const DESCRIBED: [&str; 3] = [
    "crates/steadfast-store/src/error.rs",
    "crates/steadfast-jobs/src/error.rs",
    "crates/steadfast-ids/src/error.rs",
];

#[test]
fn the_page_of_error_codes_has_every_code_with_its_cause_and_fix() {
    let mut rows: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (code, cause, fix) in CODES {
        rows.insert((*code).to_owned(), ((*cause).to_owned(), (*fix).to_owned()));
    }
    for file in DESCRIBED {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let fixes: BTreeMap<String, String> = arms(&text, "fn fix(").into_iter().collect();
        for line in text.lines() {
            let Some(row) = line.strip_prefix("/// | SF-") else {
                continue;
            };
            let (number, cause) = row.trim_end_matches(" |").split_once(" | ").unwrap();
            if number.contains('x') {
                // Those of the package below.
                continue;
            }
            let code = format!("SF-{number}");
            let of_code = arms(&text, "fn code(").into_iter();
            let of_code = of_code.filter(|(_, of)| *of == code);
            let fix: BTreeSet<_> = of_code
                .filter_map(|(variant, _)| fixes.get(&variant))
                .collect();
            let fix: Vec<_> = fix.into_iter().map(String::as_str).collect();
            assert!(!fix.is_empty(), "{code} has a fix");
            rows.insert(code, (cause.to_owned(), fix.join("; or ")));
        }
    }

    // Whatever the sources say is on the page.
    let mut said = BTreeSet::new();
    for package in ["server", "store", "ids", "jobs", "tower", "core"] {
        let folder = root().join(format!("crates/steadfast-{package}/src"));
        codes_in(&folder, &mut said);
    }
    // One that only tests see.
    said.remove("SF-1199");
    let known: BTreeSet<_> = rows.keys().cloned().collect();
    assert_eq!(
        said, known,
        "a code is in the sources or described, and not both"
    );

    let mut page = String::from(
        "# Error codes\n\nWritten by a test from the sources. A code keeps its meaning; the error itself says more, \
         and names what it is about.\n\n| code | cause | fix |\n|---|---|---|\n",
    );
    for (code, (cause, fix)) in rows {
        writeln!(page, "| {code} | {cause} | {} |", fix.replace('|', "\\|")).unwrap();
    }
    check("error-codes.md", &page);
}

/// Reads which text a function gives for each variant.
fn arms(text: &str, function: &str) -> Vec<(String, String)> {
    // The last one; those before it only ask it.
    let body = text.rsplit(function).next().unwrap();
    let body = body.split("\n    }\n").next().unwrap();
    let mut arms = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for (at, part) in body.split('"').enumerate() {
        match at % 2 {
            // Between two texts are the variants of the next one.
            0 => {
                let variants = part.split("::").skip(1);
                let name = |part: &str| {
                    let end = part.find(|char: char| !char.is_alphanumeric());
                    part[..end.unwrap_or(part.len())].to_owned()
                };
                names.extend(variants.map(name));
            }
            _ if part == "test-util" || part == "sqlite" => {}
            _ => {
                let text = part.split("\\\n").map(str::trim_start).collect::<String>();
                arms.extend(names.drain(..).map(|name| (name, text.clone())));
            }
        }
    }
    arms
}

fn codes_in(folder: &Path, said: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            codes_in(&path, said);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for rest in text.split("SF-").skip(1) {
                let number: String = rest.chars().take(4).collect();
                if number.len() == 4 && number.chars().all(|char| char.is_ascii_digit()) {
                    said.insert(format!("SF-{number}"));
                }
            }
        }
    }
}
