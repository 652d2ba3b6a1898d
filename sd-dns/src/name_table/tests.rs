//! Compares the table with its definition, [`dns::resolve`], over random changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
    num::NonZero,
};

use async_trait::async_trait;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData},
};
use proptest::prelude::*;
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    ChangeSet, StateWriter, SyncCloudMap, Timestamp,
    dns::Answer,
    model::{
        CustomHealthStatus, DnsRecord, Health, HealthCheck, HealthCheckType, Instance, NamespaceKind,
        NamespaceName, RecordType, ServiceKind, ServiceName, VpcId,
    },
    request::{
        CreatePrivateDnsNamespaceRequest, CreateServiceRequest, DnsConfigInput, HealthCheckConfigInput,
        RegisterInstanceRequest,
    },
    settings::{RandomSource, SeededRandom},
};

use super::*;
use crate::{AliasAddresses, AliasResolver, Answerer, Reply, Transport, wire::type_of};

/// One of each entity, to derive others from.
pub(crate) struct Prototypes {
    pub(crate) namespace: Namespace,
    service: Service,
    record: DnsRecord,
    instance: Instance,
}

pub(crate) fn prototypes() -> Prototypes {
    let cloud_map = SyncCloudMap::new(MemoryRegistry::new());
    let api = cloud_map.at(Scope::default());
    api.create_private_dns_namespace(CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1")).unwrap();
    let state = cloud_map.cloud_map().state();
    let namespace = state.scope(api.scope()).namespaces().next().unwrap().namespace().clone();
    let service = CreateServiceRequest::new("web")
        .with_namespace_id(&namespace.id)
        .with_dns_config(DnsConfigInput::new([(RecordType::A, 60)]))
        .with_health_check_config(HealthCheckConfigInput::new(HealthCheckType::Tcp));
    let service = api.create_service(service).unwrap().service;
    let instance = RegisterInstanceRequest::new(&service.id, "v1")
        .with_attribute("AWS_INSTANCE_IPV4", "10.0.0.1")
        .with_attribute("AWS_INSTANCE_PORT", "80");
    api.register_instance(instance).unwrap();
    let state = cloud_map.cloud_map().state();
    let found = state.scope(api.scope()).service(service.id.as_str()).unwrap();
    let instance = (**found.instances().get("v1").unwrap().instance()).clone();
    let record = service.dns_config().unwrap().records[0];
    Prototypes { namespace: (*namespace).clone(), service: (*service).clone(), record, instance }
}

const ZONES: [&str; 5] = ["app.local", "svc.app.local", "App.Local", "a..b", "x.y.web.app.local"];
const SERVICES: [&str; 5] = ["web", "v1.web", ".", "_http._tcp", "svc"];
const INSTANCES: [&str; 6] = ["v1", "V1", "v2", "x.v2", "a..b", "web"];
const CNAMES: [&str; 5] =
    ["web.app.local", "v1.web.app.local", "web.svc.app.local", "svc.app.local", "else.where"];
const BALANCERS: [&str; 3] = ["lb-1.example.com", "lb-2.example.com", "gone.example.com"];
const CONFIGS: [&[RecordType]; 6] = [
    &[RecordType::A],
    &[RecordType::Aaaa],
    &[RecordType::A, RecordType::Aaaa],
    &[RecordType::Srv],
    &[RecordType::Srv, RecordType::A],
    &[RecordType::Cname],
];
const TTLS: [u32; 3] = [0, 5, 60];

/// A change as numbers, which are taken modulo the number of choices.
#[derive(Clone, Debug)]
struct Step {
    kind: u8,
    namespace: usize,
    service: usize,
    instance: usize,
    choice: usize,
    flag: bool,
}

/// Steps of these kinds, most of them in few namespaces.
fn step(kinds: std::ops::Range<u8>) -> impl Strategy<Value = Step> {
    let namespace = prop_oneof![4 => Just(0), 2 => Just(1), 1 => Just(2), 1 => Just(3)];
    let service = prop_oneof![4 => Just(0), 3 => Just(1), 3 => 2usize..5];
    (kinds, namespace, service, 0usize..6, 0usize..720, any::<bool>()).prop_map(
        |(kind, namespace, service, instance, choice, flag)| Step {
            kind,
            namespace,
            service,
            instance,
            choice,
            flag,
        },
    )
}

/// All namespaces, most of the services, some instances, then anything.
fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let namespaces = (0usize..4).map(|namespace| Step {
        kind: 0,
        namespace,
        service: 0,
        instance: 0,
        choice: 3 + 2 * namespace,
        flag: true,
    });
    let namespaces: Vec<Vec<Step>> = namespaces.map(|step| vec![step]).collect();
    let services = prop::collection::vec(prop::collection::vec(step(3..7), 1), 16);
    let instances = prop::collection::vec(prop::collection::vec(step(8..17), 1), 10..60);
    let anything = prop::collection::vec(prop::collection::vec(step(0..28), 1..4), 1..40);
    (services, instances, anything).prop_map(move |(services, instances, anything)| {
        [namespaces.clone(), services, instances, anything].concat()
    })
}

