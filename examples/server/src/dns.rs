//! The DNS server, on the addresses of `--dns`.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
};

use sd_dns::{Counters, DnsServer, DnsServerBuilder};
use tokio::net::lookup_host;

use crate::listen::Listen;

/// The attempts to find a port that is free on both loopback addresses.
const ATTEMPTS: usize = 32;

/// DNS cannot listen on an address of `--dns`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    #[error(transparent)]
    Address(#[from] sd_dns::BindError),
    #[error("cannot resolve {name:?}: {source}")]
    Name { name: String, source: io::Error },
}

pub(crate) async fn bind(builder: DnsServerBuilder, addresses: &[Listen]) -> Result<DnsServer, BindError> {
    let mut server = builder.bind([]).await?;
    for address in addresses {
        match address {
            Listen::Address(address) => drop(server.listen(*address)?),
            Listen::Localhost(port) => localhost(&mut server, *port).await?,
            Listen::Name(name, port) => named(&mut server, name, *port).await?,
        }
    }
    Ok(server)
}

/// The DNS server until it drains. Clones share it.
#[derive(Clone)]
pub(crate) struct Running(Arc<Mutex<Option<DnsServer>>>);

impl Running {
    pub(crate) fn new(server: DnsServer) -> Self {
        Self(Arc::new(Mutex::new(Some(server))))
    }

    /// Takes the server out, to drain it.
    pub(crate) fn take(&self) -> Option<DnsServer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The counters, or `None` once the server was taken.
    pub(crate) fn counters(&self) -> Option<Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(DnsServer::counters)
    }
}

/// Listens on both loopback addresses, with one port.
async fn localhost(server: &mut DnsServer, port: u16) -> Result<(), BindError> {
    let has_ipv6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        let first = server.listen((Ipv4Addr::LOCALHOST, port).into())?;
        if !has_ipv6 {
            return Ok(());
        }
        match server.listen((IpAddr::V6(Ipv6Addr::LOCALHOST), first.port()).into()) {
            Err(error) if port == 0 && left > 0 && error.source.kind() == io::ErrorKind::AddrInUse => {
                server.close(first).await;
            }
            listening => return listening.map(drop).map_err(Into::into),
        }
    }
}

/// Listens on the first address of the name that this machine has.
async fn named(server: &mut DnsServer, name: &str, port: u16) -> Result<(), BindError> {
    let unresolved = |source| BindError::Name { name: name.to_owned(), source };
    let mut last = unresolved(io::ErrorKind::NotFound.into());
    for address in lookup_host((name, port)).await.map_err(unresolved)? {
        match server.listen(address) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}
