//! The records of all zones, by name, kept up to date by the changes of the registry.
//!
//! What an instance gives comes from [`sd_core::records::records_of`] alone. What is stored is what an answer is made of;
//! a query takes one look at the entry of its name and nothing else.

mod entry;
mod lookup_name;
mod record_set;
#[cfg(test)]
pub(crate) mod tests;
mod zones;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::{ArcSwap, Guard};
use dashmap::DashMap;
use hashbrown::{DefaultHashBuilder, HashMap, HashSet};
use sd_core::{
    Change, Observer, Scope, State,
    ids::{InstanceId, NamespaceId, ServiceId},
    model::{Namespace, RoutingPolicy, Service},
    name::DnsName,
    records::{self, Record, RecordData, View},
    state::{InstanceEntry, NamespaceEntry, ScopeState, ServiceEntry},
};

pub use self::zones::HiddenZone;
pub(crate) use self::{
    entry::{Addresses, Candidate, Entry},
    lookup_name::LookupName,
    record_set::{RecordSet, Srv as SrvData},
    zones::{ZoneKey, Zones},
};
use self::{
    entry::{Data, Given},
    lookup_name::{ancestors, key_of},
    record_set::{Labels, Srv, Term},
    zones::Candidate as ZoneCandidate,
};

/// The records that DNS answers come from, by zone and name. A handle: copies show the same.
///
/// Attach it to one registry's cell; for as long as it is attached, a change of the registry is in the table before the call
/// that made it returns. A register, a deregister or a change of health costs the same whatever the size of the service.
///
/// With [`Timing`](sd_core::Timing) other than instant, operations and reports of health come to their end by themselves, which
/// the registry shows once somebody asks its `CloudMap`; a query does not. Where nobody else may ask,
/// [`CloudMap::keep_time`](sd_core::CloudMap::keep_time) runs beside it.
///
/// A query sees the records of one name as they are at one moment. Changes of several names, even of one change set,
/// become visible one name after the other, an instance's own name before the SRV record that points to it.
#[derive(Clone)]
pub struct NameTable(Arc<Shared>);

struct Shared {
    view: View,
    published: ArcSwap<Published>,
    /// Changes are made by one thread at a time.
    writer: Mutex<Writer>,
}

/// What queries read.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) zones: Zones,
    names: Arc<Names>,
}

/// By the zone's key and the labels before the zone's name, lower-case.
type Names = DashMap<Box<[u8]>, Entry, DefaultHashBuilder>;

#[derive(Debug, Default)]
struct Writer {
    /// Of the namespaces that there are.
    known: HashMap<(Scope, NamespaceId), Known>,
    next_key: ZoneKey,
    /// The contested names that were logged as a warning.
    warned: HashSet<DnsName>,
}

#[derive(Debug)]
struct Known {
    key: ZoneKey,
    /// The zone of the namespace as it was added, with its name; `None` if the view does not show it.
    shown: Option<(DnsName, Arc<Namespace>)>,
}

impl NameTable {
    /// An empty table that answers from the zones of all scopes and VPCs.
    #[must_use]
    pub fn new() -> Self {
        Self::with_view(View::default())
    }

    /// An empty table that answers from the zones that the view shows.
    #[must_use]
    pub fn with_view(view: View) -> Self {
        let published = ArcSwap::from_pointee(Published { zones: Zones::default(), names: Arc::default() });
        Self(Arc::new(Shared { view, published, writer: Mutex::default() }))
    }

    /// The zones that the view shows but that are never answered from, in order of their names.
    #[must_use]
    pub fn hidden_zones(&self) -> Vec<HiddenZone> {
        self.read().zones.hidden().collect()
    }

    pub(crate) fn read(&self) -> Guard<Arc<Published>> {
        self.0.published.load()
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.0.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates the zones of these namespaces of a scope.
    fn publish(&self, scope: &Scope, namespaces: &[NamespaceId], after: &ScopeState, writer: &mut Writer) {
        let published = self.0.published.load();
        let (mut zones, mut changes) = (published.zones.clone(), false);
        for id in namespaces {
            let namespace = after.namespace(id.as_str()).map(NamespaceEntry::namespace);
            let update = writer.update(&mut zones, &self.0.view, scope, id, namespace);
            changes |= update.changes;
            if let Some(hidden) = &update.hides {
                writer.log_hidden(hidden);
            }
        }
        if changes {
            let names = Arc::clone(&published.names);
            self.0.published.store(Arc::new(Published { zones, names }));
        }
    }
}

impl Default for NameTable {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for NameTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let published = self.read();
        f.debug_struct("NameTable")
            .field("view", &self.0.view)
            .field("zones", &published.zones.len())
            .field("names", &published.names.len())
            .finish_non_exhaustive()
    }
}

