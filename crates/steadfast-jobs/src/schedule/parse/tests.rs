use super::*;

#[test]
fn real_crontab_lines_are_read() {
    let check = |line: &str, time: &str, command: &str| {
        let (cron, rest) = crontab_line(line).unwrap();
        assert_eq!((cron.to_string().as_str(), rest), (time, command), "{line}");
    };

    check(
        "17 *\t* * *\troot    cd / && run-parts --report /etc/cron.hourly",
        "17 * * * *",
        "root    cd / && run-parts --report /etc/cron.hourly",
    );
    check(
        "5-55/10 * * * * /usr/lib/sysstat/sa1 1 1",
        "5-55/10 * * * *",
        "/usr/lib/sysstat/sa1 1 1",
    );
    check(
        "@daily /usr/local/bin/backup  ",
        "@daily",
        "/usr/local/bin/backup",
    );
    check(
        "0 4 8-14 * * test $(date +\\%u) -eq 7 && x",
        "0 4 8-14 * *",
        "test $(date +\\%u) -eq 7 && x",
    );
    check(
        "  30 3 * * 0 root e2scrub_all",
        "30 3 * * 0",
        "root e2scrub_all",
    );
}

#[test]
fn names_and_nicknames_mean_what_the_numbers_mean() {
    let check = |one: &str, other: &str| {
        assert_eq!(
            cron(one).unwrap().fields,
            cron(other).unwrap().fields,
            "{one}"
        );
    };

    check("0 0 * JAN,Dec mon-FRI", "0 0 * 1,12 1-5");
    check("0 0 * * sun", "0 0 * * 7");
    check("0 0 * * fri-sun", "0 0 * * 5,6,0");
    check("0 0 * * 5-7", "0 0 * * 5,6,0");
    check("0 0 * * 0-7", "0 0 * * 0-6");
    check("0 0 * * 5l", "0 0 * * friL");
    check("@YEARLY", "0 0 1 1 *");
    check("@annually", "@yearly");
    check("@weekly", "0 0 * * 0");
    check("@midnight", "0 0 0 * * *");
    check("*/90 * * * *", "*/60 * * * *");
    check("10-20/5 * * * *", "10,15,20 * * * *");
}

#[test]
fn fixed_and_wildcard_rules_are_told_apart_as_cron_does() {
    for (expression, fixed) in [
        ("30 2 * * *", true),
        ("0,30 2,14 * * mon", true),
        ("0 0-23 * * *", true),
        ("0 30 2 * * *", true),
        ("*/15 2 * * *", false),
        ("30 * * * *", false),
        ("* 30 2 * * *", false),
    ] {
        assert_eq!(cron(expression).unwrap().is_fixed(), fixed, "{expression}");
    }
}

#[test]
fn mistakes_are_told_with_their_place_and_a_fix() {
    let check = |expression: &str, column: usize, what: &str, fix: &str| {
        let wrong = cron(expression).unwrap_err();
        let message = wrong.to_string();
        assert!(message.starts_with(what), "{message}");
        assert_eq!(wrong.column(), column, "{message}");
        assert!(wrong.fix().contains(fix), "{message}");
    };

    check("61 * * * *", 1, "`61` is not a minute", "write 0 to 59");
    check("0 24 * * *", 3, "`24` is not an hour", "write 0 to 23");
    check("0 0 0 * *", 5, "`0` is not a day", "write 1 to 31");
    check("0 0 * * 8", 9, "`8` is not a weekday", "write 0 to 7");
    check(
        "0 0 * * monday",
        9,
        "`monday` is not a weekday",
        "write `mon`",
    );
    check("0 0 * sept *", 7, "`sept` is not a month", "write `sep`");
    check("0 0 * * x", 9, "`x` is not a weekday", "`sun` to `sat`");
    check("5,,7 * * * *", 3, "nothing stands here", "comma");
    check("5, * * * *", 3, "nothing stands here", "comma");
    check("*/0 * * * *", 3, "a step of 0", "1 or more");
    check("*/x * * * *", 3, "`x` is not a step", "1 to 59");
    check("*/5/2 * * * *", 5, "a second step", "take it out");
    check("5/15 * * * *", 1, "a step needs a range", "write `5-59/15`");
    check(
        "0 22-2 * * *",
        3,
        "the range ends before",
        "write `22-23,0-2`",
    );
    check(
        "0 0 * * sat-mon",
        9,
        "the range ends before",
        "write `6,0-1`",
    );
    check("1-2-3 * * * *", 5, "a third end", "take it out");
    check("1- * * * *", 3, "a minute is missing", "0 to 59");
    check("-1 * * * *", 1, "a minute is missing", "0 to 59");
    check("0 0 ? * mon", 5, "`?` is not known", "write `*`");
    check("0 0 15W * *", 5, "the working day", "mon-fri");
    check("0~30 * * * *", 1, "a random time", "jitter");
    check("0 0 * * mon#6", 13, "`6` is not the number", "1 to 5");
    check("0 0 30 2 *", 5, "no date has such a day", "29 days");
    check("0 0 */16 * mon#5", 5, "no date has such a day", "");
    check("* * * *", 1, "4 fields are too few", "minute hour day");
    check("0 0 0 1 1 * 2026", 13, "a seventh field", "minute hour day");
    check("", 1, "there is no rule", "30 2 * * *");
    check("   ", 1, "there is no rule", "30 2 * * *");
    check("@dayly", 1, "`@dayly` is not a nickname", "write `@daily`");
    check("@reboot", 1, "the start of a machine", "process starts");
    check("@daily x", 8, "something follows", "leave it out");
    check("ä5 * * * *", 1, "`ä5` is not a minute", "0 to 59");
    check("٣ * * * *", 1, "`٣` is not a minute", "0 to 59");
    check("99999999999999999999 * * * *", 1, "`99999", "0 to 59");
    check(
        &"1,".repeat(5_000),
        1,
        "a rule of 10000 bytes",
        "several schedules",
    );
    assert_eq!(crontab_line("0 0 * * *").unwrap_err().column(), 10);
    assert_eq!(crontab_line("MAILTO=root").unwrap_err().column(), 1);
}

#[test]
fn the_long_form_of_a_mistake_marks_its_place() {
    let wrong = cron("0 24 * * *").unwrap_err();

    assert_eq!(
        format!("{wrong:#}"),
        "`24` is not an hour\n  0 24 * * *\n    ^^\nwrite 0 to 23"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[-*/,?#@~0-9a-zA-ZäL \t]{0,40}") {
        if let Err(wrong) = cron(&text) {
            let _ = (format!("{wrong} {wrong:#}"), wrong.column());
        }
        let _ = crontab_line(&text);
        let _ = text.parse::<super::super::Rule>().map_err(|wrong| format!("{wrong:#}"));
    }
}
