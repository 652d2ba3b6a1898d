//! `sd-server`: AWS Cloud Map in one process. The HTTP API, DNS, and a registry in memory.

#![forbid(unsafe_code)]

mod dns;
mod listen;
mod probe;
mod settings;
mod terminal;

use std::{fmt, io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use sd_backend_memory::MemoryRegistry;
use sd_core::CloudMap;
use sd_dns::{DnsServer, Forwarder, NameTable};
use sd_http::{
    AdminRoutes, CloudMapService, ConnectionCounters, HttpServer, Readiness, RequestCounters,
    health_checks::Prober,
};
use sd_server::DnsReport;
use serde::Serialize;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

use crate::{
    dns::Running,
    settings::{Cli, Command, Exports, Settings},
    terminal::{complain, print, start_log, unless_closed},
};

/// Exit code: standard output cannot be written to.
const UNUSABLE_OUTPUT: u8 = 1;
/// Exit code: a setting is invalid, or the system refuses it, such as a port that is taken.
const UNUSABLE_SETTINGS: u8 = 2;
/// Exit code: this plus the number of the signal, as shells do.
const SIGNALLED: u8 = 128;

/// How long requests in progress may delay the end. `docker stop` kills after 10 s.
const DRAIN: Duration = Duration::from_secs(8);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let _ = error.print();
            return ExitCode::from(UNUSABLE_SETTINGS);
        }
        Err(help) => return exit_code(unless_closed(help.print())),
    };
    match &cli.command {
        Some(Command::Env(settings)) => {
            return exit_code(print(Exports { settings, http: &settings.http }));
        }
        Some(Command::Probe(probe)) => {
            return match probe.run() {
                Ok(text) => exit_code(print(text)),
                Err(error) => {
                    complain(error);
                    ExitCode::from(UNUSABLE_SETTINGS)
                }
            };
        }
        None => {}
    }
    if let Err(error) = start_log() {
        complain(error);
        return ExitCode::from(UNUSABLE_SETTINGS);
    }
    // The soft limit of most shells is below the connections that this server accepts. The hard limit is not.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::debug!(%error, "cannot raise the limit of file descriptors");
    }
    match run(&cli.settings) {
        Ok(End::Drained) => ExitCode::SUCCESS,
        Ok(End::Signalled(number)) => ExitCode::from(SIGNALLED + number),
        Err(error) => {
            complain(&error);
            ExitCode::from(match error {
                StartError::Output(_) => UNUSABLE_OUTPUT,
                _ => UNUSABLE_SETTINGS,
            })
        }
    }
}

