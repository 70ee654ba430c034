//! Listening, and what is said where that cannot be.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context;

/// Listens on an address, which was `said_by` something such as `in [api]`; for a runtime.
pub(crate) fn listen(address: SocketAddr, said_by: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot listen on {address} (SF-2309): choose another address {said_by}")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
