//! The emulator as a program, on Linux:
//!
//!     embed_in_emulator [--second MILLISECONDS] [API_ADDRESS [DNS_ADDRESS]]
//!
//! The defaults are `127.0.0.1:4566` and `127.0.0.1:8053`. `--second` sets how long a second of ECS takes, such as those of a
//! health check's interval. For example:
//!
//!     export AWS_ENDPOINT_URL=http://127.0.0.1:4566 AWS_DEFAULT_REGION=eu-west-1 AWS_ACCESS_KEY_ID=web AWS_SECRET_ACCESS_KEY=any
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

use std::{env, error::Error, sync::Arc, time::Duration};

use embed_in_emulator::{Emulator, Settings, router, supervisor};
use sd_backend_memory::MemoryRegistry;
use sd_core::CloudMap;
use sd_dns::{DnsServer, NameTable};
use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1).peekable();
    if arguments.next_if_eq("supervise").is_some() {
        return Ok(supervisor::run(arguments)?);
    }
    emulate(arguments)
}

#[tokio::main]
async fn emulate(mut arguments: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::new(env::current_exe()?);
    let mut api = arguments.next();
    if api.as_deref() == Some("--second") {
        let milliseconds = arguments.next().ok_or("--second: expected a number of milliseconds")?;
        let milliseconds = milliseconds
            .parse()
            .map_err(|_| format!("invalid --second {milliseconds:?}: expected a number of milliseconds"))?;
        settings = settings.with_second(Duration::from_millis(milliseconds));
        api = arguments.next();
    }
    let api = api.unwrap_or_else(|| "127.0.0.1:4566".to_owned());
    let dns = arguments.next().unwrap_or_else(|| "127.0.0.1:8053".to_owned());

    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let emulator = Emulator::new(cloud_map.clone(), settings);
    // DNS: a table that follows the registry, and the sockets that answer from it.
    let names = NameTable::new();
    let _attached = cloud_map.cell().attach(Arc::new(names.clone()));
    let dns = DnsServer::builder(names).with_alias_resolver(emulator.aliases()).bind([dns.parse()?]).await?;
    // The API, on the same port as the emulator's other services.
    let listener = TcpListener::bind(api).await?;
    println!("API {}, DNS {}", listener.local_addr()?, dns.local_addrs()[0]);
    axum::serve(listener, router(emulator)).await?;
    Ok(())
}
