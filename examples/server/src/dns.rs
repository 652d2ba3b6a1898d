//! The DNS server, on the addresses of `--dns`.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, UdpSocket},
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
    retried(port, async || {
        let first = server.listen((Ipv4Addr::LOCALHOST, port).into())?;
        if !has_ipv6 {
            return Ok(());
        }
        let second = server.listen((Ipv6Addr::LOCALHOST, first.port()).into());
        if second.is_err() {
            server.close(first).await;
        }
        second.map(drop)
    })
    .await
    .map_err(Into::into)
}

/// Makes attempts to listen on this port, up to [`ATTEMPTS`] while another one may succeed.
async fn retried(
    port: u16,
    mut attempt: impl AsyncFnMut() -> Result<(), sd_dns::BindError>,
) -> Result<(), sd_dns::BindError> {
    let mut retries = 1..ATTEMPTS;
    loop {
        match attempt().await {
            Err(error) if may_succeed_later(port, &error.source) && retries.next().is_some() => {}
            result => return result,
        }
    }
}

/// Whether another attempt to listen on this port may succeed: the system chooses the port, and chose one that is free on
/// some addresses only.
fn may_succeed_later(port: u16, error: &io::Error) -> bool {
    port == 0 && error.kind() == io::ErrorKind::AddrInUse
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

#[cfg(test)]
mod tests {
    use sd_dns::NameTable;

    use super::*;

    #[test]
    fn only_a_port_that_the_system_chooses_and_that_is_taken_is_tried_again() {
        let [taken, forbidden] =
            [io::ErrorKind::AddrInUse, io::ErrorKind::PermissionDenied].map(io::Error::from);
        assert!(may_succeed_later(0, &taken));
        assert!(!may_succeed_later(53, &taken));
        assert!(!may_succeed_later(0, &forbidden));
    }

    #[tokio::test]
    async fn attempts_end_with_success_or_at_the_limit() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = socket.local_addr().unwrap();
        let mut server = DnsServer::builder(NameTable::new()).bind([]).await.unwrap();
        for (port, failures, attempts) in [(0, ATTEMPTS, ATTEMPTS), (0, 2, 3), (0, 0, 1), (53, 1, 1)] {
            let mut made = 0;
            let result = retried(port, async || {
                made += 1;
                assert!(made <= ATTEMPTS);
                if made > failures { Ok(()) } else { server.listen(taken).map(drop) }
            });
            assert_eq!((result.await.is_ok(), made), (failures < attempts, attempts), "port {port}");
        }
    }
}
