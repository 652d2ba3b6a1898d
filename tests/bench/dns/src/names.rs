//! A registry with names: one half is `a0`, `a1` … with eight A records each, the other `s0`, `s1` … with eight SRV records
//! and the addresses of their targets. `bench.py` writes the same names as a zone file for other servers.

use std::{error::Error, sync::Arc};

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Attached, Scope, SyncCloudMap, SyncScopedCloudMap,
    model::RecordType,
    request::{
        CreatePrivateDnsNamespaceRequest, CreateServiceRequest, DnsConfigInput, RegisterInstanceRequest,
    },
};
use sd_dns::NameTable;

pub(crate) const INSTANCES: usize = 8;

pub(crate) struct Names {
    api: SyncScopedCloudMap,
    /// The ids of the services. Those at odd positions have SRV records.
    services: Vec<String>,
    pub(crate) table: NameTable,
    _attached: Attached,
    _cloud_map: SyncCloudMap,
}

impl Names {
    pub(crate) fn new(count: usize) -> Result<Self, Box<dyn Error>> {
        let cloud_map = SyncCloudMap::new(MemoryRegistry::new());
        let table = NameTable::new();
        let attached = cloud_map.cell().attach(Arc::new(table.clone()));
        let api = cloud_map.at(Scope::default());
        let app = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
        let app = api.create_private_dns_namespace(app)?;
        let create = |number: usize| -> Result<String, Box<dyn Error>> {
            let (letter, records) = match number % 2 {
                0 => ("a", &[(RecordType::A, 60)][..]),
                _ => ("s", &[(RecordType::A, 60), (RecordType::Srv, 60)][..]),
            };
            let request = CreateServiceRequest::new(format!("{letter}{}", number / 2))
                .with_namespace_id(&app.namespace_id)
                .with_dns_config(DnsConfigInput::new(records.iter().copied()));
            Ok(api.create_service(request)?.id.to_string())
        };
        let services = (0..count).map(create).collect::<Result<_, _>>()?;
        let names = Self { api, services, table, _attached: attached, _cloud_map: cloud_map };
        for place in 0..count * INSTANCES {
            names.register(place, 0)?;
        }
        Ok(names)
    }

    /// The number of instances.
    pub(crate) fn instances(&self) -> usize {
        self.services.len() * INSTANCES
    }

    /// Registers an instance. Its address depends on the round.
    pub(crate) fn register(&self, place: usize, round: usize) -> Result<(), Box<dyn Error>> {
        let (service, instance) = (place / INSTANCES, place % INSTANCES);
        let [.., a, b] = (service as u32).to_be_bytes();
        let address = format!("10.{a}.{b}.{}", 1 + instance + INSTANCES * (round % 16));
        let request = RegisterInstanceRequest::new(&self.services[service], format!("i{instance}"))
            .with_attribute("AWS_INSTANCE_IPV4", address)
            .with_attribute("AWS_INSTANCE_PORT", "8080");
        self.api.register_instance(request)?;
        Ok(())
    }
}
