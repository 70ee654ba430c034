//! PostgreSQL for tests.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tokio::sync::OnceCell;

use super::unique;

/// Where tests find a server of their user's choice.
const URL: &str = "STEADFAST_TEST_DATABASE_URL";

/// A server on which tests may create databases.
pub(super) struct Server {
    pub(super) url: String,
    _own: Option<Cluster>,
}

/// Gives the server of this process, started when it is first asked for.
pub(super) async fn shared() -> &'static Server {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    SERVER
        .get_or_init(async || match std::env::var(URL) {
            Ok(url) => Server { url, _own: None },
            Err(_) => {
                let own = tokio::task::block_in_place(Cluster::start);
                Server {
                    url: own.url("postgres"),
                    _own: Some(own),
                }
            }
        })
        .await
}

impl Server {
    pub(super) async fn create(&self) -> Created {
        create(&self.url).await
    }
}

async fn create(url: &str) -> Created {
    let created = Created {
        admin: url.to_owned(),
        name: unique("steadfast"),
    };
    let create = format!("CREATE DATABASE {}", created.name);
    admin(url, create)
        .await
        .expect("the user of the tests may create databases");
    created
}

/// A database that is dropped with this value, whoever is connected to it.
pub(super) struct Created {
    admin: String,
    name: String,
}

impl Created {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn url(&self) -> String {
        with_database(&self.admin, &self.name)
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        let (url, name) = (self.admin.clone(), self.name.clone());
        // On a thread and a runtime of its own: the one of the test may be at its end.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made");
            let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            // A server that a test has stopped is gone with all its databases.
            let _ = runtime.block_on(admin(&url, drop));
        });
        let _ = dropping.join();
    }
}

/// Gives a URL the name of another database.
fn with_database(url: &str, name: &str) -> String {
    let (front, query) = match url.split_once('?') {
        Some((front, query)) => (front, format!("?{query}")),
        None => (url, String::new()),
    };
    let host = front.find("://").map_or(0, |at| at + 3);
    let front = match front[host..].find('/') {
        Some(slash) => &front[..host + slash],
        None => front,
    };
    format!("{front}/{name}{query}")
}

async fn admin(url: &str, statement: String) -> Result<(), sqlx::Error> {
    let options: PgConnectOptions = url.parse()?;
    let options = options.disable_statement_logging();
    let mut conn = PgConnection::connect_with(&options).await?;
    conn.execute(sqlx::raw_sql(AssertSqlSafe(statement)))
        .await?;
    conn.close().await
}

/// A cluster of PostgreSQL of one test, for what must not be done to others: stopping, starting,
/// killing. Its data are on disk without being flushed, and gone with this value, also when the
/// process of the test is killed.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
    port: u16,
    /// Cleans up once its input ends, whatever ends this process.
    janitor: Child,
}

/// A file system of its own size; made by [`Cluster::tablespace`].
#[derive(Debug)]
#[must_use = "it is unmounted when this is dropped"]
pub struct Tablespace {
    folder: PathBuf,
}

impl Drop for Tablespace {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// How a server is stopped.
#[derive(Debug, Clone, Copy)]
pub enum Stop {
    /// Connections are ended, transactions rolled back.
    Fast,
    /// As by a crash.
    Immediate,
}

impl Cluster {
    /// Makes and starts one.
    ///
    /// # Panics
    /// When PostgreSQL is not installed, or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Makes and starts one with settings of its own, such as `wal_level=logical`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_with(settings: &[&str]) -> Self {
        let bin = bin();
        let folder = output(as_postgres("mktemp").args(["-d", "-t", "steadfast-XXXXXXXX"]));
        let folder = PathBuf::from(folder.trim());
        let data = folder.join("data");
        output(
            as_postgres(bin.join("initdb"))
                .args([
                    "--auth=trust",
                    "--username=postgres",
                    "--no-sync",
                    "--encoding=UTF8",
                ])
                .args(["--locale=C", "-D"])
                .arg(&data),
        );
        let port = free_port();
        let mut config = fs::read_to_string(data.join("postgresql.conf")).expect("initdb made it");
        config.push_str(&format!(
            "\nlisten_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\n\
             fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\n\
             shared_buffers = 32MB\n",
            folder.display()
        ));
        for setting in settings {
            config.push_str(setting);
            config.push('\n');
        }
        write_as_postgres(&data.join("postgresql.conf"), &config);
        let janitor = janitor(&bin, &folder);
        let cluster = Self {
            bin,
            folder,
            port,
            janitor,
        };
        cluster.start_again();
        cluster
    }

