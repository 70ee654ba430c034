//! Rows on their way into a statement: checked, sorted by key, and in columns.

use std::cmp::Ordering;

use steadfast_core::batch::WriteError;

use super::table::{Conflict, Table};
use crate::{Array, Binds, Kind, Value};

/// The most bytes of one batch: 256 MiB. PostgreSQL refuses a value of 1 GB, and holds it several times.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// The rows of a batch, in the order in which they are written; each part is one statement.
pub(super) type Parts = Vec<Vec<Binds>>;

/// Checks rows and brings them into order.
///
/// # Errors
/// Of the first row that cannot be written, whatever the database says; or of all where they are too many at once.
pub(super) fn parts(table: &Table, rows: Vec<Binds>) -> Result<Parts, WriteError> {
    let mut bytes = 0_usize;
    for (at, row) in rows.iter().enumerate() {
        let row = check(table, row).map_err(|problem| WriteError::row_at(at, problem))?;
        bytes = bytes.saturating_add(row);
    }
    if bytes > BATCH_BYTES_MAX && rows.len() > 1 {
        return Err(WriteError::too_much(format!(
            "the batch has {bytes} bytes, but the limit is {BATCH_BYTES_MAX}"
        )));
    }
    Ok(arranged(table, rows))
}

/// Gives the bytes of a row, or what is wrong with it.
fn check(table: &Table, row: &Binds) -> Result<usize, String> {
    if row.len() != table.columns.len() {
        return Err(format!(
            "the row has {} values, but the table has {} columns",
            row.len(),
            table.columns.len()
        ));
    }
    let mut bytes = 0_usize;
    for (value, column) in row.iter().zip(&table.columns) {
        let name = &column.name;
        let Some(kind) = kind(value) else {
            return Err(format!("column {name:?} has many values in one"));
        };
        if kind != column.kind {
            return Err(format!(
                "column {name:?} is {:?}, but the value {kind:?}",
                column.kind
            ));
        }
        bytes = bytes.saturating_add(size(value));
        if let Value::Text(text) = value
            && let Some(at) = text.as_str().bytes().position(|byte| byte == 0)
        {
            return Err(format!(
                "column {name:?} has a NUL byte at {at}, which no text can have"
            ));
        }
    }
    if bytes > table.row_bytes_max {
        return Err(format!(
            "the row has {bytes} bytes, but the limit is {}",
            table.row_bytes_max
        ));
    }
    Ok(bytes)
}

fn kind(value: &Value) -> Option<Kind> {
    Some(match value {
        Value::Null(kind) => *kind,
        Value::Bool(_) => Kind::Bool,
        Value::I64(_) => Kind::I64,
        Value::F64(_) => Kind::F64,
        Value::Text(_) => Kind::Text,
        Value::Bytes(_) => Kind::Bytes,
        Value::Array(_) | Value::Batch(_) => return None,
    })
}

pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.as_str().len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 8,
    }
}

/// Sorts by key, so that all writers lock in one order; of one key the order of arrival stays.
fn arranged(table: &Table, mut rows: Vec<Binds>) -> Parts {
    let key = key(table);
    if key.is_empty() {
        return vec![rows];
    }
    rows.sort_by(|one, other| compare(&key, one, other));
    let mut parts: Parts = vec![Vec::with_capacity(rows.len())];
    // In which part the last row is, and whether the next is of the same key.
    let mut part = 0;
    for row in rows {
        let twin = parts[part]
            .last()
            .is_some_and(|last| is_same(&key, last, &row));
        match (&table.conflict, twin) {
            // The database leaves the later ones out by itself.
            (Conflict::Fail | Conflict::Keep, _) => {}
            (Conflict::Replace, true) => {
                parts[0].pop();
            }
            (Conflict::Set(_), true) => {
                part += 1;
                if part == parts.len() {
                    parts.push(Vec::new());
                }
            }
            (_, false) => part = 0,
        }
        parts[part].push(row);
    }
    parts
}

fn key(table: &Table) -> Vec<usize> {
    table.key.iter().filter_map(|k| table.place_of(k)).collect()
}

/// Tells whether it matters which of two rows is written first.
pub(super) fn is_twin(table: &Table, one: &Binds, other: &Binds) -> bool {
    table.conflict != Conflict::Fail && is_same(&key(table), one, other)
}

fn compare(key: &[usize], one: &Binds, other: &Binds) -> Ordering {
    let mut order = Ordering::Equal;
    for &at in key {
        order = order.then_with(|| match (&one[at], &other[at]) {
            (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
            (Value::I64(one), Value::I64(other)) => one.cmp(other),
            (Value::F64(one), Value::F64(other)) => one.total_cmp(other),
            (Value::Text(one), Value::Text(other)) => one.as_str().cmp(other.as_str()),
            (Value::Bytes(one), Value::Bytes(other)) => one.cmp(other),
            (one, other) => is_null(one).cmp(&is_null(other)),
        });
    }
    order
}

/// A null is the same as nothing, not even another null.
fn is_same(key: &[usize], one: &Binds, other: &Binds) -> bool {
    compare(key, one, other) == Ordering::Equal && key.iter().all(|&at| !is_null(&one[at]))
}

fn is_null(value: &Value) -> bool {
    matches!(value, Value::Null(_))
}

/// Turns rows into columns, each as long as there are rows.
pub(super) fn columns(table: &Table, rows: Vec<Binds>) -> Vec<Array> {
    let mut columns: Vec<Array> = table
        .columns
        .iter()
        .map(|column| empty(column.kind, rows.len()))
        .collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            push(column, value);
        }
    }
    columns
}

