//! What a step of indexes says, as PostgreSQL does it one by one. Pure.

/// One statement of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Create { name: String, text: String },
    Drop { text: String },
}

/// Reads a step of indexes.
///
/// # Errors
/// With the statement that is nothing which could be begun again after it was interrupted.
pub(crate) fn read(text: &str) -> Result<Vec<Change>, String> {
    let lines = text
        .lines()
        .map(|line| line.split("--").next().unwrap_or(line));
    let text: Vec<&str> = lines.collect();
    let text = text.join("\n");
    let statements = text.split(';').map(str::trim);
    statements
        .filter(|statement| !statement.is_empty())
        .map(|statement| one(statement).ok_or_else(|| statement.to_owned()))
        .collect()
}

fn one(statement: &str) -> Option<Change> {
    let text = statement.to_owned();
    let mut words: Vec<&str> = statement.split_whitespace().collect();
    if words.get(1) == Some(&"UNIQUE") {
        words.remove(1);
    }
    match words[..] {
        [
            "CREATE",
            "INDEX",
            "CONCURRENTLY",
            "IF",
            "NOT",
            "EXISTS",
            name,
            "ON",
            _,
            ..,
        ] => {
            let name = name.to_owned();
            Some(Change::Create { name, text })
        }
        ["DROP", "INDEX", "CONCURRENTLY", "IF", "EXISTS", _] => Some(Change::Drop { text }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_indexes_is_read_statement_by_statement() {
        let text = "-- Why; and how.\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS a\n    ON {schema}.t (x); -- so\n\
                    DROP INDEX CONCURRENTLY IF EXISTS {schema}.b;\n";

        let create = Change::Create {
            name: "a".into(),
            text: "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS a\n    ON {schema}.t (x)".into(),
        };
        let drop = Change::Drop {
            text: "DROP INDEX CONCURRENTLY IF EXISTS {schema}.b".into(),
        };
        assert_eq!(read(text), Ok(vec![create, drop]));
    }

    #[test]
    fn what_could_not_be_begun_again_is_refused() {
        for text in [
            "CREATE INDEX a ON {schema}.t (x)",
            "CREATE INDEX CONCURRENTLY a ON {schema}.t (x)",
            "CREATE INDEX CONCURRENTLY ON {schema}.t (x)",
            "DROP INDEX CONCURRENTLY {schema}.b",
            "DROP INDEX CONCURRENTLY IF EXISTS a, b",
            "ALTER TABLE {schema}.t ADD COLUMN y bigint",
        ] {
            assert_eq!(read(text), Err(text.to_owned()));
        }
    }
}