fn scope(namespace: usize) -> Scope {
    if namespace == 3 { Scope::parse("000000000001", "eu-west-1").unwrap() } else { Scope::default() }
}

impl Prototypes {
    fn change(&self, step: &Step) -> Change {
        let &Step { kind, namespace, service, instance, choice, flag } = step;
        let namespace_id = NamespaceId::parse(&format!("ns-{namespace}")).unwrap();
        let service_id = ServiceId::parse(&format!("srv-{namespace}-{service}")).unwrap();
        let instance_id = InstanceId::parse(INSTANCES[instance]).unwrap();
        match kind {
            0 => {
                let mut value = self.namespace.clone();
                value.scope = scope(namespace);
                value.id = namespace_id;
                value.http_name = NamespaceName::parse(&format!("http-{namespace}")).unwrap();
                // Usually an id keeps its name and type, unless a backend reloads its store.
                let name = if flag { namespace } else { choice };
                value.name = NamespaceName::parse(ZONES[name % ZONES.len()]).unwrap();
                value.created = Timestamp::from_millis((choice % 3) as u64);
                let mut zone = value.hosted_zone().unwrap().clone();
                zone.soa_ttl = TTLS[choice % 3];
                value.kind = match choice % 8 {
                    0 => NamespaceKind::Http,
                    1 | 2 => NamespaceKind::DnsPublic { zone },
                    _ => NamespaceKind::DnsPrivate {
                        vpc: VpcId::parse(&format!("vpc-{}", choice % 2)).unwrap(),
                        zone,
                    },
                };
                Change::PutNamespace(Arc::new(value))
            }
            1 => Change::DeleteNamespace(namespace_id),
            2..=6 => {
                let mut value = self.service.clone();
                value.scope = scope(namespace);
                value.id = service_id;
                value.namespace_id = namespace_id;
                value.name = ServiceName::parse(SERVICES[service]).unwrap();
                let types = CONFIGS[choice % CONFIGS.len()];
                if let ServiceKind::DnsHttp(config) = &mut value.kind {
                    config.records = types
                        .iter()
                        .map(|kind| {
                            let mut record = self.record;
                            record.kind = *kind;
                            record.ttl = TTLS[choice / 7 % 3];
                            record
                        })
                        .collect();
                    config.routing_policy = if flag || types == [RecordType::Cname] {
                        RoutingPolicy::Weighted
                    } else {
                        RoutingPolicy::Multivalue
                    };
                }
                value.health_check = match choice % 5 {
                    0 => HealthCheck::None,
                    1 => self.service.health_check.clone(),
                    _ => HealthCheck::Custom,
                };
                if choice % 19 == 0 {
                    value.kind = ServiceKind::Http;
                }
                Change::PutService(Arc::new(value))
            }
            7 => Change::DeleteService(service_id),
            8..=16 => {
                let mut value = self.instance.clone();
                value.id = instance_id;
                let endpoint = &mut value.endpoint;
                endpoint.ipv4 = (choice % 5 != 0).then(|| Ipv4Addr::new(10, 0, 0, (choice % 4) as u8));
                endpoint.ipv6 = (choice % 7 != 0).then(|| Ipv6Addr::from((choice % 3) as u128));
                endpoint.port = NonZero::new((choice / 8 % 3) as u16);
                endpoint.cname = Some(DnsName::parse(CNAMES[choice % CNAMES.len()]).unwrap());
                endpoint.alias = (choice % 4 == 1).then(|| DnsName::parse(BALANCERS[choice % 3]).unwrap());
                Change::PutInstance { service: service_id, instance: Arc::new(value), health: health(flag) }
            }
            17..=20 => Change::DeleteInstance { service: service_id, id: instance_id },
            _ => Change::PutHealth { service: service_id, id: instance_id, health: health(flag) },
        }
    }
}