/// Shows a row as JSON; what is not of its column as null.
pub(super) fn document(table: &Table, row: Binds) -> String {
    // Without its brackets an array of one is what is in it.
    let inside = |array: &Array| {
        let json = crate::json::array(array);
        json[1..json.len() - 1].to_owned()
    };
    let mut document = String::from("{");
    for (column, value) in table.columns.iter().zip(row) {
        if document.len() > 1 {
            document.push(',');
        }
        let name = Array::Text(vec![column.name.clone()]);
        let mut values = empty(column.kind, 1);
        push(&mut values, value);
        document.push_str(&format!("{}:{}", inside(&name), inside(&values)));
    }
    document.push('}');
    document
}

fn empty(kind: Kind, rows: usize) -> Array {
    match kind {
        Kind::Bool => Array::OptionBool(Vec::with_capacity(rows)),
        Kind::I64 => Array::OptionI64(Vec::with_capacity(rows)),
        Kind::F64 => Array::OptionF64(Vec::with_capacity(rows)),
        Kind::Text => Array::OptionText(Vec::with_capacity(rows)),
        Kind::Bytes => Array::OptionBytes(Vec::with_capacity(rows)),
    }
}

fn push(column: &mut Array, value: Value) {
    match (column, value) {
        (Array::OptionBool(values), Value::Bool(value)) => values.push(Some(value)),
        (Array::OptionI64(values), Value::I64(value)) => values.push(Some(value)),
        (Array::OptionF64(values), Value::F64(value)) => values.push(Some(value)),
        (Array::OptionText(values), Value::Text(value)) => values.push(Some(value.into_string())),
        (Array::OptionBytes(values), Value::Bytes(value)) => values.push(Some(value)),
        (Array::OptionBool(values), _) => values.push(None),
        (Array::OptionI64(values), _) => values.push(None),
        (Array::OptionF64(values), _) => values.push(None),
        (Array::OptionText(values), _) => values.push(None),
        (Array::OptionBytes(values), _) => values.push(None),
        _ => unreachable!("a column of a table is made by `empty`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binds;

    fn ids(parts: &Parts) -> Vec<Vec<(i64, i64)>> {
        let int = |value: &Value| match value {
            Value::I64(value) => *value,
            _ => -1,
        };
        let part = |part: &Vec<Binds>| {
            part.iter()
                .map(|row| (int(&row[0]), int(&row[1])))
                .collect()
        };
        parts.iter().map(part).collect()
    }

    fn table() -> Table {
        Table::new("t")
            .column("id", Kind::I64)
            .column("n", Kind::I64)
    }

    fn rows() -> Vec<Binds> {
        let pairs = [(3, 1), (1, 2), (3, 3), (2, 4), (3, 5), (1, 6)];
        pairs
            .into_iter()
            .map(|(id, n)| binds![id as i64, n as i64])
            .collect()
    }

    #[test]
    fn a_key_comes_once_in_a_statement_and_in_order() {
        let plain = parts(&table(), rows()).unwrap();
        assert_eq!(ids(&plain)[0][0], (3, 1), "as they came");

        let replaced = parts(&table().upsert(["id"]), rows()).unwrap();
        assert_eq!(ids(&replaced), [[(1, 6), (2, 4), (3, 5)]]);

        let set = parts(&table().upsert_with(["id"], "n = t.n + excluded.n"), rows()).unwrap();
        assert_eq!(
            ids(&set),
            [
                vec![(1, 2), (2, 4), (3, 1)],
                vec![(1, 6), (3, 3)],
                vec![(3, 5)]
            ]
        );
    }

    #[test]
    fn nulls_are_of_no_key() {
        let nulls = vec![binds![None::<i64>, 1_i64], binds![None::<i64>, 2_i64]];

        let parts = parts(&table().upsert(["id"]), nulls).unwrap();

        assert_eq!(ids(&parts), [[(-1, 1), (-1, 2)]]);
    }

    #[test]
    fn rows_are_twins_by_the_key_of_an_upsert() {
        let twins = |table: Table, one: i64, other: Option<i64>| {
            is_twin(&table, &binds![one, 1_i64], &binds![other, 2_i64])
        };

        assert!(twins(table().upsert(["id"]), 1, Some(1)));
        assert!(twins(table().insert_missing(["id"]), 1, Some(1)));
        assert!(!twins(table().upsert(["id"]), 1, Some(2)));
        assert!(!twins(table().upsert(["id"]), 1, None));
        assert!(!twins(table(), 1, Some(1)), "there both or one fails");
    }

    #[test]
    fn what_cannot_be_written_is_said_with_its_place() {
        let check = |row: Binds, expect: &str| {
            let table = Table::new("t").column("a", Kind::Text).row_bytes_max(10);
            let error = parts(&table, vec![binds!["fine"], row]).unwrap_err();
            assert!(error.is_row());
            assert_eq!(
                error.to_string(),
                format!("row cannot be written: {expect}")
            );
        };

        check(
            binds!["a\0b"],
            "column \"a\" has a NUL byte at 1, which no text can have",
        );
        check(
            binds!["more than ten"],
            "the row has 13 bytes, but the limit is 10",
        );
        check(binds![1_i64], "column \"a\" is Text, but the value I64");
        check(
            binds![None::<i64>],
            "column \"a\" is Text, but the value I64",
        );
        check(
            binds![],
            "the row has 0 values, but the table has 1 columns",
        );
        check(binds![vec![1_i64]], "column \"a\" has many values in one");
    }
}