/// The exit code of a command that prints and ends.
fn exit_code(printed: io::Result<()>) -> ExitCode {
    match printed.map_err(StartError::Output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::from(UNUSABLE_OUTPUT)
        }
    }
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("--http: {0}")]
    Http(sd_http::BindError),
    #[error("--admin: {0}")]
    Admin(sd_http::BindError),
    #[error("--dns: {0}")]
    Dns(#[from] dns::BindError),
    #[error("--forward system: {0}")]
    Forward(#[from] sd_dns::SystemResolverError),
    #[error("{0}")]
    HealthChecks(#[from] sd_http::health_checks::SpawnError),
    #[error("cannot start the runtime: {0}")]
    Runtime(#[from] io::Error),
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

/// How the server ends.
enum End {
    /// After a signal, once requests in progress are answered, or after [`DRAIN`].
    Drained,
    /// At once, by a second signal, of this number.
    Signalled(u8),
}

#[tokio::main]
async fn run(settings: &Settings) -> Result<End, StartError> {
    // Before the ports are open, so that a signal after the first answer drains.
    let mut signals = Signals::new()?;
    let cloud_map = CloudMap::builder(MemoryRegistry::new())
        .mode(settings.mode())
        .timing(settings.timing())
        .quotas(settings.quotas())
        .health_start(settings.health_start())
        .build();
    let service = CloudMapService::new(cloud_map.clone())
        .with_default_scope(settings.scope())
        .with_allowed_origins(settings.allow_origin.iter().cloned());
    let table = NameTable::new();
    let _attached = cloud_map.cell().attach(Arc::new(table.clone()));
    let mut dns = DnsServer::builder(table.clone());
    let forwarder = settings.forwarder()?;
    if let Some(forwarder) = &forwarder {
        dns = dns.with_forwarder(forwarder.clone());
    }
    let dns = dns::bind(dns, &settings.dns).await?;
    let dns_addresses = dns.local_addrs().to_vec();
    let dns = Running::new(dns);
    let readiness = Readiness::new();
    let http =
        HttpServer::bind(&settings.http.to_string(), service.clone()).await.map_err(StartError::Http)?;
    let meter = http.meter();
    let for_report = dns.clone();
    let routes = AdminRoutes::new(cloud_map.clone(), readiness.clone())
        .with_allowed_origins(settings.allow_origin.iter().cloned())
        .with_report("dns", move || Some(DnsReport::new(&table, &for_report.counters()?)))
        .with_report("http", move || {
            Some(HttpReport { requests: service.counters(), connections: meter.counters() })
        });
    let prober = settings.prober(&cloud_map).map(Prober::spawn).transpose()?;
    let routes = match &prober {
        Some(prober) => routes.with_routes(prober.routes(settings.scope())),
        None => routes,
    };
    let admin = HttpServer::bind(&settings.admin.to_string(), routes.into_router())
        .await
        .map_err(StartError::Admin)?;
    readiness.ready();

    let timer = tokio::spawn(cloud_map.keep_time(tokio::time::sleep));
    let banner = Banner {
        settings,
        http: http.local_addrs(),
        admin: admin.local_addrs(),
        dns: &dns_addresses,
        forwarder: forwarder.as_ref(),
    };
    tracing::info!(
        api = addresses(banner.http),
        admin = addresses(banner.admin),
        dns = addresses(banner.dns),
        "listening"
    );
    print(banner).map_err(StartError::Output)?;

    signals.received().await;
    readiness.draining();
    tracing::info!("draining");
    timer.abort();
    let deadline = Instant::now() + DRAIN;
    // Leaves time for the admin port, which drains last.
    let earlier = deadline - DRAIN / 16;
    let drain = async {
        let dns = async {
            if let Some(dns) = dns.take() {
                dns.drain(earlier).await;
            }
        };
        tokio::join!(http.drain(earlier), dns);
        // Last, so that probes are answered until the end.
        admin.drain(deadline).await;
    };
    tokio::select! {
        biased;
        number = signals.received() => Ok(End::Signalled(number)),
        () = drain => Ok(End::Drained),
    }
}

/// The report of HTTP on the admin port, `GET /_sd/http`.
#[derive(Serialize)]
struct HttpReport {
    requests: RequestCounters,
    connections: ConnectionCounters,
}

/// What the server prints once it listens.
struct Banner<'a> {
    settings: &'a Settings,
    http: &'a [SocketAddr],
    admin: &'a [SocketAddr],
    dns: &'a [SocketAddr],
    forwarder: Option<&'a Forwarder>,
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, http, admin, dns, forwarder } = self;
        writeln!(f, "sd-server {} (memory, {:?})", env!("CARGO_PKG_VERSION"), settings.mode())?;
        writeln!(f, "  API    {}", addresses(http))?;
        writeln!(f, "  admin  {}", addresses(admin))?;
        writeln!(f, "  DNS    {}", addresses(dns))?;
        if let Some(forwarder) = forwarder {
            let upstreams: Vec<_> = forwarder.upstreams().collect();
            writeln!(f, "         forwards other names to {}", addresses(&upstreams))?;
        }
        if http.iter().chain(*dns).all(|address| address.ip().is_loopback()) {
            writeln!(
                f,
                "Other machines cannot connect. To let them: --http 0.0.0.0:{} --dns 0.0.0.0:{}",
                http.first().map_or(0, SocketAddr::port),
                dns.first().map_or(0, SocketAddr::port),
            )?;
        }
        writeln!(f, "In another terminal, for the AWS CLI and SDKs:")?;
        Exports { settings, http: &settings.http.bound(http) }.fmt(f)
    }
}

fn addresses(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// The signals that end the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    const TERMINATE: u8 = 15;
    const INTERRUPT: u8 = 2;

    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The number of the next signal.
    async fn received(&mut self) -> u8 {
        tokio::select! {
            _ = self.terminate.recv() => Self::TERMINATE,
            _ = self.interrupt.recv() => Self::INTERRUPT,
        }
    }
}
