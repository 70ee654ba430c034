//! Many values for one placeholder of SQLite, as JSON.

use std::fmt::Write as _;

use crate::Array;

/// Writes an array as JSON; bytes as hexadecimal digits, since JSON has none.
pub(crate) fn array(array: &Array) -> String {
    let mut json = String::with_capacity(2 + 8 * array.len());
    json.push('[');
    for index in 0..array.len() {
        if index > 0 {
            json.push(',');
        }
        element(&mut json, array, index);
    }
    json.push(']');
    json
}

/// Writes columns of one length as an array of rows.
pub(crate) fn rows(columns: &[Array]) -> String {
    let rows = columns.first().map_or(0, Array::len);
    let mut json = String::with_capacity(2 + rows * (2 + 12 * columns.len()));
    json.push('[');
    for row in 0..rows {
        json.push_str(if row > 0 { ",[" } else { "[" });
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            element(&mut json, column, row);
        }
        json.push(']');
    }
    json.push(']');
    json
}

fn element(json: &mut String, array: &Array, index: usize) {
    match array {
        // Numbers, not `true`: what `->>` gives is 0 or 1 either way, what `value` gives is not.
        Array::Bool(values) => json.push(if values[index] { '1' } else { '0' }),
        Array::I64(values) => integer(json, values[index]),
        Array::OptionI64(values) => {
            optional(json, values[index].as_ref(), |json, v| integer(json, *v))
        }
        Array::F64(values) => float(json, values[index]),
        Array::OptionBool(values) => optional(json, values[index].as_ref(), |json, v| {
            json.push(if *v { '1' } else { '0' });
        }),
        Array::OptionF64(values) => {
            optional(json, values[index].as_ref(), |json, v| float(json, *v))
        }
        Array::Text(values) => text(json, &values[index]),
        Array::OptionText(values) => {
            optional(json, values[index].as_ref(), |json, v| text(json, v))
        }
        Array::Bytes(values) => hex(json, &values[index]),
        Array::OptionBytes(values) => {
            optional(json, values[index].as_ref(), |json, v| hex(json, v))
        }
    }
}

fn optional<T>(json: &mut String, value: Option<&T>, write: impl FnOnce(&mut String, &T)) {
    match value {
        Some(value) => write(json, value),
        None => json.push_str("null"),
    }
}

fn integer(json: &mut String, value: i64) {
    let _ = write!(json, "{value}");
}

/// JSON has no infinities; SQLite reads this number as one. It has no NaN either, and stores null.
fn float(json: &mut String, value: f64) {
    if value.is_nan() {
        json.push_str("null");
    } else if value.is_infinite() {
        json.push_str(if value > 0.0 { "9e999" } else { "-9e999" });
    } else {
        let _ = write!(json, "{value:?}");
    }
}

fn hex(json: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    json.reserve(2 + 2 * bytes.len());
    json.push('"');
    for byte in bytes {
        json.push(DIGITS[usize::from(byte >> 4)].into());
        json.push(DIGITS[usize::from(byte & 15)].into());
    }
    json.push('"');
}

fn text(json: &mut String, text: &str) {
    json.reserve(2 + text.len());
    json.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        // What is escaped is one byte long, so both ends are at the border of a character.
        json.push_str(&text[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => json.push_str("\\\""),
            b'\\' => json.push_str("\\\\"),
            _ => {
                let _ = write!(json, "\\u{byte:04x}");
            }
        }
    }
    json.push_str(&text[plain..]);
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_json() {
        assert_eq!(array(&vec![1_i64, -2].into()), "[1,-2]");
        assert_eq!(array(&vec![Some(1_i64), None].into()), "[1,null]");
        assert_eq!(array(&vec![true, false].into()), "[1,0]");
        assert_eq!(
            array(&vec![0.5, f64::NAN, f64::INFINITY].into()),
            "[0.5,null,9e999]"
        );
        assert_eq!(array(&vec![vec![0_u8, 255]].into()), "[\"00ff\"]");
        assert_eq!(
            array(&vec!["a\"b\\c\nd\u{1}é".to_owned()].into()),
            "[\"a\\\"b\\\\c\\u000ad\\u0001é\"]"
        );
        assert_eq!(array(&Array::I64(Vec::new())), "[]");
    }

    #[test]
    fn columns_become_rows() {
        let columns = [
            Array::from(vec![1_i64, 2]),
            Array::from(vec![None, Some("b".to_owned())]),
        ];

        assert_eq!(rows(&columns), "[[1,null],[2,\"b\"]]");
    }
}
