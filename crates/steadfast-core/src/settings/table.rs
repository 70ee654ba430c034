use std::borrow::Cow;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Problems};
use super::source::{Source, Span};
use super::value::{Value, Wrong};
use crate::decide::policy::{FieldPath, nearest_name};

/// A table of a document, which is asked for what it should have.
///
/// What was not asked for when it is left is unknown, and told with the nearest key that was.
pub struct Table<'d, 'n> {
    notes: &'n mut Notes<'d>,
    path: FieldPath,
    /// Where it begins.
    header: Span,
    entries: Option<&'d DeTable<'d>>,
    asked: Vec<&'d str>,
    /// It is something else than a table, which was told, so nothing is missing in it.
    unreadable: bool,
}

/// Where the values of a document stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    spans: BTreeMap<FieldPath, Spans>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Spans {
    key: Span,
    value: Span,
}

type Key<'d> = Spanned<Cow<'d, str>>;

/// What was noticed while reading.
struct Notes<'d> {
    source: &'d Source,
    places: Places,
    problems: Vec<Problem>,
    /// The lines that are no TOML. One of them may be what is missing, and whatever else is wrong
    /// with them follows from that.
    broken: Vec<usize>,
}

/// What came of reading a document, good or not.
#[derive(Clone, Debug)]
pub struct Reading<T> {
    /// What was made of it. Where there are problems, whatever the reader put in their place.
    pub value: T,
    /// Where the values stand.
    pub places: Places,
    /// What is wrong, in any order.
    pub problems: Vec<Problem>,
    /// Whether every line is TOML, so that what was not found is not there.
    pub is_whole: bool,
}

/// Reads a document by asking its root table for what should be in it.
///
/// # Errors
/// Every mistake that was found, in the order of the document.
pub fn read<T>(
    source: &Source,
    ask: impl for<'d> FnOnce(&mut Table<'d, '_>) -> T,
) -> Result<(T, Places), Problems> {
    let reading = read_all(source, ask);
    match Problems::collect(reading.problems) {
        None => Ok((reading.value, reading.places)),
        Some(problems) => Err(problems),
    }
}

/// As [`read`], for a reader that has more to say about what it made of it, problems or not.
pub fn read_all<T>(
    source: &Source,
    ask: impl for<'d> FnOnce(&mut Table<'d, '_>) -> T,
) -> Reading<T> {
    let (root, errors) = DeTable::parse_recoverable(source.text());
    let problems: Vec<Problem> = errors
        .iter()
        .map(|error| {
            let span = error.span().unwrap_or_default();
            Problem::error(source, span, error.message())
        })
        .collect();
    let broken = problems.iter().map(|problem| problem.place().line);
    let mut notes = Notes {
        source,
        places: Places::default(),
        broken: broken.collect(),
        problems,
    };
    let mut table = Table {
        notes: &mut notes,
        path: FieldPath::new::<&str>([]),
        header: 0..0,
        entries: Some(root.get_ref()),
        asked: Vec::new(),
        unreadable: false,
    };
    let value = ask(&mut table);
    table.leave();
    Reading {
        value,
        is_whole: notes.broken.is_empty(),
        places: notes.places,
        problems: notes.problems,
    }
}

// === impl Table ===

