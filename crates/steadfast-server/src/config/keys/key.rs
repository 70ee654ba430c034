//! A key: what its value has to be, how it is read, and what holds without it.

use std::ops::RangeInclusive;
use std::time::Duration;

use steadfast::settings::{Table, Value, Wrong, duration};

/// A key of a table.
pub(in crate::config) struct Key {
    pub(in crate::config) name: &'static str,
    pub(in crate::config) takes: Takes,
    pub(in crate::config) says: &'static str,
    pub(in crate::config) without: Without,
}

/// What a value has to be.
pub(in crate::config) enum Takes {
    Time(RangeInclusive<&'static str>),
    Number(RangeInclusive<i64>),
    Flag,
    /// 1 to so many bytes without control characters.
    Text(usize),
    /// At most so many of them.
    Texts(usize),
    Numbers(usize, RangeInclusive<i64>),
    Choice(&'static [&'static str]),
}

/// What holds when the key is not there.
pub(in crate::config) enum Without {
    /// This, as it would be written, and why.
    Default(&'static str, &'static str),
    /// Nothing of the kind; what then holds, and how it could be written.
    Nothing(&'static str, &'static str),
    /// It has to be there; how it could be written.
    Refused(&'static str),
}

impl Key {
    pub(in crate::config) fn time(&self, table: &mut Table<'_, '_>) -> Option<Duration> {
        let Takes::Time(range) = &self.takes else {
            unreachable!("{} takes no time", self.name);
        };
        let bound = |text: &str| duration(text).unwrap_or_default();
        let (least, most) = (bound(range.start()), bound(range.end()));
        self.read(table, |value| match value.time()? {
            time if (least..=most).contains(&time) => Ok(time),
            _ => Err(self.outside(range.start(), range.end())),
        })
    }

    pub(in crate::config) fn number(&self, table: &mut Table<'_, '_>) -> Option<i64> {
        let Takes::Number(range) = &self.takes else {
            unreachable!("{} takes no number", self.name);
        };
        self.read(table, |value| self.within(value, range))
    }

    pub(in crate::config) fn numbers(&self, table: &mut Table<'_, '_>) -> Vec<i64> {
        let Takes::Numbers(most, range) = &self.takes else {
            unreachable!("{} takes no numbers", self.name);
        };
        let read = self.read(table, |value| {
            value.list(*most, |value| self.within(value, range))
        });
        read.unwrap_or_default()
    }

    fn within(&self, value: &Value<'_>, range: &RangeInclusive<i64>) -> Result<i64, Wrong> {
        match value.integer()? {
            number if range.contains(&number) => Ok(number),
            _ => Err(self.outside(range.start(), range.end())),
        }
    }

    fn outside<T: std::fmt::Display>(&self, least: T, most: T) -> Wrong {
        Wrong::new(format!("{} is not within {least} to {most}", self.name))
            .with_fix(format!("write from {least} to {most}"))
    }

    pub(in crate::config) fn flag(&self, table: &mut Table<'_, '_>) -> Option<bool> {
        self.read(table, |value| value.flag())
    }

    pub(in crate::config) fn text(&self, table: &mut Table<'_, '_>) -> Option<String> {
        self.text_as(table, |text| Ok(text.to_owned()))
    }

    /// Reads a text as something else.
    pub(in crate::config) fn text_as<T>(
        &self,
        table: &mut Table<'_, '_>,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let Takes::Text(most) = &self.takes else {
            unreachable!("{} takes no text", self.name);
        };
        self.read(table, |value| parse(bounded(value.text()?, *most)?))
    }

    pub(in crate::config) fn texts(&self, table: &mut Table<'_, '_>) -> Option<Vec<String>> {
        let Takes::Texts(most) = &self.takes else {
            unreachable!("{} takes no texts", self.name);
        };
        self.read(table, |value| {
            value.list(*most, |value| {
                Ok(bounded(value.text()?, TEXT_BYTES_MAX)?.to_owned())
            })
        })
    }

    pub(in crate::config) fn choice(&self, table: &mut Table<'_, '_>) -> Option<&'static str> {
        let Takes::Choice(choices) = &self.takes else {
            unreachable!("{} takes no choice", self.name);
        };
        self.read(table, |value| {
            let text = value.text()?;
            let known = choices.iter().find(|choice| **choice == text);
            known.copied().ok_or_else(|| {
                Wrong::new(format!("{text:?} is none of what {} takes", self.name))
                    .with_fix(format!("write one of {}", choices.join(", ")))
            })
        })
    }

    fn read<'d, T>(
        &self,
        table: &mut Table<'d, '_>,
        read: impl FnOnce(&Value<'d>) -> Result<T, Wrong>,
    ) -> Option<T> {
        if matches!(self.without, Without::Refused(_)) {
            table.required(self.name, read)
        } else {
            table.optional(self.name, read)
        }
    }

    /// Gives the default of a time.
    pub(in crate::config) fn default_time(&self) -> Duration {
        let text = self.default_text().trim_matches('"');
        duration(text).unwrap_or_else(|_| unreachable!("{} has a time by default", self.name))
    }

    /// Gives the default of a number.
    pub(in crate::config) fn default_number(&self) -> i64 {
        let parsed = self.default_text().parse();
        parsed.unwrap_or_else(|_| unreachable!("{} has a number by default", self.name))
    }

    fn default_text(&self) -> &'static str {
        match self.without {
            Without::Default(text, _) => text,
            _ => unreachable!("{} has a default", self.name),
        }
    }
}

/// The longest of the texts in a list: 4 KiB, a long argument.
const TEXT_BYTES_MAX: usize = 4 * 1024;

fn bounded(text: &str, most: usize) -> Result<&str, Wrong> {
    if text.len() > most {
        return Err(Wrong::new(format!(
            "it has {} bytes, more than {most}",
            text.len()
        )));
    }
    if text.contains('\0') {
        return Err(Wrong::new("it has a NUL, which no text may have here"));
    }
    Ok(text)
}

pub(super) const fn key(
    name: &'static str,
    takes: Takes,
    says: &'static str,
    without: Without,
) -> Key {
    Key {
        name,
        takes,
        says,
        without,
    }
}
