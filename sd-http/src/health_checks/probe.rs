//! One probe: connect, handshake, ask, read the head of the response.

use std::{
    future::{Future, poll_fn},
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    sync::Arc,
    task::{Poll, ready},
    time::Duration,
};

use sd_core::{
    health_check::{CheckTarget, HTTP_CONNECT, HTTP_STATUS, TCP_CONNECT, is_healthy_status},
    model::HealthCheckType,
};
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
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

/// The octets that are read at a time.
const READ: usize = 2048;

/// The request of a probe; none for TCP. `reference` is the id of the check, which the target sees.
pub(super) fn request(target: &CheckTarget, reference: &str) -> String {
    match target.kind {
        HealthCheckType::Tcp => String::new(),
        HealthCheckType::Http | HealthCheckType::Https => format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nUser-Agent: Amazon-Route53-Health-Check-Service (ref \
             {reference}; report http://amzn.to/1vsZADi)\r\nAccept: */*\r\nAccept-Encoding: *\r\n\r\n",
            target.path, target.host,
        ),
    }
}

/// Probes a target once. If the caller polls the future at `polled_at` in any case, no timers are made before.
///
/// # Errors
/// This machine cannot probe, such as without free sockets. Nothing is known of the target.
pub(super) async fn probe(
    target: &CheckTarget,
    request: &str,
    setup: &Setup,
    polled_at: Option<Duration>,
) -> Result<Probed, io::Error> {
    let now = setup.timer.now();
    let mut clock = Stopwatch { timer: &*setup.timer, polled_at: polled_at.unwrap_or(now), last: now };
    let mut phases = Phases::default();
    let result = match ask(target, request, setup, &mut clock, &mut phases).await {
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
    polled_at: Duration,
    last: Duration,
}

impl<'a> Stopwatch<'a> {
    /// The microseconds since the last lap.
    fn lap(&mut self) -> Option<u32> {
        let (before, now) = (self.last, self.timer.now());
        self.last = now;
        Some(u32::try_from(now.saturating_sub(before).as_micros()).unwrap_or(u32::MAX))
    }

    /// What the future comes to, or a failure at this moment. The future may use the stopwatch.
    fn before<F: Future>(
        &self,
        moment: Duration,
        failure: Failure,
        future: F,
    ) -> impl Future<Output = Result<F::Output, Fault>> + use<'a, F> {
        let (timer, polled_at) = (self.timer, self.polled_at);
        async move {
            let mut future = pin!(future);
            let mut sleep = None;
            poll_fn(|context| {
                if let Poll::Ready(output) = future.as_mut().poll(context) {
                    return Poll::Ready(Ok(output));
                }
                if sleep.is_none() && timer.now() < polled_at {
                    return Poll::Pending;
                }
                let sleep = sleep.get_or_insert_with(|| timer.sleep_until(moment));
                sleep.as_mut().poll(context).map(|()| Err(Fault::Target(failure)))
            })
            .await
        }
    }
}

/// The status of the target's response; 0 for TCP.
async fn ask(
    target: &CheckTarget,
    request: &str,
    setup: &Setup,
    clock: &mut Stopwatch<'_>,
    phases: &mut Phases,
) -> Result<u16, Fault> {
    if target.is_link_local() && !setup.link_local {
        return Err(Fault::Target(Failure::ForbiddenAddress));
    }
    let connect_by = clock.last.saturating_add(match target.kind {
        HealthCheckType::Tcp => TCP_CONNECT,
        HealthCheckType::Http | HealthCheckType::Https => HTTP_CONNECT,
    });
    let connecting = TcpStream::connect(target.address);
    let stream = clock.before(connect_by, Failure::ConnectTimeout, connecting).await?.map_err(Fault::of)?;
    // A connection to a free port of this machine can connect to itself, if that port is drawn as its own.
    if stream.local_addr().is_ok_and(|local| local == target.address) {
        return Err(Fault::Target(Failure::Refused));
    }
    phases.connect = clock.lap();
    match target.kind {
        HealthCheckType::Tcp => Ok(0),
        HealthCheckType::Http => exchange(stream, request, clock, phases).await,
        // In a box, so that the others are small.
        HealthCheckType::Https => {
            Box::pin(async {
                let name =
                    target.server_name.as_deref().and_then(|name| ServerName::try_from(name.to_owned()).ok());
                let name = name.unwrap_or_else(|| ServerName::from(target.address.ip()));
                let handshake = setup.tls.connect(name, stream);
                let stream = clock.before(connect_by, Failure::ConnectTimeout, handshake).await?;
                let stream = stream.map_err(|_| Fault::Target(Failure::Tls))?;
                phases.tls = clock.lap();
                exchange(stream, request, clock, phases).await
            })
            .await
        }
    }
}

/// Sends the request and reads the head of the response.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
    clock: &mut Stopwatch<'_>,
    phases: &mut Phases,
) -> Result<u16, Fault> {
    let status_by = clock.last.saturating_add(HTTP_STATUS);
    let watch = Stopwatch { ..*clock };
    let exchange = async {
        // A target may answer and close before it has read the request.
        let sent = stream.write_all(request.as_bytes()).await;
        let mut head = Head::default();
        loop {
            let is_first = head.is_empty();
            let received = match receive(&mut stream, &mut head).await {
                Ok(None) => return Err(Fault::Target(Failure::Closed)),
                Ok(Some(received)) => received,
                Err(error) => return Err(Fault::of(sent.err().unwrap_or(error))),
            };
            if is_first {
                phases.first_byte = clock.lap();
            }
            if let Some(status) = received.map_err(Fault::Target)? {
                phases.status = clock.lap();
                return Ok(status);
            }
        }
    };
    watch.before(status_by, Failure::StatusTimeout, exchange).await?
}

/// Reads once, and returns what that makes of the head; `None` at the end of the stream. The buffer is not part of the
/// future, so that probes under way are small.
async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    head: &mut Head,
) -> io::Result<Option<Result<Option<u16>, Failure>>> {
    poll_fn(|context| {
        let mut buffer = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut buffer);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(match buffer.filled() {
            [] => None,
            octets => Some(head.receive(octets)),
        }))
    })
    .await
}