impl<'d> Table<'d, '_> {
    /// Says whether the document has this key.
    pub fn has(&self, key: &str) -> bool {
        self.entries
            .is_some_and(|entries| entries.contains_key(key))
    }

    /// Reads a value, if it is there and good.
    pub fn optional<T>(
        &mut self,
        key: &'d str,
        read: impl FnOnce(&Value<'d>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let (key, value) = self.take(key)?;
        let value = Value::new(value);
        self.notes.places.spans.insert(
            self.path.join(key.get_ref().as_ref()),
            Spans {
                key: key.span(),
                value: value.span(),
            },
        );
        match read(&value) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.notes.wrong(value.span(), wrong);
                None
            }
        }
    }

    /// As [`optional`](Self::optional), and that it is not there is a problem.
    pub fn required<T>(
        &mut self,
        key: &'d str,
        read: impl FnOnce(&Value<'d>) -> Result<T, Wrong>,
    ) -> Option<T> {
        if !self.has(key) {
            self.missing(key, format!("add {key} = …"));
        }
        self.optional(key, read)
    }

    /// Says that a key is missing, and what to do about it; nothing while lines are broken.
    pub fn missing(&mut self, key: &'d str, fix: impl Into<String>) {
        self.ask(key);
        if self.notes.broken.is_empty() && !self.unreadable {
            let wrong = Wrong::new(format!("[{}] has no {key:?}", self.path));
            self.notes.wrong(self.header.clone(), wrong.with_fix(fix));
        }
    }

    /// Says what is wrong with the value of a key, or with the table if the key is not there.
    pub fn refuse(&mut self, key: &str, wrong: Wrong) {
        let field = self.path.join(key);
        let value = self.notes.places.spans.get(&field);
        let span = value.map_or(self.header.clone(), |spans| spans.value.clone());
        self.notes.wrong(span, wrong);
    }

    /// Reads a table in this one. One that is not there is read as an empty one.
    pub fn table<T>(&mut self, key: &'d str, ask: impl FnOnce(&mut Table<'d, '_>) -> T) -> T {
        match self.take(key) {
            Some((key, value)) => self.entry(key, value, ask),
            None => self.inner(key, self.header.clone(), None, false, ask),
        }
    }

    /// Reads every table in the table of this key, in the order of their names, at most `most`. A
    /// name that `name` refuses is a problem, and its table is not read.
    pub fn each_in(
        &mut self,
        key: &'d str,
        most: usize,
        name: impl Fn(&str) -> Result<(), Wrong>,
        mut ask: impl FnMut(&str, &mut Table<'d, '_>),
    ) {
        self.table(key, |tables| {
            let Some(entries) = tables.entries else {
                return;
            };
            if entries.len() > most {
                let has = entries.len();
                let wrong = Wrong::new(format!("{key} has {has} entries, more than {most}"));
                tables.notes.wrong(tables.header.clone(), wrong);
            }
            for (key, value) in entries {
                let text: &'d str = key.get_ref();
                tables.asked.push(text);
                match name(text) {
                    Ok(()) => tables.entry(key, value, |table| ask(text, table)),
                    Err(wrong) => tables.notes.wrong(key.span(), wrong),
                };
            }
        });
    }

    /// Notes a key as known. A required one is asked for twice.
    fn ask(&mut self, key: &'d str) {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
    }

    fn take(&mut self, key: &'d str) -> Option<(&'d Key<'d>, &'d Spanned<DeValue<'d>>)> {
        self.ask(key);
        self.entries?.get_key_value(key)
    }

    /// Reads what should be a table, as an empty one if it is none.
    fn entry<T>(
        &mut self,
        key: &'d Key<'d>,
        value: &'d Spanned<DeValue<'d>>,
        ask: impl FnOnce(&mut Table<'d, '_>) -> T,
    ) -> T {
        let header = self.notes.header(key.span(), value.span());
        let spans = Spans {
            key: header.clone(),
            value: header.clone(),
        };
        let path = self.path.join(key.get_ref().as_ref());
        self.notes.places.spans.insert(path, spans);
        let entries = match value.get_ref() {
            DeValue::Table(entries) => Some(entries),
            _ => {
                let wrong = Value::new(value).not("a table");
                self.notes.wrong(value.span(), wrong);
                None
            }
        };
        self.inner(key.get_ref(), header, entries, entries.is_none(), ask)
    }

    fn inner<T>(
        &mut self,
        key: &str,
        header: Span,
        entries: Option<&'d DeTable<'d>>,
        unreadable: bool,
        ask: impl FnOnce(&mut Table<'d, '_>) -> T,
    ) -> T {
        let mut table = Table {
            path: self.path.join(key),
            notes: self.notes,
            header,
            entries,
            asked: Vec::new(),
            unreadable,
        };
        let read = ask(&mut table);
        table.leave();
        read
    }

    fn leave(self) {
        if self.notes.has_broken_header() {
            return;
        }
        for (key, _) in self.entries.into_iter().flatten() {
            let unknown: &str = key.get_ref();
            if self.asked.contains(&unknown) {
                continue;
            }
            let place = match self.path.segments() {
                [] => String::new(),
                _ => format!(" in [{}]", self.path),
            };
            let wrong = Wrong::new(format!("unknown key {unknown:?}{place}"));
            self.notes.wrong(
                key.span(),
                match nearest_name(unknown, self.asked.iter().copied()) {
                    Some(near) => wrong.with_fix(format!("write {near}")),
                    None => wrong.with_fix(self.known()),
                },
            );
        }
    }

    fn known(&self) -> String {
        match self.asked[..] {
            [] => "remove it: nothing is known here".to_owned(),
            _ => format!("known are {}", self.asked.join(", ")),
        }
    }
}

// === impl Places ===

impl Places {
    /// Gives where a value stands; for what is not in the document, where the table begins that
    /// would have it.
    pub fn nearest(&self, path: &FieldPath) -> Span {
        let mut at = Some(path.clone());
        while let Some(path) = at {
            if let Some(spans) = self.spans.get(&path) {
                return spans.value.clone();
            }
            at = path.parent();
        }
        0..0
    }

    /// Gives where a value stands, from its key on; `None` for what is not in the document.
    pub fn of(&self, path: &FieldPath) -> Option<Span> {
        let spans = self.spans.get(path)?;
        Some(spans.key.start..spans.value.end.max(spans.key.end))
    }
}

// === impl Notes ===

impl Notes<'_> {
    fn wrong(&mut self, span: Span, wrong: Wrong) {
        for other in wrong.others {
            self.wrong(span.clone(), other);
        }
        let span = wrong.span.unwrap_or(span);
        if self.broken.contains(&self.source.place(span.start).line) {
            return;
        }
        let problem = Problem::error(self.source, span, wrong.message);
        self.problems.push(match wrong.fix {
            Some(fix) => problem.with_fix(fix),
            None => problem,
        });
    }

    /// Says whether keys may stand in another table than the one they were written for.
    fn has_broken_header(&self) -> bool {
        let header = |line: &usize| self.source.line(*line).trim_start().starts_with('[');
        self.broken.iter().any(header)
    }

    /// The span of the header of a table: the line `[a.b]` if there is one, else the key.
    fn header(&self, key: Span, value: Span) -> Span {
        let starts = self.source.text()[value.start..].starts_with('[');
        if starts && !key.is_empty() && value.contains(&key.start) {
            value
        } else {
            key
        }
    }
}
