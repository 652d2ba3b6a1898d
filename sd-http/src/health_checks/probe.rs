//! One probe: connect, handshake, ask, read the head of the response.

use std::{future::Future, io, sync::Arc, time::Duration};

use sd_core::{
    health_check::{CheckTarget, HTTP_CONNECT, HTTP_STATUS, TCP_CONNECT, is_healthy_status},
    model::HealthCheckType,
};
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::{
    failure::{Failure, Fault},
    head::Head,
    timer::Timer,
};

/// What all probes have in common.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) timer: Arc<dyn Timer>,
    pub(super) tls: TlsConnector,
    /// Whether link-local addresses are asked.
    pub(super) link_local: bool,
}

/// How long each phase took. A phase that was not reached has no time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Phases {
    /// Until the connection was there, in microseconds.
    #[serde(rename = "connect_us", skip_serializing_if = "Option::is_none")]
    pub connect: Option<u32>,
    /// From then until the TLS handshake was done.
    #[serde(rename = "tls_us", skip_serializing_if = "Option::is_none")]
    pub tls: Option<u32>,
    /// From then until the first octet of the response.
    #[serde(rename = "first_byte_us", skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<u32>,
    /// From then until the head of the response was complete.
    #[serde(rename = "status_us", skip_serializing_if = "Option::is_none")]
    pub status: Option<u32>,
}

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probed {
    /// The status of the response, 0 for a TCP connection; or why the check failed.
    pub result: Result<u16, Failure>,
    /// How long it took.
    pub phases: Phases,
}

/// Probes a target once. `reference` is the id of the check, which the target sees.
///
/// # Errors
/// This machine cannot probe, such as without free sockets. Nothing is known of the target.
pub(super) async fn probe(target: &CheckTarget, reference: &str, setup: &Setup) -> Result<Probed, io::Error> {
    let mut clock = Stopwatch { timer: &*setup.timer, last: setup.timer.now() };
    let mut phases = Phases::default();
    let result = match ask(target, reference, setup, &mut clock, &mut phases).await {
        Ok(0) => Ok(0),
        Ok(status) if is_healthy_status(status) => Ok(status),
        Ok(status) => Err(Failure::Status(status)),
        Err(Fault::Target(failure)) => Err(failure),
        Err(Fault::Here(error)) => return Err(error),
    };
    Ok(Probed { result, phases })
}

struct Stopwatch<'a> {
    timer: &'a dyn Timer,
    last: Duration,
}

impl Stopwatch<'_> {
    /// The microseconds since the last lap.
    fn lap(&mut self) -> Option<u32> {
        let (before, now) = (self.last, self.timer.now());
        self.last = now;
        Some(u32::try_from(now.saturating_sub(before).as_micros()).unwrap_or(u32::MAX))
    }
}

/// The status of the target's response; 0 for TCP.
async fn ask(
    target: &CheckTarget,
    reference: &str,
    setup: &Setup,
    clock: &mut Stopwatch<'_>,
    phases: &mut Phases,
) -> Result<u16, Fault> {
    if target.is_link_local() && !setup.link_local {
        return Err(Fault::Target(Failure::ForbiddenAddress));
    }
    let timer = &*setup.timer;
    let connect_by = clock.last.saturating_add(match target.kind {
        HealthCheckType::Tcp => TCP_CONNECT,
        HealthCheckType::Http | HealthCheckType::Https => HTTP_CONNECT,
    });
    let connecting = TcpStream::connect(target.address);
    let stream = before(timer, connect_by, Failure::ConnectTimeout, connecting).await?.map_err(Fault::of)?;
    // A connection to a free port of this machine can connect to itself, if that port is drawn as its own.
    if stream.local_addr().is_ok_and(|local| local == target.address) {
        return Err(Fault::Target(Failure::Refused));
    }
    phases.connect = clock.lap();
    match target.kind {
        HealthCheckType::Tcp => Ok(0),
        HealthCheckType::Http => exchange(stream, target, reference, clock, phases).await,
        HealthCheckType::Https => {
            let name =
                target.server_name.as_deref().and_then(|name| ServerName::try_from(name.to_owned()).ok());
            let name = name.unwrap_or_else(|| ServerName::from(target.address.ip()));
            let handshake = setup.tls.connect(name, stream);
            let stream = before(timer, connect_by, Failure::ConnectTimeout, handshake).await?;
            let stream = stream.map_err(|_| Fault::Target(Failure::Tls))?;
            phases.tls = clock.lap();
            exchange(stream, target, reference, clock, phases).await
        }
    }
}

/// Sends the request and reads the head of the response.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    target: &CheckTarget,
    reference: &str,
    clock: &mut Stopwatch<'_>,
    phases: &mut Phases,
) -> Result<u16, Fault> {
    let (timer, status_by) = (clock.timer, clock.last.saturating_add(HTTP_STATUS));
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nUser-Agent: Amazon-Route53-Health-Check-Service (ref \
         {reference}; report http://amzn.to/1vsZADi)\r\nAccept: */*\r\nAccept-Encoding: *\r\n\r\n",
        target.path, target.host,
    );
    let exchange = async {
        // A target may answer and close before it has read the request.
        let sent = stream.write_all(request.as_bytes()).await;
        let (mut head, mut buffer) = (Head::default(), [0; 2048]);
        loop {
            let count = match stream.read(&mut buffer).await {
                Ok(0) => return Err(Fault::Target(Failure::Closed)),
                Ok(count) => count,
                Err(error) => return Err(Fault::of(sent.err().unwrap_or(error))),
            };
            if head.is_empty() {
                phases.first_byte = clock.lap();
            }
            if let Some(status) = head.receive(&buffer[..count]).map_err(Fault::Target)? {
                phases.status = clock.lap();
                return Ok(status);
            }
        }
    };
    before(timer, status_by, Failure::StatusTimeout, exchange).await?
}

/// What the future comes to, or a failure at this moment.
async fn before<F: Future>(
    timer: &dyn Timer,
    moment: Duration,
    failure: Failure,
    future: F,
) -> Result<F::Output, Fault> {
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = timer.sleep_until(moment) => Err(Fault::Target(failure)),
    }
}
