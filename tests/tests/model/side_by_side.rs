//! The engine and the [`World`] side by side. Both take each step, and must agree.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use proptest::{prelude::*, test_runner::TestCaseError};
use sd_core::{
    Attached, Clock, CloudMap, Error, ManualClock, Scope, SyncCloudMap, SyncScopedCloudMap, Timing,
    health_check,
    model::{CreatorRequestId, CustomHealthStatus, OperationTargets},
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreatePublicDnsNamespaceRequest,
        CreateServiceRequest, DeleteNamespaceRequest, DeleteServiceRequest, DeregisterInstanceRequest,
        DnsConfigChange, DnsConfigInput, DnsNamespaceChange, DnsNamespaceProperties, DnsRecordInput,
        GetOperationRequest, HealthCheckConfigInput, HealthCheckCustomConfigInput, HttpNamespaceChange,
        RegisterInstanceRequest, ServiceChange, ServiceTypeOption, UpdateHttpNamespaceRequest,
        UpdateInstanceCustomHealthStatusRequest, UpdatePrivateDnsNamespaceRequest,
        UpdatePublicDnsNamespaceRequest, UpdateServiceRequest,
    },
    settings::{IdSource, SeededRandom},
};
use sd_dns::{Answerer, NameTable};

use crate::{
    act::{Act, Check, Dns, Fault, List, NamespaceRef, ServiceRef, Step},
    questions::Balancers,
    registry::Scripted,
    requests::ttl,
    world::{Outcome, ServiceKey, World},
};

pub(crate) type Verdict = Result<(), TestCaseError>;

/// The engine's ids for the numbers of the world.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bound {
    pub(crate) namespaces: BTreeMap<usize, String>,
    pub(crate) services: BTreeMap<ServiceKey, String>,
    pub(crate) operations: BTreeMap<usize, String>,
}

/// The engine's answer to a request of a writer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Done,
    Started(String),
    Service(String),
    Refused(Error),
}

/// Seeded ids, which do not sort by creation.
#[derive(Debug)]
struct UnorderedIds(Mutex<Rng>);

impl UnorderedIds {
    fn new(seed: u64) -> Self {
        Self(Mutex::new(Rng::with_seed(seed)))
    }
}

impl IdSource for UnorderedIds {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap().fill(bytes);
    }
}

/// A writer: the API, and the ids that the writer knows.
#[derive(Clone)]
struct Writer {
    api: SyncScopedCloudMap,
    /// Shows the state that the writer sees.
    cloud_map: CloudMap,
    bound: Bound,
}

fn engine(
    registry: &Scripted,
    clock: &Arc<ManualClock>,
    ids: Arc<UnorderedIds>,
    timing: Timing,
) -> SyncCloudMap {
    SyncCloudMap::builder(registry.clone())
        .clock(Arc::clone(clock))
        .ids(ids)
        .random(SeededRandom::new(1))
        .timing(timing)
        .build_sync()
}

fn answerer(cloud_map: &CloudMap) -> (Answerer, Attached) {
    let table = NameTable::new();
    let attached = cloud_map.cell().attach(Arc::new(table.clone()));
    (Answerer::new(table).with_random(SeededRandom::new(2)).with_alias_resolver(Balancers), attached)
}

pub(crate) struct SideBySide {
    pub(crate) cloud_map: CloudMap,
    pub(crate) api: SyncScopedCloudMap,
    rival: SyncScopedCloudMap,
    clock: Arc<ManualClock>,
    timing: Timing,
    /// Where the engine and the rival take their identifiers from.
    ids: [Arc<UnorderedIds>; 2],
    registry: Scripted,
    pub(crate) answerer: Answerer,
    _attached: Attached,
    pub(crate) world: World,
    pub(crate) bound: Bound,
    /// The position in each list: its token, and the number of the last entry.
    pub(crate) cursors: BTreeMap<List, (String, usize, Option<ServiceKey>)>,
    /// The last seen instances revisions: the number of registrations, the service's number, the revision.
    pub(crate) revisions: BTreeMap<ServiceKey, (u64, usize, u64)>,
}

