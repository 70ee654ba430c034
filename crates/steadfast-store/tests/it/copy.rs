//! Copies of a file of SQLite, put back where only a part of the old one is left.

use std::fs;
use std::path::{Path, PathBuf};

use steadfast_store::testing::{Database, Kind};
use steadfast_store::{Config, Place, Rows, Store, binds, copy};

async fn write(store: &Store, text: &'static str) {
    let written = store.write(async |mut tx| tx.sql(text, binds![]).await);
    let _: Rows = written.await.unwrap();
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

/// As long as anybody has it open, SQLite itself leaves what was written beside the file.
#[tokio::test(flavor = "multi_thread")]
async fn the_file_alone_has_all_that_was_written_once_it_is_closed() {
    let database = Database::make(Kind::Sqlite).await;
    let Place::Sqlite(path) = database.config().place else {
        unreachable!("it was made on SQLite");
    };
    let store = database.open().await;
    let _open_still = database.open().await;
    write(&store, "CREATE TABLE item (text TEXT)").await;
    write(&store, "INSERT INTO item (text) VALUES ('kept')").await;

    store.close().await;

    let copied = beside(&path, ".copy");
    fs::copy(&path, &copied).unwrap();
    let copied = Store::open(Config::sqlite(&copied)).await.unwrap();
    let asked = copied.read(async |mut tx| tx.sql("SELECT text FROM item", binds![]).await);
    let rows: Rows = asked.await.unwrap();
    assert_eq!(rows.len(), 1);
}

/// The file was deleted, and what stood beside it was not: SQLite would take that for a part of the copy.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_file_that_is_gone_does_not_get_into_the_copy() {
    let database = Database::make(Kind::Sqlite).await;
    let Place::Sqlite(path) = database.config().place else {
        unreachable!("it was made on SQLite");
    };
    let store = database.open().await;
    write(
        &store,
        "CREATE TABLE item (id INTEGER PRIMARY KEY, text TEXT)",
    )
    .await;
    write(&store, "INSERT INTO item (text) VALUES ('kept')").await;
    let backup = beside(&path, ".backup");
    copy::back_up(&path, &backup, &mut |_, _| {}).await.unwrap();
    write(
        &store,
        "INSERT INTO item (text) SELECT 'later' FROM json_each('[1,2,3]')",
    )
    .await;
    let left = fs::read(beside(&path, "-wal")).unwrap();
    assert!(!left.is_empty());
    store.close().await;
    // A place of its own: SQLite may still be about to take away what is beside the other file.
    let gone = beside(&path, ".gone");
    fs::write(beside(&gone, "-wal"), &left).unwrap();

    let restored = copy::restore(&backup, &gone, &[], ".old", &mut |_, _| {}).await;

    assert_eq!(restored.unwrap().kept, None);
    let again = Store::open(Config::sqlite(&gone)).await.unwrap();
    let asked = again.read(async |mut tx| tx.sql("SELECT text FROM item", binds![]).await);
    let rows: Rows = asked.await.unwrap();
    let texts: Vec<&str> = rows.iter().map(|row| row.get(0).unwrap()).collect();
    assert_eq!(texts, ["kept"]);
    assert_eq!(
        fs::read(beside(&gone, "-wal.old")).unwrap(),
        left,
        "somebody may want it"
    );
}