fn health(healthy: bool) -> Health {
    let status = if healthy { CustomHealthStatus::Healthy } else { CustomHealthStatus::Unhealthy };
    Health::initial(&HealthCheck::Custom, Some(status))
}

/// All contents of a table, independent of the order of changes.
fn dump(table: &NameTable) -> BTreeMap<String, String> {
    let writer = table.writer();
    let zone = |key: &[u8]| {
        let number = ZoneKey::from_be_bytes(*key.first_chunk().unwrap());
        let (scope, id) = writer.namespaces.iter().find(|(_, known)| known.key == number).unwrap().0;
        format!("{scope} {id} {:?}", &key[4..])
    };
    let published = table.read();
    let names = published.names.iter();
    let mut dumped: BTreeMap<_, _> =
        names.map(|entry| (zone(entry.key()), dump_entry(entry.value()))).collect();
    dumped.insert("hidden".into(), format!("{:?}", table.hidden_zones()));
    dumped.insert("zones".into(), published.zones.dump());
    // Existing namespaces are known, and no others.
    let mut known: Vec<_> = writer.namespaces.keys().map(|(scope, id)| format!("{scope} {id}")).collect();
    known.sort();
    dumped.insert("known".into(), known.join(", "));
    dumped
}

fn dump_entry(entry: &Entry) -> String {
    let Entry { below, a, aaaa, cname, srv, aliases } = entry;
    let aliased = |set: &RecordSet<DnsName>| (set.counts(), set.terms());
    let aliases = aliases
        .as_ref()
        .map(|aliases| (aliases.a.as_deref().map(aliased), aliases.aaaa.as_deref().map(aliased)));
    let a = a.as_ref().map(|set| (set.counts(), set.terms()));
    let aaaa = aaaa.as_ref().map(|set| (set.counts(), set.terms()));
    let cname = cname.as_ref().map(|set| (set.counts(), set.terms()));
    let srv = srv.as_ref().map(|set| (set.counts(), set.terms()));
    format!("{below} {a:?} {aaaa:?} {cname:?} {srv:?} {aliases:?}")
}

/// A random source that makes a choice among `of` candidates pick the `nth`.
#[derive(Debug)]
struct Nth {
    nth: u64,
    of: u64,
}

impl RandomSource for Nth {
    fn next_u64(&self) -> u64 {
        (u64::MAX / self.of).saturating_mul(self.nth) + u64::MAX / self.of / 2
    }
}

/// The possible answers to a question.
#[derive(Debug, PartialEq, Eq)]
enum Possible {
    Records { ttl: u32, data: BTreeSet<RecordData>, limit: usize },
    Cname,
    NoData(DnsName, u32),
    NxDomain(DnsName, u32),
    Refused,
}

/// What the definition allows: resolves until every candidate was chosen.
fn defined(state: &State, view: &View, name: &DnsName, kind: RecordType) -> Possible {
    let mut data = BTreeSet::new();
    let (mut ttl, mut limit) = (0, 0);
    for of in 1..=12 {
        for nth in 0..of {
            match dns::resolve(state, view, name, kind, &Nth { nth, of }) {
                Answer::Records(found) if found[0].data.record_type() != kind => return Possible::Cname,
                Answer::NoData { chain, .. } | Answer::NxDomain { chain, .. } if !chain.is_empty() => {
                    return Possible::Cname;
                }
                Answer::Records(found) => {
                    ttl = found[0].ttl;
                    limit = limit.max(found.len());
                    data.extend(found.into_iter().map(|record| record.data));
                }
                Answer::NoData { zone, soa_ttl, .. } => return Possible::NoData(zone, soa_ttl),
                Answer::NxDomain { zone, soa_ttl, .. } => return Possible::NxDomain(zone, soa_ttl),
                Answer::Refused => return Possible::Refused,
            }
        }
    }
    Possible::Records { ttl, data, limit }
}

