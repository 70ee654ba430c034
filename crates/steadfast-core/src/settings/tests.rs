//! What a document with mistakes is told, to the letter.

use super::*;

/// Reads the shape that all tests here use, and gives what is said about it.
fn told(text: &str) -> String {
    let source = Source::new("app.toml", text).unwrap();
    match read(&source, shape) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

fn shape(root: &mut Table<'_, '_>) {
    root.table("listen", |listen| {
        listen.required("port", |value| match value.integer()? {
            port @ 1..=65_535 => Ok(port),
            port => Err(Wrong::new(format!("{port} is not from 1 to 65535"))),
        });
        listen.optional("idle", |value| value.time());
        listen.optional("share", |value| value.share());
        listen.optional("tls", |value| value.flag());
        listen.optional("names", |value| value.list(2, |value| value.text()));
    });
    let name = |name: &str| match name.is_empty() {
        true => Err(Wrong::new("it needs a name")),
        false => Ok(()),
    };
    root.each_in("users", 3, name, |_, user| {
        user.optional("rate", |value| value.number());
    });
}

#[track_caller]
fn check(text: &str, expect: &str) {
    let told = told(text);
    assert!(told == expect, "told:\n{told}\nexpected:\n{expect}");
}

#[test]
fn a_good_document_is_taken() {
    check(
        "[listen]\nport = 80\nidle = \"2s\"\nshare = \"10 %\"\ntls = true\nnames = [\"a\", \"b\"]\n\
         [users.ann]\nrate = 1\n[users.\"b o b\"]\nrate = 0.5\n",
        "",
    );
}

#[test]
fn dotted_and_inline_tables_are_the_same() {
    check("listen.port = 80\nusers.ann.rate = 1\n", "");
    check(
        "listen = { port = 80 }\nusers = { ann = { rate = 1 } }\n",
        "",
    );
}

#[test]
fn what_is_known_is_told_once_also_if_it_is_missing() {
    let told = told("[listen]\nsomething_else_entirely = 1\n");

    let known: Vec<_> = told
        .lines()
        .filter(|line| line.contains("known are"))
        .collect();
    let [known] = known[..] else { panic!("{told}") };
    assert!(
        known.ends_with("known are port, idle, share, tls, names"),
        "{known}"
    );
}

#[test]
fn every_mistake_is_told_with_its_line() {
    check(
        "[listen]\nport = 0\nidle = 250\nshare = \"ten\"\nnames = [\"a\", 7]\nidel = \"1s\"\n\n\
         [users.ann]\nrate = []\n[user.bob]\n",
        "\
error: 0 is not from 1 to 65535
 --> app.toml:2:8
  |
2 | port = 0
  |        ^

error: \"250\" has no unit
 --> app.toml:3:8
  |
3 | idle = 250
  |        ^^^
  = fix: write \"250ms\" or \"250s\"

error: \"ten\" is not a part of a whole
 --> app.toml:4:9
  |
4 | share = \"ten\"
  |         ^^^^^
  = fix: write it as \"10 %\" or 0.1

error: a string is expected, and this is a whole number
 --> app.toml:5:15
  |
5 | names = [\"a\", 7]
  |               ^
  = fix: write \"7\"

error: unknown key \"idel\" in [listen]
 --> app.toml:6:1
  |
6 | idel = \"1s\"
  | ^^^^
  = fix: write idle

error: a number is expected, and this is a list
 --> app.toml:9:8
  |
9 | rate = []
  |        ^^

error: unknown key \"user\"
  --> app.toml:10:2
   |
10 | [user.bob]
   |  ^^^^
   = fix: write users
",
    );
}

#[test]
fn what_is_right_but_for_its_form_is_told_in_the_right_one() {
    for (written, fix) in [
        ("[listen]\nnames = \"a\"", "write [\"a\"]"),
        ("[listen]\nport = \"80\"", "write 80"),
        ("[users.ann]\nrate = \"1.5\"", "write 1.5"),
        ("[listen]\ntls = \"true\"", "write true"),
    ] {
        let told = told(written);
        assert!(told.contains(&format!("= fix: {fix}\n")), "{told}");
    }
}

#[test]
fn a_broken_line_hides_no_other_and_is_told_once() {
    check(
        "[listen]\nport = \nidle = 1\nidle = 2\n",
        "\
error: string values must be quoted, expected literal string
 --> app.toml:2:8
  |
2 | port = 
  |        ^

error: \"1\" has no unit
 --> app.toml:3:8
  |
3 | idle = 1
  |        ^
  = fix: write \"1ms\" or \"1s\"

error: duplicate key
 --> app.toml:4:1
  |
4 | idle = 2
  | ^^^^
",
    );
}

#[test]
fn what_follows_from_another_mistake_is_not_told() {
    check(
        "[listen\nport = 80\n",
        "\
error: unclosed table, expected `]`
 --> app.toml:1:8
  |
1 | [listen
  |        ^
",
    );
    check(
        "listen = 1\n",
        "\
error: a table is expected, and this is a whole number
 --> app.toml:1:10
  |
1 | listen = 1
  |          ^
",
    );
}

#[test]
fn what_is_missing_is_told_where_it_belongs() {
    check(
        "\n[users]\n[listen]\n",
        "\
error: [listen] has no \"port\"
 --> app.toml:3:1
  |
3 | [listen]
  | ^^^^^^^^
  = fix: add port = …
",
    );
}

#[test]
fn a_document_cannot_drive_the_terminal() {
    let told = told("[listen]\nport = 80 # \u{1b}[31m\n[users.\"\\u001b[2J\\u202e\"]\ny = 1\n");

    assert!(told.contains("\\u{1b}[31m"), "{told}");
    assert!(told.contains("\\u{202e}"), "{told}");
    let drives = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!told.contains(drives), "{told:?}");
}

#[test]
fn carets_stand_below_wide_characters_and_after_tabs() {
    check(
        "listen.port = 80 \nusers = { \"订单\" = {\trate = true } }\n",
        "\
error: a number is expected, and this is true or false
 --> app.toml:2:27
  |
2 | users = { \"订单\" = {    rate = true } }
  |                                ^^^^
",
    );
}

#[test]
fn of_a_long_line_the_part_that_is_meant_is_shown() {
    let padding = " ".repeat(500);
    let told = told(&format!(
        "[listen]\nport ={padding}0 # {}\n",
        "x".repeat(500)
    ));

    let longest = told.lines().map(|line| line.chars().count()).max();
    assert!(longest < Some(130), "{told}");
    assert!(told.contains("app.toml:2:507"), "{told}");
    assert!(told.contains("0 # xxx"), "{told}");
}

#[test]
fn a_mark_of_the_byte_order_and_ends_of_dos_lines_are_taken() {
    check("\u{feff}[listen]\r\nport = 80\r\n", "");
    check(
        "\u{feff}[listen]\r\nport = 0\r\n",
        "\
error: 0 is not from 1 to 65535
 --> app.toml:2:8
  |
2 | port = 0
  |        ^
",
    );
}

#[test]
fn bytes_that_are_not_text_are_told_with_their_place() {
    let refused = Source::from_bytes("app.toml", b"[listen]\nname = \"caf\xe9\"\n").unwrap_err();

    assert_eq!(
        refused.to_string(),
        "\
error: byte 0xe9 is not UTF-8
 --> app.toml:2:12
  |
2 | name = \"caf\u{fffd}\"
  |            ^
  = fix: save the file as UTF-8
"
    );
}

#[test]
fn a_document_has_a_bound() {
    let most = " ".repeat(Source::BYTES_MAX);
    let refused = Source::new("app.toml", format!("{most} ")).unwrap_err();

    assert!(Source::new("app.toml", most).is_ok());
    assert!(refused.to_string().contains("it has 1048577 bytes"));
}

#[test]
fn deep_nesting_is_a_mistake_and_no_overflow() {
    let deep = 100_000;
    for text in [
        format!("x = {}", "[".repeat(deep)),
        format!("x = {}", "{a=".repeat(deep)),
        format!("{}x = 1", "a.".repeat(deep)),
        format!("[{}x]", "a.".repeat(deep)),
    ] {
        assert!(told(&text).starts_with("error: "));
    }
}

#[test]
fn of_many_problems_the_first_are_told() {
    let many = (0..70).map(|n| format!("x{n} = 1\n"));
    let text = format!("listen.port = 80\n{}", many.collect::<String>());
    let source = Source::new("app.toml", text).unwrap();

    let problems = read(&source, shape).unwrap_err();

    assert_eq!(problems.iter().len(), Problems::MAX);
    assert_eq!(problems.left_out(), 20);
    assert!(problems.to_string().ends_with("\nand 20 more\n"));
    let first = problems.iter().next().map(|problem| problem.place());
    assert_eq!(first, Some(Place { line: 2, column: 1 }));
}

#[test]
fn of_too_many_entries_the_table_is_told() {
    let users: String = (0..4).map(|n| format!("[users.u{n}]\n")).collect();

    let told = told(&format!("[listen]\nport = 80\n{users}"));

    assert!(
        told.starts_with("error: users has 4 entries, more than 3\n"),
        "{told}"
    );
}

#[test]
fn the_place_of_a_value_is_kept() {
    let text = "[listen]\nport = 80\n\n[users.\"b.c\"]\nrate = 1\n";
    let source = Source::new("app.toml", text).unwrap();
    let ((), places) = read(&source, shape).unwrap();
    let text_at = |span: Option<Span>| span.map(|span| &text[span]);
    let path = |segments: &[&str]| FieldPath::new(segments.iter().copied());

    let rate = path(&["users", "b.c", "rate"]);
    assert_eq!(text_at(places.of(&rate)), Some("rate = 1"));
    assert_eq!(text_at(Some(places.nearest(&rate))), Some("1"));
    let missing = path(&["users", "b.c", "burst"]);
    assert_eq!(text_at(places.of(&missing)), None);
    assert_eq!(
        text_at(Some(places.nearest(&missing))),
        Some("[users.\"b.c\"]")
    );
    assert_eq!(source.place(places.nearest(&missing).start).line, 4);
}

proptest::proptest! {
    #[test]
    fn no_document_is_too_strange_to_be_told_about(text in "[\\[\\]={}\"'a-c.\\n\\r\\t #0-9\u{feff}é订\u{1b}\\\\]{0,80}") {
        let source = Source::new("app.toml", &text).unwrap();
        if let Err(problems) = read(&source, shape) {
            for problem in problems.iter() {
                let place = problem.place();
                proptest::prop_assert!(place.line <= source.text().split('\n').count());
            }
            let drives = |c: char| c != '\n' && c.is_control();
            proptest::prop_assert!(!problems.to_string().contains(drives));
        }
    }
}
