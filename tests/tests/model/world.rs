//! Cloud Map restated as plainly as possible: lists in order of creation, through which every question walks.
//!
//! Written from the API Reference and the Developer Guide, with no part of the engine. What they leave open is decided as
//! the engine's documents say.

use std::collections::BTreeMap;

use crate::act::Check;

/// What an id of a service follows from: its namespace's number and its name, folded where DNS is available.
pub(crate) type ServiceKey = (usize, String);

/// The VPC, if it is private, and the SOA TTL of a DNS namespace.
pub(crate) type Zone = Option<(Option<&'static str>, u32)>;

pub(crate) type Records = Option<(bool, Vec<(&'static str, u32)>)>;

/// The whole registry. Namespaces and operations are known by numbers; what ids they have is the engine's business.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now: u64,
    /// Until an operation is PENDING, and until it ends, in milliseconds.
    pub(crate) delays: (u64, u64),
    /// Until a report of health takes effect.
    pub(crate) health_delay: u64,
    /// Numbers everything in the order in which it was asked for.
    next: usize,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) services: Vec<Service>,
    pub(crate) operations: Vec<Operation>,
    /// How often instances of a service came, changed or went.
    pub(crate) registrations: BTreeMap<ServiceKey, u64>,
    gone_namespaces: Vec<usize>,
    pub(crate) gone_services: Vec<ServiceKey>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace {
    pub(crate) number: usize,
    pub(crate) name: &'static str,
    /// Whether the HttpName is the name itself. Otherwise a hash follows it.
    pub(crate) plain: bool,
    pub(crate) zone: Zone,
    pub(crate) description: Option<&'static str>,
    /// The zone and the description that it was created with.
    pub(crate) wanted: (Zone, Option<&'static str>),
    pub(crate) token: Option<&'static str>,
    pub(crate) created: u64,
    pub(crate) created_by: usize,
    /// The operation that changed it last, and its token.
    pub(crate) updated: Option<(usize, Option<&'static str>)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) number: usize,
    pub(crate) key: ServiceKey,
    pub(crate) name: &'static str,
    /// `None` for the type HTTP; otherwise whether it is WEIGHTED, and types with TTLs.
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
    /// When the other status takes effect.
    pub(crate) due: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) number: usize,
    pub(crate) kind: &'static str,
    pub(crate) namespace: usize,
    /// A service, or an instance of it.
    pub(crate) target: Option<(ServiceKey, Option<String>)>,
    pub(crate) created: u64,
    pub(crate) ended: bool,
    pub(crate) effect: Effect,
}

#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Nothing comes of it: the zone of this name is there already.
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
    /// Whether it ends in FAIL.
    pub(crate) fn fails(&self) -> bool {
        matches!(self.effect, Effect::ZoneExists(_))
    }
}

impl Instance {
    /// The service has this check now. What was not checked before is well; custom checks are from the beginning.
    fn come_under(&mut self, check: Check) {
        if (self.status == "UNKNOWN") != (check == Check::Absent) {
            (self.status, self.due) = (if check == Check::Absent { "UNKNOWN" } else { "HEALTHY" }, None);
        }
    }

    /// The pending report takes effect.
    pub(crate) fn flip(&mut self) {
        self.status = if self.status == "HEALTHY" { "UNHEALTHY" } else { "HEALTHY" };
        self.due = None;
    }
}

/// What a request ends in.
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
            gone_namespaces: Vec::new(),
            gone_services: Vec::new(),
        }
    }

    pub(crate) fn pick_namespace(&self, n: u8) -> Option<usize> {
        let there = self.namespaces.iter().map(|namespace| namespace.number);
        let any: Vec<_> = there.chain(self.gone_namespaces.last().copied()).map(Some).chain([None]).collect();
        any[usize::from(n) % any.len()]
    }

    pub(crate) fn pick_service(&self, n: u8) -> Option<ServiceKey> {
        let there = self.services.iter().map(|service| service.key.clone());
        let any: Vec<_> = there.chain(self.gone_services.last().cloned()).map(Some).chain([None]).collect();
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

    /// Time passes; what is due happens, in the order of its moments.
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
                service.instances.iter_mut().for_each(|instance| instance.come_under(check));
            }
            Effect::DeleteNamespace(number) => {
                self.namespaces.retain(|namespace| namespace.number != number);
                self.gone_namespaces.push(number);
            }
            Effect::PutInstance(key, mut instance) => {
                *self.registrations.entry(key.clone()).or_default() += 1;
                let service = self.service_mut(&key).unwrap();
                let custom = service.check == Check::Custom;
                instance.come_under(service.check);
                match service.instances.iter_mut().find(|found| found.id == instance.id) {
                    Some(found) => {
                        // Reported health outlives the registration, unless the attributes say where it starts anew.
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

    /// The operation on an instance that is under way.
    pub(crate) fn busy(&self, key: &ServiceKey, id: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| {
            !operation.ended
                && operation.target.as_ref().is_some_and(|(on, of)| on == key && of.as_deref() == Some(id))
        })
    }
}
