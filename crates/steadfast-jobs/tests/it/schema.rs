//! The page on the tables says what is there, on both databases.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use steadfast_jobs::Jobs;
use steadfast_store::testing::{Database, Kind};
use steadfast_store::{Error, Rows, binds};

/// Columns with their type, by table, in order; and the names of indexes.
#[derive(Debug, Default, PartialEq)]
struct Schema {
    columns: BTreeMap<String, Vec<(String, String)>>,
    indexes: BTreeSet<String>,
}

impl Schema {
    fn add(&mut self, table: &str, column: &str, kind: &str, required: bool) {
        let kind = kind.to_lowercase();
        let kind = if required {
            format!("{kind} not null")
        } else {
            kind
        };
        let columns = self.columns.entry(table.to_owned()).or_default();
        columns.push((column.to_owned(), kind));
    }
}

async fn ask(database: &Database, text: &'static str) -> Rows {
    let store = database.open().await;
    Jobs::open(&store).await.unwrap();
    let rows: Result<Rows, Error> = store
        .read(async |mut tx| tx.sql(text, binds![]).await)
        .await;
    rows.unwrap()
}

async fn postgres() -> Schema {
    let database = Database::make(Kind::Postgres).await;
    let mut schema = Schema::default();
    let columns = ask(
        &database,
        "SELECT table_name::text, column_name::text, data_type::text, is_nullable = 'NO'
         FROM information_schema.columns
         WHERE table_schema = 'steadfast' AND (table_name LIKE 'job%' OR table_name LIKE 'schedule%')
         ORDER BY table_name, ordinal_position",
    );
    for row in &columns.await {
        let (table, column, kind): (&str, &str, &str) = (
            row.get(0).unwrap(),
            row.get(1).unwrap(),
            row.get(2).unwrap(),
        );
        schema.add(table, column, kind, row.get(3).unwrap());
    }
    let indexes = ask(
        &database,
        "SELECT indexname::text FROM pg_indexes
         WHERE schemaname = 'steadfast' AND (tablename LIKE 'job%' OR tablename LIKE 'schedule%') AND indexname NOT LIKE '%_pkey'",
    );
    for row in &indexes.await {
        schema.indexes.insert(row.get(0).unwrap());
    }
    schema
}

async fn sqlite() -> Schema {
    let database = Database::make(Kind::Sqlite).await;
    let mut schema = Schema::default();
    let columns = ask(
        &database,
        "SELECT substr(m.name, 11), p.name, p.type, p.\"notnull\"
         FROM sqlite_schema AS m JOIN pragma_table_xinfo(m.name) AS p
         WHERE m.type = 'table' AND (m.name LIKE 'steadfast_job%' OR m.name LIKE 'steadfast_schedule%')
         ORDER BY m.name, p.cid",
    );
    for row in &columns.await {
        let (table, column, kind): (&str, &str, &str) = (
            row.get(0).unwrap(),
            row.get(1).unwrap(),
            row.get(2).unwrap(),
        );
        // How a computed column is written differs from version to version.
        let kind = kind.replace(" GENERATED ALWAYS", "");
        schema.add(table, column, &kind, row.get::<i64>(3).unwrap() == 1);
    }
    let indexes = ask(
        &database,
        "SELECT substr(name, 11) FROM sqlite_schema
         WHERE type = 'index' AND (tbl_name LIKE 'steadfast_job%' OR tbl_name LIKE 'steadfast_schedule%') AND sql IS NOT NULL",
    );
    for row in &indexes.await {
        schema.indexes.insert(row.get(0).unwrap());
    }
    schema
}

/// What the page says: of PostgreSQL, and of SQLite.
fn page() -> (Schema, Schema) {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/jobs-schema.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (mut postgres, mut sqlite) = (Schema::default(), Schema::default());
    let mut table = String::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            table = heading.trim_matches('`').to_owned();
        }
        if let Some(index) = line.strip_prefix("- index `") {
            let name = index.split('`').next().unwrap().to_owned();
            postgres.indexes.insert(name.clone());
            sqlite.indexes.insert(name);
        }
        let Some(row) = line.strip_prefix("| `") else {
            continue;
        };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [column, ours, theirs, meaning, ""] = cells[..] else {
            panic!("not five cells: {line}");
        };
        assert!(!meaning.is_empty(), "{table}: say what {column} is for");
        let column = column.trim_end_matches('`').to_owned();
        // A dash: there is none on that database.
        for (schema, kind) in [(&mut postgres, ours), (&mut sqlite, theirs)] {
            if kind != "-" {
                let columns = schema.columns.entry(table.clone()).or_default();
                columns.push((column.clone(), kind.to_owned()));
            }
        }
    }
    (postgres, sqlite)
}

fn compare(database: &str, page: &Schema, real: &Schema) {
    for (table, columns) in &real.columns {
        assert_eq!(
            page.columns.get(table),
            Some(columns),
            "{database}: {table}"
        );
    }
    let tables = |schema: &Schema| schema.columns.keys().cloned().collect::<Vec<_>>();
    assert_eq!(tables(page), tables(real), "{database}");
    assert_eq!(page.indexes, real.indexes, "{database}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_the_tables_says_what_is_there() {
    let (of_postgres, of_sqlite) = page();
    compare("PostgreSQL", &of_postgres, &postgres().await);
    compare("SQLite", &of_sqlite, &sqlite().await);
}
