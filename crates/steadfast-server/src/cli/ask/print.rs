//! What commands print: data to standard output, talk to standard error.

use std::io::{IsTerminal, Write};

use serde::Serialize;

/// The version of the form of `--json`: members may be added, and nothing else changes with it.
const JSON_VERSION: u32 = 1;

/// Prints for people, or for programs.
pub(crate) struct Printer {
    json: bool,
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    version: u32,
    data: &'a T,
}

impl Printer {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints data: as JSON, or as it is shown to people.
    pub(crate) fn print<T: Serialize>(&self, data: &T, shown: impl FnOnce() -> String) {
        let text = match self.json {
            true => escaped(
                &serde_json::to_string(&Versioned {
                    version: JSON_VERSION,
                    data,
                })
                .unwrap_or_default(),
            ),
            false => lines(&shown()),
        };
        self.write(&text);
    }

    /// Prints a document, for people as it is: it is somebody's file. On a terminal without what could drive that.
    pub(crate) fn print_document<T: Serialize>(&self, data: &T, document: &str) {
        match self.json {
            true => self.print(data, String::new),
            false if std::io::stdout().is_terminal() => self.write(&shown(document)),
            false => self.write(document),
        }
    }

    fn write(&self, text: &str) {
        // Whoever has closed it does not want it.
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    }

    /// Says something to people.
    pub(crate) fn talk(&self, text: &str) {
        if !self.json {
            let _ = writeln!(std::io::stderr(), "{}", lines(text));
        }
    }
}

/// Escapes in JSON what the standard lets stand, and a terminal obeys: it is in texts alone.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for char in json.chars() {
        match char {
            '\u{7f}'..='\u{9f}' => text.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => text.push(char),
        }
    }
    text
}

/// A document without what could drive a terminal; its tabs and lines stay.
fn shown(document: &str) -> String {
    document.replace(
        |char: char| char.is_control() && !matches!(char, '\t' | '\n'),
        " ",
    )
}

/// The widest column but for the last one: 60 characters; what is longer is cut there, and whole with `--json`.
const CELL_MAX: usize = 60;

/// Writes a table: columns as wide as they have to be, up to a bound, the last one as it is.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(plain(cell).chars().count().min(CELL_MAX));
        }
    }
    let line = |cells: &[String; N]| {
        let mut line = String::new();
        for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let cell = plain(cell);
            match at + 1 == N {
                true => line.push_str(&cell),
                false => line.push_str(&format!("{:width$}  ", cut(cell))),
            }
        }
        line.trim_end().to_owned() + "\n"
    };
    let head = line(&head.map(str::to_owned));
    rows.iter().fold(head, |text, row| text + &line(row))
}

/// What fits into a column.
fn cut(cell: String) -> String {
    match cell.chars().count() > CELL_MAX {
        true => cell.chars().take(CELL_MAX - 1).chain(['…']).collect(),
        false => cell,
    }
}

/// A number that stops at a cap: from there on it means that many or more.
pub(crate) fn counted(count: u64, cap: u64) -> String {
    match count < cap {
        true => count.to_string(),
        false => format!("{count}+"),
    }
}

/// So many of a thing, and how they are: `1 line is`, `2 lines are`.
pub(crate) fn are(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing} is"),
        _ => format!("{count} {thing}s are"),
    }
}

/// Without what could drive a terminal, or turn the order of what it shows: names and errors come from everywhere.
pub(crate) fn plain(text: &str) -> String {
    let turns = |char| matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace(|char: char| char.is_control() || turns(char), " ")
}

/// The same, of several lines.
pub(crate) fn lines(text: &str) -> String {
    let plain: Vec<String> = text.split('\n').map(plain).collect();
    plain.join("\n")
}

/// Makes sure that it is known how many are changed: by `--yes`, or typed.
pub(crate) fn agreed(yes: Option<usize>, count: usize, what: &str) -> anyhow::Result<()> {
    match yes {
        None => confirmed(count, what),
        Some(expected) => {
            anyhow::ensure!(
                expected == count,
                "there are {count} such {what}, not {expected}; nothing was changed"
            );
            Ok(())
        }
    }
}

/// Asks people to type a number; without a terminal nobody can.
fn confirmed(count: usize, what: &str) -> anyhow::Result<()> {
    let hint = format!("say --yes {count}, or see with --dry-run which they are");
    anyhow::ensure!(std::io::stdin().is_terminal(), "{count} {what}: {hint}");
    let _ = write!(
        std::io::stderr(),
        "This changes {count} {what}. Type {count} to go on: "
    );
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed)?;
    anyhow::ensure!(typed.trim() == count.to_string(), "nothing was changed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_have_to_be_and_nothing_drives_the_terminal() {
        let rows = [
            ["1".to_owned(), "a\u{1b}[31mb".to_owned()],
            ["4711".to_owned(), "c\nd".to_owned()],
        ];

        assert_eq!(
            table(["ID", "NAME"], &rows),
            "ID    NAME\n1     a [31mb\n4711  c d\n"
        );
        // Also what is one character, and what a document and JSON may have.
        assert_eq!(shown("# \u{9b}2J\r\n\ta = 1\n"), "#  2J \n\ta = 1\n");
        let json = escaped(&serde_json::to_string("\u{9b}2J\u{7f}é").unwrap());
        assert_eq!(json, "\"\\u009b2J\\u007fé\"");
        let read: String = serde_json::from_str(&json).unwrap();
        assert_eq!(read, "\u{9b}2J\u{7f}é");
    }

    #[test]
    fn a_long_cell_widens_no_other_line() {
        let long = "x".repeat(500);

        let table = table(
            ["WHAT", "WHY"],
            &[[long.clone(), long.clone()], ["a".into(), "b".into()]],
        );

        let cut = format!("{}…", &long[..59]);
        assert_eq!(
            table,
            format!("{:60}  WHY\n{cut}  {long}\n{:60}  b\n", "WHAT", "a")
        );
    }

    #[test]
    fn one_is_told_as_one() {
        assert_eq!(are(1, "line"), "1 line is");
        assert_eq!(are(0, "line"), "0 lines are");
    }
}
