//! A registry with a table, queries, and what responses are compared by.
#![allow(dead_code, reason = "each test uses some of it")]

pub(crate) mod forwarding;
pub(crate) mod sockets;

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use async_trait::async_trait;
use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType as Kind},
    serialize::binary::BinEncodable,
};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Attached, Change, ChangeSet, Registry, Scope, ScopedCloudMap, Timestamp,
    model::{CustomHealthStatus, DnsName, Health, HealthCheck, RecordType, RoutingPolicy},
    request::{
        CreatePrivateDnsNamespaceRequest, CreatePublicDnsNamespaceRequest, CreateServiceRequest,
        DeregisterInstanceRequest, DnsConfigChange, DnsConfigInput, DnsNamespaceChange,
        DnsNamespaceProperties, HealthCheckCustomConfigInput, RegisterInstanceRequest, ServiceChange,
        UpdatePrivateDnsNamespaceRequest, UpdateServiceRequest,
    },
};
use sd_dns::{AliasAddresses, AliasResolver, Answerer, NameTable, Reply, Transport};
use tokio::sync::Semaphore;

/// A registry with the namespace `app.local`, and the table of its records.
pub(crate) struct Fixture {
    registry: Arc<MemoryRegistry>,
    api: ScopedCloudMap,
    pub(crate) table: NameTable,
    pub(crate) answerer: Answerer,
    _attached: Attached,
}

pub(crate) const SOA_TTL: u32 = 15;