impl SideBySide {
    pub(crate) fn new(timing: Timing) -> Self {
        let clock = Arc::new(ManualClock::default());
        let registry = Scripted::default();
        let ids = [1, 1 << 63].map(|seed| Arc::new(UnorderedIds::new(seed)));
        let [engine, rival] = ids.clone().map(|ids| engine(&registry, &clock, ids, timing));
        let cloud_map = engine.cloud_map().clone();
        let (answerer, attached) = answerer(&cloud_map);
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap();
        let end = millis(timing.operation());
        // An operation is SUBMITTED for half a second, or until it ends if that is sooner.
        let delays = (end.min(500), end);
        Self {
            cloud_map,
            api: engine.at(Scope::default()),
            rival: rival.at(Scope::default()),
            registry,
            timing,
            ids,
            answerer,
            _attached: attached,
            world: World::new(clock.now().as_millis(), delays, millis(timing.custom_health())),
            bound: Bound::default(),
            cursors: BTreeMap::new(),
            revisions: BTreeMap::new(),
            clock,
        }
    }

    pub(crate) fn steps(&mut self, steps: &[Step]) -> Verdict {
        for step in steps {
            self.step(step.clone())?;
            self.compare_all()?;
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Verdict {
        match step {
            Step::Do(act, faults) => self.single(act, &faults),
            Step::Race(act, rival) => self.race(act, rival),
            Step::Fill(service, count) => {
                let ServiceRef::Pick(n) = service else { panic!("expected a picked service") };
                let service = ServiceRef::Is(self.world.pick_service(n));
                for (n, id) in (1..=count).zip(MANY) {
                    let attributes = many_attributes(n);
                    self.single(
                        Act::Register { service: service.clone(), id, attributes, token: None },
                        &[],
                    )?;
                }
                Ok(())
            }
            Step::Wait(millis) => {
                self.clock.advance(Duration::from_millis(millis.into()));
                self.world.pass(self.clock.now().as_millis());
                Ok(())
            }
            Step::Page(list, size) => self.page(list, size.into()),
            Step::Restart => self.restart(),
        }
    }

    /// The registry is written down and read again. Everything goes on as if nothing had happened.
    fn restart(&mut self) -> Verdict {
        self.registry = self.registry.restarted();
        let [engine, rival] =
            self.ids.clone().map(|ids| engine(&self.registry, &self.clock, ids, self.timing));
        self.cloud_map = engine.cloud_map().clone();
        (self.answerer, self._attached) = answerer(&self.cloud_map);
        (self.api, self.rival) = (engine.at(Scope::default()), rival.at(Scope::default()));
        Ok(())
    }

    fn writer(&self, api: &SyncScopedCloudMap) -> Writer {
        Writer { api: api.clone(), cloud_map: self.cloud_map.clone(), bound: self.bound.clone() }
    }

    fn single(&mut self, mut act: Act, faults: &[Fault]) -> Verdict {
        act.settle(&self.world);
        self.registry.fail(faults);
        let reply = self.writer(&self.api).act(&act);
        let unmet = self.registry.settle();
        if faults.last() == Some(&Fault::Away) && !unmet {
            // Nothing is stored, and the caller gets an error.
            prop_assert!(matches!(reply, Reply::Refused(Error::Unavailable { .. })), "{act:?}: {reply:?}");
            return Ok(());
        }
        let outcome = self.world.act(&act);
        self.agree(&act, &outcome, &reply)
    }

    /// The rival's requests run between plan and commit. The result must be that of some sequential order.
    fn race(&mut self, mut act: Act, mut rival: Vec<Act>) -> Verdict {
        act.settle(&self.world);
        for act in &mut rival {
            act.settle(&self.world);
            // The rival's results are about what there is when it stores their status.
            if let Act::PutCheckedHealth { about, .. } = act {
                *about = None;
            }
        }
        let replies = Arc::new(Mutex::new(Vec::new()));
        let (writer, told, acts) = (self.writer(&self.rival), Arc::clone(&replies), rival.clone());
        self.registry.before(move || {
            let replies = acts.iter().map(|act| writer.act(act));
            told.lock().unwrap().extend(replies);
        });
        let reply = self.writer(&self.api).act(&act);
        self.registry.settle();
        let replies = std::mem::take(&mut *replies.lock().unwrap());
        let before = (self.world.clone(), self.bound.clone(), self.revisions.clone());
        let mut refused = Vec::new();
        for place in 0..=rival.len() {
            (self.world, self.bound, self.revisions) = before.clone();
            let mut order: Vec<_> = rival.iter().zip(&replies).collect();
            order.insert(place, (&act, &reply));
            let told = order.into_iter().try_for_each(|(act, reply)| {
                let outcome = self.world.act(act);
                self.agree(act, &outcome, reply)
            });
            match told.and_then(|()| self.compare_all()) {
                Ok(()) => return Ok(()),
                Err(error) => refused.push(error),
            }
        }
        prop_assert!(
            false,
            "{act:?} and {rival:?}: no order explains {reply:?} and {replies:?}: {refused:#?}"
        );
        Ok(())
    }

    /// Asserts that the reply is what the world predicts. Binds new numbers to their ids.
    fn agree(&mut self, act: &Act, outcome: &Outcome, reply: &Reply) -> Verdict {
        let agrees = match (outcome, reply) {
            (Outcome::Done, Reply::Done) => true,
            (Outcome::Started(number), Reply::Started(id)) => match self.bound.operations.get(number) {
                Some(known) => known == id,
                None => return self.bind_operation(*number, id),
            },
            (Outcome::Service(key), Reply::Service(id)) => {
                // A service created again has the same id.
                self.bound.services.entry(key.clone()).or_insert_with(|| id.clone()) == id
            }
            (
                Outcome::Duplicate(number),
                Reply::Refused(Error::DuplicateRequest { duplicate_operation_id, .. }),
            ) => self.bound.operations.get(number).is_some_and(|id| id == duplicate_operation_id.as_str()),
            (
                Outcome::NamespaceExists(number),
                Reply::Refused(Error::NamespaceAlreadyExists { namespace_id, .. }),
            ) => self.bound.namespaces.get(number).is_some_and(|id| id == namespace_id.as_str()),
            (
                Outcome::ServiceExists(key),
                Reply::Refused(Error::ServiceAlreadyExists { service_id, creator_request_id, .. }),
            ) => {
                let token = self.world.service(key).and_then(|service| service.token);
                self.bound.services.get(key).is_some_and(|id| id == service_id.as_str())
                    && creator_request_id.as_ref().map(CreatorRequestId::as_str) == token
            }
            (Outcome::Refused(code), Reply::Refused(error)) => error.code().as_str() == *code,
            _ => false,
        };
        prop_assert!(agrees, "{act:?}: expected {outcome:?}, got {reply:?}; {:#?}", self.world);
        Ok(())
    }

    fn bind_operation(&mut self, number: usize, id: &str) -> Verdict {
        let known = self.bound.operations.values().any(|known| known == id);
        prop_assert!(!known, "operation {id} belongs to another request");
        self.bound.operations.insert(number, id.to_owned());
        let operation = self.world.operations.iter().find(|operation| operation.number == number).unwrap();
        let found = self.api.get_operation(GetOperationRequest::new(id));
        prop_assert!(found.is_ok(), "{id}: {found:?}");
        if let OperationTargets::Namespace(id) = &found.unwrap().targets {
            let id = id.as_str().to_owned();
            let before = self.bound.namespaces.insert(operation.namespace, id.clone());
            prop_assert!(before.is_none_or(|before| before == id));
        }
        Ok(())
    }
}

/// Ids for `Step::Fill`, which no other step uses.
const MANY: [&str; 12] =
    ["m-1", "m-2", "m-3", "m-4", "m-5", "m-6", "m-7", "m-8", "m-9", "m-10", "m-11", "m-12"];

fn many_attributes(n: u8) -> BTreeMap<String, String> {
    let pairs = [
        ("AWS_INSTANCE_IPV4", format!("10.0.1.{n}")),
        ("AWS_INSTANCE_IPV6", format!("fd01::{n}")),
        ("AWS_INSTANCE_PORT", format!("{}", 9000 + u32::from(n))),
        ("AWS_INSTANCE_CNAME", "elsewhere.test".to_owned()),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

impl Writer {
    fn namespace(&self, namespace: &NamespaceRef) -> String {
        match namespace {
            NamespaceRef::Is(Some(number)) => self.bound.namespaces[number].clone(),
            _ => "ns-none".to_owned(),
        }
    }

    fn service(&self, service: &ServiceRef) -> String {
        match service {
            ServiceRef::Is(Some(key)) => self.bound.services[key].clone(),
            _ => "srv-none".to_owned(),
        }
    }

    fn act(&self, act: &Act) -> Reply {
        let started = |result: Result<sd_core::response::OperationStarted, Error>| {
            result.map(|started| Reply::Started(started.operation_id.as_str().to_owned()))
        };
        let token = |token: &Option<&'static str>| token.map(str::to_owned);
        let result = match act {
            Act::CreateHttp { name, token: given, description } => {
                let mut request = CreateHttpNamespaceRequest::new(*name);
                request.creator_request_id = token(given);
                request.description = description.map(str::to_owned);
                started(self.api.create_http_namespace(request))
            }
            Act::CreatePrivate { name, vpc, token: given, soa_ttl } => {
                let mut request = CreatePrivateDnsNamespaceRequest::new(*name, *vpc);
                request.creator_request_id = token(given);
                request.properties = soa_ttl.map(DnsNamespaceProperties::soa_ttl);
                started(self.api.create_private_dns_namespace(request))
            }
            Act::CreatePublic { name, token: given } => {
                let mut request = CreatePublicDnsNamespaceRequest::new(*name);
                request.creator_request_id = token(given);
                started(self.api.create_public_dns_namespace(request))
            }
            Act::UpdateNamespace { namespace, kind, description, soa_ttl, token: given } => {
                let (id, description) = (self.namespace(namespace), description.map(str::to_owned));
                let mut change = DnsNamespaceChange::default();
                change.description.clone_from(&description);
                change.properties = soa_ttl.map(DnsNamespaceProperties::soa_ttl);
                started(match *kind {
                    "HTTP" => {
                        let mut change = HttpNamespaceChange::default();
                        change.description = description;
                        let mut request = UpdateHttpNamespaceRequest::new(id).with_namespace(change);
                        request.updater_request_id = token(given);
                        self.api.update_http_namespace(request)
                    }
                    "DNS_PRIVATE" => {
                        let mut request = UpdatePrivateDnsNamespaceRequest::new(id).with_namespace(change);
                        request.updater_request_id = token(given);
                        self.api.update_private_dns_namespace(request)
                    }
                    _ => {
                        let mut request = UpdatePublicDnsNamespaceRequest::new(id).with_namespace(change);
                        request.updater_request_id = token(given);
                        self.api.update_public_dns_namespace(request)
                    }
                })
            }
            Act::UpdateService { service, description, types, longer, check } => {
                let mut change = ServiceChange::default();
                change.description = description.map(str::to_owned);
                change.dns_config = types.map(|types| {
                    let mut config = DnsConfigChange::default();
                    config.dns_records =
                        Some(types.iter().map(|kind| record(kind, ttl(kind) + longer)).collect());
                    config
                });
                change.health_check_config = check.map(|(kind, path)| route53(kind, path));
                let request = UpdateServiceRequest::new(self.service(service)).with_service(change);
                started(self.api.update_service(request))
            }
            Act::DeleteNamespace(namespace) => {
                let request = DeleteNamespaceRequest::new(self.namespace(namespace));
                started(self.api.delete_namespace(request))
            }
            Act::CreateService { namespace, name, dns, check, token: given } => {
                let mut request =
                    CreateServiceRequest::new(*name).with_namespace_id(self.namespace(namespace));
                request.creator_request_id = token(given);
                give_dns(&mut request, *dns);
                give_check(&mut request, *check);
                let created = self.api.create_service(request);
                created.map(|created| Reply::Service(created.service.id.as_str().to_owned()))
            }
            Act::DeleteService(service) => {
                let deleted = self.api.delete_service(DeleteServiceRequest::new(self.service(service)));
                deleted.map(|()| Reply::Done)
            }
            Act::Register { service, id, attributes, token: given } => {
                let request = RegisterInstanceRequest::new(self.service(service), *id);
                let mut request = request.with_attributes(attributes.clone());
                request.creator_request_id = token(given);
                started(self.api.register_instance(request))
            }
            Act::Deregister { service, id } => {
                let request = DeregisterInstanceRequest::new(self.service(service), *id);
                started(self.api.deregister_instance(request))
            }
            Act::Report { service, id, status } => {
                let request =
                    UpdateInstanceCustomHealthStatusRequest::new(self.service(service), *id, *status);
                self.api.update_instance_custom_health_status(request).map(|()| Reply::Done)
            }
            Act::SetHealth { service, id, status } => {
                self.api.set_health(self.service(service), id, custom(status)).map(|()| Reply::Done)
            }
            Act::PutCheckedHealth { service, id, status, .. } => {
                let state = self.cloud_map.state();
                match health_check::Check::of(&state, &Scope::default(), &self.service(service), id) {
                    Some(check) => {
                        self.api.put_checked_health(&check.subject(), custom(status)).map(|_| Reply::Done)
                    }
                    None => Ok(Reply::Done),
                }
            }
        };
        result.unwrap_or_else(Reply::Refused)
    }
}

fn custom(status: &str) -> CustomHealthStatus {
    match status {
        "HEALTHY" => CustomHealthStatus::Healthy,
        _ => CustomHealthStatus::Unhealthy,
    }
}

fn give_dns(request: &mut CreateServiceRequest, dns: Dns) {
    match dns {
        Dns::Absent => {}
        Dns::HttpType => request.service_type = Some(ServiceTypeOption::Http.into()),
        Dns::Records(policy, types) => {
            let mut config = DnsConfigInput::default();
            config.routing_policy = policy.map(Into::into);
            config.dns_records = Some(types.iter().map(|kind| record(kind, ttl(kind))).collect());
            request.dns_config = Some(config);
        }
    }
}

fn record(kind: &str, ttl: u32) -> DnsRecordInput {
    let mut record = DnsRecordInput::default();
    record.kind = Some(kind.into());
    record.ttl = Some(ttl.into());
    record
}

fn route53(kind: &str, path: Option<&str>) -> HealthCheckConfigInput {
    let mut config = HealthCheckConfigInput::default();
    config.kind = Some(kind.into());
    config.resource_path = path.map(str::to_owned);
    config
}

fn give_check(request: &mut CreateServiceRequest, check: Check) {
    let custom = HealthCheckCustomConfigInput::default();
    match check {
        Check::Absent => {}
        Check::Custom => request.health_check_custom_config = Some(custom),
        Check::Route53(kind, path) => request.health_check_config = Some(route53(kind, path)),
        Check::Both => {
            request.health_check_custom_config = Some(custom);
            request.health_check_config = Some(route53("HTTP", None));
        }
    }
}