impl Published {
    /// Looks at what a name has, under the lock of its entry: `look` must not look up another one.
    #[inline]
    pub(crate) fn look<T>(&self, key: &[u8], look: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.names.get(key).filter(|entry| entry.exists()).map(|entry| look(&entry))
    }
}

impl Observer for NameTable {
    fn changed(&self, old: &State, new: &State, scope: &Scope, changes: &[Change]) {
        let mut writer = self.writer();
        let names = Arc::clone(&self.read().names);
        let (before, after) = (old.scope(scope), new.scope(scope));
        let touched = Touched::by(changes, before, after);
        for (service, id) in &touched.instances {
            let removed = writer.given_by(scope, before, service, id);
            let added = writer.given_by(scope, after, service, id);
            if removed != added {
                replace(&names, removed, added);
            }
        }
        if !touched.namespaces.is_empty() {
            self.publish(scope, &touched.namespaces, after, &mut writer);
        }
    }

    fn rebuild(&self, new: &State) {
        let mut writer = self.writer();
        // Beside the table that is read, which stays whole until the new one is.
        let (names, mut zones) = (Arc::<Names>::default(), Zones::default());
        for known in writer.known.values_mut() {
            known.shown = None;
        }
        for (scope, state) in new.scopes() {
            for entry in state.namespaces() {
                let namespace = entry.namespace();
                for service in state.services_of(entry) {
                    let key = writer.key(scope, &namespace.id);
                    for instance in service.instances().iter() {
                        replace(&names, Vec::new(), given(instance, service, namespace, key));
                    }
                }
                writer.update(&mut zones, &self.0.view, scope, &namespace.id, Some(namespace));
            }
        }
        writer.known.retain(|(scope, id), _| new.scope(scope).namespace(id.as_str()).is_some());
        let contested = zones.contested();
        if contested > 0 {
            tracing::warn!(
                names = contested,
                "several namespaces have the same zone name: one of each name answers"
            );
        }
        self.0.published.store(Arc::new(Published { zones, names }));
    }
}

/// What changes concern: their order does not matter, since both the state before and the one after are known.
struct Touched {
    namespaces: Vec<NamespaceId>,
    instances: Vec<(ServiceId, InstanceId)>,
}

impl Touched {
    fn by(changes: &[Change], before: &ScopeState, after: &ScopeState) -> Self {
        let mut touched = Self { namespaces: Vec::new(), instances: Vec::new() };
        for change in changes {
            match change {
                Change::PutNamespace(namespace) => {
                    touched.namespaces.push(namespace.id.clone());
                    touched.namespace(namespace, before, after);
                }
                // Its effect comes as changes of its own.
                Change::BeginOperation(_) | Change::EndOperation(_) => {}
                // Its services, and their instances, have changes of their own.
                Change::DeleteNamespace(id) => touched.namespaces.push(id.clone()),
                Change::PutService(service) => touched.service(service, before, after),
                Change::DeleteService(_) => {}
                Change::PutInstance { service, instance, .. } => {
                    touched.instances.push((service.clone(), instance.id.clone()));
                }
                Change::DeleteInstance { service, id } | Change::PutHealth { service, id, .. } => {
                    touched.instances.push((service.clone(), id.clone()));
                }
            }
        }
        if touched.instances.len() > 1 {
            touched.instances.sort_unstable();
            touched.instances.dedup();
        }
        touched
    }

    /// A namespace's name and type do not change in Cloud Map, but a backend that reads its store anew may find it so.
    fn namespace(&mut self, namespace: &Namespace, before: &ScopeState, after: &ScopeState) {
        let Some(old) = before.namespace(namespace.id.as_str()) else {
            return;
        };
        if old.namespace().name == namespace.name && old.namespace().folds_case() == namespace.folds_case() {
            return;
        }
        for (state, entry) in [(before, Some(old)), (after, after.namespace(namespace.id.as_str()))] {
            for service in entry.into_iter().flat_map(|entry| state.services_of(entry)) {
                self.instances_of(service);
            }
        }
    }

