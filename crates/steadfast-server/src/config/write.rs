//! The configuration as people see it: the file with everything in it, and the page about it.

use std::fmt::Write as _;

use super::keys::{Key, SECTIONS, Takes, Without};

/// Columns of a comment.
const WIDTH: usize = 100;

/// Writes a file that says what holds without it, each key with what it is for.
pub(crate) fn commented() -> String {
    let mut file = String::from(
        "# The configuration of `steadfast serve`. What is commented out says what holds without it.\n\
         # A key that is not known, a wrong type and a bound that cannot be are refused, with the line.\n\
         ## A server needs something to do: take the marks off a `[handlers.NAME]` with its `exec` or `http`, or off `[ids]` and a\n\
         ## `[generators.NAME]`.\n",
    );
    for section in SECTIONS {
        let _ = writeln!(file);
        comment(&mut file, section.what);
        let named = !section.example.is_empty();
        let header = if named { section.example } else { section.name };
        // One with a name is somebody's, and not there by itself.
        let mark = if named { "# " } else { "" };
        let _ = writeln!(file, "{mark}[{header}]");
        for key in section.keys {
            let about = match &key.without {
                Without::Default(_, why) => format!("{} (by default: {why})", key.says),
                Without::Nothing(without, _) => format!("{} (without it: {without})", key.says),
                Without::Refused(_) => format!("{} (has to be said)", key.says),
            };
            comment(&mut file, &format!("{}; {about}", takes(key)));
            let (Without::Default(value, _) | Without::Nothing(_, value) | Without::Refused(value)) =
                &key.without;
            let _ = writeln!(file, "# {} = {value}", key.name);
        }
    }
    file
}

fn comment(file: &mut String, text: &str) {
    let mut line = String::from("##");
    for word in text.split(' ') {
        if line.len() + word.len() + 1 > WIDTH {
            let _ = writeln!(file, "{line}");
            line = String::from("##");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(file, "{line}");
}

fn takes(key: &Key) -> String {
    match &key.takes {
        Takes::Time(range) => format!("length of time, {} to {}", range.start(), range.end()),
        Takes::Number(range) => format!("number, {} to {}", range.start(), range.end()),
        Takes::Flag => "true or false".into(),
        Takes::Text(_) => "text".into(),
        Takes::Texts(most) => format!("list of texts, at most {most}"),
        Takes::Numbers(most, range) => {
            format!(
                "list of numbers, {} to {}, at most {most}",
                range.start(),
                range.end()
            )
        }
        Takes::Choice(choices) => format!("one of {}", choices.join(", ")),
    }
}

/// Writes the page of the reference.
#[cfg(test)]
pub(super) fn page() -> String {
    let mut page = String::from(
        "# Configuration of `steadfast serve`\n\n\
         Everything that the program may be told, in TOML. `steadfast serve --generate-config` writes a file with\n\
         all of it in comments. A key that is not listed here is refused, as is every value out of its range,\n\
         with its line and what to write instead.\n\n\
         - A *length of time* is a string with its unit: `\"250ms\"`, `\"1.5s\"`, `\"2m\"`, `\"24h\"`.\n\
         - A *name* (`NAME`) has 1 to 64 letters, digits, `-`, `_` and `.`.\n\
         - A secret is never written down: `\"env:VARIABLE\"` or `\"file:PATH\"` says where it is.\n\
         - `--config` may be given more than once: the first file says everything, the others add handlers and\n  \
         schedules.\n",
    );
    for section in SECTIONS {
        let (name, what, keys) = (section.name, section.what, section.keys);
        let _ = writeln!(page, "\n## `[{name}]`\n\n{what}\n");
        page.push_str("| key | takes | says | without it |\n|---|---|---|---|\n");
        for key in keys {
            let without = match &key.without {
                Without::Default(value, why) => format!("`{value}`: {why}"),
                Without::Nothing(without, _) => (*without).to_owned(),
                Without::Refused(_) => "refused".to_owned(),
            };
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {without} |",
                key.name,
                takes(key),
                key.says
            );
        }
    }
    page
}
