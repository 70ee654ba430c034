//! The statements of a table, as text.

use std::fmt::Write as _;

use super::table::{Conflict, Table, TableColumn};
use crate::ident::{quoted, quoted_path};
use crate::{Dialect, Kind};

/// How many placeholders a statement may have.
pub(super) fn placeholders_max(dialect: Dialect) -> usize {
    match dialect {
        Dialect::Postgres => 65_535,
        Dialect::Sqlite => 32_766,
    }
}

/// One statement for any number of rows, each column an array from placeholder `first` on.
pub(super) fn unnest(table: &Table, dialect: Dialect, first: usize, only_if: &str) -> String {
    let mut text = insert_into(table);
    match dialect {
        Dialect::Postgres => {
            let casts = list(&table.columns, |text, _, column| {
                let _ = write!(text, "r.{}", quoted(&column.name));
                cast(text, column);
            });
            let arrays = list(&table.columns, |text, at, column| {
                let _ = write!(text, "${}::{}[]", first + at, type_of(column.kind));
            });
            let names = list(&table.columns, |text, _, column| {
                text.push_str(&quoted(&column.name));
            });
            let _ = write!(
                text,
                " SELECT {casts} FROM unnest({arrays}) AS r({names}){only_if}"
            );
        }
        Dialect::Sqlite => {
            let values = list(&table.columns, |text, at, column| {
                let _ = match column.kind {
                    Kind::Bytes => write!(text, "unhex(value->>{at})"),
                    _ => write!(text, "value->>{at}"),
                };
            });
            // Without a WHERE the parser takes ON for that of a join.
            let _ = write!(text, " SELECT {values} FROM json_each(?{first}) WHERE true");
        }
    }
    text.push_str(&on_conflict(table));
    text
}

/// One statement for so many rows, each value a placeholder.
pub(super) fn values(table: &Table, dialect: Dialect, rows: usize) -> String {
    let mut text = insert_into(table);
    text.push_str(" VALUES ");
    let mut placeholder = 0;
    for row in 0..rows {
        text.push_str(if row > 0 { ", (" } else { "(" });
        text.push_str(&list(&table.columns, |text, _, column| {
            placeholder += 1;
            match dialect {
                Dialect::Postgres => {
                    let _ = write!(text, "${placeholder}::{}", type_of(column.kind));
                    cast(text, column);
                }
                Dialect::Sqlite => {
                    // Without a number: SQLite looks numbered ones up in a list.
                    text.push('?');
                }
            }
        }));
        text.push(')');
    }
    text.push_str(&on_conflict(table));
    text
}

pub(super) fn copy(table: &Table) -> String {
    let names = list(&table.columns, |text, _, column| {
        text.push_str(&quoted(&column.name));
    });
    let name = quoted_path(&table.name);
    format!("COPY {name} ({names}) FROM STDIN (FORMAT text)")
}

fn insert_into(table: &Table) -> String {
    let names = list(&table.columns, |text, _, column| {
        text.push_str(&quoted(&column.name));
    });
    let name = quoted_path(&table.name);
    // So that `set` can name it, whatever its schema.
    let alias = quoted(table.name.rsplit('.').next().unwrap_or_default());
    format!("INSERT INTO {name} AS {alias} ({names})")
}

fn on_conflict(table: &Table) -> String {
    let mut text = String::new();
    if table.conflict == Conflict::Fail {
        return text;
    }
    text.push_str(" ON CONFLICT (");
    for (at, key) in table.key.iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        let _ = write!(text, "{comma}{}", quoted(key));
    }
    text.push_str(") DO ");
    let others: Vec<_> = table
        .columns
        .iter()
        .filter(|c| !table.key.contains(&c.name))
        .collect();
    match table.conflict {
        Conflict::Set(set) => {
            let _ = write!(text, "UPDATE SET {set}");
        }
        Conflict::Replace if !others.is_empty() => {
            text.push_str("UPDATE SET ");
            for (at, column) in others.iter().enumerate() {
                let comma = if at > 0 { ", " } else { "" };
                let name = quoted(&column.name);
                let _ = write!(text, "{comma}{name} = excluded.{name}");
            }
        }
        _ => text.push_str("NOTHING"),
    }
    text
}

fn list(columns: &[TableColumn], mut each: impl FnMut(&mut String, usize, &TableColumn)) -> String {
    let mut text = String::new();
    for (at, column) in columns.iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        each(&mut text, at, column);
    }
    text
}

fn cast(text: &mut String, column: &TableColumn) {
    if let Some(cast) = &column.cast {
        let _ = write!(text, "::{cast}");
    }
}

fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "boolean",
        Kind::I64 => "bigint",
        Kind::F64 => "double precision",
        Kind::Text => "text",
        Kind::Bytes => "bytea",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::new("shop.view")
            .column("path", Kind::Text)
            .column_as("body", Kind::Text, "jsonb")
            .column("raw", Kind::Bytes)
    }

    #[test]
    fn each_form_has_its_text() {
        let upsert = table().upsert(["path"]);

        assert_eq!(
            unnest(&upsert, Dialect::Postgres, 3, " WHERE x"),
            "INSERT INTO \"shop\".\"view\" AS \"view\" (\"path\", \"body\", \"raw\") SELECT r.\"path\", \
             r.\"body\"::jsonb, r.\"raw\" FROM unnest($3::text[], $4::text[], $5::bytea[]) AS r(\"path\", \
             \"body\", \"raw\") WHERE x ON CONFLICT (\"path\") DO UPDATE SET \"body\" = excluded.\"body\", \
             \"raw\" = excluded.\"raw\""
        );
        assert_eq!(
            unnest(&table(), Dialect::Sqlite, 1, ""),
            "INSERT INTO \"shop\".\"view\" AS \"view\" (\"path\", \"body\", \"raw\") SELECT value->>0, value->>1, \
             unhex(value->>2) FROM json_each(?1) WHERE true"
        );
        let missing = Table::new("a").column("b", Kind::I64).insert_missing(["b"]);
        assert_eq!(
            values(&missing, Dialect::Postgres, 2),
            "INSERT INTO \"a\" AS \"a\" (\"b\") VALUES ($1::bigint), ($2::bigint) ON CONFLICT (\"b\") DO NOTHING"
        );
        assert_eq!(
            copy(&table()),
            "COPY \"shop\".\"view\" (\"path\", \"body\", \"raw\") FROM STDIN (FORMAT text)"
        );
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(quoted_path("a\".b; DROP"), "\"a\"\"\".\"b; DROP\"");
    }
}
