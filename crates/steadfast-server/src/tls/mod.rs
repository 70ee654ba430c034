//! TLS, on both sides: the certificate of our own listeners, and whom we trust when we call.

mod identity;
mod live;
mod validity;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub(crate) use identity::{DAY_S, Files, Identity};
pub(crate) use live::{SOON_S, Tls};

/// The one crypto of this program.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Makes what connects by http and https, trusting the certificates in a file, or without one the roots of
/// the public web.
pub(crate) fn connector(ca: Option<&Path>) -> anyhow::Result<HttpsConnector<HttpConnector>> {
    let builder = hyper_rustls::HttpsConnectorBuilder::new();
    let builder = match ca {
        None => builder.with_webpki_roots(),
        Some(ca) => builder.with_tls_config(trusting(ca)?),
    };
    Ok(builder.https_or_http().enable_http1().build())
}

fn trusting(ca: &Path) -> anyhow::Result<ClientConfig> {
    let shown = ca.display();
    let pem = std::fs::read(ca);
    let pem = pem.with_context(|| format!("cannot read the certificates in {shown}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.with_context(|| format!("{shown} is no file of PEM"))?;
        let added = roots.add(certificate);
        added
            .with_context(|| format!("{shown} has a certificate that nobody can be trusted by"))?;
    }
    anyhow::ensure!(!roots.is_empty(), "{shown} has no certificate in it");
    let config =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    Ok(config?.with_root_certificates(roots).with_no_client_auth())
}
