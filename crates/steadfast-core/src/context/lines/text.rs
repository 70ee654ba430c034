use std::borrow::Cow;
use std::fmt::Write;

use super::facts::Facts;

/// Gives the text with the facts at its end, without those that it has already.
pub(super) fn completed(text: &str, facts: &Facts) -> String {
    let plain = without_colors(text);
    let mut completed = String::with_capacity(text.len() + 160);
    completed.push_str(text);
    facts.each(|key, value| {
        let value = value.to_string();
        if says(&plain, key, &value) {
            return;
        }
        completed.push(' ');
        push_word(&mut completed, key);
        completed.push('=');
        push_word(&mut completed, &value);
    });
    completed
}

/// Writes a text as one word, quoted where it would not be read as one.
fn push_word(to: &mut String, text: &str) {
    let plain = |char: char| {
        let escaped = char.escape_debug().len() > 1;
        !(escaped || char.is_whitespace() || matches!(char, '=' | '"' | '{' | '}' | ','))
    };
    // Templates of routes have braces, and are read as one word all the same.
    let route = |char: char| plain(char) || matches!(char, '{' | '}');
    let word = text.starts_with('/') && text.chars().all(route);
    if word || (!text.is_empty() && text.chars().all(plain)) {
        to.push_str(text);
    } else {
        write!(to, "{text:?}").expect("a string takes all");
    }
}

/// Tells whether the text has this pair, in the way of one of the usual formatters:
/// `key=value`, `key="value"`, `key: value`.
fn says(text: &str, key: &str, value: &str) -> bool {
    text.match_indices(key).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = &text[at + key.len()..];
        let Some(after) = after.strip_prefix('=').or(after.strip_prefix(": ")) else {
            return false;
        };
        let after = after.strip_prefix('"').unwrap_or(after);
        let after = after.strip_prefix(value).map(|rest| rest.chars().next());
        !before.is_some_and(in_word) && after.is_some_and(|after| !after.is_some_and(in_word))
    })
}

fn in_word(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '-' | '.' | '/')
}

/// Takes out what colors a text on a terminal.
fn without_colors(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let end = after.find(|char: char| matches!(char, '@'..='~'));
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> String {
        let mut word = String::new();
        push_word(&mut word, text);
        word
    }

    #[test]
    fn what_is_not_a_plain_word_is_quoted() {
        for (text, written) in [
            ("4711", "4711"),
            ("/orders/{id}", "/orders/{id}"),
            ("straße", "straße"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("a=b", "\"a=b\""),
            ("a\"b", "\"a\\\"b\""),
            ("a\nINFO forged", "\"a\\nINFO forged\""),
            ("a\u{1b}[2J", "\"a\\u{1b}[2J\""),
            ("a\u{202e}b", "\"a\\u{202e}b\""),
            ("a\u{2028}b", "\"a\\u{2028}b\""),
        ] {
            assert_eq!(word(text), written);
        }
    }

    #[test]
    fn the_same_pair_is_seen_however_it_is_written_and_another_is_not() {
        for text in [
            "INFO request{route=/a tier=1}: x",
            "INFO x route=\"/a\"",
            "    in y with route: /a, tier: 1",
            "route=/a",
        ] {
            assert!(says(text, "route", "/a"), "{text}");
        }
        for text in [
            "x",
            "route=/ab",
            "route=/a/b",
            "my_route=/a",
            "the route /a",
            "route=/b",
        ] {
            assert!(!says(text, "route", "/a"), "{text}");
        }
    }

    #[test]
    fn colors_hide_nothing() {
        let colored = "\u{1b}[3mroute\u{1b}[0m\u{1b}[2m=\u{1b}[0m/a\u{1b}[0m";

        assert_eq!(without_colors(colored), "route=/a");
        assert_eq!(without_colors("cut \u{1b}["), "cut ");
    }
}
