//! Cloud Map restated as plainly as possible: lists in order of creation, which every question scans.
//!
//! Written from the API Reference and the Developer Guide, without any part of the engine. Where they are silent, the
//! world follows `sd-http/docs/behaviour.md`.

use std::collections::BTreeMap;

use crate::act::Check;

/// The key of a service, from which its id is derived: its namespace's number and its name, which is in lower case in
/// DNS namespaces.
pub(crate) type ServiceKey = (usize, String);

/// The VPC, if the namespace is private, and the SOA TTL in seconds. `None`: an HTTP namespace.
pub(crate) type Zone = Option<(Option<&'static str>, u32)>;

/// Whether the routing policy is WEIGHTED, and the record types with their TTLs. `None`: the type HTTP.
pub(crate) type Records = Option<(bool, Vec<(&'static str, u32)>)>;

/// The whole registry. Namespaces and operations have numbers; only the engine has ids. Times are in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now: u64,
    /// The time until an operation is PENDING, and until it ends.
    pub(crate) delays: (u64, u64),
    /// The time until a health report takes effect.
    pub(crate) health_delay: u64,
    /// The next number. Numbers follow the order of requests.
    next: usize,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) services: Vec<Service>,
    pub(crate) operations: Vec<Operation>,
    /// The number of registrations and deregistrations per service.
    pub(crate) registrations: BTreeMap<ServiceKey, u64>,
    deleted_namespaces: Vec<usize>,
    pub(crate) deleted_services: Vec<ServiceKey>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace {
    pub(crate) number: usize,
    pub(crate) name: &'static str,
    /// Whether the HttpName is the plain name, without a hash.
    pub(crate) plain: bool,
    pub(crate) zone: Zone,
    pub(crate) description: Option<&'static str>,
    /// The zone and the description of the original request.
    pub(crate) wanted: (Zone, Option<&'static str>),
    pub(crate) token: Option<&'static str>,
    pub(crate) created: u64,
    pub(crate) created_by: usize,
    /// The last operation that changed the namespace, and its token.
    pub(crate) updated: Option<(usize, Option<&'static str>)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) number: usize,
    pub(crate) key: ServiceKey,
    pub(crate) name: &'static str,
    pub(crate) dns: Records,
    pub(crate) check: Check,
    pub(crate) description: Option<&'static str>,
    pub(crate) token: Option<&'static str>,
    pub(crate) created: u64,
    pub(crate) instances: Vec<Instance>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) number: usize,
    pub(crate) id: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) token: Option<&'static str>,
    pub(crate) registered_by: usize,
    pub(crate) status: &'static str,
    /// When the opposite status takes effect.
    pub(crate) due: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) number: usize,
    pub(crate) kind: &'static str,
    pub(crate) namespace: usize,
    /// The target below the namespace: a service, or an instance of it.
    pub(crate) target: Option<(ServiceKey, Option<String>)>,
    pub(crate) created: u64,
    pub(crate) ended: bool,
    pub(crate) effect: Effect,
}

#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// No effect, because a zone with this name exists.
    ZoneExists(&'static str),
    PutNamespace(Namespace),
    UpdateNamespace(Namespace),
    DeleteNamespace(usize),
    UpdateService {
        key: ServiceKey,
        description: Option<&'static str>,
        dns: Records,
        check: Check,
    },
    PutInstance(ServiceKey, Instance),
    DeleteInstance(ServiceKey, String),
}

impl Operation {
    /// Whether the operation ends FAIL.
    pub(crate) fn fails(&self) -> bool {
        matches!(self.effect, Effect::ZoneExists(_))
    }
}

impl Instance {
    /// Applies a new check of the service. An instance that had no check becomes healthy.
    fn apply_check(&mut self, check: Check) {
        if (self.status == "UNKNOWN") != (check == Check::Absent) {
            (self.status, self.due) = (if check == Check::Absent { "UNKNOWN" } else { "HEALTHY" }, None);
        }
    }

    /// Applies the pending report.
    pub(crate) fn flip(&mut self) {
        self.status = if self.status == "HEALTHY" { "UNHEALTHY" } else { "HEALTHY" };
        self.due = None;
    }
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Started(usize),
    Service(ServiceKey),
    NamespaceExists(usize),
    ServiceExists(ServiceKey),
    Duplicate(usize),
    Refused(&'static str),
}

impl World {
    pub(crate) fn new(now: u64, delays: (u64, u64), health_delay: u64) -> Self {
        Self {
            now,
            delays,
            health_delay,
            next: 0,
            namespaces: Vec::new(),
            services: Vec::new(),
            operations: Vec::new(),
            registrations: BTreeMap::new(),
            deleted_namespaces: Vec::new(),
            deleted_services: Vec::new(),
        }
    }

    pub(crate) fn pick_namespace(&self, n: u8) -> Option<usize> {
        let there = self.namespaces.iter().map(|namespace| namespace.number);
        let any: Vec<_> =
            there.chain(self.deleted_namespaces.last().copied()).map(Some).chain([None]).collect();
        any[usize::from(n) % any.len()]
    }

    pub(crate) fn pick_service(&self, n: u8) -> Option<ServiceKey> {
        let there = self.services.iter().map(|service| service.key.clone());
        let any: Vec<_> =
            there.chain(self.deleted_services.last().cloned()).map(Some).chain([None]).collect();
        any[usize::from(n) % any.len()].clone()
    }

    pub(crate) fn namespace(&self, number: usize) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.number == number)
    }

    pub(crate) fn service(&self, key: &ServiceKey) -> Option<&Service> {
        self.services.iter().find(|service| service.key == *key)
    }

    pub(crate) fn service_mut(&mut self, key: &ServiceKey) -> Option<&mut Service> {
        self.services.iter_mut().find(|service| service.key == *key)
    }

    /// The status of an operation, and since when.
    pub(crate) fn status(&self, operation: &Operation) -> (&'static str, u64) {
        let (pending, end) = (operation.created + self.delays.0, operation.created + self.delays.1);
        match self.now {
            now if now >= end => (if operation.fails() { "FAIL" } else { "SUCCESS" }, end),
            now if now >= pending => ("PENDING", pending),
            _ => ("SUBMITTED", operation.created),
        }
    }

    /// Advances the time, and applies due effects in order.
    pub(crate) fn pass(&mut self, until: u64) {
        loop {
            let operation = self.operations.iter().filter(|operation| !operation.ended);
            let operation = operation.map(|operation| operation.created + self.delays.1).min();
            let instances = self.services.iter().flat_map(|service| &service.instances);
            let health = instances.filter_map(|instance| instance.due).min();
            let Some(due) = operation.into_iter().chain(health).min().filter(|due| *due <= until) else {
                break;
            };
            if operation == Some(due) {
                let index = self.operations.iter().position(|operation| !operation.ended);
                self.end(index.unwrap());
            } else {
                let mut instances = self.services.iter_mut().flat_map(|service| &mut service.instances);
                instances.find(|instance| instance.due == Some(due)).unwrap().flip();
            }
        }
        self.now = until;
    }

    pub(crate) fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    pub(crate) fn start(
        &mut self,
        kind: &'static str,
        namespace: usize,
        target: Option<(ServiceKey, Option<String>)>,
        effect: impl FnOnce(usize) -> Effect,
    ) -> Outcome {
        let number = self.number();
        let (created, effect) = (self.now, effect(number));
        let ended = false;
        self.operations.push(Operation { number, kind, namespace, target, created, ended, effect });
        if self.delays.1 == 0 {
            self.end(self.operations.len() - 1);
        }
        Outcome::Started(number)
    }

    fn end(&mut self, index: usize) {
        self.operations[index].ended = true;
        match self.operations[index].effect.clone() {
            Effect::ZoneExists(_) => {}
            Effect::PutNamespace(namespace) => self.namespaces.push(namespace),
            Effect::UpdateNamespace(namespace) => {
                let place = self.namespaces.iter().position(|found| found.number == namespace.number);
                self.namespaces[place.unwrap()] = namespace;
            }
            Effect::UpdateService { key, description, dns, check } => {
                let service = self.service_mut(&key).unwrap();
                (service.description, service.dns, service.check) = (description, dns, check);
                service.instances.iter_mut().for_each(|instance| instance.apply_check(check));
            }
            Effect::DeleteNamespace(number) => {
                self.namespaces.retain(|namespace| namespace.number != number);
                self.deleted_namespaces.push(number);
            }
            Effect::PutInstance(key, mut instance) => {
                *self.registrations.entry(key.clone()).or_default() += 1;
                let service = self.service_mut(&key).unwrap();
                let custom = service.check == Check::Custom;
                instance.apply_check(service.check);
                match service.instances.iter_mut().find(|found| found.id == instance.id) {
                    Some(found) => {
                        // Reported health survives the registration unless AWS_INIT_HEALTH_STATUS changes.
                        let initial =
                            |instance: &Instance| instance.attributes.get("AWS_INIT_HEALTH_STATUS").cloned();
                        if custom && initial(found) == initial(&instance) {
                            (instance.status, instance.due) = (found.status, found.due);
                        }
                        instance.number = found.number;
                        *found = instance;
                    }
                    None => service.instances.push(instance),
                }
            }
            Effect::DeleteInstance(key, id) => {
                *self.registrations.entry(key.clone()).or_default() += 1;
                self.service_mut(&key).unwrap().instances.retain(|instance| instance.id != id);
            }
        }
    }

    /// The operation in progress on an instance.
    pub(crate) fn busy(&self, key: &ServiceKey, id: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| {
            !operation.ended
                && operation.target.as_ref().is_some_and(|(on, of)| on == key && of.as_deref() == Some(id))
        })
    }
}
