//! Random histories as plain data: the requests of writers, faults and waits. Few names, so that requests collide.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::{
    questions::BALANCER,
    world::{ServiceKey, World},
};

/// The namespace in a request.
#[derive(Clone, Debug)]
pub(crate) enum NamespaceRef {
    /// An index into the existing namespaces, the last deleted one, and one that never existed.
    Pick(u8),
    /// The namespace with this number. `None`: an id that never existed.
    Is(Option<usize>),
}

/// The service in a request.
#[derive(Clone, Debug)]
pub(crate) enum ServiceRef {
    Pick(u8),
    Is(Option<ServiceKey>),
}

impl ServiceRef {
    fn settle(&mut self, world: &World) {
        if let Self::Pick(n) = *self {
            *self = Self::Is(world.pick_service(n));
        }
    }
}

/// The records in a request for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dns {
    /// Neither `DnsConfig` nor a type.
    Absent,
    /// The type HTTP.
    HttpType,
    /// `DnsConfig` with the routing policy, if any, and the record types. Each type has its own TTL.
    Records(Option<&'static str>, &'static [&'static str]),
}

/// The health check in a request for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Absent,
    Custom,
    /// A Route 53 check with its type, and its path, if any.
    Route53(&'static str, Option<&'static str>),
    Both,
}

/// A request of a writer.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    CreateHttp {
        name: &'static str,
        token: Option<&'static str>,
        description: Option<&'static str>,
    },
    CreatePrivate {
        name: &'static str,
        vpc: &'static str,
        token: Option<&'static str>,
        soa_ttl: Option<u32>,
    },
    CreatePublic {
        name: &'static str,
        token: Option<&'static str>,
    },
    /// `kind` selects the operation: that for HTTP, private or public namespaces.
    UpdateNamespace {
        namespace: NamespaceRef,
        kind: &'static str,
        description: Option<&'static str>,
        soa_ttl: Option<u32>,
        token: Option<&'static str>,
    },
    DeleteNamespace(NamespaceRef),
    CreateService {
        namespace: NamespaceRef,
        name: &'static str,
        dns: Dns,
        check: Check,
        token: Option<&'static str>,
    },
    /// With these record types, if any, whose TTLs are `longer` seconds above the initial ones, and this check.
    UpdateService {
        service: ServiceRef,
        description: Option<&'static str>,
        types: Option<&'static [&'static str]>,
        longer: u32,
        check: Option<(&'static str, Option<&'static str>)>,
    },
    DeleteService(ServiceRef),
    Register {
        service: ServiceRef,
        id: &'static str,
        attributes: BTreeMap<String, String>,
        token: Option<&'static str>,
    },
    Deregister {
        service: ServiceRef,
        id: &'static str,
    },
    Report {
        service: ServiceRef,
        id: &'static str,
        status: &'static str,
    },
    /// A host sets the status.
    SetHealth {
        service: ServiceRef,
        id: &'static str,
        status: &'static str,
    },
    /// The results of a health checker came to this status.
    PutCheckedHealth {
        service: ServiceRef,
        id: &'static str,
        status: &'static str,
        /// The operation that registered the instance, and the check, that the results are about. `None`: those of the
        /// moment.
        about: Option<(usize, Check)>,
    },
}

impl Act {
    /// Replaces picked indices by what they refer to, so that the act means the same whatever runs before it.
    pub(crate) fn settle(&mut self, world: &World) {
        match self {
            Self::CreateHttp { .. } | Self::CreatePrivate { .. } | Self::CreatePublic { .. } => {}
            Self::DeleteNamespace(namespace)
            | Self::UpdateNamespace { namespace, .. }
            | Self::CreateService { namespace, .. } => {
                if let NamespaceRef::Pick(n) = *namespace {
                    *namespace = NamespaceRef::Is(world.pick_namespace(n));
                }
            }
            Self::DeleteService(service)
            | Self::UpdateService { service, .. }
            | Self::Register { service, .. }
            | Self::Deregister { service, .. }
            | Self::Report { service, .. }
            | Self::SetHealth { service, .. } => service.settle(world),
            Self::PutCheckedHealth { service, id, about, .. } => {
                service.settle(world);
                let ServiceRef::Is(Some(key)) = service else { return };
                let service = world.service(key);
                *about = service.and_then(|service| {
                    let found = service.instances.iter().find(|found| found.id == *id)?;
                    Some((found.registered_by, service.check))
                });
            }
        }
    }
}