    /// Gives the URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a tablespace on a file system of `megabytes`, for tests of a full disk; it is unmounted
    /// when the guard is dropped, and then no longer of use.
    ///
    /// # Panics
    /// When it cannot be made: only root may mount.
    pub fn tablespace(&self, name: &str, megabytes: u32) -> Tablespace {
        let folder = self.folder.join(name);
        fs::create_dir(&folder).expect("the folder of the cluster takes another one");
        let owner = fs::metadata(&self.folder).expect("it is there");
        let options = format!(
            "size={megabytes}m,mode=0700,uid={},gid={}",
            owner.uid(),
            owner.gid()
        );
        output(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
                .arg(&folder),
        );
        let tablespace = Tablespace { folder };
        let create = format!(
            "CREATE TABLESPACE {name} LOCATION '{}'",
            tablespace.folder.display()
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        runtime
            .block_on(admin(&self.url("postgres"), create))
            .expect("the folder is empty, and the server's own");
        tablespace
    }

    /// Stops it.
    ///
    /// # Panics
    /// When it cannot be stopped.
    pub fn stop(&self, how: Stop) {
        let how = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        output(self.pg_ctl(&[], &["stop", "-w", "-m", how]));
    }

    /// Starts it after a [`stop`](Self::stop), with the same data on the same port.
    ///
    /// # Panics
    /// When it does not start; the message has its log.
    pub fn start_again(&self) {
        self.start_again_with(&[]);
    }

    /// Starts it after a [`stop`](Self::stop) with more in its environment, such as a clock that a test moves.
    ///
    /// # Panics
    /// As [`start_again`](Self::start_again).
    pub fn start_again_with(&self, environment: &[(&str, &str)]) {
        let log = self.folder.join("log");
        let log_option = format!("--log={}", log.display());
        let started = self
            .pg_ctl(environment, &["start", "-w", "-t", "60", &log_option])
            .output();
        let started = started.expect("pg_ctl can be run");
        assert!(
            started.status.success(),
            "PostgreSQL does not start:\n{}",
            fs::read_to_string(log).unwrap_or_default()
        );
    }

    /// Gives the process of the server, to which signals can be sent.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        let file = output(as_postgres("cat").arg(self.folder.join("data/postmaster.pid")));
        let first = file.lines().next().expect("its first line is the process");
        first.trim().parse().expect("it is a number")
    }

    fn pg_ctl(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Command {
        // Set by PostgreSQL's user: what is preloaded must not see how it became that one.
        let mut command = as_postgres("env");
        let set = environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        command
            .args(set)
            .arg(self.bin.join("pg_ctl"))
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(arguments)
            // What the server inherits would keep whoever reads it waiting.
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}

/// Waits until its input ends, whatever signals its group gets, stops the server and removes what it left.
fn janitor(bin: &Path, folder: &Path) -> Child {
    let script = "trap '' INT TERM HUP; read -r _; \"$0/pg_ctl\" -D \"$1/data\" stop -m immediate >/dev/null 2>&1; rm -rf \"$1\"";
    as_postgres("sh")
        .args(["-c", script])
        .arg(bin)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell can be started")
}

pub(super) fn write_as_postgres(path: &Path, text: &str) {
    let mut tee = as_postgres("tee")
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("tee can be started");
    let mut input = tee.stdin.take().expect("its input is ours");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    assert!(
        tee.wait().is_ok_and(|status| status.success()),
        "{} is written",
        path.display()
    );
}

/// A command that runs as somebody who may be a server: PostgreSQL refuses to run as root.
pub(super) fn as_postgres(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let mut command = if root {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                "--",
            ])
            .arg(program.as_ref());
        command
    } else {
        Command::new(program.as_ref())
    };
    command.current_dir("/");
    command
}

/// Runs a command to its end and gives what it wrote.
pub(super) fn output(mut command: impl std::borrow::BorrowMut<Command>) -> String {
    let command = command.borrow_mut();
    let ran = command.output();
    let ran = ran.unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    assert!(
        ran.status.success(),
        "{command:?} failed:\n{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// Finds the newest server that is installed.
fn bin() -> PathBuf {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let newest = debian
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .max_by_key(|bin| {
            let version = bin.parent().and_then(Path::file_name);
            version.and_then(|v| v.to_str()?.parse::<u32>().ok())
        });
    if let Some(bin) = newest {
        return bin;
    }
    let config = Command::new("pg_config").arg("--bindir").output();
    match config {
        Ok(found) if found.status.success() => {
            PathBuf::from(String::from_utf8_lossy(&found.stdout).trim())
        }
        _ => panic!(
            "this test needs PostgreSQL: set {URL}, or install it (on Debian: apt-get install \
             postgresql)"
        ),
    }
}

/// Asks the system for a port that is free.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}
