//! Reads a crontab: pure, line by line, as cron does.

use std::collections::BTreeMap;

use steadfast::jobs::schedule::{Rule, Zone};

use super::{COMMAND_BYTES_MAX, Crontab, ENTRIES_MAX, Entry, Note};

/// Which form the lines have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Of a user: time and command.
    User,
    /// Of the system, as `/etc/crontab`: time, user and command.
    System,
}

/// What cron uses when the file says nothing.
const SHELL: &str = "/bin/sh";

/// What holds for the lines that follow.
#[derive(Default)]
struct Settings {
    variables: BTreeMap<String, String>,
    zone: Option<String>,
    shell: Option<String>,
    home: Option<String>,
    delay_minutes: u64,
    /// A zone that is not known: lines under it would run at another time.
    lost_zone: Option<String>,
}

/// Reads all lines. Those that are no text are told by themselves, and do not take the others with them.
pub(crate) fn read(bytes: impl AsRef<[u8]>, form: Form) -> Crontab {
    let mut crontab = Crontab::default();
    let mut settings = Settings::default();
    for (at, bytes) in bytes.as_ref().split(|byte| *byte == b'\n').enumerate() {
        let number = at + 1;
        let text = String::from_utf8_lossy(bytes);
        let line = text.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut note = |text: String, lost: bool| {
            crontab.notes.push(Note {
                line: number,
                text,
                lost,
            });
        };
        let is_text = std::str::from_utf8(bytes).is_ok();
        if let Some((name, value)) = variable(line) {
            if !is_text {
                let text = format!("{name} is left out: its value is not UTF-8");
                note(text, false);
                continue;
            }
            if let Some(text) = settings.set(name, value) {
                note(text, false);
            }
            continue;
        }
        if crontab.entries.len() == ENTRIES_MAX {
            note(
                format!("it is beyond the {ENTRIES_MAX} lines with a time that are taken"),
                true,
            );
            continue;
        }
        if !is_text {
            note(
                "it is not UTF-8: write it so, or make a script of it".to_owned(),
                true,
            );
            continue;
        }
        match entry(line, number, form, &settings) {
            Ok((entry, told)) => {
                if let Some(text) = told {
                    note(text, false);
                }
                crontab.entries.push(entry);
            }
            Err(text) => note(text, true),
        }
    }
    crontab
}

/// Reads `NAME = value`; a line whose first word is a time is none.
fn variable(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = unquoted(name.trim());
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_name = name.bytes().next().is_some_and(letter)
        && name
            .bytes()
            .all(|byte| letter(byte) || byte.is_ascii_digit());
    is_name.then(|| (name, unquoted(value.trim())))
}

fn unquoted(text: &str) -> &str {
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

impl Settings {
    /// Takes a variable; gives what is to be said of it.
    fn set(&mut self, name: &str, value: &str) -> Option<String> {
        match name {
            "CRON_TZ" => {
                self.lost_zone = None;
                match Zone::new(value) {
                    Ok(_) => self.zone = Some(value.to_owned()),
                    Err(error) => self.lost_zone = Some(error.to_string()),
                }
                None
            }
            "SHELL" => {
                self.shell = Some(value.to_owned());
                None
            }
            "HOME" => {
                self.home = Some(value.to_owned());
                self.variables.insert(name.into(), value.into());
                None
            }
            "RANDOM_DELAY" => match value.parse() {
                Ok(minutes) => {
                    self.delay_minutes = minutes;
                    None
                }
                Err(_) => Some(format!("RANDOM_DELAY={value} is no number of minutes, and does not hold")),
            },
            "MAILTO" | "MAILFROM" => (!value.is_empty()).then(|| {
                format!("{name}={value}: nothing is sent by mail; what a run writes is kept with its job (`steadfast jobs show`)")
            }),
            "LOGNAME" | "USER" => Some(format!("{name} is that of whoever runs it, as with cron")),
            _ if name.starts_with("STEADFAST_") => {
                Some(format!("{name} is left out: such names say what steadfast says of a run"))
            }
            _ => {
                self.variables.insert(name.into(), value.into());
                None
            }
        }
    }
}

fn entry(
    line: &str,
    number: usize,
    form: Form,
    settings: &Settings,
) -> Result<(Entry, Option<String>), String> {
    // Some crons take a `-` before the time for "say nothing in the system's log".
    let timed = line.strip_prefix('-').unwrap_or(line);
    let told = (timed != line)
        .then(|| "the `-` in front is left out: there is no line in the system's log".to_owned());
    let (rule, rest) = Rule::crontab_line(timed).map_err(|wrong| wrong.to_string())?;
    let (user, command) = match form {
        Form::User => (None, rest),
        Form::System => {
            let (user, command) = rest
                .split_once(char::is_whitespace)
                .ok_or("no command follows the user; is this the crontab of a user?")?;
            (Some(user.to_owned()), command.trim_start())
        }
    };
    if let Some(wrong) = &settings.lost_zone {
        return Err(format!("CRON_TZ above it cannot be taken over: {wrong}"));
    }
    let (command, stdin) = percent(command);
    if command.trim().is_empty() {
        return Err("there is no command in front of the `%`".into());
    }
    if command.len() > COMMAND_BYTES_MAX || stdin.len() > COMMAND_BYTES_MAX {
        return Err(format!(
            "its command has more than {COMMAND_BYTES_MAX} bytes: make a script of it"
        ));
    }
    if line.contains('\0') {
        return Err("it has a NUL".into());
    }
    let entry = Entry {
        line: number,
        rule,
        zone: settings.zone.clone(),
        user,
        shell: settings.shell.clone().unwrap_or_else(|| SHELL.into()),
        command,
        stdin,
        home: settings.home.clone(),
        variables: settings.variables.clone(),
        delay_minutes: settings.delay_minutes,
    };
    Ok((entry, told))
}

/// Divides at the first `%`: what is behind it is read by the command, each further `%` being the end of
/// a line, and one that a `\` stands before being itself. As cron does it, where a `\` before another `\` is of no use to
/// the `%` after it in the command, and of use in what that reads.
fn percent(command: &str) -> (String, String) {
    let mut before = String::new();
    let mut is_escaped = false;
    let mut chars = command.chars();
    for char in chars.by_ref() {
        match char {
            '%' if is_escaped => {
                before.pop();
            }
            '%' => break,
            _ => {}
        }
        before.push(char);
        is_escaped = char == '\\' && !is_escaped;
    }
    let mut behind = String::new();
    let mut is_escaped = false;
    for char in chars {
        let char = match (is_escaped, char) {
            (false, '%') => '\n',
            (true, '%') | (false, _) => char,
            (true, _) => {
                behind.push('\\');
                char
            }
        };
        is_escaped = char == '\\';
        if !is_escaped {
            behind.push(char);
        }
    }
    if is_escaped {
        behind.push('\\');
    }
    // cron ends what it gives with a line feed, if it gives anything.
    if !behind.is_empty() && !behind.ends_with('\n') {
        behind.push('\n');
    }
    (before, behind)
}