/// A fault of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A conflict without a cause.
    Conflict,
    /// The answer is ambiguous, and the changes are lost.
    Lost,
    /// The answer is ambiguous, and the changes are stored.
    Stored,
    /// The answer is ambiguous, and the changes are stored before the next commit.
    Late,
    /// The registry is unavailable and stores nothing.
    Away,
}

/// A list that is read page by page while entities change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum List {
    Namespaces,
    Services,
    Operations,
    /// Of the oldest service.
    Instances,
    /// Of the oldest service.
    Health,
}

/// One step of a history.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Do(Act, Vec<Fault>),
    /// Another writer's requests run between the plan and the commit of the first request.
    Race(Act, Vec<Act>),
    /// Registers this many instances, more than fit into a DNS answer.
    Fill(ServiceRef, u8),
    /// Advances the clock by this many milliseconds.
    Wait(u32),
    /// Reads the next page of this size, or the first page.
    Page(List, u8),
    /// The registry is stored, and restored from its records.
    Restart,
}

const TOKENS: &[Option<&str>] = &[None, None, Some("one"), Some("two")];
const HTTP_NAMES: &[&str] = &["app", "App", "app.local", "app", "a b"];
const PUBLIC_NAMES: &[&str] = &["app.local", "App.Local", "example.com", "svc.app.local", "other"];
const PRIVATE_NAMES: &[&str] =
    &["app.local", "App.Local", "app.local.", "svc.app.local", "other", "a..b", "arn:x"];
/// Targets of CNAME records: they form chains, lead into other zones, and form loops.
const CNAMES: &[&str] = &["web.app.local", "db.app.local", "db.svc.app.local", "web.other"];
pub(crate) const SERVICE_NAMES: &[&str] = &["web", "Web", "v1.web", ".", "_http._tcp", "db", "a..b"];
pub(crate) const INSTANCE_IDS: &[&str] = &["i-1", "i-2", "v1", "a.b", LONG, "i-3"];
/// Not a DNS label: 64 bytes, one too many.
const LONG: &str = "x123456789012345678901234567890123456789012345678901234567890123";
const RECORDS: &[Dns] = &[
    Dns::Absent,
    Dns::HttpType,
    Dns::Records(None, &["A"]),
    Dns::Records(Some("MULTIVALUE"), &["A"]),
    Dns::Records(Some("WEIGHTED"), &["A"]),
    Dns::Records(None, &["AAAA"]),
    Dns::Records(None, &["A", "AAAA"]),
    Dns::Records(Some("WEIGHTED"), &["AAAA", "A"]),
    Dns::Records(None, &["SRV"]),
    Dns::Records(Some("WEIGHTED"), &["SRV"]),
    Dns::Records(None, &["SRV", "A"]),
    Dns::Records(Some("WEIGHTED"), &["CNAME"]),
    Dns::Records(Some("WEIGHTED"), &["CNAME"]),
    Dns::Records(None, &["CNAME"]),
    Dns::Records(Some("WEIGHTED"), &["CNAME", "A"]),
    Dns::Records(None, &["A", "A"]),
    Dns::Records(None, &[]),
];
const DESCRIPTIONS: &[Option<&str>] = &[None, None, Some(""), Some("ours"), Some("theirs")];
const REMAINING: &[Option<&[&str]>] = &[
    None,
    Some(&["A"]),
    Some(&["A"]),
    Some(&["AAAA"]),
    Some(&["A", "AAAA"]),
    Some(&["SRV"]),
    Some(&["SRV", "A"]),
    Some(&["CNAME"]),
    Some(&["A", "A"]),
    Some(&[]),
];
const NEW_CHECKS: &[Option<(&str, Option<&str>)>] =
    &[None, None, None, Some(("HTTP", None)), Some(("TCP", None)), Some(("TCP", Some("/up")))];
