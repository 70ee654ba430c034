//! The certificate that is in force: read again when its files have changed, without a connection that
//! notices.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use steadfast::clock;
use tokio::net::TcpStream;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::{Accept, TlsAcceptor};

use super::identity::{DAY_S, Files, Identity};
use super::provider;

/// From when on a certificate is told to expire soon: two weeks. Those that are renewed by themselves
/// have more left by then.
pub(crate) const SOON_S: i64 = 14 * DAY_S;

/// How a listener is encrypted. A cheap clone.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
    /// The files as they were when they were read last.
    seen: (Print, Print),
}

struct Current {
    files: Files,
    key: RwLock<Arc<CertifiedKey>>,
}

/// What tells whether a file is another one than before.
type Print = Option<(u64, u64, i64, i64)>;

impl Tls {
    /// Reads the files for the first time.
    pub(crate) fn load(files: &Files) -> anyhow::Result<Self> {
        // What changes while it is read is read again.
        let seen = (print(&files.certificate), print(&files.key));
        let identity = Identity::load(files, now_s())?;
        tell_end(files, &identity);
        let current = Arc::new(Current {
            files: files.clone(),
            key: RwLock::new(identity.key),
        });
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let mut config = config
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            seen,
            current,
        })
    }

    /// Begins a connection.
    pub(crate) fn accept(&self, stream: TcpStream) -> Accept<TcpStream> {
        self.acceptor.accept(stream)
    }

    /// Reads the files again if they have changed, or somebody asks for it. What is wrong with new ones is
    /// told, and those before stay in force.
    pub(crate) fn look(&mut self, is_asked: bool) {
        let print = self.current.print();
        if is_asked || print != self.seen {
            self.seen = print;
            self.current.read_again();
        }
    }
}

impl Current {
    fn print(&self) -> (Print, Print) {
        (print(&self.files.certificate), print(&self.files.key))
    }

    fn read_again(&self) {
        let certificate = self.files.certificate.display();
        match Identity::load(&self.files, now_s()) {
            Ok(identity) => {
                tell_end(&self.files, &identity);
                *self.key.write().unwrap_or_else(PoisonError::into_inner) = identity.key;
                tracing::info!(target: "steadfast::serve", %certificate, "the certificate was read again");
            }
            Err(error) => tracing::error!(
                target: "steadfast::serve",
                %certificate,
                error = format!("{error:#}"),
                "the certificate cannot be read again; the one before stays in force"
            ),
        }
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner);
        Some(key.clone())
    }
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

fn print(path: &Path) -> Print {
    let found = std::fs::metadata(path).ok()?;
    Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

fn tell_end(files: &Files, identity: &Identity) {
    let left_s = identity.validity.until_s - now_s();
    if left_s < SOON_S {
        tracing::warn!(
            target: "steadfast::serve",
            certificate = %files.certificate.display(),
            days = left_s / DAY_S,
            "the certificate expires soon"
        );
    }
}

fn now_s() -> i64 {
    clock::timestamp().unix_millis().div_euclid(1_000)
}
