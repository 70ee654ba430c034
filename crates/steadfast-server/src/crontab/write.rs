//! Writes what was in a crontab as handlers and schedules.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Crontab, Entry};

/// The longest part of a name that comes from the command.
const NAME_BYTES_MAX: usize = 40;

/// Writes the document. `zone` is that of the machine, where the file says no other.
pub(crate) fn write(crontab: &Crontab, from: &str, zone: &str) -> String {
    let mut document = format!(
        "# Taken over from {}. Give it to `steadfast serve` as a further --config.\n\
         # As with cron, a run has one attempt and may overlap with others. Beyond cron, a run that was missed is\n\
         # caught up once (missed), and one that died with its machine is run again.\n",
        comment(from)
    );
    let mut names = BTreeSet::new();
    for entry in &crontab.entries {
        let name = name(entry, &mut names);
        let _ = writeln!(document, "\n# line {}", entry.line);
        let _ = writeln!(document, "[handlers.{}]", quoted(&name));
        let command = [&entry.shell, "-c", &entry.command].map(quoted);
        let _ = writeln!(document, "exec = [{}]", command.join(", "));
        if let Some(user) = &entry.user {
            let _ = writeln!(document, "user = {}", quoted(user));
        }
        if let Some(home) = &entry.home {
            let _ = writeln!(document, "dir = {}", quoted(home));
        }
        if !entry.variables.is_empty() {
            let pairs = entry
                .variables
                .iter()
                .map(|(name, value)| quoted(format!("{name}={value}")));
            let _ = writeln!(document, "env = [{}]", pairs.collect::<Vec<_>>().join(", "));
        }
        let _ = writeln!(document, "stdin = {}", quoted(&entry.stdin));
        let _ = writeln!(document, "attempts = 1");
        // cron waits for ever; this is the longest that can be said.
        let _ = writeln!(document, "timeout = \"168h\"");
        let _ = writeln!(document, "[schedules.{}]", quoted(&name));
        let _ = writeln!(document, "rule = {}", quoted(entry.rule.to_string()));
        let zone = entry.zone.as_deref().unwrap_or(zone);
        let _ = writeln!(document, "zone = {}", quoted(zone));
        let _ = writeln!(document, "missed = \"run_once\"");
        let _ = writeln!(document, "overlap = \"allow\"");
        if entry.delay_minutes > 0 {
            let _ = writeln!(document, "jitter = \"{}m\"", entry.delay_minutes);
        }
    }
    document
}

/// Names an entry by its program, and tells those of one program apart.
fn name(entry: &Entry, taken: &mut BTreeSet<String>) -> String {
    let is_setting = |word: &&str| word.contains('=') && !word.starts_with('=');
    let program = entry
        .command
        .split_whitespace()
        .find(|word| !is_setting(word));
    let program = program
        .unwrap_or_default()
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let plain = |char: &char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    let program: String = program.chars().filter(plain).take(NAME_BYTES_MAX).collect();
    let base = match program.is_empty() {
        true => "cron".to_owned(),
        false => format!("cron-{program}"),
    };
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    let mut names = std::iter::once(base.clone()).chain(numbered);
    let name = names.find(|name| !taken.contains(name)).unwrap_or(base);
    taken.insert(name.clone());
    name
}

/// A string of TOML.
fn quoted(text: impl AsRef<str>) -> String {
    let mut quoted = String::from("\"");
    for char in text.as_ref().chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            char if char.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted + "\""
}

fn comment(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}
