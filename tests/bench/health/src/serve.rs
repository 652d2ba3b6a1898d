//! A Cloud Map whose prober, DNS door and HTTP door have threads of their own: `prober`, `dns` and `http`.
//!
//! Prints the ports of the doors. Then each line of the input is `on` or `off`, which gives the prober the turn or takes it, or
//! another one, and the answer is the prober's counters.

use std::{
    error::Error,
    io::{self, BufRead},
    net::{Ipv4Addr, SocketAddr},
    num::NonZero,
    sync::Arc,
    thread,
};

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    CloudMap, Scope,
    model::{HealthCheckType, RecordType},
    request::{
        CreatePrivateDnsNamespaceRequest, CreateServiceRequest, DnsConfigInput, HealthCheckConfigInput,
        RegisterInstanceRequest,
    },
};
use sd_dns::{DnsServer, NameTable};
use sd_http::{CloudMapService, HttpServer, health_checks::Prober};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};

use crate::{Outcome, answer, runtime};

/// Instances of each probed service.
const PER_SERVICE: usize = 100;
/// Instances of the service that DNS and HTTP are asked for, which is not probed.
const ASKED: usize = 8;

pub(crate) fn run(addresses: &[SocketAddr]) -> Outcome {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let table = NameTable::new();
    let _attached = cloud_map.cell().attach(Arc::new(table.clone()));

    let doors = Builder::new_current_thread().build()?;
    doors.block_on(fill(&cloud_map, addresses))?;
    let dns = Builder::new_current_thread().enable_all().build()?;
    let builder = DnsServer::builder(table).with_udp_workers(NonZero::<usize>::MIN);
    let dns_server = dns.block_on(builder.bind([(Ipv4Addr::LOCALHOST, 0).into()]))?;
    let http = Builder::new_current_thread().enable_all().build()?;
    let service = CloudMapService::new(cloud_map.clone());
    let http_server = http.block_on(HttpServer::bind("127.0.0.1:0", service))?;
    answer(&format!("{} {}", dns_server.local_addrs()[0].port(), http_server.local_addrs()[0].port()))?;
    keep_running("dns", dns)?;
    keep_running("http", http)?;

    let prober = runtime("prober")?;
    let (turn, has_turn) = watch::channel(false);
    let entered = prober.enter();
    let handle = Prober::new(cloud_map).with_turn(has_turn).spawn()?;
    drop(entered);
    for line in io::stdin().lock().lines() {
        match line?.as_str() {
            "on" => turn.send(true)?,
            "off" => turn.send(false)?,
            _ => {}
        }
        answer(&serde_json::to_string(&handle.counters())?)?;
    }
    Ok(())
}

fn keep_running(name: &str, runtime: Runtime) -> io::Result<()> {
    let run = move || runtime.block_on(std::future::pending::<()>());
    thread::Builder::new().name(name.into()).spawn(run).map(drop)
}

async fn fill(cloud_map: &CloudMap, addresses: &[SocketAddr]) -> Result<(), Box<dyn Error>> {
    let api = cloud_map.at(Scope::default());
    let request = CreatePrivateDnsNamespaceRequest::new("probed.local", "vpc-1");
    let probed = api.create_private_dns_namespace(request).await?.namespace_id;
    let request = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
    let app = api.create_private_dns_namespace(request).await?.namespace_id;
    let with_records = |name: String| {
        CreateServiceRequest::new(name).with_dns_config(DnsConfigInput::new([(RecordType::A, 60)]))
    };
    for (number, addresses) in addresses.chunks(PER_SERVICE).enumerate() {
        let mut check = HealthCheckConfigInput::new(HealthCheckType::Http);
        check.resource_path = Some("/health".into());
        check.failure_threshold = Some(3);
        let request =
            with_records(format!("s{number:02}")).with_namespace_id(&probed).with_health_check_config(check);
        let service = api.create_service(request).await?.id.to_string();
        for (number, address) in addresses.iter().enumerate() {
            register(cloud_map, &service, number, address.ip().to_string(), address.port()).await?;
        }
    }
    let request = with_records("web".into()).with_namespace_id(&app);
    let service = api.create_service(request).await?.id.to_string();
    for number in 0..ASKED {
        register(cloud_map, &service, number, format!("10.0.0.{}", 1 + number), 8080).await?;
    }
    Ok(())
}

async fn register(cloud_map: &CloudMap, service: &str, number: usize, ip: String, port: u16) -> Outcome {
    let request = RegisterInstanceRequest::new(service, format!("i-{number}"))
        .with_attribute("AWS_INSTANCE_IPV4", ip)
        .with_attribute("AWS_INSTANCE_PORT", port.to_string());
    cloud_map.at(Scope::default()).register_instance(request).await?;
    Ok(())
}
