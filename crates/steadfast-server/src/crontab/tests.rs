//! Lines as they stand in real crontabs, the odd ones among them.

use super::*;

fn entries(text: &str) -> Vec<Entry> {
    let crontab = read(text, Form::User);
    assert!(
        crontab.notes.iter().all(|note| !note.lost),
        "{:?}",
        crontab.notes
    );
    crontab.entries
}

fn lost(text: &str, form: Form) -> String {
    let crontab = read(text, form);
    assert_eq!(crontab.entries, [], "{text}");
    let notes: Vec<_> = crontab.notes.iter().filter(|note| note.lost).collect();
    assert_eq!(notes.len(), 1, "{text}: {:?}", crontab.notes);
    notes[0].text.clone()
}

const SYSTEM: &str = r#"# /etc/crontab: system-wide crontab
SHELL=/bin/bash
PATH=/usr/local/sbin:/usr/local/bin:/sbin:/bin:/usr/sbin:/usr/bin
MAILTO=root

# m h dom mon dow user	command
17 *	* * *	root    cd / && run-parts --report /etc/cron.hourly
25 6	* * *	root	test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily )
47 6	* * 7	root	test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.weekly )
@reboot root /usr/local/bin/warm-up
*/10 * * * * www-data [ -x /usr/lib/php/sessionclean ] && if [ ! -d /run/systemd/system ]; then /usr/lib/php/sessionclean; fi
"#;