    fn service(&mut self, service: &Service, before: &ScopeState, after: &ScopeState) {
        let Some(old) = before.service(service.id.as_str()) else {
            return;
        };
        let was = old.service();
        if was.kind == service.kind
            && was.name == service.name
            && was.namespace_id == service.namespace_id
            && was.health_check == service.health_check
        {
            return;
        }
        self.instances_of(old);
        if let Some(new) = after.service(service.id.as_str()) {
            self.instances_of(new);
        }
    }

    fn instances_of(&mut self, service: &ServiceEntry) {
        let id = &service.service().id;
        self.instances
            .extend(service.instances().iter().map(|entry| (id.clone(), entry.instance().id.clone())));
    }
}

/// What became of the zone of a namespace.
#[derive(Debug, Default)]
struct ZoneUpdate {
    changes: bool,
    hides: Option<HiddenZone>,
}

impl Writer {
    /// The most names that are remembered as logged. Zones of more names are logged for debugging only.
    const MAX_WARNED: usize = 1000;

    fn known(&mut self, scope: &Scope, namespace: &NamespaceId) -> &mut Known {
        self.known.entry((scope.clone(), namespace.clone())).or_insert_with(|| {
            self.next_key += 1;
            Known { key: self.next_key, shown: None }
        })
    }

    fn key(&mut self, scope: &Scope, namespace: &NamespaceId) -> ZoneKey {
        self.known(scope, namespace).key
    }

    /// Updates the zone of a namespace; `None` if the namespace was deleted.
    fn update(
        &mut self,
        zones: &mut Zones,
        view: &View,
        scope: &Scope,
        id: &NamespaceId,
        now: Option<&Arc<Namespace>>,
    ) -> ZoneUpdate {
        let known = self.known(scope, id);
        let key = known.key;
        let shown = now.filter(|namespace| view.shows(namespace)).and_then(|namespace| {
            let name = namespace.zone_name()?.ok()?;
            Some((name, Arc::clone(namespace)))
        });
        let is_same = match (&known.shown, &shown) {
            (Some((_, old)), Some((_, new))) => {
                old.name == new.name && old.kind == new.kind && old.created == new.created
            }
            (None, None) => true,
            _ => false,
        };
        let mut update = ZoneUpdate { changes: !is_same, hides: None };
        if !is_same {
            if let Some((name, namespace)) = known.shown.take() {
                zones.remove(name, &ZoneCandidate { namespace, key });
            }
            known.shown = shown;
            if let Some((name, namespace)) = &known.shown {
                let namespace = Arc::clone(namespace);
                update.hides = zones.add(name.clone(), &ZoneCandidate { namespace, key });
            }
        }
        if now.is_none() {
            self.known.remove(&(scope.clone(), id.clone()));
        }
        update
    }

    /// Logs a hidden zone: the first one of each name as a warning.
    fn log_hidden(&mut self, hidden: &HiddenZone) {
        let HiddenZone { name, scope, namespace, answering_scope, answering_namespace } = hidden;
        if self.warned.len() < Self::MAX_WARNED && self.warned.insert(name.clone()) {
            tracing::warn!(
                %name, %scope, %namespace, %answering_scope, %answering_namespace,
                "zone is hidden: an older or private namespace with the same name answers"
            );
        } else {
            tracing::debug!(
                %name, %scope, %namespace, %answering_scope, %answering_namespace,
                "zone is hidden"
            );
        }
    }

    /// The records of an instance in a state; none if it is not there.
    fn given_by(
        &mut self,
        scope: &Scope,
        state: &ScopeState,
        service: &ServiceId,
        id: &InstanceId,
    ) -> Vec<(Box<[u8]>, Given)> {
        let Some(service) = state.service(service.as_str()) else {
            return Vec::new();
        };
        let namespace = state.namespace(service.service().namespace_id.as_str());
        let Some(namespace) =
            namespace.map(NamespaceEntry::namespace).filter(|it| it.hosted_zone().is_some())
        else {
            return Vec::new();
        };
        let Some(instance) = service.instances().get(id.as_str()) else {
            return Vec::new();
        };
        let key = self.key(scope, &namespace.id);
        given(instance, service, namespace, key)
    }
}