/// The result of a future that is ready at once, as all of a registry in memory are.
fn done<T, E: std::fmt::Debug>(future: impl Future<Output = Result<T, E>>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(result) => result.unwrap(),
        std::task::Poll::Pending => unreachable!(),
    }
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let registry = Arc::new(MemoryRegistry::new());
        let cloud_map = sd_core::CloudMap::builder(registry.clone()).build();
        let table = NameTable::new();
        let attached = cloud_map.cell().attach(Arc::new(table.clone()));
        let fixture = Self {
            registry,
            api: cloud_map.at(Scope::default()),
            answerer: Answerer::new(table.clone()),
            table,
            _attached: attached,
        };
        fixture.namespace("app.local");
        fixture
    }

    pub(crate) fn namespace(&self, name: &str) {
        let request = CreatePrivateDnsNamespaceRequest::new(name, "vpc-1")
            .with_properties(DnsNamespaceProperties::soa_ttl(SOA_TTL));
        done(self.api.create_private_dns_namespace(request));
    }

    /// Creates a public namespace.
    pub(crate) fn public_namespace(&self, name: &str) {
        done(self.api.create_public_dns_namespace(CreatePublicDnsNamespaceRequest::new(name)));
    }

    /// Replaces the records of a service. Without records it leaves DNS.
    pub(crate) fn update(&self, service: &str, records: &[(RecordType, u32)]) {
        let change = match records {
            [] => ServiceChange::default(),
            records => {
                let records = records.iter().copied();
                ServiceChange::default().with_dns_config(DnsConfigChange::new(records))
            }
        };
        done(self.api.update_service(UpdateServiceRequest::new(service).with_service(change)));
    }

    /// Sets the SOA TTL of `app.local`.
    pub(crate) fn set_soa_ttl(&self, ttl: u32) {
        let change = DnsNamespaceChange::default().with_soa_ttl(ttl);
        let request = UpdatePrivateDnsNamespaceRequest::new(self.namespace_id("app.local"));
        done(self.api.update_private_dns_namespace(request.with_namespace(change)));
    }

    /// Creates another namespace `app.local`, in another VPC, and returns its id.
    pub(crate) fn second_app_local(&self) -> String {
        let first = self.namespace_id("app.local");
        done(
            self.api
                .create_private_dns_namespace(CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-2")),
        );
        let state = self.registry.cell().load();
        let ids =
            state.scope(self.api.scope()).namespaces().map(|entry| entry.namespace().id.as_str().to_owned());
        let hidden = ids.filter(|id| *id != first).last().unwrap();
        // Both may be created in the same millisecond, and then their ids decide.
        let created = |id: &str| state.scope(self.api.scope()).namespace(id).unwrap().namespace().created;
        if (created(&hidden), &hidden) > (created(&first), &first) { hidden } else { first }
    }

    fn namespace_id(&self, name: &str) -> String {
        let state = self.registry.cell().load();
        let scope = state.scope(self.api.scope());
        let found = scope.namespaces().find(|entry| entry.namespace().name.as_str() == name).unwrap();
        found.namespace().id.as_str().to_owned()
    }

    /// Creates a service in `app.local`.
    pub(crate) fn service(&self, name: &str, policy: RoutingPolicy, records: &[(RecordType, u32)]) -> String {
        self.service_in("app.local", name, policy, records)
    }

    pub(crate) fn service_in(
        &self,
        namespace: &str,
        name: &str,
        policy: RoutingPolicy,
        records: &[(RecordType, u32)],
    ) -> String {
        let config = DnsConfigInput::new(records.iter().copied()).with_routing_policy(policy);
        let request = CreateServiceRequest::new(name)
            .with_namespace_id(self.namespace_id(namespace))
            .with_dns_config(config)
            .with_health_check_custom_config(HealthCheckCustomConfigInput::default());
        done(async { self.api.create_service(request).await }).service.id.as_str().to_owned()
    }

    pub(crate) fn http_service(&self, name: &str) -> String {
        let request = CreateServiceRequest::new(name)
            .with_namespace_id(self.namespace_id("app.local"))
            .with_service_type("HTTP");
        done(async { self.api.create_service(request).await }).service.id.as_str().to_owned()
    }

    pub(crate) fn register(&self, service: &str, id: &str, attributes: &[(&str, &str)]) {
        let request =
            attributes.iter().fold(RegisterInstanceRequest::new(service, id), |request, (key, value)| {
                request.with_attribute(format!("AWS_INSTANCE_{key}"), *value)
            });
        done(self.api.register_instance(request));
    }

    /// Registers an instance with `AWS_ALIAS_DNS_NAME`.
    pub(crate) fn register_alias(&self, service: &str, id: &str, target: &str) {
        let request = RegisterInstanceRequest::new(service, id).with_attribute("AWS_ALIAS_DNS_NAME", target);
        done(self.api.register_instance(request));
    }

    /// Creates a service with one CNAME record.
    pub(crate) fn cname(&self, name: &str, target: &str) {
        let service = self.service(name, RoutingPolicy::Weighted, &[(RecordType::Cname, 20)]);
        self.register(&service, "i", &[("CNAME", target)]);
    }

    /// Creates a service whose only instance is an alias of `target`.
    pub(crate) fn alias(&self, name: &str, target: &str) {
        let service = self.service(name, RoutingPolicy::Weighted, &[(RecordType::A, 60)]);
        self.register_alias(&service, "i", target);
    }

    pub(crate) fn deregister(&self, service: &str, id: &str) {
        done(self.api.deregister_instance(DeregisterInstanceRequest::new(service, id)));
    }

    pub(crate) fn set_health(&self, service: &str, id: &str, status: CustomHealthStatus) {
        let mut set = ChangeSet::new(Scope::default(), Timestamp::from_millis(0));
        set.changes.push(Change::PutHealth {
            service: service.parse().unwrap(),
            id: id.parse().unwrap(),
            health: Health::initial(&HealthCheck::Custom, Some(status)),
        });
        done(self.registry.commit(set));
    }

    /// Creates `web` with A records, and `count` instances: `i-1` with 10.0.0.1 and so on.
    pub(crate) fn web(&self, count: u8) -> String {
        let service = self.service("web", RoutingPolicy::Multivalue, &[(RecordType::A, 60)]);
        for number in 1..=count {
            self.register(&service, &format!("i-{number}"), &[("IPV4", &format!("10.0.0.{number}"))]);
        }
        service
    }

    pub(crate) fn reply(&self, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match self.answerer.answer(packet, transport, &mut out) {
            Reply::Written => Some(out),
            _ => None,
        }
    }

    pub(crate) fn send(&self, packet: &[u8]) -> Message {
        parse(&self.reply(packet, Transport::Udp).unwrap())
    }

    pub(crate) fn ask(&self, name: &str, kind: Kind) -> Message {
        self.send(&question(name, kind))
    }
}