#[test]
fn the_crontab_of_a_system_is_taken_over_but_for_what_is_no_time() {
    let crontab = read(SYSTEM, Form::System);

    let seen: Vec<_> = crontab
        .entries
        .iter()
        .map(|entry| {
            (
                entry.line,
                entry.rule.to_string(),
                entry.user.as_deref().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (7, "17 * * * *".to_owned(), "root"),
            (8, "25 6 * * *".to_owned(), "root"),
            (9, "47 6 * * 7".to_owned(), "root"),
            (11, "*/10 * * * *".to_owned(), "www-data"),
        ]
    );
    assert_eq!(
        crontab.entries[0].command,
        "cd / && run-parts --report /etc/cron.hourly"
    );
    assert_eq!(crontab.entries[0].shell, "/bin/bash");
    let notes: Vec<_> = crontab
        .notes
        .iter()
        .map(|note| (note.line, note.lost))
        .collect();
    assert_eq!(notes, [(4, false), (10, true)]);
    assert!(crontab.notes[0].text.contains("nothing is sent by mail"));
    assert!(
        crontab.notes[1]
            .text
            .contains("the start of a machine is not a time")
    );
}

#[test]
fn what_follows_a_percent_is_read_by_the_command() {
    let check = |line: &str, command: &str, stdin: &str| {
        let entry = entries(line).remove(0);
        assert_eq!(
            (entry.command.as_str(), entry.stdin.as_str()),
            (command, stdin),
            "{line}"
        );
    };

    check("0 1 * * * backup", "backup", "");
    check(
        "0 1 * * * mail -s hello ada%Dear Ada,%%how are you?",
        "mail -s hello ada",
        "Dear Ada,\n\nhow are you?\n",
    );
    check(
        r"0 1 * * * date +\%F > /tmp/\%x%in 100\%",
        "date +%F > /tmp/%x",
        "in 100%\n",
    );
    check(r"0 1 * * * printf 'a\\b\n'", r"printf 'a\\b\n'", "");
    // Nothing is given where nothing is behind it, and no second line feed.
    check("0 1 * * * cat%", "cat", "");
    check("0 1 * * * cat%a%", "cat", "a\n");
    check("0 1 * * * cat%a%%", "cat", "a\n\n");
    // The first of two is for the second in the command, and each stands for itself in what it reads.
    check(r"0 1 * * * echo \\%in", r"echo \\", "in\n");
    check(r"0 1 * * * echo \\\%in", r"echo \\%in", "");
    check(r"0 1 * * * cat%\\%a\b\", "cat", "\\%a\\b\\\n");
}

#[test]
fn variables_hold_for_the_lines_below_them() {
    let text = "A=1\n B = \"two words\" \nC='x=y'\nEMPTY=\nHOME=/srv\n0 1 * * * first\nA=2\nCRON_TZ=Europe/Berlin\nRANDOM_DELAY=5\n@daily second a=b\nCRON_TZ=Asia/Tokyo\n@Weekly third\n";

    let entries = entries(text);

    let of = |at: usize, name: &str| entries[at].variables[name].as_str();
    assert_eq!(
        (of(0, "A"), of(0, "B"), of(0, "C"), of(0, "EMPTY")),
        ("1", "two words", "x=y", "")
    );
    assert_eq!((of(1, "A"), of(1, "B")), ("2", "two words"));
    assert_eq!(entries[0].home.as_deref(), Some("/srv"));
    let zones: Vec<_> = entries.iter().map(|entry| entry.zone.as_deref()).collect();
    assert_eq!(zones, [None, Some("Europe/Berlin"), Some("Asia/Tokyo")]);
    assert_eq!((entries[0].delay_minutes, entries[1].delay_minutes), (0, 5));
    assert_eq!(entries[1].command, "second a=b");
    assert_eq!(entries[2].rule.to_string(), "@weekly");
}

#[test]
fn what_cannot_be_taken_over_says_why() {
    let check = |line: &str, form, expect: &str| {
        let told = lost(line, form);
        assert!(told.contains(expect), "{line}: {told}");
    };

    check(
        "@reboot warm-up",
        Form::User,
        "the start of a machine is not a time",
    );
    check("@fortnightly x", Form::User, "is not a nickname");
    check("61 * * * * x", Form::User, "`61` is not a minute");
    check("0 0 30 2 * x", Form::User, "never");
    check("0~30 * * * * x", Form::User, "a random time is not known");
    check("* * * * *", Form::User, "no command follows the time");
    check("hello", Form::User, "too few");
    check(
        "0 1 * * * %only this",
        Form::User,
        "no command in front of the `%`",
    );
    check(
        "0 1 * * * root",
        Form::System,
        "no command follows the user",
    );
    check(
        "CRON_TZ=Mars/Olympus\n0 1 * * * x",
        Form::User,
        "CRON_TZ above it cannot be taken over",
    );
    check(
        &format!("0 1 * * * {}", "x".repeat(5_000)),
        Form::User,
        "make a script of it",
    );
    check("0 1 * * * a\0b", Form::User, "NUL");
}

#[test]
fn odd_ends_of_lines_and_marks_are_no_trouble() {
    let entries =
        entries("\r\n  0 1 * * *   x y \r\n-0 2 * * * quiet\n#0 3 * * * off\n\t\n0 4 * * * no end");

    let commands: Vec<_> = entries.iter().map(|entry| entry.command.as_str()).collect();
    assert_eq!(commands, ["x y", "quiet", "no end"]);
}

#[test]
fn a_line_that_is_no_text_does_not_take_the_others_with_it() {
    let text =
        b"# f\xfcr Ada\nNAME=M\xfcller\n0 1 * * * first\n0 2 * * * gr\xfc\xdfe\n0 3 * * * third\n";

    let crontab = read(text, Form::User);

    let commands: Vec<_> = crontab
        .entries
        .iter()
        .map(|entry| entry.command.as_str())
        .collect();
    assert_eq!(commands, ["first", "third"]);
    assert!(crontab.entries[0].variables.is_empty());
    let notes: Vec<_> = crontab
        .notes
        .iter()
        .map(|note| (note.line, note.lost, note.text.as_str()))
        .collect();
    assert_eq!(
        notes,
        [
            (2, false, "NAME is left out: its value is not UTF-8"),
            (
                4,
                true,
                "it is not UTF-8: write it so, or make a script of it"
            ),
        ]
    );
}

#[test]
fn there_is_a_bound_on_lines() {
    let text = "0 1 * * * x\n".repeat(ENTRIES_MAX + 5);

    let crontab = read(&text, Form::User);

    assert_eq!(crontab.entries.len(), ENTRIES_MAX);
    // Each that is lost is counted.
    assert_eq!(crontab.notes.len(), 5);
    assert!(crontab.notes.iter().all(|note| note.lost));
}

#[test]
fn what_is_written_is_a_configuration_that_is_taken_whatever_stood_in_the_lines() {
    let odd = "A=\"q\\\"x\"\n0 1 * * * FOO=1 /opt/my\\ app/run \"a 'b' \\\\ \u{7f}\" | tee ü%in%put\n0 2 * * * /opt/run\n0 3 * * * /opt/run\n0 4 * * * \"\"\n";
    for (text, form) in [(SYSTEM, Form::System), (odd, Form::User)] {
        let crontab = read(text, form);

        let document = write(&crontab, "a\nfile", "Europe/Berlin", None);

        let path = std::env::temp_dir().join(format!(
            "steadfast-crontab-{}-{form:?}.toml",
            std::process::id()
        ));
        std::fs::write(&path, &document).unwrap();
        let config = crate::config::Config::load(std::slice::from_ref(&path));
        std::fs::remove_file(path).unwrap();
        let config = config.unwrap_or_else(|error| panic!("{error}\n{document}"));
        assert_eq!(config.handlers.len(), crontab.entries.len(), "{document}");
        assert_eq!(config.schedules.len(), crontab.entries.len());
        for entry in &crontab.entries {
            let same = config.handlers.values().any(|handler| match &handler.work {
                crate::config::Work::Exec(exec) => {
                    exec.command == [entry.shell.as_str(), "-c", &entry.command]
                        && exec.stdin.as_deref() == Some(entry.stdin.as_str())
                        && exec.user == entry.user
                        && exec.env == entry.variables
                }
                crate::config::Work::Http(_) => false,
            });
            assert!(same, "{entry:?} in {document}");
        }
    }
}

/// The names of the handlers of a crontab, in the order of its lines.
fn names(text: &str) -> Vec<String> {
    let document = write(&read(text.as_bytes(), Form::User), "here", "UTC", None);
    let lines = document.lines();
    let names = lines.filter_map(|line| line.strip_prefix("[handlers.\"")?.strip_suffix("\"]"));
    names.map(str::to_owned).collect()
}

#[test]
fn a_line_keeps_its_name_wherever_it_stands_and_when_its_time_is_changed() {
    let before = names("0 1 * * * backup full\n0 2 * * * backup rest\n0 3 * * * report\n");
    let after = names(
        "0 0 * * * backup new\n5 1 * * * backup full\n0 2 * * * backup rest\n0 3 * * * report\n",
    );

    assert_eq!(after[1..], before);
    assert_eq!(before[2], "cron-report");
    assert!(
        before[0].starts_with("cron-backup-") && before[0] != before[1],
        "{before:?}"
    );
    // Of one command at two times each has the name of its time.
    let [one, two] = &names("0 1 * * * beat\n0 2 * * * beat\n")[..] else {
        panic!("two lines");
    };
    assert_eq!(
        names("0 2 * * * beat\n0 1 * * * beat\n"),
        [two.clone(), one.clone()]
    );
    let same = names("0 1 * * * beat\n0 1 * * * beat\n");
    assert_eq!(same[1], format!("{}-2", same[0]));
}