fn candidates<D: Eq + std::hash::Hash>(
    set: Option<&RecordSet<D>>,
    data: impl Fn(&D) -> RecordData,
) -> Option<Possible> {
    let set = set?;
    let selection = set.select();
    let data: BTreeSet<_> =
        (0..selection.candidates).map(|number| data(set.candidate(number).unwrap())).collect();
    Some(Possible::Records { ttl: set.ttl(), limit: selection.limit.min(data.len()), data })
}

/// The addresses of a name. An answer has several of them, or one alias.
fn address_candidates<D: Eq + std::hash::Hash>(
    set: Option<AddressCandidates<'_, D>>,
    kind: RecordType,
    data: impl Fn(&D) -> RecordData,
) -> Option<Possible> {
    let set = set?;
    let of = |number| match set.candidate(number).unwrap() {
        Candidate::Address(address) => data(address),
        Candidate::Alias(target) => RecordData::Alias { kind, target: target.clone() },
    };
    let data: BTreeSet<_> = (0..set.selection().candidates).map(of).collect();
    let addresses = data.iter().filter(|data| !is_alias(data)).count();
    Some(Possible::Records { ttl: set.ttl(), limit: set.selection().limit.min(addresses.max(1)), data })
}

fn is_alias(data: &RecordData) -> bool {
    matches!(data, RecordData::Alias { .. })
}

/// What the table allows.
fn in_table(table: &NameTable, name: &DnsName, kind: RecordType, zones: &BTreeSet<DnsName>) -> Possible {
    let published = table.read();
    let mut key = LookupName::folded(name.as_wire());
    let Some((zone, start)) = published.zones.find(name.as_wire()) else {
        return Possible::Refused;
    };
    let zone_name = zones.iter().find(|zone| zone.as_wire() == &name.as_wire()[start..]).unwrap().clone();
    key.set_zone(zone.key);
    let found = published.with_entry(key.key(start), |entry| {
        let found = match kind {
            RecordType::A => address_candidates(entry.ipv4(), kind, |data| RecordData::A(*data)),
            RecordType::Aaaa => address_candidates(entry.ipv6(), kind, |data| RecordData::Aaaa(*data)),
            RecordType::Cname => candidates(entry.cname.as_deref(), |data| RecordData::Cname(data.clone())),
            RecordType::Srv => candidates(entry.srv.as_deref(), |data| {
                let labels = data.target.iter().skip(1).map(|b| char::from(*b));
                let text: String = labels.map(|c| if c.is_ascii_graphic() { c } else { '.' }).collect();
                RecordData::Srv { port: data.port, target: name.prefixed(&text).unwrap() }
            }),
        };
        found.or_else(|| entry.cname.is_some().then_some(Possible::Cname))
    });
    match found {
        Some(Some(found)) => found,
        Some(None) => Possible::NoData(zone_name, zone.soa_ttl),
        None if start == 0 || published.zones.is_above_one(name.as_wire()) => {
            Possible::NoData(zone_name, zone.soa_ttl)
        }
        None => Possible::NxDomain(zone_name, zone.soa_ttl),
    }
}

