//! The server and the files that all are measured on.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use steadfast::BoxError;
use steadfast::store::testing::Cluster;

/// As a server of these cores and this memory would be set up, and durable.
const SETTINGS: &[&str] = &[
    "fsync = on",
    "synchronous_commit = on",
    "full_page_writes = on",
    "shared_buffers = 512MB",
    "max_wal_size = 4GB",
    "checkpoint_timeout = 15min",
    "max_connections = 200",
];

pub(crate) struct Server {
    cluster: Cluster,
    folder: PathBuf,
    next: AtomicU64,
}

impl Server {
    pub(crate) async fn start() -> Result<Self, BoxError> {
        let cluster = tokio::task::block_in_place(|| Cluster::start_with(SETTINGS));
        let folder = std::env::temp_dir().join(format!("jobs-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self {
            cluster,
            folder,
            next: AtomicU64::new(0),
        })
    }

    pub(crate) async fn describe(&self) -> Result<String, BoxError> {
        let mut conn = PgConnection::connect(&self.cluster.url("postgres")).await?;
        let version: String = conn.fetch_one("SHOW server_version").await?.get(0);
        let cores = std::thread::available_parallelism()?;
        let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = model
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .unwrap_or(": unknown")
            .trim_matches([':', '\t', ' '])
            .to_owned();
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or("?").to_owned();
        let flush = self.flush_us().await?;
        Ok(format!(
            "{cores} cores ({model}), load {load} at the start, a flush takes {flush:.0} µs; PostgreSQL {version}, {}",
            SETTINGS.join(", ")
        ))
    }

    /// Measures what a write and its flush take on the disk of the measurements: the median of 200.
    async fn flush_us(&self) -> Result<f64, BoxError> {
        use std::io::Write;
        let mut file = std::fs::File::create(self.folder.join("flush"))?;
        let mut took: Vec<_> = Vec::new();
        for _ in 0..200 {
            let began = std::time::Instant::now();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            took.push(began.elapsed());
        }
        took.sort_unstable();
        Ok(took[100].as_secs_f64() * 1e6)
    }

    /// Makes an empty database; gives its URL.
    pub(crate) async fn postgres(&self) -> Result<String, BoxError> {
        let name = format!("bench_{}", self.next.fetch_add(1, Ordering::Relaxed));
        let mut conn = PgConnection::connect(&self.cluster.url("postgres")).await?;
        conn.execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await?;
        conn.execute("CHECKPOINT").await?;
        Ok(self.cluster.url(&name))
    }

    /// Gives the URL of a file that is not there yet.
    pub(crate) fn sqlite(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!(
            "sqlite:{}",
            self.folder.join(format!("{number}.db")).display()
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
