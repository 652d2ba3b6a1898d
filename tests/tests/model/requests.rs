//! How each request of a writer changes the [`World`].

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use crate::{
    act::{Act, Check, Dns, NamespaceRef, ServiceRef},
    world::{
        Effect, Instance, Namespace, Operation, Outcome,
        Outcome::{Done, Duplicate, NamespaceExists, Refused, ServiceExists, Started},
        Service, ServiceKey, World,
    },
};

const INVALID: Outcome = Refused("InvalidInput");

/// The name of a zone: in lower case, without the root's dot.
fn folded(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl World {
    pub(crate) fn act(&mut self, act: &Act) -> Outcome {
        match act {
            Act::CreateHttp { name, token, description } => {
                self.create_namespace(name, None, *token, *description)
            }
            Act::CreatePrivate { name, vpc, token, soa_ttl } => {
                self.create_namespace(name, Some((Some(vpc), soa_ttl.unwrap_or(15))), *token, None)
            }
            Act::CreatePublic { name, token } => {
                if !name.contains('.') {
                    return INVALID;
                }
                self.create_namespace(name, Some((None, 60)), *token, None)
            }
            Act::UpdateNamespace {
                namespace: NamespaceRef::Is(number),
                kind,
                description,
                soa_ttl,
                token,
            } => self.update_namespace(*number, kind, *description, *soa_ttl, *token),
            Act::UpdateService { service: ServiceRef::Is(key), description, types, longer, check } => {
                let records =
                    types.map(|types| types.iter().map(|kind| (*kind, ttl(kind) + longer)).collect());
                let check = check.map(|(kind, path)| Check::Route53(kind, path));
                self.update_service(key.as_ref(), *description, records, check)
            }
            Act::DeleteNamespace(NamespaceRef::Is(number)) => self.delete_namespace(*number),
            Act::CreateService { namespace: NamespaceRef::Is(number), name, dns, check, token } => {
                self.create_service(*number, name, *dns, *check, *token)
            }
            Act::DeleteService(ServiceRef::Is(key)) => self.delete_service(key.as_ref()),
            Act::Register { service: ServiceRef::Is(key), id, attributes, token } => {
                self.register(key.as_ref(), id, attributes, *token)
            }
            Act::Deregister { service: ServiceRef::Is(key), id } => self.deregister(key.as_ref(), id),
            Act::Report { service: ServiceRef::Is(key), id, status } => self.report(key.as_ref(), id, status),
            Act::SetHealth { service: ServiceRef::Is(key), id, status } => {
                self.set_health(key.as_ref(), id, status)
            }
            Act::PutCheckedHealth { service: ServiceRef::Is(key), id, status, about } => {
                self.put_checked_health(key.as_ref(), id, status, *about)
            }
            act => panic!("settle the act first: {act:?}"),
        }
    }

    fn create_namespace(
        &mut self,
        name: &'static str,
        zone: Option<(Option<&'static str>, u32)>,
        token: Option<&'static str>,
        description: Option<&'static str>,
    ) -> Outcome {
        if name.contains(' ') || name.starts_with("arn:") {
            return INVALID;
        }
        // Compares with the original request, whatever an update has changed since.
        let same = |found: &Namespace| {
            token.is_some() && (found.name, found.token, found.wanted) == (name, token, (zone, description))
        };
        // One creation of a name at a time, of any type, even if it is going to fail.
        for other in self.operations.iter().filter(|operation| !operation.ended) {
            match &other.effect {
                Effect::PutNamespace(found) if same(found) => return Started(other.number),
                Effect::PutNamespace(Namespace { name: taken, .. }) | Effect::ZoneExists(taken)
                    if folded(taken) == folded(name) =>
                {
                    return Duplicate(other.number);
                }
                _ => {}
            }
        }
        let clashes = |found: &&Namespace| match (zone, found.zone) {
            (None, None) => found.name == name,
            // Several public zones may have the same name.
            (Some((None, _)), Some((None, _))) => same(found),
            (Some((vpc, _)), Some((other, _))) => vpc == other && folded(found.name) == folded(name),
            _ => false,
        };
        let found = self.namespaces.iter().find(clashes).cloned();
        let number = self.number();
        match found {
            Some(found) if same(&found) => return Started(found.created_by),
            Some(found) if zone.is_none() => return NamespaceExists(found.number),
            Some(_) => {
                return self.start("CREATE_NAMESPACE", number, None, |_| Effect::ZoneExists(name));
            }
            None => {}
        }
        let plain = !self.namespaces.iter().any(|found| found.plain && found.name == name);
        let created = self.now;
        self.start("CREATE_NAMESPACE", number, None, |created_by| {
            Effect::PutNamespace(Namespace {
                number,
                name,
                plain,
                zone,
                description,
                wanted: (zone, description),
                token,
                created,
                created_by,
                updated: None,
            })
        })
    }

    fn update_namespace(
        &mut self,
        number: Option<usize>,
        kind: &str,
        description: Option<&'static str>,
        soa_ttl: Option<u32>,
        token: Option<&'static str>,
    ) -> Outcome {
        if kind == "HTTP" && description.is_none() {
            return INVALID;
        }
        let Some(before) = number.and_then(|number| self.namespace(number)).cloned() else {
            return Refused("NamespaceNotFound");
        };
        let found = match before.zone {
            None => "HTTP",
            Some((Some(_), _)) => "DNS_PRIVATE",
            Some((None, _)) => "DNS_PUBLIC",
        };
        if found != kind {
            return INVALID;
        }
        let changed = |namespace: &Namespace| {
            let mut namespace = namespace.clone();
            if let Some(text) = description {
                namespace.description = Some(text).filter(|text| !text.is_empty());
            }
            if let (Some(zone), Some(ttl)) = (&mut namespace.zone, soa_ttl) {
                zone.1 = ttl;
            }
            namespace
        };
        let replayed = |namespace: &Namespace| {
            let by = namespace.updated.filter(|(_, by)| token.is_some() && *by == token);
            by.map(|(operation, _)| operation).filter(|_| changed(namespace) == *namespace)
        };
        if let Some(other) = self.changing(before.number) {
            return match &other.effect {
                Effect::UpdateNamespace(found) => replayed(found).map_or(Duplicate(other.number), Started),
                _ => Duplicate(other.number),
            };
        }
        if let Some(operation) = replayed(&before) {
            return Started(operation);
        }
        let after = changed(&before);
        self.start("UPDATE_NAMESPACE", before.number, None, |operation| {
            Effect::UpdateNamespace(Namespace { updated: Some((operation, token)), ..after })
        })
    }

    /// The update or deletion of the namespace that is in progress.
    fn changing(&self, number: usize) -> Option<&Operation> {
        self.operations.iter().filter(|operation| !operation.ended).find(|other| match &other.effect {
            Effect::DeleteNamespace(on) => *on == number,
            Effect::UpdateNamespace(namespace) => namespace.number == number,
            _ => false,
        })
    }

    fn delete_namespace(&mut self, number: Option<usize>) -> Outcome {
        let Some(number) = number.filter(|number| self.namespace(*number).is_some()) else {
            return Refused("NamespaceNotFound");
        };
        if self.services.iter().any(|service| service.key.0 == number) {
            return Refused("ResourceInUse");
        }
        if let Some(other) = self.changing(number) {
            return Duplicate(other.number);
        }
        self.start("DELETE_NAMESPACE", number, None, |_| Effect::DeleteNamespace(number))
    }

    fn is_being_deleted(&self, number: usize) -> bool {
        self.changing(number).is_some_and(|other| matches!(other.effect, Effect::DeleteNamespace(_)))
    }

    fn create_service(
        &mut self,
        namespace: Option<usize>,
        name: &'static str,
        dns: Dns,
        check: Check,
        token: Option<&'static str>,
    ) -> Outcome {
        if name == "a..b" {
            return INVALID;
        }
        let there = namespace.and_then(|number| self.namespace(number));
        let Some(namespace) = there.filter(|namespace| !self.is_being_deleted(namespace.number)) else {
            return Refused("NamespaceNotFound");
        };
        let (number, is_dns) = (namespace.number, namespace.zone.is_some());
        let dns = match dns {
            Dns::Records(policy, types) if is_dns => {
                let cname = types.contains(&"CNAME");
                let twice = (1..types.len()).any(|i| types[..i].contains(&types[i]));
                let weighted = policy == Some("WEIGHTED");
                if types.is_empty() || twice || cname && (types.len() > 1 || !weighted) {
                    return INVALID;
                }
                Some((weighted, types.iter().map(|kind| (*kind, ttl(kind))).collect::<Vec<_>>()))
            }
            Dns::Records(..) => return INVALID,
            Dns::Absent if is_dns => return INVALID,
            Dns::Absent | Dns::HttpType => None,
        };
        let cname = dns.as_ref().is_some_and(|(_, records)| records.iter().any(|(kind, _)| *kind == "CNAME"));
        match check {
            Check::Both | Check::Route53("TCP", Some(_)) => return INVALID,
            Check::Route53(..) if cname => return INVALID,
            _ => {}
        }
        let key = (number, if is_dns { name.to_ascii_lowercase() } else { name.to_owned() });
        if let Some(found) = self.service(&key) {
            let same = token.is_some()
                && (found.name, &found.dns, found.check, found.token) == (name, &dns, check, token)
                && found.description.is_none();
            return if same { Outcome::Service(key) } else { ServiceExists(key) };
        }
        let (number, created) = (self.number(), self.now);
        let (key_of, description, instances) = (key.clone(), None, Vec::new());
        self.services.push(Service {
            number,
            key: key_of,
            name,
            dns,
            check,
            description,
            token,
            created,
            instances,
        });
        Outcome::Service(key)
    }

    fn update_service(
        &mut self,
        key: Option<&ServiceKey>,
        description: Option<&'static str>,
        records: Option<Vec<(&'static str, u32)>>,
        check: Option<Check>,
    ) -> Outcome {
        let Some(service) = key.and_then(|key| self.service(key)) else { return Refused("ServiceNotFound") };
        if self.namespace(service.key.0).is_some_and(|namespace| namespace.zone.is_none()) {
            return INVALID;
        }
        let dns = match (&service.dns, records) {
            (_, None) => None,
            (None, Some(_)) => return INVALID,
            (Some((weighted, before)), Some(records)) => {
                let there = |kind: &str| before.iter().any(|(found, _)| *found == kind);
                let twice =
                    (1..records.len()).any(|i| records[..i].iter().any(|(kind, _)| *kind == records[i].0));
                if records.is_empty() || twice || !records.iter().all(|(kind, _)| there(kind)) {
                    return INVALID;
                }
                Some((*weighted, records))
            }
        };
        let cname = dns.as_ref().is_some_and(|(_, records)| records.iter().any(|(kind, _)| *kind == "CNAME"));
        let check = match (service.check, check) {
            (Check::Custom, Some(_)) => return INVALID,
            (Check::Custom, None) => Check::Custom,
            (_, None) => Check::Absent,
            (_, Some(Check::Route53("TCP", Some(_)))) => return INVALID,
            (_, Some(_)) if cname => return INVALID,
            (Check::Route53(before, _), Some(Check::Route53(kind, _))) if before != kind => return INVALID,
            (_, Some(check)) => check,
        };
        let (key, before) = (service.key.clone(), service.description);
        let under_way = self.operations.iter().filter(|operation| !operation.ended);
        let on_it = |other: &&Operation| matches!(&other.target, Some((on, None)) if *on == key);
        if let Some(other) = under_way.clone().find(|other| on_it(other)) {
            return Duplicate(other.number);
        }
        let description = description.map_or(before, |text| Some(text).filter(|text| !text.is_empty()));
        self.start("UPDATE_SERVICE", key.0, Some((key.clone(), None)), |_| Effect::UpdateService {
            key,
            description,
            dns,
            check,
        })
    }

    fn delete_service(&mut self, key: Option<&ServiceKey>) -> Outcome {
        let Some(service) = key.and_then(|key| self.service(key)) else { return Refused("ServiceNotFound") };
        let key = service.key.clone();
        let on_it = |operation: &&Operation| {
            !operation.ended && operation.target.as_ref().is_some_and(|(on, _)| *on == key)
        };
        if !service.instances.is_empty() || self.operations.iter().any(|operation| on_it(&operation)) {
            return Refused("ResourceInUse");
        }
        self.services.retain(|service| service.key != key);
        self.deleted_services.push(key);
        Done
    }

    fn register(
        &mut self,
        key: Option<&ServiceKey>,
        id: &'static str,
        attributes: &BTreeMap<String, String>,
        token: Option<&'static str>,
    ) -> Outcome {
        if attributes.values().any(|value| value.starts_with(' ')) {
            return INVALID;
        }
        let Some(service) = key.and_then(|key| self.service(key)) else { return Refused("ServiceNotFound") };
        let key = service.key.clone();
        let http_namespace = self.namespace(key.0).is_some_and(|namespace| namespace.zone.is_none());
        if !accepts(service, http_namespace, attributes) {
            return INVALID;
        }
        let same =
            |found: &Instance| token.is_some() && (found.token, &found.attributes) == (token, attributes);
        if let Some(other) = self.busy(&key, id) {
            return match &other.effect {
                Effect::PutInstance(_, found) if same(found) => Started(other.number),
                _ => Duplicate(other.number),
            };
        }
        if let Some(found) = service.instances.iter().find(|found| found.id == id && same(found)) {
            return Started(found.registered_by);
        }
        let status = match (service.check, attributes.get("AWS_INIT_HEALTH_STATUS").map(String::as_str)) {
            (Check::Absent | Check::Both, _) => "UNKNOWN",
            (Check::Custom, Some("UNHEALTHY")) => "UNHEALTHY",
            _ => "HEALTHY",
        };
        let (number, attributes) = (self.number(), attributes.clone());
        let target = Some((key.clone(), Some(id.to_owned())));
        self.start("REGISTER_INSTANCE", key.0, target, |registered_by| {
            let (id, due) = (id.to_owned(), None);
            Effect::PutInstance(key, Instance { number, id, attributes, token, registered_by, status, due })
        })
    }

    fn deregister(&mut self, key: Option<&ServiceKey>, id: &str) -> Outcome {
        let Some(service) = key.and_then(|key| self.service(key)) else { return Refused("ServiceNotFound") };
        let key = service.key.clone();
        if let Some(other) = self.busy(&key, id) {
            return Duplicate(other.number);
        }
        if !service.instances.iter().any(|found| found.id == id) {
            return Refused("InstanceNotFound");
        }
        let target = Some((key.clone(), Some(id.to_owned())));
        self.start("DEREGISTER_INSTANCE", key.0, target, |_| Effect::DeleteInstance(key, id.to_owned()))
    }

    fn report(&mut self, key: Option<&ServiceKey>, id: &str, status: &str) -> Outcome {
        if !["HEALTHY", "UNHEALTHY"].contains(&status) {
            return INVALID;
        }
        let (now, delay) = (self.now, self.health_delay);
        let Some(service) = key.and_then(|key| self.service_mut(key)) else {
            return Refused("ServiceNotFound");
        };
        if service.check != Check::Custom {
            return Refused("CustomHealthNotFound");
        }
        let Some(instance) = service.instances.iter_mut().find(|found| found.id == id) else {
            return Refused("InstanceNotFound");
        };
        if instance.status == status {
            // The opposite report cancels the pending one.
            instance.due = None;
        } else if delay == 0 {
            instance.flip();
        } else {
            instance.due = instance.due.or(Some(now + delay));
        }
        Done
    }
}

impl World {
    /// A host's word takes effect at once, and a pending report is dropped.
    fn set_health(&mut self, key: Option<&ServiceKey>, id: &str, status: &'static str) -> Outcome {
        let Some(service) = key.and_then(|key| self.service_mut(key)) else {
            return Refused("ServiceNotFound");
        };
        if service.check == Check::Absent {
            return Refused("CustomHealthNotFound");
        }
        let Some(instance) = service.instances.iter_mut().find(|found| found.id == id) else {
            return Refused("InstanceNotFound");
        };
        (instance.status, instance.due) = (status, None);
        Done
    }

    /// Results count only for the registration and the Route 53 check that they are about.
    fn put_checked_health(
        &mut self,
        key: Option<&ServiceKey>,
        id: &str,
        status: &'static str,
        about: Option<(usize, Check)>,
    ) -> Outcome {
        let Some(service) = key.and_then(|key| self.service_mut(key)) else { return Done };
        let check = service.check;
        let Some(instance) = service.instances.iter_mut().find(|found| found.id == id) else { return Done };
        let is_meant = about.is_none_or(|about| about == (instance.registered_by, check));
        if matches!(check, Check::Route53(..)) && is_meant {
            instance.status = status;
        }
        Done
    }
}

/// The TTL in requests for a record type, in seconds.
pub(crate) fn ttl(kind: &str) -> u32 {
    match kind {
        "A" => 60,
        "AAAA" => 61,
        "SRV" => 10,
        _ => 300,
    }
}

/// Whether the service accepts an instance with these attributes. Source: "Values that you specify when you register an
/// instance", in the Developer Guide.
fn accepts(service: &Service, http_namespace: bool, attributes: &BTreeMap<String, String>) -> bool {
    let get = |key: &str| attributes.get(key).map(String::as_str);
    let (four, six) = (get("AWS_INSTANCE_IPV4"), get("AWS_INSTANCE_IPV6"));
    let (port, cname) = (get("AWS_INSTANCE_PORT"), get("AWS_INSTANCE_CNAME"));
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    let well_formed = four.is_none_or(|text| text.parse::<Ipv4Addr>().is_ok())
        && six.is_none_or(|text| text.parse::<Ipv6Addr>().is_ok())
        && port.is_none_or(|text| digits(text) && text.parse::<u16>().is_ok_and(|port| port > 0));
    let initial = get("AWS_INIT_HEALTH_STATUS");
    if !well_formed || !matches!(initial, None | Some("HEALTHY" | "UNHEALTHY")) {
        return false;
    }
    let has = |wanted: &str| {
        service.dns.as_ref().is_some_and(|(_, records)| records.iter().any(|(kind, _)| *kind == wanted))
    };
    if get("AWS_ALIAS_DNS_NAME").is_some() {
        let weighted = service.dns.as_ref().is_some_and(|(weighted, _)| *weighted);
        let alone = four.or(six).or(port).or(cname).is_none();
        return alone && weighted && !has("SRV") && !has("CNAME");
    }
    if get("AWS_EC2_INSTANCE_ID").is_some() {
        let alone = four.or(six).or(port).or(cname).is_none();
        return http_namespace && alone;
    }
    let address = match (has("A"), has("AAAA")) {
        (true, true) => four.or(six).is_some(),
        (true, false) => four.is_some(),
        (false, true) => six.is_some(),
        (false, false) => true,
    };
    address
        && (!has("SRV") || port.is_some() && four.or(six).is_some())
        && (!has("CNAME") || cname.is_some())
        && (!matches!(service.check, Check::Route53(..)) || port.is_some())
}
