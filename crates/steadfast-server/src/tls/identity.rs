//! A certificate with its key, as files have them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys};

use super::provider;
use super::validity::{Validity, validity};

/// Who we are to clients, and until when.
pub(crate) struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    pub(crate) validity: Validity,
}

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// The bit by which every user of the machine may read a file.
const OTHERS_READ: u32 = 0o004;

/// A day, in seconds.
pub(crate) const DAY_S: i64 = 24 * 3_600;

impl Identity {
    /// Reads the files, and refuses what clients would refuse.
    pub(crate) fn load(files: &Files, now_s: i64) -> anyhow::Result<Self> {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        let cannot_read = || format!("cannot read the certificate in {certificate}");
        let pem = std::fs::read(&files.certificate).with_context(cannot_read)?;
        let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.with_context(cannot_read)?;
        let Some(first) = chain.first() else {
            anyhow::bail!(
                "{certificate} has no certificate in it: it has to be PEM, that of the server first"
            );
        };
        let validity = validity(first)
            .with_context(|| format!("the first certificate in {certificate} is damaged"))?;
        let mode = mode(&files.key).with_context(|| format!("cannot read the key in {key}"))?;
        anyhow::ensure!(
            mode & OTHERS_READ == 0,
            "every user of this machine can read the key in {key} (mode {mode:o}): chmod o= {key}"
        );
        let pem = std::fs::read(&files.key);
        let pem = pem.with_context(|| format!("cannot read the key in {key}"))?;
        let private = match PrivateKeyDer::from_pem_slice(&pem) {
            Err(pem::Error::NoItemsFound) => {
                anyhow::bail!("{key} has no key in it that is not encrypted: it has to be PEM")
            }
            read => read.with_context(|| format!("cannot read the key in {key}"))?,
        };
        let signing = provider().key_provider.load_private_key(private);
        let signing = signing
            .with_context(|| format!("the key in {key} is of no kind that is used for TLS"))?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                anyhow::bail!("the key in {key} is not that of the certificate in {certificate}")
            }
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("the first certificate in {certificate} cannot be used")
                });
            }
        }
        anyhow::ensure!(
            validity.until_s > now_s,
            "the certificate in {certificate} has expired {}: every client refuses it",
            days(now_s - validity.until_s, "ago")
        );
        anyhow::ensure!(
            validity.from_s <= now_s,
            "the certificate in {certificate} does not hold yet, but from {}: is the clock right?",
            days(validity.from_s - now_s, "on")
        );
        Ok(Self {
            key: Arc::new(certified),
            validity,
        })
    }
}

fn mode(path: &Path) -> std::io::Result<u32> {
    Ok(std::fs::metadata(path)?.mode() & 0o777)
}

fn days(seconds: i64, word: &str) -> String {
    match seconds / DAY_S {
        0 => format!("less than a day {word}"),
        1 => format!("a day {word}"),
        days => format!("{days} days {word}"),
    }
}