fn ask(answerer: &Answerer, name: &DnsName, kind: RecordType) -> Message {
    let mut packet = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet.extend_from_slice(name.as_wire());
    packet.extend_from_slice(&type_of(kind).to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    let mut out = Vec::new();
    assert_eq!(answerer.answer(&packet, Transport::Tcp, &mut out), Reply::Written);
    Message::from_vec(&out).unwrap()
}

fn dns_name(name: &Name) -> DnsName {
    DnsName::parse(&name.to_ascii()).unwrap()
}

fn data_of(data: &RData) -> RecordData {
    match data {
        RData::A(address) => RecordData::A(address.0),
        RData::AAAA(address) => RecordData::Aaaa(address.0),
        RData::CNAME(target) => RecordData::Cname(dns_name(&target.0)),
        RData::SRV(srv) => RecordData::Srv { port: srv.port, target: dns_name(&srv.target) },
        other => panic!("{other:?}"),
    }
}

/// Knows two load balancers: `lb-1` with one address of each family, and `lb-2` without addresses.
#[derive(Debug)]
struct Balancers;

const BALANCER_TTL: u32 = 61;

#[async_trait]
impl AliasResolver for Balancers {
    async fn resolve(
        &self,
        target: &DnsName,
        _: RecordType,
    ) -> Result<AliasAddresses, Box<dyn std::error::Error + Send + Sync>> {
        match target.labels().next() {
            Some(b"lb-1") => Ok(AliasAddresses::new(BALANCER_TTL, [V4.into(), V6.into()])),
            Some(b"lb-2") => Ok(AliasAddresses::new(BALANCER_TTL, [])),
            _ => Err("there is no such load balancer".into()),
        }
    }
}

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const V6: Ipv6Addr = Ipv6Addr::LOCALHOST;

/// Whether the answer is that of an alias among the candidates. The definition answers with the alias itself.
fn is_answer_of_alias(
    answer: &Whole,
    records: &[&(DnsName, u32, RecordData)],
    name: &DnsName,
    data: &BTreeSet<RecordData>,
) -> bool {
    let mut targets = data.iter().filter_map(|data| match data {
        RecordData::Alias { kind, target } => Some((kind, target.labels().next().unwrap())),
        _ => None,
    });
    match (answer.code, records) {
        (ResponseCode::ServFail, []) => targets.any(|(_, label)| label == b"gone"),
        (ResponseCode::NoError, []) => {
            answer.negative.is_some() && targets.any(|(_, label)| label == b"lb-2")
        }
        (ResponseCode::NoError, [(owner, _, found)]) if is_alias(found) => {
            owner == name && data.contains(found)
        }
        (ResponseCode::NoError, [(owner, ttl, found)]) => targets.any(|(kind, label)| {
            let expected = if *kind == RecordType::A { RecordData::A(V4) } else { RecordData::Aaaa(V6) };
            label == b"lb-1" && *found == expected && owner == name && *ttl == BALANCER_TTL
        }),
        _ => false,
    }
}

/// A whole answer, of the definition or of the answerer.
#[derive(Debug)]
struct Whole {
    code: ResponseCode,
    records: Vec<(DnsName, u32, RecordData)>,
    /// Owner and TTL of the SOA record of a negative answer.
    negative: Option<(DnsName, u32)>,
}

impl From<&Message> for Whole {
    fn from(answer: &Message) -> Self {
        let records = answer.answers.iter();
        Self {
            code: answer.metadata.response_code,
            records: records
                .map(|record| (dns_name(&record.name), record.ttl, data_of(&record.data)))
                .collect(),
            negative: answer.authorities.first().map(|soa| (dns_name(&soa.name), soa.ttl)),
        }
    }
}

impl From<Answer> for Whole {
    fn from(answer: Answer) -> Self {
        let (code, records, negative) = match answer {
            Answer::Records(records) => (ResponseCode::NoError, records, None),
            Answer::NoData { chain, zone, soa_ttl } => (ResponseCode::NoError, chain, Some((zone, soa_ttl))),
            Answer::NxDomain { chain, zone, soa_ttl } => {
                (ResponseCode::NXDomain, chain, Some((zone, soa_ttl)))
            }
            Answer::Refused => (ResponseCode::Refused, Vec::new(), None),
        };
        let records = records.into_iter().map(|record| (record.owner, record.ttl, record.data)).collect();
        Self { code, records, negative }
    }
}

/// Asserts that an answer is possible and follows CNAME records through all zones.
fn check_answer(answer: &Whole, name: &DnsName, possible: impl Fn(&DnsName) -> Possible) {
    let mut records = answer.records.iter().peekable();
    let mut passed = vec![name.clone()];
    // SERVFAIL has no records, not even those of the chain.
    if answer.code == ResponseCode::ServFail {
        assert!(answer.records.is_empty() && answer.negative.is_none());
    }
    loop {
        let name = passed.last().unwrap();
        match possible(name) {
            // The answer does not show which target failed.
            Possible::Cname if answer.code == ResponseCode::ServFail => return,
            Possible::Cname => {
                let (owner, _, RecordData::Cname(target)) = records.next().unwrap() else {
                    panic!("{answer:?}")
                };
                assert_eq!(owner, name);
                if passed.len() > dns::CNAME_LIMIT || passed.contains(target) {
                    assert_eq!((records.next(), &answer.negative), (None, &None));
                    assert_eq!(answer.code, ResponseCode::NoError);
                    return;
                }
                passed.push(target.clone());
            }
            Possible::Records { ttl, data, limit } => {
                let found: Vec<_> = records.collect();
                if is_answer_of_alias(answer, &found, name, &data) {
                    return;
                }
                assert_eq!(found.len(), limit, "{found:?}");
                assert!(found.iter().all(|(owner, found, _)| *found == ttl && owner == name));
                let distinct: BTreeSet<_> = found.into_iter().map(|(.., data)| data.clone()).collect();
                assert_eq!(distinct.len(), limit);
                assert!(distinct.is_subset(&data));
                assert_eq!((answer.code, &answer.negative), (ResponseCode::NoError, &None));
                return;
            }
            Possible::NoData(zone, ttl) => {
                assert_eq!((records.next(), answer.code), (None, ResponseCode::NoError));
                assert_eq!(answer.negative, Some((zone, ttl)));
                return;
            }
            Possible::NxDomain(zone, ttl) => {
                assert_eq!((records.next(), answer.code), (None, ResponseCode::NXDomain));
                assert_eq!(answer.negative, Some((zone, ttl)));
                return;
            }
            // A chain out of the zones is answered as far as it goes.
            Possible::Refused => {
                let code = if passed.len() > 1 { ResponseCode::NoError } else { ResponseCode::Refused };
                assert_eq!((records.next(), answer.code), (None, code));
                assert_eq!(answer.negative, None);
                return;
            }
        }
    }
}

fn questions() -> Vec<DnsName> {
    let mut names: Vec<String> = CNAMES.iter().map(|name| (*name).to_owned()).collect();
    names.extend(["x.y.web.app.local", "y.web.app.local", "local"].map(str::to_owned));
    for zone in ["app.local", "svc.app.local"] {
        names.push(zone.to_owned());
        for below in
            ["v2.web", "x.v2.web", "v1", "_tcp", "_http._tcp", "v1._http._tcp", "none", "v1.v1.web", "v2"]
        {
            names.push(format!("{below}.{zone}"));
        }
    }
    let mut names: Vec<_> = names.iter().map(|name| DnsName::parse(name).unwrap()).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn some_service_has_each_record_type() {
    for kind in RecordType::ALL {
        assert!(CONFIGS.iter().any(|types| types.contains(&kind)), "{kind:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_table_is_what_the_definition_says(steps in steps(), one_vpc in any::<bool>()) {
        let prototypes = prototypes();
        let mut view = View::default();
        view.vpc = one_vpc.then(|| VpcId::parse("vpc-1").unwrap());
        let table = NameTable::with_view(view.clone());
        let writer = StateWriter::new(State::new());
        let _attached = writer.cell().attach(Arc::new(table.clone()));
        let (mut applied, mut refused) = (0, 0);
        for (number, steps) in steps.iter().enumerate() {
            let mut set = ChangeSet::new(scope(steps[0].namespace), Timestamp::from_millis(number as u64));
            let mut of_scope = steps.clone();
            of_scope.retain(|step| scope(step.namespace) == set.scope);
            set.changes = of_scope.iter().map(|step| prototypes.change(step)).collect();
            // A set that leads to an illegal state is refused, and changes nothing.
            if writer.publish(&set).is_ok() { applied += 1 } else { refused += 1 }
            let fresh = NameTable::with_view(view.clone());
            fresh.rebuild(&writer.cell().load());
            prop_assert_eq!(dump(&table), dump(&fresh));
        }
        prop_assert!(applied > 4 && refused < steps.len());

        let state = writer.cell().load();
        let zones: BTreeSet<DnsName> = ZONES.iter().filter_map(|zone| DnsName::parse(zone).ok()).collect();
        let answerer = Answerer::new(table.clone()).with_random(SeededRandom::new(steps.len() as u64))
            .with_alias_resolver(Balancers);
        for name in questions() {
            for kind in RecordType::ALL {
                let possible = |name: &DnsName| in_table(&table, name, kind, &zones);
                prop_assert_eq!(possible(&name), defined(&state, &view, &name, kind), "{} {:?}", name, kind);
                check_answer(&Whole::from(&ask(&answerer, &name, kind)), &name, possible);
                let random = SeededRandom::new(steps.len() as u64);
                check_answer(&dns::resolve(&state, &view, &name, kind, &random).into(), &name, possible);
            }
        }
    }
}
