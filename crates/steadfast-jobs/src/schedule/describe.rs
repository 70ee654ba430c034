//! A rule in words.

use std::fmt::Write;

use super::cron::Fields;
use super::rule::{Kind, Length, Once, Rule};
use super::zone::Zone;

/// More times of a day than this are told as minutes of hours instead of one by one.
const TIMES_TOLD: usize = 6;

pub(super) fn rule(rule: &Rule, zone: &Zone) -> String {
    match &rule.0 {
        Kind::Cron(cron) => format!("{}, {zone}", fields(&cron.fields)),
        Kind::Rate { period_ms, .. } => format!("every {}", length(*period_ms)),
        Kind::Delay { delay_ms } => {
            format!("{} after the end of the run before", length(*delay_ms))
        }
        Kind::Once(Once::Instant(_)) => {
            let text = rule.to_string();
            format!("once {text}")
        }
        Kind::Once(Once::Reading(at)) => {
            format!("once on {} at {}, {zone}", at.date(), at.time())
        }
    }
}

/// Says a length of time: "15 minutes", "1 hour 30 minutes".
pub(super) fn length(ms: i64) -> String {
    let text = Length(ms).to_string();
    let mut said = String::new();
    let mut number = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c {
            'd' => "day",
            'h' => "hour",
            'm' => "minute",
            _ => "second",
        };
        if !said.is_empty() {
            said.push(' ');
        }
        let plural = if number == "1" { "" } else { "s" };
        let _ = write!(said, "{number} {unit}{plural}");
        number.clear();
    }
    // One of a unit is the unit: every hour, not every 1 hour.
    match said.strip_prefix("1 ") {
        Some(unit) if !unit.contains(' ') => unit.to_owned(),
        _ => said,
    }
}

fn fields(fields: &Fields) -> String {
    let days = days(fields);
    match times(fields) {
        // At times of the day: on which days comes first when it is all of them.
        Times::Listed(times) => match days {
            None => format!("every day at {times}"),
            Some(days) => format!("at {times} {days}"),
        },
        Times::Rate(rate) => match days {
            None => rate,
            Some(days) => format!("{rate} {days}"),
        },
    }
}

enum Times {
    Listed(String),
    Rate(String),
}

fn times(fields: &Fields) -> Times {
    let (seconds, minutes, hours) = (
        values(fields.seconds),
        values(fields.minutes),
        values(fields.hours),
    );
    let on_the_minute = seconds == [0];
    if seconds.len() * minutes.len() * hours.len() <= TIMES_TOLD {
        let mut listed = Vec::new();
        for hour in &hours {
            for minute in &minutes {
                for second in &seconds {
                    listed.push(if on_the_minute {
                        format!("{hour:02}:{minute:02}")
                    } else {
                        format!("{hour:02}:{minute:02}:{second:02}")
                    });
                }
            }
        }
        return Times::Listed(join(&listed));
    }
    let hourly = every(&hours, 24);
    let at_minutes = numbers(&minutes, "minute");
    let mut said = match (on_the_minute, every(&minutes, 60)) {
        (true, Some(1)) => "every minute".to_owned(),
        (true, Some(step)) => format!("every {step} minutes"),
        (true, None) => match hourly {
            Some(1) => return Times::Rate(format!("every hour at {at_minutes}")),
            Some(step) => return Times::Rate(format!("every {step} hours at {at_minutes}")),
            None => format!("at {at_minutes}"),
        },
        (false, Some(1)) => seconds_said(&seconds),
        (false, _) => format!("{}, at {at_minutes}", seconds_said(&seconds)),
    };
    match hourly {
        Some(1) => {}
        Some(step) => {
            let _ = write!(said, " in every {}", nth(step, "hour"));
        }
        None => {
            let ranges: Vec<String> = ranges(&hours)
                .into_iter()
                .map(|(from, to)| format!("{from:02}:00 to {to:02}:59"))
                .collect();
            let _ = write!(said, " from {}", join(&ranges));
        }
    }
    Times::Rate(said)
}

fn nth(step: u8, unit: &str) -> String {
    match step {
        2 => format!("second {unit}"),
        3 => format!("third {unit}"),
        _ => format!("{step}th {unit}"),
    }
}

