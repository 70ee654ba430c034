//! The next due time, in tables and beside a walk that looks at every single minute.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use proptest::prelude::*;

use super::super::parse;
use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(name).unwrap()
}

fn seconds(instant: &str) -> i64 {
    instant.parse::<Timestamp>().unwrap().as_second()
}

/// The next due times after an instant, as the zone's clocks show them.
fn next(expression: &str, name: &str, after: &str, count: usize) -> Vec<String> {
    let (cron, zone) = (parse::cron(expression).unwrap(), zone(name));
    let mut after = seconds(after);
    (0..count)
        .map(|_| {
            after = cron.next(after, &zone).unwrap();
            let at = Timestamp::from_second(after).unwrap();
            let offset = zone.to_offset(at);
            format!("{} {offset}", offset.to_datetime(at).strftime("%F %T"))
        })
        .collect()
}

#[test]
fn a_fixed_time_in_a_gap_is_due_once_at_the_first_instant_after_it() {
    let check = |expression, name, after, expect: [&str; 3]| {
        assert_eq!(
            next(expression, name, after, 3),
            expect,
            "{expression} in {name}"
        );
    };

    check(
        "30 2 * * *",
        "Europe/Berlin",
        "2026-03-28T00:00:00Z",
        [
            "2026-03-28 02:30:00 +01",
            "2026-03-29 03:00:00 +02",
            "2026-03-30 02:30:00 +02",
        ],
    );
    // Several times in the gap are one run, and so is one that falls together with its end.
    check(
        "0,30 2,3 * * *",
        "Europe/Berlin",
        "2026-03-28T12:00:00Z",
        [
            "2026-03-29 03:00:00 +02",
            "2026-03-29 03:30:00 +02",
            "2026-03-30 02:00:00 +02",
        ],
    );
    check(
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-02T20:00:00Z",
        [
            "2026-10-04 02:30:00 +11",
            "2026-10-05 02:15:00 +11",
            "2026-10-06 02:15:00 +11",
        ],
    );
    // Midnight itself is skipped.
    check(
        "@daily",
        "Asia/Tehran",
        "2022-03-20T21:00:00Z",
        [
            "2022-03-22 01:00:00 +04:30",
            "2022-03-23 00:00:00 +04:30",
            "2022-03-24 00:00:00 +04:30",
        ],
    );
    // A whole day is skipped: the weekly run of that Friday is not lost.
    check(
        "0 6 * * fri",
        "Pacific/Apia",
        "2011-12-24T00:00:00Z",
        [
            "2011-12-31 00:00:00 +14",
            "2012-01-06 06:00:00 +14",
            "2012-01-13 06:00:00 +14",
        ],
    );
}

#[test]
fn a_fixed_time_that_is_repeated_is_due_the_first_time() {
    let check = |expression, name, after, expect: [&str; 2]| {
        assert_eq!(
            next(expression, name, after, 2),
            expect,
            "{expression} in {name}"
        );
    };

    check(
        "30 1 * * *",
        "America/New_York",
        "2026-10-31T12:00:00Z",
        ["2026-11-01 01:30:00 -04", "2026-11-02 01:30:00 -05"],
    );
    // Asked in the second pass, before that reading comes up again.
    check(
        "30 1 * * *",
        "America/New_York",
        "2026-11-01T06:10:00Z",
        ["2026-11-02 01:30:00 -05", "2026-11-03 01:30:00 -05"],
    );
    check(
        "45 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T13:00:00Z",
        ["2026-04-05 01:45:00 +11", "2026-04-06 01:45:00 +10:30"],
    );
}

