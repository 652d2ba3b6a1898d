//! The emulator as a program:
//!
//!     embed_in_emulator [API_ADDRESS [DNS_ADDRESS]]
//!
//! The defaults are `127.0.0.1:4566` and `127.0.0.1:8053`. For example:
//!
//!     export AWS_ENDPOINT_URL=http://127.0.0.1:4566 AWS_DEFAULT_REGION=eu-west-1 AWS_ACCESS_KEY_ID=web AWS_SECRET_ACCESS_KEY=any
//!     aws servicediscovery create-private-dns-namespace --name app.local --vpc vpc-1
//!     aws servicediscovery create-service --name web --dns-config "DnsRecords=[{Type=A,TTL=60}]" \
//!       --namespace-id "$(aws servicediscovery list-namespaces --query 'Namespaces[0].Id' --output text)"
//!     aws ecs run-task --task-definition web --group service:web --count 2
//!     dig +short @127.0.0.1 -p 8053 web.app.local

use std::{env, error::Error, sync::Arc};

use embed_in_emulator::{Emulator, router};
use sd_backend_memory::MemoryRegistry;
use sd_core::CloudMap;
use sd_dns::{DnsServer, NameTable};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let api = arguments.next().unwrap_or_else(|| "127.0.0.1:4566".to_owned());
    let dns = arguments.next().unwrap_or_else(|| "127.0.0.1:8053".to_owned());

    let cloud_map = CloudMap::new(MemoryRegistry::new());
    // DNS: a table that follows the registry, and the sockets that answer from it.
    let names = NameTable::new();
    let _attached = cloud_map.cell().attach(Arc::new(names.clone()));
    let dns = DnsServer::bind(names, [dns.parse()?]).await?;
    // The API, on the same port as the emulator's other services.
    let listener = TcpListener::bind(api).await?;
    println!("API {}, DNS {}", listener.local_addr()?, dns.local_addrs()[0]);
    axum::serve(listener, router(Emulator::new(cloud_map))).await?;
    Ok(())
}
