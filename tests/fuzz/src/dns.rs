//! The DNS targets, and the zones that they answer from, with names of each kind.

use std::{
    array,
    cell::{OnceCell, RefCell},
    sync::LazyLock,
};

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Attached, Error, Scope, SyncCloudMap,
    model::{
        RecordType::{self, A, Aaaa, Cname, Srv},
        RoutingPolicy::{self, Multivalue, Weighted},
    },
    request::{
        CreatePrivateDnsNamespaceRequest, CreateServiceRequest, DnsConfigInput, ListNamespacesRequest,
        RegisterInstanceRequest,
    },
};
use sd_dns::{Answerer, NameTable, Reply, Transport};

use crate::contents::Contents;

struct Fixture {
    table: NameTable,
    contents: Contents,
    _attached: Attached,
}

static FIXTURE: LazyLock<Result<Fixture, Error>> = LazyLock::new(fixture);

/// Answers a message by both paths, and compares the contents with what the engine resolves. `Ok` says whether the message is
/// a common query.
pub(crate) fn query(packet: &[u8]) -> Result<bool, String> {
    let fixture = FIXTURE.as_ref().map_err(ToString::to_string)?;
    let is_usual = sd_dns::fuzzing::query(&fixture.table, packet)?;
    let transport = transport(packet);
    let mut answer = Vec::new();
    if let Reply::Written = answerer(&fixture.table).answer(packet, transport, &mut answer) {
        fixture.contents.compare(packet, &answer).map_err(|fault| format!("{fault}: {answer:02x?}"))?;
    }
    Ok(is_usual)
}

/// The server's work for a message. Returns whether it is refused.
pub(crate) fn answer(packet: &[u8]) -> bool {
    const NO_ERROR: u8 = 0;
    const NX_DOMAIN: u8 = 3;
    let Ok(fixture) = FIXTURE.as_ref() else { return true };
    OUT.with_borrow_mut(|out| {
        out.clear();
        let reply = answerer(&fixture.table).answer(packet, transport(packet), out);
        reply == Reply::Nothing || ![NO_ERROR, NX_DOMAIN].contains(&(out[3] & 0xF))
    })
}

/// The forwarder's work for an upstream answer. Returns whether it is refused.
pub(crate) fn read_response(packet: &[u8]) -> bool {
    !sd_dns::fuzzing::is_response(packet)
}

thread_local! {
    static ANSWERER: OnceCell<Answerer> = const { OnceCell::new() };
    static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn answerer(table: &NameTable) -> Answerer {
    ANSWERER.with(|kept| kept.get_or_init(|| Answerer::new(table.clone())).clone())
}

/// Most queries arrive in datagrams.
fn transport(packet: &[u8]) -> Transport {
    if packet.first().is_some_and(|octet| octet % 4 == 0) { Transport::Tcp } else { Transport::Udp }
}

/// Passes on an upstream answer. `Ok` says whether it is accepted.
pub(crate) fn upstream(packet: &[u8]) -> Result<bool, String> {
    let fixture = FIXTURE.as_ref().map_err(ToString::to_string)?;
    sd_dns::fuzzing::upstream(&fixture.table, packet)
}

/// A service: name, routing policy, record types, and the attributes of each instance.
type Service<'a> = (&'a str, RoutingPolicy, &'a [RecordType], Vec<Vec<(&'a str, String)>>);

/// `app.local` has addresses, hosts, an alias of a load balancer, and CNAME records that form chains, lead out of the zone and
/// form a loop. There is also an `app.local` of another VPC, which is hidden, and a zone below.
fn fixture() -> Result<Fixture, Error> {
    let cloud_map = SyncCloudMap::new(MemoryRegistry::new());
    let table = NameTable::new();
    let attached = cloud_map.cloud_map().cell().attach(std::sync::Arc::new(table.clone()));
    let api = cloud_map.at(Scope::default());
    for (name, vpc) in [("app.local", "vpc-1"), ("app.local", "vpc-2"), ("c.b.app.local", "vpc-1")] {
        api.create_private_dns_namespace(CreatePrivateDnsNamespaceRequest::new(name, vpc))?;
    }
    let host = |n: usize| {
        vec![("IPV4", format!("10.0.0.{n}")), ("IPV6", format!("fd00::{n}")), ("PORT", "80".to_owned())]
    };
    let cname = |target: &str| vec![vec![("CNAME", target.to_owned())]];
    let services: [Service<'_>; 8] = [
        ("web", Multivalue, &[A, Aaaa], array::from_fn::<_, 20, _>(host).to_vec()),
        ("_http._tcp", Multivalue, &[Srv], array::from_fn::<_, 20, _>(host).to_vec()),
        ("one", Weighted, &[A], array::from_fn::<_, 3, _>(host).to_vec()),
        ("www", Weighted, &[Cname], cname("web.app.local")),
        ("far", Weighted, &[Cname], cname("www.app.local")),
        ("out", Weighted, &[Cname], cname("example.com")),
        ("round", Weighted, &[Cname], cname("round.app.local")),
        ("lb", Weighted, &[A, Aaaa], Vec::new()),
    ];
    for namespace in api.list_namespaces(ListNamespacesRequest::default())?.items {
        let namespace = namespace.namespace.id.as_str();
        for (name, policy, records, instances) in &services {
            let config = DnsConfigInput::new(records.iter().map(|kind| (*kind, 60)));
            let request = CreateServiceRequest::new(*name)
                .with_namespace_id(namespace)
                .with_dns_config(config.with_routing_policy(*policy));
            let service = api.create_service(request)?.service.id.clone();
            for (n, attributes) in instances.iter().enumerate() {
                let request = RegisterInstanceRequest::new(service.as_str(), format!("i-{n}"));
                api.register_instance(attributes.iter().fold(request, |request, (key, value)| {
                    request.with_attribute(format!("AWS_INSTANCE_{key}"), value.as_str())
                }))?;
            }
            if *name == "lb" {
                let request = RegisterInstanceRequest::new(service.as_str(), "i");
                api.register_instance(request.with_attribute("AWS_ALIAS_DNS_NAME", "lb.example.com"))?;
            }
        }
    }
    let contents = Contents::new(cloud_map.cloud_map().state().clone());
    Ok(Fixture { table, contents, _attached: attached })
}