fn seconds_said(seconds: &[u8]) -> String {
    match every(seconds, 60) {
        Some(1) => "every second".to_owned(),
        Some(step) => format!("every {step} seconds"),
        None => format!("every minute at {}", numbers(seconds, "second")),
    }
}

/// Gives the step of values that are evenly spread over all there are, from 0 on.
fn every(values: &[u8], of: u8) -> Option<u8> {
    let step = of / u8::try_from(values.len()).ok()?;
    let even = values.len() > 1
        && step * (values.len() as u8) == of
        && values
            .iter()
            .zip((0..of).step_by(usize::from(step)))
            .all(|(value, at)| *value == at);
    even.then_some(step)
}

fn numbers(values: &[u8], unit: &str) -> String {
    let plural = if values.len() == 1 { "" } else { "s" };
    let ranges: Vec<String> = ranges(values)
        .into_iter()
        .map(|(from, to)| match to - from {
            0 => from.to_string(),
            1 => format!("{from} and {to}"),
            _ => format!("{from} to {to}"),
        })
        .collect();
    format!("{unit}{plural} {}", join(&ranges))
}

/// Says on which days; nothing when it is all of them.
fn days(fields: &Fields) -> Option<String> {
    let month_days = (values(fields.days).len() < 31).then(|| month_days(fields));
    let weekdays = (values(fields.weekdays).len() < 7).then(|| weekdays(fields));
    let months = (values(fields.months).len() < 12).then(|| {
        let ranges: Vec<String> = ranges(&values(fields.months))
            .into_iter()
            .map(|(from, to)| range_of(from, to, |month| MONTHS[usize::from(month) - 1]))
            .collect();
        join(&ranges)
    });
    let both = fields.any_day || fields.any_weekday;
    let days = match (month_days, weekdays) {
        (None, None) => None,
        (Some(days), Some(weekdays)) if both => Some(format!("on {days} if it is {weekdays}")),
        (Some(days), Some(weekdays)) => Some(format!("on {days}, and on {weekdays}")),
        // A set of all days beside a weekday that narrows nothing down: either of them is enough.
        (Some(_), None) | (None, Some(_)) if !both => None,
        (Some(days), None) => Some(format!("on {days}")),
        (None, Some(weekdays)) => Some(format!("on {weekdays}")),
    };
    match (days, months) {
        (None, None) => None,
        (Some(days), None) => Some(days),
        (Some(days), Some(months)) => Some(format!("{days} in {months}")),
        (None, Some(months)) => Some(format!("on every day in {months}")),
    }
}

fn month_days(fields: &Fields) -> String {
    let days = values(fields.days);
    let mut said = Vec::new();
    if !days.is_empty() {
        let plural = if days.len() == 1 { "" } else { "s" };
        said.push(format!("day{plural} {} of the month", ranges_said(&days)));
    }
    if fields.last_day {
        said.push("the last day of the month".to_owned());
    }
    join(&said)
}

fn ranges_said(values: &[u8]) -> String {
    let ranges: Vec<String> = ranges(values)
        .into_iter()
        .map(|(from, to)| range_of(from, to, |value| value))
        .collect();
    join(&ranges)
}

fn range_of<T: std::fmt::Display>(from: u8, to: u8, name: impl Fn(u8) -> T) -> String {
    match to - from {
        0 => name(from).to_string(),
        1 => format!("{} and {}", name(from), name(to)),
        _ => format!("{} to {}", name(from), name(to)),
    }
}

