//! Writes what was in a crontab as handlers and schedules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use hmac_sha256::Hash;

use super::{Crontab, Entry};

/// The longest part of a name that comes from the command.
const NAME_BYTES_MAX: usize = 40;

/// Writes the document. `zone` is that of the machine, where the file says no other; `user` is whom lines run as that do not
/// say it.
pub(crate) fn write(crontab: &Crontab, from: &str, zone: &str, user: Option<&str>) -> String {
    let mut document = format!(
        "# Taken over from {}. Give it to `steadfast serve` as a further --config.\n\
         # As with cron, a run has one attempt and may overlap with others. Beyond cron, a run that was missed is\n\
         # caught up once (missed), and one that died with its machine is run again.\n",
        comment(from)
    );
    for (entry, name) in crontab.entries.iter().zip(names(&crontab.entries)) {
        let _ = writeln!(document, "\n# line {}", entry.line);
        let _ = writeln!(document, "[handlers.{}]", quoted(&name));
        let command = [&entry.shell, "-c", &entry.command].map(quoted);
        let _ = writeln!(document, "exec = [{}]", command.join(", "));
        if let Some(user) = entry.user.as_deref().or(user) {
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

/// Names entries by their programs. Those of one program are told apart by what they say, and never by where they stand:
/// a line that is put before others takes the name of none of them, and with it its schedule in the store.
fn names(entries: &[Entry]) -> Vec<String> {
    let bases: Vec<String> = entries.iter().map(base).collect();
    let mut names = bases.clone();
    let command = |entry: &Entry| format!("{:?} {:?}", entry.command, entry.stdin);
    // A line whose time is changed keeps its name, where its command is enough.
    let all = |entry: &Entry| format!("{} {} {:?}", command(entry), entry.rule, entry.user);
    for says in [&command as &dyn Fn(&Entry) -> String, &all] {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for name in &names {
            *counts.entry(name.clone()).or_default() += 1;
        }
        for ((name, base), entry) in names.iter_mut().zip(&bases).zip(entries) {
            if counts[name] > 1 {
                *name = format!("{base}-{}", mark(&says(entry)));
            }
        }
    }
    // What is left says the same.
    let mut taken = BTreeSet::new();
    for name in &mut names {
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let mut free = std::iter::once(name.clone()).chain(numbered);
        let free = free.find(|name| !taken.contains(name));
        *name = free.unwrap_or_default();
        taken.insert(name.clone());
    }
    names
}

/// Names an entry by its program.
fn base(entry: &Entry) -> String {
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
    match program.is_empty() {
        true => "cron".to_owned(),
        false => format!("cron-{program}"),
    }
}

/// Six digits by which a text is known.
fn mark(text: &str) -> String {
    let hash = Hash::hash(text.as_bytes());
    let digits = hash[..3].iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
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