const CHECKS: &[Check] = &[
    Check::Absent,
    Check::Absent,
    Check::Custom,
    Check::Custom,
    Check::Custom,
    Check::Route53("HTTP", None),
    Check::Route53("TCP", None),
    Check::Route53("TCP", Some("/up")),
    Check::Both,
];

fn one_of<T: Copy + std::fmt::Debug>(values: &'static [T]) -> impl Strategy<Value = T> {
    proptest::sample::select(values)
}

/// The attributes of an instance: mostly ones that most services accept.
fn attributes() -> impl Strategy<Value = BTreeMap<String, String>> {
    let address = prop_oneof![
        6 => (1u8..4, 1u8..4, 1u8..3).prop_map(|(four, six, port)| {
            vec![
                ("AWS_INSTANCE_IPV4", format!("10.0.0.{four}")),
                ("AWS_INSTANCE_IPV6", format!("fd00::{six}")),
                ("AWS_INSTANCE_PORT", format!("{}", 8000 + u32::from(port))),
                ("AWS_INSTANCE_CNAME", CNAMES[usize::from(six + port) % CNAMES.len()].to_owned()),
            ]
        }),
        2 => (1u8..4).prop_map(|n| vec![
            ("AWS_INSTANCE_IPV4", format!("10.0.0.{n}")),
            ("AWS_INSTANCE_PORT", "8001".to_owned()),
        ]),
        2 => (1u8..4).prop_map(|n| vec![("AWS_INSTANCE_IPV6", format!("FD00:0::{n}"))]),
        1 => Just(vec![("AWS_INSTANCE_CNAME", "Elsewhere.Test.".to_owned())]),
        1 => Just(vec![("AWS_ALIAS_DNS_NAME", BALANCER.to_owned())]),
        1 => Just(vec![("AWS_EC2_INSTANCE_ID", "i-0abc".to_owned())]),
        1 => Just(vec![("AWS_INSTANCE_IPV4", "10.0.0.300".to_owned())]),
        1 => Just(vec![("AWS_INSTANCE_IPV4", "10.0.0.1".to_owned()), ("AWS_INSTANCE_PORT", "+80".to_owned())]),
        1 => Just(vec![]),
    ];
    let health =
        proptest::sample::select(vec![None, None, None, Some("HEALTHY"), Some("UNHEALTHY"), Some("SICK")]);
    let stage = proptest::sample::select(vec![None, Some("blue"), Some("green"), Some(" blue")]);
    (address, health, stage).prop_map(|(address, health, stage)| {
        let health = health.map(|status| ("AWS_INIT_HEALTH_STATUS", status.to_owned()));
        let stage = stage.map(|stage| ("stage", stage.to_owned()));
        address.into_iter().chain(health).chain(stage).map(|(key, value)| (key.to_owned(), value)).collect()
    })
}