pub(crate) fn parse(response: &[u8]) -> Message {
    Message::from_vec(response).unwrap()
}

/// Knows load balancers by their first label: `lb` has two IPv4 addresses and one IPv6 address, `big` many IPv4 addresses,
/// `six` many IPv6 addresses. `slow` is like `lb`, but waits for a permit of the gate. Others do not exist.
#[derive(Clone, Debug)]
pub(crate) struct Balancers {
    pub(crate) gate: Arc<Semaphore>,
}

impl Balancers {
    pub(crate) const TTL: u32 = 7;

    pub(crate) fn new() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)) }
    }
}

#[async_trait]
impl AliasResolver for Balancers {
    async fn resolve(
        &self,
        target: &DnsName,
        _: RecordType,
    ) -> Result<AliasAddresses, Box<dyn std::error::Error + Send + Sync>> {
        let lb: [IpAddr; 4] =
            [[192, 0, 2, 1].into(), [192, 0, 2, 2].into(), Ipv6Addr::LOCALHOST.into(), [192, 0, 2, 1].into()];
        match target.labels().next() {
            Some(b"lb") => Ok(AliasAddresses::new(Self::TTL, lb)),
            Some(b"big") => {
                Ok(AliasAddresses::new(u32::MAX, (0..200).map(|last| IpAddr::from([192, 0, 2, last]))))
            }
            Some(b"six") => {
                let address = |last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]);
                Ok(AliasAddresses::new(Self::TTL, (0..200).map(address)))
            }
            Some(b"slow") => {
                self.gate.acquire().await?.forget();
                Ok(AliasAddresses::new(Self::TTL, lb))
            }
            _ => Err("there is no such load balancer".into()),
        }
    }
}

/// A query as a stub resolver sends it, with id 0x1234.
pub(crate) fn query(name: &str, kind: Kind) -> Message {
    let mut message = Message::query();
    message.metadata.id = 0x1234;
    message.metadata.recursion_desired = true;
    message
        .add_query(Query::query(Name::from_ascii(format!("{}.", name.trim_end_matches('.'))).unwrap(), kind));
    message
}

pub(crate) fn question(name: &str, kind: Kind) -> Vec<u8> {
    query(name, kind).to_bytes().unwrap()
}

pub(crate) fn question_with_edns(name: &str, kind: Kind, payload: u16) -> Vec<u8> {
    let mut message = query(name, kind);
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    message.set_edns(edns);
    message.to_bytes().unwrap()
}

/// The data of the answer section as text, sorted.
pub(crate) fn data(message: &Message) -> Vec<String> {
    texts(&message.answers)
}

pub(crate) fn texts(records: &[Record]) -> Vec<String> {
    let mut texts: Vec<String> = records.iter().map(text).collect();
    texts.sort();
    texts
}

fn text(record: &Record) -> String {
    match &record.data {
        RData::A(address) => address.to_string(),
        RData::AAAA(address) => address.to_string(),
        RData::CNAME(target) => target.to_string(),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, srv.target),
        RData::NS(server) => server.to_string(),
        other => other.to_string(),
    }
}

/// Asserts a negative response of the zone `app.local`.
pub(crate) fn assert_negative(message: &Message, code: ResponseCode) {
    assert_eq!(message.metadata.response_code, code, "{message}");
    assert!(message.metadata.authoritative);
    assert!(message.answers.is_empty());
    let [soa] = &message.authorities[..] else { panic!("{message}") };
    assert_eq!(soa.name, Name::from_ascii("app.local.").unwrap());
    assert_eq!(soa.ttl, SOA_TTL);
    let RData::SOA(soa) = &soa.data else { panic!("{message}") };
    assert_eq!(soa.minimum, SOA_TTL);
}

/// Asserts SERVFAIL without records.
pub(crate) fn assert_servfail(response: &Message) {
    assert_eq!(response.metadata.response_code, ResponseCode::ServFail, "{response}");
    assert!(!response.metadata.authoritative);
    assert!(response.answers.is_empty() && response.authorities.is_empty());
    assert_eq!(response.queries.len(), 1);
}
