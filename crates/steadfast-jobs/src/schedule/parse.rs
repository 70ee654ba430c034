//! From text to rule: cron expressions, nicknames, and the other rules as they are written.

use std::ops::Range;

use steadfast_core::decide::policy::nearest_name;

use super::cron::{Cron, Fields};
use super::error::InvalidRule;

/// The longest rule: 512 bytes, enough for every minute of an hour by name.
const RULE_BYTES: usize = 512;

/// What stands in one place of a cron expression.
struct Field {
    name: &'static str,
    least: u8,
    greatest: u8,
    names: &'static [&'static str],
}

const SECOND: Field = Field::numbers("second", 0, 59);
const MINUTE: Field = Field::numbers("minute", 0, 59);
const HOUR: Field = Field::numbers("hour", 0, 23);
const DAY: Field = Field::numbers("day", 1, 31);
const MONTH: Field = Field {
    name: "month",
    least: 1,
    greatest: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
const WEEKDAY: Field = Field {
    name: "weekday",
    least: 0,
    greatest: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

const NICKNAMES: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A part of a text, with where it stands.
#[derive(Clone, Copy)]
struct Part<'a> {
    whole: &'a str,
    text: &'a str,
    start: usize,
}

/// What one field says.
#[derive(Default)]
struct Set {
    values: u64,
    starred: bool,
    last: bool,
    nth: [u8; 7],
}

/// Reads a cron expression or a nickname.
pub(super) fn cron(text: &str) -> Result<Cron, InvalidRule> {
    if text.len() > RULE_BYTES {
        let what = format!("a rule of {} bytes is longer than {RULE_BYTES}", text.len());
        return Err(InvalidRule::new(
            text,
            0..0,
            what,
            "split it into several schedules",
        ));
    }
    let parts = words(text);
    let Some(first) = parts.first() else {
        return Err(InvalidRule::new(
            text,
            0..text.len(),
            "there is no rule here",
            "write one such as `30 2 * * *`",
        ));
    };
    if first.text.starts_with('@') {
        let cron = nickname(*first)?;
        return match parts.get(1) {
            None => Ok(cron),
            Some(rest) => Err(rest.wrong("something follows a nickname", "leave it out")),
        };
    }
    match parts.len() {
        5 | 6 => fields(&parts),
        count => Err(wrong_count(text, &parts, count)),
    }
}

/// Reads the time of a crontab line, and gives what follows it: the command, or the user and the command.
pub(super) fn crontab_line(line: &str) -> Result<(Cron, &str), InvalidRule> {
    let parts = words(line);
    let (cron, used) = match parts.first() {
        Some(first) if first.text.starts_with('@') => (nickname(*first)?, 1),
        // Never six: a crontab has no seconds, and its sixth word is the command.
        _ if parts.len() >= 5 => (fields(&parts[..5])?, 5),
        _ => return Err(wrong_count(line, &parts, parts.len())),
    };
    match parts.get(used) {
        Some(rest) => Ok((cron, line[rest.start..].trim_end())),
        None => Err(InvalidRule::new(
            line,
            line.len()..line.len(),
            "no command follows the time",
            "a crontab line is a time and a command",
        )),
    }
}

fn wrong_count(text: &str, parts: &[Part<'_>], count: usize) -> InvalidRule {
    const FIX: &str = "write `minute hour day month weekday`, with seconds in front if they matter";
    if let Some(seventh) = parts.get(6) {
        return seventh.wrong("a seventh field, such as a year, is not known", FIX);
    }
    let what = format!("{count} fields are too few for a cron expression");
    InvalidRule::new(text, 0..text.len(), what, FIX)
}

fn nickname(part: Part<'_>) -> Result<Cron, InvalidRule> {
    if let Some((_, meaning)) = NICKNAMES.iter().find(|(name, _)| part.is(name)) {
        let meant = fields(&words(meaning))?;
        return Ok(Cron {
            text: part.text.to_ascii_lowercase().into(),
            fields: meant.fields,
        });
    }
    if part.is("@reboot") {
        let fix = "do that work where the process starts, or give a time";
        return Err(part.wrong("the start of a machine is not a time", fix));
    }
    let fix = match nearest_name(part.text, NICKNAMES.iter().map(|(name, _)| *name)) {
        Some(name) => format!("write `{name}`"),
        None => "write one of @yearly, @monthly, @weekly, @daily, @hourly, or fields".to_owned(),
    };
    Err(part.wrong(format!("`{}` is not a nickname", part.text), fix))
}

fn fields(parts: &[Part<'_>]) -> Result<Cron, InvalidRule> {
    let (second, rest) = match parts {
        [second, rest @ ..] if rest.len() == 5 => (set(&SECOND, *second)?, rest),
        rest => (
            Set {
                values: 1,
                ..Set::default()
            },
            rest,
        ),
    };
    let [minute, hour, day, month, weekday] = rest else {
        unreachable!("callers count the fields");
    };
    let minutes = set(&MINUTE, *minute)?;
    let hours = set(&HOUR, *hour)?;
    let days = set(&DAY, *day)?;
    let months = set(&MONTH, *month)?;
    let weekdays = set(&WEEKDAY, *weekday)?;
    let fields = Fields {
        seconds: second.values,
        minutes: minutes.values,
        hours: hours.values,
        days: days.values,
        last_day: days.last,
        months: months.values,
        weekdays: weekdays.values,
        nth: weekdays.nth,
        any_day: days.starred,
        any_weekday: weekdays.starred,
        fixed: !second.starred && !minutes.starred && !hours.starred,
    };
    // Any beginning serves, since all calendars of 400 years are the same.
    let beginning = jiff::civil::date(2000, 1, 1).at(0, 0, 0, 0);
    if fields.next(beginning).is_none() {
        let end = weekday.start + weekday.text.len();
        return Err(InvalidRule::new(
            day.whole,
            day.start..end,
            "no date has such a day, month and weekday, so this is never due",
            "February has 29 days at most; April, June, September and November have 30",
        ));
    }
    let text: Vec<&str> = parts.iter().map(|part| part.text).collect();
    Ok(Cron {
        text: text.join(" ").into(),
        fields,
    })
}

/// Reads one field: items between commas.
fn set(field: &Field, part: Part<'_>) -> Result<Set, InvalidRule> {
    let mut set = Set {
        starred: part.text.starts_with('*'),
        ..Set::default()
    };
    for item in part.split(',') {
        if item.text.is_empty() {
            return Err(item.wrong("nothing stands here", "take one comma out"));
        }
        add_item(field, item, &mut set)?;
    }
    Ok(set)
}

fn add_item(field: &Field, item: Part<'_>, set: &mut Set) -> Result<(), InvalidRule> {
    if let Some(why) = foreign(field, item) {
        return Err(why);
    }
    if field.is(&DAY) && item.is("l") {
        set.last = true;
        return Ok(());
    }
    if field.is(&WEEKDAY)
        && let Some((weekday, nth)) = nth_weekday(field, item)?
    {
        set.nth[weekday] |= 1 << nth;
        return Ok(());
    }
    let mut halves = item.split('/');
    let range = halves.next().expect("a split has a first part");
    let step = match halves.next() {
        None => None,
        Some(step) => Some(step_of(field, step)?),
    };
    if let Some(more) = halves.next() {
        return Err(more.wrong("a second step follows the first", "take it out"));
    }
    let (low, high) = if range.text == "*" {
        (field.least, field.end())
    } else if range.text.contains('-') {
        bounds(field, range)?
    } else {
        let value = field.value(range)?;
        if let Some(step) = step {
            let (greatest, name) = (field.greatest, field.name);
            let fix = format!(
                "write `{value}-{greatest}/{step}` for every {step}th {name} from {value} on"
            );
            return Err(item.wrong("a step needs a range in front of it", fix));
        }
        (value, value)
    };
    for value in (low..=high).step_by(usize::from(step.unwrap_or(1))) {
        let value = if field.is(&WEEKDAY) { value % 7 } else { value };
        set.values |= 1 << value;
    }
    Ok(())
}

/// Refuses what other schedulers know, and says how to say it here.
fn foreign(field: &Field, item: Part<'_>) -> Option<InvalidRule> {
    if item.text == "?" {
        return Some(item.wrong("`?` is not known", "write `*`"));
    }
    if item.text.contains('~') {
        let fix = "give a time and a jitter, which spreads the runs";
        return Some(item.wrong("a random time is not known", fix));
    }
    let digits = item.text.trim_end_matches(['w', 'W']);
    let nearest_workday = field.is(&DAY)
        && digits.len() < item.text.len()
        && (digits.eq_ignore_ascii_case("l") || digits.bytes().all(|byte| byte.is_ascii_digit()));
    nearest_workday.then(|| {
        let fix = "run on every weekday (`* * mon-fri`) and let the job see whether it is the day";
        item.wrong("the working day nearest to a day (`W`) is not known", fix)
    })
}

/// Reads `fri#2`, the second Friday of a month, and `friL`, its last.
fn nth_weekday(field: &Field, item: Part<'_>) -> Result<Option<(usize, u8)>, InvalidRule> {
    if let Some(hash) = item.text.find('#') {
        let (weekday, nth) = (item.sub(0..hash), item.sub(hash + 1..item.text.len()));
        let weekday = usize::from(field.value(weekday)? % 7);
        return match nth.text.parse::<u8>() {
            Ok(nth @ 1..=5) => Ok(Some((weekday, nth))),
            _ => Err(nth.wrong(
                format!("`{}` is not the number of a weekday in its month", nth.text),
                "write 1 to 5 behind `#`",
            )),
        };
    }
    let weekday = item.text.trim_end_matches(['l', 'L']);
    if weekday.len() + 1 == item.text.len() && !weekday.is_empty() {
        let weekday = field.value(item.sub(0..weekday.len()))?;
        return Ok(Some((usize::from(weekday % 7), 0)));
    }
    Ok(None)
}

fn step_of(field: &Field, part: Part<'_>) -> Result<u8, InvalidRule> {
    match part.text.parse::<u8>() {
        Ok(step @ 1..) => Ok(step),
        Ok(0) => Err(part.wrong("a step of 0 leads nowhere", "write 1 or more")),
        _ => {
            let greatest = field.greatest;
            let what = format!("`{}` is not a step", part.text);
            Err(part.wrong(what, format!("write 1 to {greatest} behind `/`")))
        }
    }
}

fn bounds(field: &Field, range: Part<'_>) -> Result<(u8, u8), InvalidRule> {
    let mut ends = range.split('-');
    let (low, high) = (
        ends.next().expect("a split has a first part"),
        ends.next().expect("there is a `-` in it"),
    );
    if let Some(more) = ends.next() {
        return Err(more.wrong("a third end follows the two of a range", "take it out"));
    }
    let (first, mut last) = (field.value(low)?, field.value(high)?);
    // Who writes `fri-sun` means the Sunday that ends the week.
    if field.is(&WEEKDAY) && last == 0 && first > 0 && high.is("sun") {
        last = 7;
    }
    if first > last {
        let span = |low: u8, high: u8| {
            if low == high {
                low.to_string()
            } else {
                format!("{low}-{high}")
            }
        };
        let (one, other) = (span(first, field.end()), span(field.least, last));
        let fix = format!("write `{one},{other}`");
        return Err(range.wrong("the range ends before it begins", fix));
    }
    Ok((first, last))
}

// === impl Field ===

impl Field {
    const fn numbers(name: &'static str, least: u8, greatest: u8) -> Self {
        Self {
            name,
            least,
            greatest,
            names: &[],
        }
    }

    fn is(&self, other: &Field) -> bool {
        self.name == other.name
    }

    /// The last of its values that is not another name for the first, as 7 is for Sunday.
    fn end(&self) -> u8 {
        if self.is(&WEEKDAY) { 6 } else { self.greatest }
    }

    fn value(&self, part: Part<'_>) -> Result<u8, InvalidRule> {
        let (name, least, greatest) = (self.name, self.least, self.greatest);
        if !part.text.is_empty() && part.text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match part.text.parse::<u8>() {
                Ok(value) if (least..=greatest).contains(&value) => Ok(value),
                _ => Err(part.wrong(
                    format!("`{}` is not {} {name}", part.text, self.article()),
                    format!("write {least} to {greatest}"),
                )),
            };
        }
        if let Some(index) = self.names.iter().position(|name| part.is(name)) {
            return Ok(index as u8 + if self.is(&MONTH) { 1 } else { 0 });
        }
        if part.text.is_empty() {
            let what = format!("{} {name} is missing", self.article());
            return Err(part.wrong(what, format!("write {least} to {greatest}")));
        }
        let short = part.text.get(..3).unwrap_or(part.text).to_ascii_lowercase();
        let near = nearest_name(&short, self.names.iter().copied());
        let fix = match (near, self.names.first(), self.names.last()) {
            (Some(near), ..) => format!("write `{near}`"),
            (None, Some(first), Some(last)) => {
                format!("write {least} to {greatest}, or `{first}` to `{last}`")
            }
            _ => format!("write {least} to {greatest}, `*`, or a range, list or step of these"),
        };
        let what = format!("`{}` is not {} {name}", part.text, self.article());
        Err(part.wrong(what, fix))
    }

    fn article(&self) -> &'static str {
        if self.is(&HOUR) { "an" } else { "a" }
    }
}

// === impl Part ===

impl<'a> Part<'a> {
    fn is(&self, other: &str) -> bool {
        self.text.eq_ignore_ascii_case(other)
    }

    fn sub(&self, range: Range<usize>) -> Part<'a> {
        Part {
            whole: self.whole,
            text: &self.text[range.clone()],
            start: self.start + range.start,
        }
    }

    fn split(self, separator: char) -> impl Iterator<Item = Part<'a>> {
        let mut start = 0;
        self.text.split(separator).map(move |text| {
            let part = self.sub(start..start + text.len());
            start += text.len() + separator.len_utf8();
            part
        })
    }

    fn wrong(&self, what: impl Into<Box<str>>, fix: impl Into<Box<str>>) -> InvalidRule {
        let at = self.start..self.start + self.text.len();
        InvalidRule::new(self.whole, at, what, fix)
    }
}

/// Gives the words of a text. More than one past the seven that any rule could have are left out: a
/// command may be as long as it likes.
fn words(whole: &str) -> Vec<Part<'_>> {
    const WORDS: usize = 8;
    let offset = |text: &str| text.as_ptr() as usize - whole.as_ptr() as usize;
    whole
        .split_ascii_whitespace()
        .take(WORDS)
        .map(|text| Part {
            whole,
            text,
            start: offset(text),
        })
        .collect()
}

#[cfg(test)]
mod tests;
