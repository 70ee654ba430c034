//! Rows as PostgreSQL's COPY reads them.

use std::fmt::Write as _;

use crate::{Binds, Value};

/// Writes rows: values with tabs between them, rows with line feeds.
pub(super) fn lines(rows: &[Binds]) -> Vec<u8> {
    let bytes: usize = rows
        .iter()
        .flatten()
        .map(|value| super::encode::size(value) + 4)
        .sum();
    let mut text = String::with_capacity(bytes);
    for row in rows {
        for (at, value) in row.iter().enumerate() {
            if at > 0 {
                text.push('\t');
            }
            push(&mut text, value);
        }
        text.push('\n');
    }
    text.into_bytes()
}

fn push(text: &mut String, value: &Value) {
    let _ = match value {
        Value::Bool(value) => write!(text, "{}", if *value { 't' } else { 'f' }),
        Value::I64(value) => write!(text, "{value}"),
        Value::F64(value) if value.is_nan() => write!(text, "NaN"),
        Value::F64(value) if value.is_infinite() => {
            write!(text, "{}Infinity", if *value < 0.0 { "-" } else { "" })
        }
        Value::F64(value) => write!(text, "{value:?}"),
        Value::Text(value) => {
            escape(text, value.as_str());
            Ok(())
        }
        Value::Bytes(value) => {
            text.push_str("\\\\x");
            value.iter().try_for_each(|byte| write!(text, "{byte:02x}"))
        }
        Value::Null(_) | Value::Array(_) | Value::Batch(_) => write!(text, "\\N"),
    };
}

fn escape(text: &mut String, value: &str) {
    let mut plain = 0;
    for (at, byte) in value.bytes().enumerate() {
        let escaped = match byte {
            b'\\' => "\\\\",
            b'\t' => "\\t",
            b'\n' => "\\n",
            b'\r' => "\\r",
            _ => continue,
        };
        // What is escaped is one byte long, so both ends are at the border of a character.
        text.push_str(&value[plain..at]);
        text.push_str(escaped);
        plain = at + 1;
    }
    text.push_str(&value[plain..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binds;

    #[test]
    fn values_are_escaped() {
        let rows = [
            binds!["a\tb\nc\\N\r", 1_i64, true],
            binds![None::<i64>, f64::NEG_INFINITY, vec![0_u8, 255]],
        ];

        let lines = String::from_utf8(lines(&rows)).unwrap();

        assert_eq!(
            lines,
            "a\\tb\\nc\\\\N\\r\t1\tt\n\\N\t-Infinity\t\\\\x00ff\n"
        );
    }
}