fn weekdays(fields: &Fields) -> String {
    // The week of people begins on Monday, that of cron on Sunday.
    let mut days: Vec<u8> = values(fields.weekdays);
    days.iter_mut().for_each(|day| *day = (*day + 6) % 7);
    days.sort_unstable();
    let mut said: Vec<String> = ranges(&days)
        .into_iter()
        .map(|(from, to)| range_of(from, to, |day| WEEKDAYS[usize::from(day)]))
        .collect();
    for (weekday, set) in fields.nth.iter().enumerate() {
        let name = WEEKDAYS[(weekday + 6) % 7];
        for nth in values(u64::from(*set)) {
            said.push(format!("the {} {name} of the month", NTH[usize::from(nth)]));
        }
    }
    join(&said)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
const NTH: [&str; 6] = ["last", "first", "second", "third", "fourth", "fifth"];

fn values(set: u64) -> Vec<u8> {
    (0..64).filter(|value| set >> value & 1 == 1).collect()
}

/// Gives stretches of values without a hole.
fn ranges(values: &[u8]) -> Vec<(u8, u8)> {
    let mut ranges: Vec<(u8, u8)> = Vec::new();
    for value in values {
        match ranges.last_mut() {
            Some((_, to)) if *to + 1 == *value => *to = *value,
            _ => ranges.push((*value, *value)),
        }
    }
    ranges
}

fn join(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_said_as_people_say_them() {
        let berlin = Zone::new("Europe/Berlin").unwrap();
        let check = |text: &str, said: &str| {
            let rule: Rule = text.parse().unwrap();
            assert_eq!(rule.describe(&berlin), said, "{text}");
        };

        check("30 2 * * *", "every day at 02:30, Europe/Berlin");
        check("@daily", "every day at 00:00, Europe/Berlin");
        check(
            "0 9,17 * * *",
            "every day at 09:00 and 17:00, Europe/Berlin",
        );
        check("15 30 2 * * *", "every day at 02:30:15, Europe/Berlin");
        check("* * * * *", "every minute, Europe/Berlin");
        check("*/15 * * * *", "every 15 minutes, Europe/Berlin");
        check("*/10 * * * * *", "every 10 seconds, Europe/Berlin");
        check("* * * * * *", "every second, Europe/Berlin");
        check("30 * * * *", "every hour at minute 30, Europe/Berlin");
        check("@hourly", "every hour at minute 0, Europe/Berlin");
        check(
            "5-7,20 * * * *",
            "every hour at minutes 5 to 7 and 20, Europe/Berlin",
        );
        check("0 */2 * * *", "every 2 hours at minute 0, Europe/Berlin");
        check(
            "*/5 */2 * * *",
            "every 5 minutes in every second hour, Europe/Berlin",
        );
        check(
            "*/15 8-17 * * 1-5",
            "every 15 minutes from 08:00 to 17:59 on Monday to Friday, Europe/Berlin",
        );
        check(
            "0 8-17 * * *",
            "at minute 0 from 08:00 to 17:59, Europe/Berlin",
        );
        check("30 2 * * sun", "at 02:30 on Sunday, Europe/Berlin");
        check(
            "30 2 * * fri-sun",
            "at 02:30 on Friday to Sunday, Europe/Berlin",
        );
        check(
            "30 2 1,15 * *",
            "at 02:30 on days 1 and 15 of the month, Europe/Berlin",
        );
        check(
            "30 2 L * *",
            "at 02:30 on the last day of the month, Europe/Berlin",
        );
        check(
            "30 2 13 * fri",
            "at 02:30 on day 13 of the month, and on Friday, Europe/Berlin",
        );
        check(
            "30 2 */2 * fri",
            "at 02:30 on days 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29 and 31 of the month \
             if it is Friday, Europe/Berlin",
        );
        check(
            "0 6 * * mon#1",
            "at 06:00 on the first Monday of the month, Europe/Berlin",
        );
        check(
            "0 6 * * friL",
            "at 06:00 on the last Friday of the month, Europe/Berlin",
        );
        check(
            "0 6 1 1,7 *",
            "at 06:00 on day 1 of the month in January and July, Europe/Berlin",
        );
        check(
            "0 6 * jun-aug *",
            "at 06:00 on every day in June to August, Europe/Berlin",
        );
        check("0 6 1-31 * mon", "every day at 06:00, Europe/Berlin");
        check("every 15m", "every 15 minutes");
        check("every 1h", "every hour");
        check("every 90s", "every 1 minute 30 seconds");
        check("after 10m", "10 minutes after the end of the run before");
        check(
            "at 2026-12-01T10:00",
            "once on 2026-12-01 at 10:00:00, Europe/Berlin",
        );
        check("at 2026-12-01T10:00:00Z", "once at 2026-12-01T10:00:00Z");
    }
}
