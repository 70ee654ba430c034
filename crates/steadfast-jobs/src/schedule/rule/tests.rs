use super::*;

fn ms(instant: &str) -> i64 {
    instant.parse::<Instant>().unwrap().as_millisecond()
}

#[test]
fn a_rate_counts_from_its_anchor_whenever_it_is_asked() {
    let check = |text: &str, after: &str, next: &str| {
        let rule: Rule = text.parse().unwrap();
        assert_eq!(rule.next(ms(after), &Zone::utc()), Some(ms(next)), "{text}");
    };

    check(
        "every 15m",
        "2026-11-29T20:07:31.5Z",
        "2026-11-29T20:15:00Z",
    );
    check("every 15m", "2026-11-29T20:15:00Z", "2026-11-29T20:30:00Z");
    check(
        "every 6h from 2026-01-01T03:00:00Z",
        "2026-11-29T20:00:00Z",
        "2026-11-29T21:00:00Z",
    );
    check(
        "every 6h from 2027-01-01T03:00:00Z",
        "2026-11-29T20:00:00Z",
        "2026-11-29T21:00:00Z",
    );
    check("@every 1d", "1969-12-31T12:00:00Z", "1970-01-01T00:00:00Z");
}

#[test]
fn a_date_is_due_once_by_the_clocks_of_the_zone() {
    let berlin = Zone::new("Europe/Berlin").unwrap();
    let rule: Rule = "at 2026-12-01T10:00".parse().unwrap();

    assert_eq!(rule.next(0, &berlin), Some(ms("2026-12-01T09:00:00Z")));
    assert_eq!(rule.next(ms("2026-12-01T09:00:00Z"), &berlin), None);

    let in_the_gap: Rule = "at 2026-03-29T02:30:00".parse().unwrap();
    assert_eq!(
        in_the_gap.next(0, &berlin),
        Some(ms("2026-03-29T01:00:00Z"))
    );
}

#[test]
fn the_last_due_time_is_found_however_long_ago() {
    let check = |text: &str, after: &str, until: &str, last: Option<&str>| {
        let rule: Rule = text.parse().unwrap();
        let found = rule.last(ms(after), ms(until), &Zone::utc());
        assert_eq!(found, last.map(ms), "{text}");
    };

    check(
        "* * * * * *",
        "2020-01-01T00:00:00Z",
        "2026-01-01T00:00:00.5Z",
        Some("2026-01-01T00:00:00Z"),
    );
    check(
        "0 0 1 * *",
        "2020-01-01T00:00:00Z",
        "2026-01-31T00:00:00Z",
        Some("2026-01-01T00:00:00Z"),
    );
    check(
        "0 0 1 * *",
        "2026-01-01T00:00:00Z",
        "2026-01-31T00:00:00Z",
        None,
    );
    // Only in one hour of the day: half of the stretch is full and the other empty.
    check(
        "* 2 * * *",
        "2026-01-01T00:00:00Z",
        "2026-01-01T14:00:00Z",
        Some("2026-01-01T02:59:00Z"),
    );
}

#[test]
fn what_is_written_is_read_again() {
    for text in [
        "30 2 * * mon",
        "@daily",
        "every 15m",
        "every 1d1h1m1s",
        "every 6h from 2026-01-01T03:00:00Z",
        "after 1h30m",
        "at 2026-12-01T10:00:00",
        "at 2026-12-01T10:00:00Z",
    ] {
        let rule: Rule = text.parse().unwrap();
        assert_eq!(rule.to_string(), text);
        assert_eq!(rule.to_string().parse(), Ok(rule));
    }
}

#[test]
fn lengths_and_dates_that_are_none_are_told_with_their_place() {
    let check = |text: &str, column: usize, fix: &str| {
        let wrong = text.parse::<Rule>().unwrap_err();
        assert_eq!(wrong.column(), column, "{wrong}");
        assert!(wrong.fix().contains(fix), "{wrong}");
    };

    check("every soon", 7, "`15m`");
    check("every", 6, "`15m`");
    check("every 15", 7, "`15m`");
    check("every 5m1h", 7, "`15m`");
    check("every 99999999999999999999d", 7, "`15m`");
    check("every 5m from noon", 15, "2026-01-01T03:00:00Z");
    check("after", 6, "`15m`");
    check("at noon", 4, "2026-12-01T10:00");
    check("after 0s", 1, "from 1 s to 400 days");
    check("every 401d", 1, "from 1 s to 400 days");
    let part = Rule::every(Duration::from_millis(1500)).unwrap_err();
    assert!(
        part.to_string()
            .starts_with("the period has a part of a second"),
        "{part}"
    );
}
