//! Listening, and what is said where that cannot be.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context;

/// Nobody can listen there.
#[derive(Debug)]
pub(crate) struct NotListening {
    address: SocketAddr,
    said_by: &'static str,
}

impl NotListening {
    /// Its code, which stays as it is.
    pub(crate) const CODE: &str = "SF-2309";

    pub(crate) fn fix(&self) -> String {
        format!("choose another address {}", self.said_by)
    }
}

impl std::fmt::Display for NotListening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (address, fix) = (self.address, self.fix());
        write!(f, "cannot listen on {address} ({}): {fix}", Self::CODE)
    }
}

impl std::error::Error for NotListening {}

/// Listens on an address, which was `said_by` something such as `in [api]`; for a runtime.
pub(crate) fn listen(address: SocketAddr, said_by: &'static str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).context(NotListening { address, said_by })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