/// The records of an instance as they are counted, with the keys of their names.
fn given(
    entry: &InstanceEntry,
    service: &ServiceEntry,
    namespace: &Namespace,
    key: ZoneKey,
) -> Vec<(Box<[u8]>, Given)> {
    let service = service.service();
    let records = records::records_of(entry.instance(), service, namespace);
    if records.is_empty() {
        return Vec::new();
    }
    let (Some(Ok(zone)), Some(Ok(own))) = (namespace.zone_name(), records::service_name(service, namespace))
    else {
        return Vec::new();
    };
    let weighted =
        service.dns_config().is_some_and(|config| config.routing_policy == RoutingPolicy::Weighted);
    let routable = records::is_routable(entry, service);
    let folded = entry.instance().id.as_str().bytes().any(|b| b.is_ascii_uppercase());
    let given = |record: &Record| {
        // The name of an instance answers with all that it has.
        let policy =
            if weighted && record.owner == own { RoutingPolicy::Weighted } else { RoutingPolicy::Multivalue };
        let term = Term { ttl: record.ttl, policy };
        let relative = record.owner.relative_to(&zone)?;
        Some((key_of(key, relative), Given { data: data(record, &records, folded)?, routable, term }))
    };
    records.iter().filter_map(given).collect()
}

fn data(record: &Record, all: &[Record], folded: bool) -> Option<Data> {
    Some(match &record.data {
        RecordData::A(address) => Data::A(*address),
        RecordData::Aaaa(address) => Data::Aaaa(*address),
        RecordData::Cname(target) => Data::Cname(target.clone()),
        RecordData::Alias { kind, target } => Data::Alias(*kind, target.clone()),
        RecordData::Srv { port, target } => {
            let target_labels = labels_below(target, &record.owner)?;
            let mut srv = Srv { port: *port, target: target_labels, ipv4: None, ipv6: None, folded };
            for other in all.iter().filter(|other| other.owner == *target) {
                match other.data {
                    RecordData::A(address) => srv.ipv4 = Some(address),
                    RecordData::Aaaa(address) => srv.ipv6 = Some(address),
                    RecordData::Cname(_) | RecordData::Srv { .. } | RecordData::Alias { .. } => {}
                }
            }
            Data::Srv(srv)
        }
    })
}

/// The target of an SRV record stands below the record's own name.
fn labels_below(target: &DnsName, owner: &DnsName) -> Option<Labels> {
    target.relative_to(owner).map(Into::into)
}

/// Replaces what one instance gives. All that changes at one name changes there at once.
fn replace(names: &Names, removed: Vec<(Box<[u8]>, Given)>, added: Vec<(Box<[u8]>, Given)>) {
    let grows = !added.is_empty();
    let tagged = |records: Vec<(Box<[u8]>, Given)>, add| {
        records.into_iter().map(move |(key, given)| (key, add, given))
    };
    let mut steps: Vec<(Box<[u8]>, bool, Given)> =
        tagged(added, true).chain(tagged(removed, false)).collect();
    // Longer names first where records come, last where they go: an SRV record always points to a name that exists.
    // At one name additions come first, so that it is never empty in between.
    steps.sort_by(|(a, a_adds, _), (b, b_adds, _)| {
        let by_length = a.len().cmp(&b.len());
        let by_length = if grows { by_length.reverse() } else { by_length };
        by_length.then_with(|| a.cmp(b)).then_with(|| b_adds.cmp(a_adds))
    });
    let mut steps = steps.into_iter().peekable();
    while let Some((key, adds, first)) = steps.next() {
        let had = names.get(&key).is_some_and(|entry| entry.has_records());
        if adds && !had {
            for ancestor in ancestors(&key) {
                names.entry(ancestor).or_default().below += 1;
            }
        }
        let mut entry = names.entry(key.clone()).or_default();
        apply(&mut entry, adds, first);
        while let Some((_, adds, given)) = steps.next_if(|(next, ..)| *next == key) {
            apply(&mut entry, adds, given);
        }
        let (has, exists) = (entry.has_records(), entry.exists());
        drop(entry);
        if !exists {
            names.remove(&key);
        }
        if (had || adds) && !has {
            for ancestor in ancestors(&key) {
                if let Some(mut entry) = names.get_mut(&ancestor) {
                    entry.below = entry.below.saturating_sub(1);
                }
                names.remove_if(&ancestor, |_, entry| !entry.exists());
            }
        }
    }
}

fn apply(entry: &mut Entry, adds: bool, given: Given) {
    if adds {
        entry.add(given);
    } else {
        entry.remove(&given);
    }
}
