//! An import over real files that is interrupted in every way there is: it fails, panics, is too
//! slow, and is dropped half-way. Each time the cleanup report shows what was undone, and a look
//! into the folder shows that it is true.
//!
//! ```console
//! $ cargo run -p steadfast --example import
//! ```
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    reason = "the program is there to be read on a terminal"
)]

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use steadfast::{BoxError, Cause, ScopeError, cancel, clock, reaper, scope};
use tokio::fs;
use tokio::io::AsyncWriteExt;

/// How the import goes.
#[derive(Debug, Clone, Copy)]
enum Way {
    Well,
    BadRow,
    Panic,
    TooSlow,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    steadfast::panic::install_quiet();
    let folder = std::env::temp_dir().join(format!("steadfast-import-{}", std::process::id()));
    fs::create_dir(&folder).await?;

    for way in [Way::BadRow, Way::Panic, Way::TooSlow] {
        println!("--- {way:?}");
        match import(&folder, way).await {
            Ok(rows) => println!("imported {rows} rows"),
            Err(ScopeError::Panicked(panic)) => println!("{}", panic.describe()),
            Err(error) => println!("{error}"),
        }
        show(&folder).await?;
    }

    println!("--- dropped half-way, as by a client that leaves");
    let client = cancel::if_dropped(Cause::ClientGone, import(&folder, Way::TooSlow));
    // The plain `select!` of many services: whatever loses is dropped.
    tokio::select! {
        _ = client => {}
        () = clock::sleep(Duration::from_millis(20)) => {}
    }
    // `steadfast::run` does this by itself at the end of the program.
    reaper::drain().await;
    show(&folder).await?;

    println!("--- well");
    println!("imported {} rows", import(&folder, Way::Well).await?);
    show(&folder).await?;
    fs::remove_dir_all(&folder).await?;
    Ok(())
}

async fn import(folder: &Path, way: Way) -> Result<usize, ScopeError<BoxError>> {
    let (lock, part, done) = (
        folder.join("import.lock"),
        folder.join("rows.part"),
        folder.join("rows.done"),
    );
    scope("import")
        .timeout(Duration::from_millis(100))
        .on_report(|report| println!("{report}"))
        .run(async |s| {
            // Two imports at a time would mix their rows.
            fs::File::create_new(&lock).await?;
            s.defer_async("remove the lock", async || fs::remove_file(lock).await);

            let file = fs::File::create(&part).await?;
            let unfinished = part.clone();
            s.undo("remove the part", async || {
                fs::remove_file(unfinished).await
            });
            let mut file = s.own("sync the file", file, async |file| file.sync_all().await);

            let rows = write_rows(&mut file, way).await?;
            fs::rename(&part, &done).await?;
            Ok(rows)
        })
        .await
}

async fn write_rows(file: &mut fs::File, way: Way) -> Result<usize, BoxError> {
    let rows = ["1;tea", "2;coffee", "three;cake"];
    for (i, row) in rows.iter().enumerate() {
        file.write_all(format!("{row}\n").as_bytes()).await?;
        match way {
            Way::Well => {}
            Way::BadRow => check(row.split(';').next().unwrap_or(""))?,
            Way::Panic => assert!(!rows[i + 1].is_empty()),
            Way::TooSlow => clock::sleep(Duration::from_secs(1)).await,
        }
    }
    Ok(rows.len())
}

fn check(number: &str) -> Result<(), BoxError> {
    number.parse::<u32>()?;
    Ok(())
}

async fn show(folder: &Path) -> io::Result<()> {
    let mut entries = fs::read_dir(folder).await?;
    let mut names = Vec::<PathBuf>::new();
    while let Some(entry) = entries.next_entry().await? {
        names.push(entry.file_name().into());
    }
    println!("left in the folder: {names:?}\n");
    Ok(())
}
