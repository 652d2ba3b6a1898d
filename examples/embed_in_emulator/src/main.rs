//! The emulator as a program, on Linux. For example:
//!
//!     embed_in_emulator &
//!     export AWS_ENDPOINT_URL=http://127.0.0.1:5373 AWS_DEFAULT_REGION=eu-west-1 AWS_ACCESS_KEY_ID=web AWS_SECRET_ACCESS_KEY=any
//!     aws servicediscovery create-private-dns-namespace --name app.local --vpc vpc-1
//!     aws servicediscovery create-service --name web --dns-config "DnsRecords=[{Type=A,TTL=60}]" \
//!       --namespace-id "$(aws servicediscovery list-namespaces --query 'Namespaces[0].Id' --output text)"
//!     aws ecs register-task-definition --family web --network-mode awsvpc --container-definitions \
//!       '[{"name": "web", "image": "any", "command": ["sh", "-c", "exec python3 -m http.server --bind $ECS_TASK_ADDRESS"]}]'
//!     aws ecs create-service --service-name web --task-definition web --desired-count 2 \
//!       --network-configuration "awsvpcConfiguration={subnets=[subnet-1]}" --service-registries \
//!       "registryArn=$(aws servicediscovery list-services --query 'Services[0].Arn' --output text)"
//!     aws ecs wait services-stable --services web
//!     dig +short @127.0.0.1 -p 8053 web.app.local

use std::{env, error::Error, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use embed_in_emulator::{Emulator, Settings, registry_file, router, supervisor};
use sd_backend_memory::MemoryRegistry;
use sd_core::{CloudMap, Timing, ecs::Drain};
use sd_dns::{DnsServer, NameTable};
use sd_http::health_checks::Prober;
use tokio::{net::TcpListener, time::sleep};

/// An emulator of ECS and Cloud Map on one port. Its tasks are local processes.
#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    settings: Arguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Args)]
struct Arguments {
    /// Address of the API.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5373")]
    http: SocketAddr,
    /// Address of DNS, UDP and TCP.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8053")]
    dns: SocketAddr,
    /// Directory of programs that stand for images: the image `registry/web:latest` is the program DIR/web. Without it,
    /// each container needs a command.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Milliseconds that a task goes on after it left discovery, for clients that have its address.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    drain: u64,
    /// How many tasks there may be at once.
    #[arg(long, value_name = "COUNT", default_value_t = 0xfffe, value_parser = clap::value_parser!(u16).range(1..0xffff))]
    addresses: u16,
    /// Milliseconds of a second of ECS, such as those of a health check's interval.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    second: u64,
    /// How long Cloud Map's operations take.
    #[arg(long, value_enum, default_value_t = Speed::Instant)]
    timing: Speed,
    /// File that keeps Cloud Map's registry over a restart. Clusters, services and tasks of ECS are not kept.
    #[arg(long, value_name = "FILE")]
    registry: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Speed {
    Instant,
    /// As long as at AWS.
    Aws,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command of a task. The emulator calls it.
    #[command(hide = true)]
    Supervise {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    let Cli { settings, command } = Cli::parse();
    match command {
        Some(Command::Supervise { command }) => Ok(supervisor::run(command.into_iter())?),
        None => emulate(settings),
    }
}

#[tokio::main]
async fn emulate(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let mut settings =
        Settings::new(env::current_exe()?).with_second(Duration::from_millis(arguments.second));
    settings.images = arguments.images;
    settings.addresses = arguments.addresses;
    if arguments.drain > 0 {
        settings.drain = Drain::For(Duration::from_millis(arguments.drain));
    }
    let timing = match arguments.timing {
        Speed::Instant => Timing::instant(),
        Speed::Aws => Timing::aws(),
    };
    let registry = match &arguments.registry {
        Some(file) => registry_file::read(file)?,
        None => MemoryRegistry::new(),
    };
    let cloud_map = CloudMap::builder(registry).timing(timing).build();
    // Applies what Cloud Map does by itself after a time, even if nobody calls.
    tokio::spawn(cloud_map.clone().keep_time(sleep));
    let emulator = Emulator::new(cloud_map.clone(), settings);
    // DNS: a table that follows the registry, and the sockets that answer from it.
    let names = NameTable::new();
    let _attached = cloud_map.cell().attach(Arc::new(names.clone()));
    let dns = DnsServer::builder(names).with_alias_resolver(emulator.aliases()).bind([arguments.dns]).await?;
    let _kept = arguments.registry.map(|file| registry_file::keep(file, cloud_map.cell())).transpose()?;
    // The health checks of Cloud Map's services. Those of containers are ECS's.
    let _prober = Prober::new(cloud_map).spawn()?;
    // The API, on the same port as the emulator's other services.
    let listener = TcpListener::bind(arguments.http).await?;
    println!("API {}, DNS {}", listener.local_addr()?, dns.local_addrs()[0]);
    axum::serve(listener, router(emulator)).await?;
    Ok(())
}
