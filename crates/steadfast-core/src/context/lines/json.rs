use std::fmt::Write;

use super::facts::{Facts, Value};

/// Gives the object with the facts as members at its end; `None` if the text is not one object.
pub(super) fn completed(text: &str, facts: &Facts) -> Option<String> {
    let known = members(text)?;
    let mut completed = String::with_capacity(text.len() + 160);
    completed.push_str(&text[..text.len() - 1]);
    let mut empty = known.is_empty();
    facts.each(|key, value| {
        let before = completed.len();
        if !empty {
            completed.push(',');
        }
        let name = completed.len();
        push_string(&mut completed, key);
        let quoted = &completed[name + 1..completed.len() - 1];
        if known.contains(&quoted) {
            completed.truncate(before);
            return;
        }
        empty = false;
        completed.push(':');
        match value {
            Value::Number(number) => {
                write!(completed, "{number}").expect("a string takes all");
            }
            Value::Text(text) => push_string(&mut completed, text),
            Value::Shown(shown) => push_string(&mut completed, &shown.to_string()),
        }
    });
    completed.push('}');
    Some(completed)
}

/// Gives the names of the members of an object as they are written; `None` if the text is not one
/// whole object. Reads no more than it takes to be sure of that.
fn members(text: &str) -> Option<Vec<&str>> {
    /// What may come next, directly in the object.
    #[derive(PartialEq)]
    enum Next {
        FirstName,
        Name,
        Colon,
        Rest,
    }

    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'{') {
        return None;
    }
    let (mut names, mut next, mut depth) = (Vec::new(), Next::FirstName, 1usize);
    let mut at = 1;
    while let Some(&byte) = bytes.get(at) {
        let direct = depth == 1;
        match byte {
            b'"' => {
                let end = end_of_string(bytes, at + 1)?;
                if direct && matches!(next, Next::FirstName | Next::Name) {
                    names.push(&text[at + 1..end]);
                    next = Next::Colon;
                } else if direct && next == Next::Colon {
                    return None;
                }
                at = end;
            }
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b':' if direct && next == Next::Colon => next = Next::Rest,
            b'}' if direct => {
                let whole = matches!(next, Next::FirstName | Next::Rest) && at + 1 == bytes.len();
                return whole.then_some(names);
            }
            _ if direct && next != Next::Rest => return None,
            b',' if direct => next = Next::Name,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        // Only an object ends an object.
        if depth == 0 {
            return None;
        }
        at += 1;
    }
    None
}

/// Gives where the quote stands that ends a string.
fn end_of_string(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn push_string(to: &mut String, text: &str) {
    to.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => to.extend(['\\', char]),
            '\0'..' ' => write!(to, "\\u{:04x}", u32::from(char)).expect("a string takes all"),
            _ => to.push(char),
        }
    }
    to.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_an_object_are_found_and_those_inside_of_them_are_not() {
        for (text, names) in [
            ("{}", &[][..]),
            ("{ }", &[]),
            (r#"{"a":1}"#, &["a"]),
            (
                r#"{ "a" : {"b":[{"c":"}"}]} , "d\"":"\\" }"#,
                &["a", "d\\\""],
            ),
            (r#"{"a":"b\\","c":[1,2]}"#, &["a", "c"]),
        ] {
            assert_eq!(members(text).as_deref(), Some(names), "{text}");
        }
    }

    #[test]
    fn what_is_not_one_whole_object_is_text() {
        for text in [
            "",
            "{",
            "}",
            "text",
            "{name}",
            "{a: 1}",
            r#"{"a"}"#,
            r#"{"a" "b"}"#,
            r#"{"a":1,}"#,
            r#"{"a":1,b}"#,
            r#"{"a":1"#,
            r#"{"a":"}"#,
            r#"{"a":1} {"b":2}"#,
            r#"{"a":1}]"#,
            r#"{"a":1]"#,
            r#"{"a":[1}"#,
            r#"{"a":1} and more"#,
            r#"["a"]"#,
            r#"{"a\"#,
        ] {
            assert_eq!(members(text), None, "{text}");
        }
    }
}