#[test]
fn wildcards_have_no_phantom_runs_in_a_gap_and_run_in_both_passes() {
    assert_eq!(
        next("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3),
        [
            "2026-03-29 01:30:00 +01",
            "2026-03-29 03:00:00 +02",
            "2026-03-29 03:30:00 +02"
        ]
    );
    assert_eq!(
        next("*/15 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 1),
        ["2026-03-30 02:00:00 +02"]
    );
    assert_eq!(
        next("30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 3),
        [
            "2026-10-25 02:30:00 +02",
            "2026-10-25 02:30:00 +01",
            "2026-10-25 03:30:00 +01"
        ]
    );
}

#[test]
fn rare_dates_are_found_over_years() {
    assert_eq!(
        next("0 0 29 2 *", "Etc/UTC", "2096-03-01T00:00:00Z", 2),
        ["2104-02-29 00:00:00 +00", "2108-02-29 00:00:00 +00"]
    );
    assert_eq!(
        next("59 59 23 31 12 *", "Etc/UTC", "2026-12-31T23:59:58Z", 2),
        ["2026-12-31 23:59:59 +00", "2027-12-31 23:59:59 +00"]
    );
    // A leap day on a Sunday, by the rule that a field which begins with `*` narrows down.
    assert_eq!(
        next("0 0 29 2 */7", "Etc/UTC", "2026-01-01T00:00:00Z", 2),
        ["2032-02-29 00:00:00 +00", "2060-02-29 00:00:00 +00"]
    );
}

#[test]
fn days_and_weekdays_are_read_as_cron_reads_them() {
    let check = |expression, expect: &[&str]| {
        let days: Vec<String> = next(expression, "Etc/UTC", "2026-02-01T00:00:01Z", expect.len())
            .into_iter()
            .map(|day| day[..10].to_owned())
            .collect();
        assert_eq!(days, expect, "{expression}");
    };

    // Either one, when both are restricted; 2026-02-13 is a Friday.
    check("0 0 13 * fri", &["2026-02-06", "2026-02-13", "2026-02-20"]);
    check("0 0 */2 * fri", &["2026-02-13", "2026-02-27", "2026-03-13"]);
    check("0 0 L * *", &["2026-02-28", "2026-03-31", "2026-04-30"]);
    check("0 0 * * mon#1", &["2026-02-02", "2026-03-02", "2026-04-06"]);
    check("0 0 * * friL", &["2026-02-27", "2026-03-27", "2026-04-24"]);
    check("0 0 * * 7", &["2026-02-08", "2026-02-15", "2026-02-22"]);
    check("0 0 * * mon#5", &["2026-03-30", "2026-06-29", "2026-08-31"]);
}

#[test]
fn nothing_comes_after_the_end_of_the_calendar() {
    let cron = parse::cron("@yearly").unwrap();
    let end = Timestamp::MAX.as_second();

    for zone in [TimeZone::UTC, zone("Europe/Berlin")] {
        for after in [end - 1, end, i64::MAX - 1, i64::MAX] {
            assert_eq!(cron.next(after, &zone), None, "{after}");
        }
    }
}

/// Where something odd happens: a zone, and an instant in the middle of it.
const ODD: &[(&str, &str)] = &[
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"), // back by 30 minutes
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"), // ahead by 30 minutes
    ("Pacific/Chatham", "2026-04-04T14:00:00Z"),     // back at 03:45
    ("Pacific/Chatham", "2026-09-26T14:00:00Z"),     // ahead at 02:45
    ("Africa/Casablanca", "2026-02-15T02:00:00Z"),   // Ramadan: back in February
    ("Africa/Casablanca", "2026-03-22T02:00:00Z"),
    ("Asia/Tehran", "2022-03-21T20:30:00Z"), // midnight is skipped
    ("Asia/Tehran", "2022-09-21T19:30:00Z"), // midnight comes twice
    ("Pacific/Apia", "2011-12-30T10:00:00Z"), // a day is skipped
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),
    ("Antarctica/Troll", "2026-03-29T01:00:00Z"), // ahead by two hours
    ("Antarctica/Troll", "2026-10-25T01:00:00Z"),
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("Asia/Kathmandu", "2026-05-01T00:00:00Z"), // 05:45 ahead, nothing changes
];

/// Looks at every step of time, remembers which readings were there, and knows nothing of zones
/// but what their clocks show.
fn walk(fields: &Fields, zone: &TimeZone, lead: i64, from: i64, to: i64, step: i64) -> Vec<i64> {
    let mut due = Vec::new();
    let mut newest: Option<DateTime> = None;
    let mut at = from - lead;
    while at <= to {
        let reading = zone.to_datetime(Timestamp::from_second(at).unwrap());
        let is_due = match newest {
            Some(newest) if fields.fixed => {
                // What the clocks passed over counts here, and what they show again does not.
                let mut passed = reading;
                let mut found = false;
                while passed > newest {
                    found |= fields.has(passed);
                    passed = passed
                        .checked_sub(jiff::SignedDuration::from_secs(step))
                        .unwrap();
                }
                found
            }
            _ => fields.has(reading),
        };
        if is_due && at >= from {
            due.push(at);
        }
        newest = newest.max(Some(reading));
        at += step;
    }
    due
}

fn field(least: u8, greatest: u8) -> impl Strategy<Value = String> {
    let value = least..=greatest;
    prop_oneof![
        2 => Just("*".to_owned()),
        1 => (2..=30_u8).prop_map(|step| format!("*/{step}")),
        3 => value.clone().prop_map(|value| value.to_string()),
        2 => prop::collection::vec(value.clone(), 2..5)
            .prop_map(|values| values.iter().map(u8::to_string).collect::<Vec<_>>().join(",")),
        1 => (value.clone(), value).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
    ]
}

/// Mostly every day, so that the days around a change are among them.
fn rarely(least: u8, greatest: u8) -> impl Strategy<Value = String> {
    prop_oneof![4 => Just("*".to_owned()), 1 => field(least, greatest)]
}

/// Half of the hours near midnight and morning, where clocks are changed.
fn hour() -> impl Strategy<Value = String> {
    prop_oneof![field(0, 23), field(0, 4), Just("23,0".to_owned())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn due_times_are_those_of_a_walk_through_every_minute(
        odd in prop::sample::select(ODD),
        minute in field(0, 59),
        hour in hour(),
        day in rarely(1, 31),
        weekday in rarely(0, 7),
        asked in prop::collection::vec(0..3 * 86_400_i64, 8),
    ) {
        let Ok(cron) = parse::cron(&format!("{minute} {hour} {day} * {weekday}")) else {
            return Ok(()); // Never due, and refused for that.
        };
        let zone = zone(odd.0);
        let from = seconds(odd.1) - 86_400 - 43_200;
        let to = from + 3 * 86_400;

        let expect = walk(&cron.fields, &zone, 26 * 3600, from, to, 60);

        let mut found = Vec::new();
        let mut after = from - 1;
        while let Some(next) = cron.next(after, &zone).filter(|next| *next <= to) {
            prop_assert!(next > after, "strictly increasing");
            found.push(next);
            after = next;
        }
        prop_assert_eq!(&found, &expect, "{} in {}", &cron, odd.0);
        // From anywhere in between: never early, never late.
        for after in asked.into_iter().map(|asked| from + asked) {
            let next = cron.next(after, &zone).filter(|next| *next <= to);
            prop_assert_eq!(next, expect.iter().copied().find(|due| *due > after));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn due_times_are_those_of_a_walk_through_every_second(
        // All but the skipped day, whose lead would be a day of seconds.
        odd in prop::sample::select(ODD).prop_filter("short", |odd| odd.0 != "Pacific/Apia"),
        second in field(0, 59),
        minute in field(0, 59),
    ) {
        let cron = parse::cron(&format!("{second} {minute} * * * *")).unwrap();
        let fixed = parse::cron(&format!("{second} {minute} 0-23 * * *")).unwrap();
        let zone = zone(odd.0);
        let (from, to) = (seconds(odd.1) - 3600, seconds(odd.1) + 5400);

        for cron in [cron, fixed] {
            let expect = walk(&cron.fields, &zone, 10_800, from, to, 1);
            let mut after = from - 1;
            for due in expect {
                let next = cron.next(after, &zone);
                prop_assert_eq!(next, Some(due), "{} in {}", &cron, odd.0);
                after = due;
            }
            prop_assert!(cron.next(after, &zone).is_none_or(|next| next > to));
        }
    }
}
