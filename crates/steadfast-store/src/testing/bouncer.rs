//! PgBouncer for tests.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use steadfast_core::clock;
use tokio::sync::OnceCell;

use super::cluster::{self, as_postgres, free_port, output, write_as_postgres};

/// How many connections to the server all clients of a database share: 2, fewer than clients, so
/// that every mistake about who has a connection shows.
const SERVERS: u32 = 2;

/// How long it may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// PgBouncer in front of the server of the tests.
pub(super) struct Bouncer {
    port: u16,
    /// Ends it once its input ends, whatever ends this process.
    _janitor: Child,
}

pub(super) async fn shared() -> &'static Bouncer {
    static BOUNCER: OnceCell<Bouncer> = OnceCell::const_new();
    BOUNCER
        .get_or_init(async || start(&cluster::shared().await.url).await)
        .await
}

impl Bouncer {
    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://bouncer@127.0.0.1:{}/{database}", self.port)
    }
}

async fn start(server: &str) -> Bouncer {
    let options: PgConnectOptions = server.parse().expect("the URL of the server is one");
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let password = password(server)
        .map(|password| format!(" password='{password}'"))
        .unwrap_or_default();
    let port = free_port();
    let config = format!(
        "[databases]\n* = host={host} port={} user={}{password}\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
         pool_mode = transaction\ndefault_pool_size = {SERVERS}\nmax_client_conn = 500\n\
         server_check_delay = 0\nlog_connections = 0\nlog_disconnections = 0\n",
        options.get_port(),
        options.get_username(),
    );
    let file = output(as_postgres("mktemp").args(["-t", "steadfast-bouncer-XXXXXXXX"]));
    let file = PathBuf::from(file.trim());
    write_as_postgres(&file, &config);
    let janitor = spawn(&file);
    let bouncer = Bouncer {
        port,
        _janitor: janitor,
    };
    let options: PgConnectOptions = bouncer
        .url(options.get_database().unwrap_or("postgres"))
        .parse()
        .expect("it is a URL");
    let options = options
        .extra_float_digits(None)
        .statement_cache_capacity(0)
        .disable_statement_logging();
    let until = clock::now() + START_TIMEOUT;
    loop {
        match PgConnection::connect_with(&options).await {
            Ok(conn) => {
                let _ = conn.close().await;
                return bouncer;
            }
            Err(error) => assert!(clock::now() < until, "PgBouncer does not start: {error}"),
        }
        clock::sleep(Duration::from_millis(20)).await;
    }
}

fn spawn(file: &Path) -> Child {
    let found = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .unwrap_or_default()
        .into_iter()
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("pgbouncer"))
        .find(|program| program.exists());
    let program = found
        .expect("this test needs PgBouncer: install it (on Debian: apt-get install pgbouncer)");
    as_postgres("sh")
        .args([
            "-c",
            "trap '' INT TERM HUP; \"$0\" -q \"$1\" & read -r _; kill -INT $!; wait; rm -f \"$1\"",
        ])
        .arg(program)
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell can be started")
}

/// Finds the password in a URL, as it is written there.
fn password(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (user, _) = rest.split_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}
