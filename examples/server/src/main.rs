//! `sd-server`: AWS Cloud Map in one process. The HTTP API, DNS for what is registered, a registry in memory.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a program with a terminal")]

mod dns_report;
mod settings;

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc};

use clap::Parser;
use sd_backend_memory::MemoryRegistry;
use sd_core::CloudMap;
use sd_dns::{DnsServer, NameTable};
use sd_http::{AdminRoutes, CloudMapService, HttpServer, Readiness};
use settings::{Cli, Command, Exports, Settings};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// What the settings ask for cannot be had: a port is taken, an address is none.
const UNUSABLE_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Env(settings)) = &cli.command {
        print!("{}", Exports { settings, http: &settings.http });
        return ExitCode::SUCCESS;
    }
    let filter = EnvFilter::try_from_env("SD_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    // Shells give out fewer descriptors than this server has places for connections; what they allow in all is enough.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::debug!(%error, "the number of descriptors stays as it is");
    }
    match run(&cli.settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sd-server: {error}");
            ExitCode::from(UNUSABLE_SETTINGS)
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
    Dns(#[from] sd_dns::BindError),
    #[error("--forward system: {0}")]
    Forward(#[from] sd_dns::SystemResolverError),
    #[error("no runtime: {0}")]
    Runtime(#[from] io::Error),
}

#[tokio::main]
async fn run(settings: &Settings) -> Result<(), StartError> {
    // Caught before the ports are open, so that a signal after the first answer always drains.
    let mut signals = Signals::new()?;
    let cloud_map = CloudMap::builder(MemoryRegistry::new())
        .mode(settings.mode())
        .timing(settings.timing())
        .quotas(settings.quotas())
        .build();
    let service = CloudMapService::new(cloud_map.clone()).with_default_scope(settings.scope());
    let table = NameTable::new();
    let _attached = cloud_map.cell().attach(Arc::new(table.clone()));
    let http = HttpServer::bind(&settings.http, service).await.map_err(StartError::Http)?;
    let mut dns = DnsServer::builder(table.clone());
    let forwarder = settings.forwarder()?;
    if let Some(forwarder) = &forwarder {
        dns = dns.with_forwarder(forwarder.clone());
    }
    let dns = Arc::new(dns.bind(settings.dns.iter().copied()).await?);
    let readiness = Readiness::new();
    let routes = AdminRoutes::new(cloud_map.clone(), readiness.clone())
        .with_routes(dns_report::routes(table, Arc::downgrade(&dns)))
        .into_router();
    let admin = HttpServer::bind(&settings.admin, routes).await.map_err(StartError::Admin)?;

    readiness.ready();
    let timer = tokio::spawn(cloud_map.keep_time(tokio::time::sleep));

    println!("sd-server {} (memory, {:?})", env!("CARGO_PKG_VERSION"), settings.mode());
    println!("  API    {}", addresses(http.local_addrs()));
    println!("  admin  {}", addresses(admin.local_addrs()));
    println!("  DNS    {}", addresses(dns.local_addrs()));
    if let Some(forwarder) = &forwarder {
        println!(
            "         other names are asked of {}",
            addresses(&forwarder.upstreams().collect::<Vec<_>>())
        );
    }
    println!("In another terminal, for the AWS CLI and SDKs:");
    let bound = match http.local_addrs() {
        [first, ..] if settings.http.ends_with(":0") => first.to_string(),
        _ => settings.http.clone(),
    };
    print!("{}", Exports { settings, http: &bound });

    signals.received().await;
    tracing::info!("draining");
    readiness.draining();
    timer.abort();
    http.shutdown().await;
    admin.shutdown().await;
    // Nobody else has it: the admin port, which looks at it, is closed.
    if let Some(dns) = Arc::into_inner(dns) {
        dns.shutdown().await;
    }
    Ok(())
}

fn addresses(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// The signals that end the server in order.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
