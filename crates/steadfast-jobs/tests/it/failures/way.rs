//! A way between a process and its server, which can be cut, and on which it is seen when the process asks.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use steadfast_core::{clock, spawn};
use steadfast_store::Place;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use super::Arena;

/// What a way lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passes {
    All,
    /// What was under way arrives once the way is open again.
    Later,
    /// What was under way is lost, and nobody is told.
    Nothing,
}

/// A way to the server of a scenario.
pub(crate) struct Way {
    address: String,
    user: String,
    database: String,
    passes: watch::Sender<Passes>,
    asked: Asked,
}

/// When something came from the process: a connection, or a message on one.
type Asked = Arc<Mutex<Vec<clock::Instant>>>;

impl Way {
    pub(crate) async fn to(arena: &Arena) -> Self {
        let Place::Postgres(url) = &arena.config.place else {
            unreachable!("it is played on PostgreSQL alone");
        };
        let (server, database) = Server::of(url);
        let user = url.split("://").nth(1);
        let user = user.and_then(|rest| rest.split('@').next()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = Self {
            address: listener.local_addr().unwrap().to_string(),
            user: user.to_owned(),
            database,
            passes: watch::Sender::new(Passes::All),
            asked: Asked::default(),
        };
        let (asked, passes) = (way.asked.clone(), way.passes.clone());
        spawn("way", async move {
            while let Ok((socket, _)) = listener.accept().await {
                note(&asked);
                let relay = Relay {
                    server: server.clone(),
                    passes: passes.subscribe(),
                    asked: asked.clone(),
                };
                spawn("relay", relay.run(socket));
            }
        });
        way
    }

    /// Where the process finds its database.
    pub(crate) fn url(&self) -> String {
        let (user, address, database) = (&self.user, &self.address, &self.database);
        format!("postgres://{user}@{address}/{database}")
    }

    pub(crate) fn lets(&self, passes: Passes) {
        self.passes.send_replace(passes);
    }

    /// Gives when the process has asked.
    pub(crate) fn asked(&self) -> Vec<clock::Instant> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn note(asked: &Asked) {
    let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    asked.push(clock::now());
}

/// Where a server listens.
#[derive(Clone)]
enum Server {
    Tcp(String),
    Unix(String),
}

impl Server {
    /// Reads a URL of the tests; gives the rest of it, from the database on, as well.
    fn of(url: &str) -> (Self, String) {
        let (_, rest) = url.split_once('@').expect("it names a user");
        let (host, database) = rest.split_once('/').expect("it names a database");
        let server = match host.strip_prefix("%2F") {
            Some(_) => {
                let (folder, port) = host.split_once(':').unwrap_or((host, "5432"));
                Self::Unix(format!("{}/.s.PGSQL.{port}", folder.replace("%2F", "/")))
            }
            None => Self::Tcp(host.to_owned()),
        };
        (server, database.to_owned())
    }
}

/// One connection.
struct Relay {
    server: Server,
    passes: watch::Receiver<Passes>,
    asked: Asked,
}

impl Relay {
    async fn run(self, socket: TcpStream) {
        // One that is refused by the server is closed, as the process would see it without the way.
        let _ = match &self.server {
            Server::Tcp(address) => match TcpStream::connect(address).await {
                Ok(server) => self.between(socket, server).await,
                Err(error) => Err(error),
            },
            Server::Unix(path) => match UnixStream::connect(path).await {
                Ok(server) => self.between(socket, server).await,
                Err(error) => Err(error),
            },
        };
    }

    async fn between(
        &self,
        process: TcpStream,
        server: impl AsyncRead + AsyncWrite,
    ) -> io::Result<()> {
        let (mut from, mut back) = split(process);
        let (mut answers, mut to) = split(server);
        let both = async {
            tokio::try_join!(
                self.pass(&mut from, &mut to, Some(&self.asked)),
                self.pass(&mut answers, &mut back, None),
            )
        };
        let mut passes = self.passes.clone();
        tokio::select! {
            ended = both => return ended.map(drop),
            _ = passes.wait_for(|passes| *passes == Passes::Nothing) => {}
        }
        // The server has seen the last of it; the other end waits for an answer until the way is open again.
        let _ = passes.wait_for(|passes| *passes != Passes::Nothing).await;
        Ok(())
    }

    async fn pass(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        asked: Option<&Asked>,
    ) -> io::Result<()> {
        let mut passes = self.passes.clone();
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let count = from.read(&mut bytes).await?;
            if let Some(asked) = asked {
                note(asked);
            }
            if count == 0 {
                // Whoever ends one direction ends both: so does PostgreSQL.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let open = passes.wait_for(|passes| *passes != Passes::Later).await;
            open.map(drop).map_err(io::Error::other)?;
            to.write_all(&bytes[..count]).await?;
        }
    }
}