pub(crate) fn act() -> impl Strategy<Value = Act> {
    let service = || (0u8..8).prop_map(ServiceRef::Pick);
    let namespace = || (0u8..6).prop_map(NamespaceRef::Pick);
    let id = || one_of(INSTANCE_IDS);
    let token = || one_of(TOKENS);
    prop_oneof![
        2 => (one_of(HTTP_NAMES), token(), proptest::sample::select(vec![None, None, Some("ours")]))
            .prop_map(|(name, token, description)| Act::CreateHttp { name, token, description }),
        4 => (one_of(PRIVATE_NAMES), one_of(&["vpc-1", "vpc-1", "vpc-2"]), token(), proptest::sample::select(vec![None, Some(30)]))
            .prop_map(|(name, vpc, token, soa_ttl)| Act::CreatePrivate { name, vpc, token, soa_ttl }),
        2 => (one_of(PUBLIC_NAMES), token()).prop_map(|(name, token)| Act::CreatePublic { name, token }),
        3 => (
            namespace(),
            one_of(&["HTTP", "DNS_PRIVATE", "DNS_PRIVATE", "DNS_PUBLIC"]),
            one_of(DESCRIPTIONS),
            one_of(&[None, Some(30), Some(0)]),
            token(),
        )
            .prop_map(|(namespace, kind, description, soa_ttl, token)| {
                Act::UpdateNamespace { namespace, kind, description, soa_ttl, token }
            }),
        4 => (service(), one_of(DESCRIPTIONS), one_of(REMAINING), 0u32..3, one_of(NEW_CHECKS))
            .prop_map(|(service, description, types, longer, check)| {
                Act::UpdateService { service, description, types, longer, check }
            }),
        2 => namespace().prop_map(Act::DeleteNamespace),
        8 => (namespace(), one_of(SERVICE_NAMES), one_of(RECORDS), one_of(CHECKS), token())
            .prop_map(|(namespace, name, dns, check, token)| Act::CreateService { namespace, name, dns, check, token }),
        3 => service().prop_map(Act::DeleteService),
        16 => (service(), id(), attributes(), token())
            .prop_map(|(service, id, attributes, token)| Act::Register { service, id, attributes, token }),
        6 => (service(), id()).prop_map(|(service, id)| Act::Deregister { service, id }),
        8 => (service(), id(), one_of(&["UNHEALTHY", "UNHEALTHY", "HEALTHY", "ILL"]))
            .prop_map(|(service, id, status)| Act::Report { service, id, status }),
        2 => (service(), id(), one_of(&["UNHEALTHY", "HEALTHY"]))
            .prop_map(|(service, id, status)| Act::SetHealth { service, id, status }),
        6 => (service(), id(), one_of(&["UNHEALTHY", "HEALTHY"]))
            .prop_map(|(service, id, status)| Act::PutCheckedHealth { service, id, status, about: None }),
    ]
}

/// Faults that the engine hides from the caller, or that end with an unavailable registry.
fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let silent = one_of(&[Fault::Conflict, Fault::Lost, Fault::Stored, Fault::Late]);
    let harmless = one_of(&[Fault::Conflict, Fault::Lost]);
    prop_oneof![
        3 => proptest::collection::vec(silent, 1..4),
        1 => proptest::collection::vec(harmless, 0..2).prop_map(|mut faults| {
            faults.push(Fault::Away);
            faults
        }),
    ]
}

fn around() -> impl Strategy<Value = Step> {
    let list = [List::Namespaces, List::Services, List::Operations, List::Instances, List::Health];
    prop_oneof![
        4 => proptest::sample::select(vec![1, 499, 500, 2_999, 3_000, 3_001, 10_007, 29_999, 30_000, 61_001]).prop_map(Step::Wait),
        1 => ((0u8..6).prop_map(ServiceRef::Pick), 8u8..13).prop_map(|(service, count)| Step::Fill(service, count)),
        3 => (proptest::sample::select(list.to_vec()), 1u8..4).prop_map(|(list, size)| Step::Page(list, size)),
        1 => Just(Step::Restart),
    ]
}

/// One writer and a reliable registry.
pub(crate) fn undisturbed() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![3 => act().prop_map(|act| Step::Do(act, Vec::new())), 1 => around()];
    proptest::collection::vec(step, 1..50)
}

/// One writer and a failing registry.
pub(crate) fn with_faults() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => act().prop_map(|act| Step::Do(act, Vec::new())),
        2 => (act(), faults()).prop_map(|(act, faults)| Step::Do(act, faults)),
        1 => around(),
    ];
    proptest::collection::vec(step, 1..50)
}

/// Two concurrent writers.
pub(crate) fn with_a_rival() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => act().prop_map(|act| Step::Do(act, Vec::new())),
        3 => (act(), proptest::collection::vec(act(), 1..4)).prop_map(|(act, rival)| Step::Race(act, rival)),
        1 => around(),
    ];
    proptest::collection::vec(step, 1..50)
}
