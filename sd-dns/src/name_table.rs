//! The records of all zones by name, kept up to date by the changes of a registry.
//!
//! The records of an instance come from [`sd_core::dns::records_of`] only. They are stored in the form that responses
//! need, so that a query looks up one entry: that of its name.

mod entry;
mod lookup_name;
mod record_set;
mod steps;
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
    Change, Observer, Scope, State, dns,
    dns::{Record, RecordData, View},
    door,
    model::{DnsName, InstanceId, Namespace, NamespaceId, RoutingPolicy, Service, ServiceId},
    state::{InstanceEntry, NamespaceEntry, ScopeState, ServiceEntry},
};

pub use self::zones::HiddenZone;
pub(crate) use self::{
    entry::{AddressCandidates, Candidate, Entry},
    lookup_name::LookupName,
    record_set::{RecordSet, SrvData},
    zones::{ZoneKey, Zones},
};
use self::{
    entry::{Contribution, Data},
    lookup_name::{ancestors, key_of},
    record_set::{Labels, Terms},
    steps::{Step, steps},
    zones::ZoneCandidate,
};

/// The records that responses are made of, by zone and name. A handle: clones share one table.
///
/// Attach the table to the cell of one registry. While it is attached, a change of the registry is in the table before the
/// call that makes it returns. Registering, deregistering and changing the health of an instance take the same time
/// whatever the size of the service.
///
/// # Consistency
/// A query sees the records of one name as they are at one moment. Changes of several names become visible one name after
/// the other, even those of one change set. An instance's own name is visible before the SRV record that points to it, and
/// disappears after that record.
///
/// # Time
/// With a [`Timing`](sd_core::Timing) other than instant, operations and health reports take effect later. The registry
/// applies them when its `CloudMap` is called, but a query does not call it. Run
/// [`CloudMap::keep_time`](sd_core::CloudMap::keep_time) if nothing else may call it.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use sd_backend_memory::MemoryRegistry;
/// use sd_core::{Scope, SyncCloudMap, request::CreatePrivateDnsNamespaceRequest};
/// use sd_dns::NameTable;
///
/// let cloud_map = SyncCloudMap::new(MemoryRegistry::new());
/// let table = NameTable::new();
/// // The table follows the registry until this is dropped.
/// let _attached = cloud_map.cloud_map().cell().attach(Arc::new(table.clone()));
///
/// // Two accounts create the same zone. By default one table shows all accounts, so one of the zones is hidden.
/// for account in ["000000000001", "000000000002"] {
///     let api = cloud_map.at(Scope::parse(account, "eu-west-1").unwrap());
///     api.create_private_dns_namespace(CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1"))?;
/// }
/// let hidden = table.hidden_zones();
/// assert_eq!(hidden.len(), 1);
/// assert_eq!(hidden[0].name.to_string(), "app.local.");
/// # Ok::<(), sd_core::Error>(())
/// ```
#[derive(Clone)]
pub struct NameTable(Arc<Shared>);

struct Shared {
    view: View,
    published: ArcSwap<Published>,
    /// One thread changes the table at a time.
    writer: Mutex<Writer>,
}

/// The part of a table that queries read.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) zones: Zones,
    names: Arc<Names>,
}

/// Entries by zone key and the labels before the zone's name, in lower case.
type Names = DashMap<Box<[u8]>, Entry, DefaultHashBuilder>;

/// The part of a table that only changes read.
#[derive(Debug, Default)]
struct Writer {
    namespaces: HashMap<(Scope, NamespaceId), KnownNamespace>,
    next_key: ZoneKey,
    /// Zone names whose hidden zones were logged as a warning.
    warned: HashSet<DnsName>,
}

#[derive(Debug)]
struct KnownNamespace {
    key: ZoneKey,
    /// The zone name and the namespace as they were added to the zones; `None` if the view does not show it.
    shown: Option<(DnsName, Arc<Namespace>)>,
}

impl NameTable {
    /// An empty table that shows the zones of all scopes and VPCs.
    #[must_use]
    pub fn new() -> Self {
        Self::with_view(View::default())
    }

    /// An empty table that shows the zones of a view.
    #[must_use]
    pub fn with_view(view: View) -> Self {
        let published = ArcSwap::from_pointee(Published { zones: Zones::default(), names: Arc::default() });
        Self(Arc::new(Shared { view, published, writer: Mutex::default() }))
    }

    /// The zones of the view that never answer, because another zone has the same name. Sorted by name.
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
            let update = writer.update_zone(&mut zones, &self.0.view, scope, id, namespace);
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
    /// Calls `read` with the entry of a name, if the name exists. The entry is locked meanwhile, so `read` must not look up
    /// another one.
    #[inline]
    pub(crate) fn with_entry<T>(&self, key: &[u8], read: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.names.get(key).filter(|entry| entry.exists()).map(|entry| read(&entry))
    }
}

impl Observer for NameTable {
    fn changed(&self, old: &State, new: &State, scope: &Scope, changes: &[Change]) {
        let mut writer = self.writer();
        let names = Arc::clone(&self.read().names);
        let (before, after) = (old.scope(scope), new.scope(scope));
        let affected = Affected::by(changes, before, after);
        for (service, id) in &affected.instances {
            let removed = writer.contributions(scope, before, service, id);
            let added = writer.contributions(scope, after, service, id);
            if removed != added {
                replace(&names, removed, added);
            }
        }
        if !affected.namespaces.is_empty() {
            self.publish(scope, &affected.namespaces, after, &mut writer);
        }
    }

    fn rebuild(&self, new: &State) {
        let mut writer = self.writer();
        // A new table: queries read the old one until it is complete.
        let (names, mut zones) = (Arc::<Names>::default(), Zones::default());
        for known in writer.namespaces.values_mut() {
            known.shown = None;
        }
        for (scope, state) in new.scopes() {
            for entry in state.namespaces() {
                let namespace = entry.namespace();
                for service in state.services_of(entry) {
                    let key = writer.key(scope, &namespace.id);
                    for instance in service.instances().iter() {
                        replace(&names, Vec::new(), contributions_of(instance, service, namespace, key));
                    }
                }
                writer.update_zone(&mut zones, &self.0.view, scope, &namespace.id, Some(namespace));
            }
        }
        writer.namespaces.retain(|(scope, id), _| new.scope(scope).namespace(id.as_str()).is_some());
        let contested = zones.contested();
        if contested > 0 {
            tracing::warn!(names = contested, "several zones have the same name: only one of them answers");
        }
        self.0.published.store(Arc::new(Published { zones, names }));
    }
}

/// What a change set affects. The order of the changes does not matter, because the states before and after are known.
struct Affected {
    namespaces: Vec<NamespaceId>,
    instances: Vec<(ServiceId, InstanceId)>,
}

impl Affected {
    fn by(changes: &[Change], before: &ScopeState, after: &ScopeState) -> Self {
        let mut affected = Self { namespaces: Vec::new(), instances: Vec::new() };
        for change in changes {
            match change {
                Change::PutNamespace(namespace) => {
                    affected.namespaces.push(namespace.id.clone());
                    affected.namespace(namespace, before, after);
                }
                // The effect of an operation comes as separate changes.
                Change::BeginOperation(_) | Change::EndOperation(_) => {}
                // Its services and instances are deleted by separate changes.
                Change::DeleteNamespace(id) => affected.namespaces.push(id.clone()),
                Change::PutService(service) => affected.service(service, before, after),
                Change::DeleteService(_) => {}
                Change::PutInstance { service, instance, .. } => {
                    affected.instances.push((service.clone(), instance.id.clone()));
                }
                Change::DeleteInstance { service, id } | Change::PutHealth { service, id, .. } => {
                    affected.instances.push((service.clone(), id.clone()));
                }
            }
        }
        if affected.instances.len() > 1 {
            affected.instances.sort_unstable();
            affected.instances.dedup();
        }
        affected
    }

    /// Cloud Map never changes the name or type of a namespace, but a backend that reloads its store may find them changed.
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

/// The effect of an update on the zones.
#[derive(Debug, Default)]
struct ZoneUpdate {
    changes: bool,
    hides: Option<HiddenZone>,
}

impl Writer {
    /// The most names whose warning is remembered. Hidden zones of other names are logged at level debug only.
    const MAX_WARNED: usize = 1000;

    fn known(&mut self, scope: &Scope, namespace: &NamespaceId) -> &mut KnownNamespace {
        self.namespaces.entry((scope.clone(), namespace.clone())).or_insert_with(|| {
            self.next_key += 1;
            KnownNamespace { key: self.next_key, shown: None }
        })
    }

    fn key(&mut self, scope: &Scope, namespace: &NamespaceId) -> ZoneKey {
        self.known(scope, namespace).key
    }

    /// Updates the zone of a namespace; `None` if the namespace was deleted.
    fn update_zone(
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
            self.namespaces.remove(&(scope.clone(), id.clone()));
        }
        update
    }

    /// Logs a hidden zone: the first of each name as a warning, the others at level debug.
    fn log_hidden(&mut self, hidden: &HiddenZone) {
        let HiddenZone { name, scope, namespace, answering_scope, answering_namespace } = hidden;
        if self.warned.len() < Self::MAX_WARNED && self.warned.insert(name.clone()) {
            tracing::warn!(
                %name, %scope, %namespace, %answering_scope, %answering_namespace,
                "hidden zone: a private or older namespace with the same name answers instead"
            );
        } else {
            tracing::debug!(
                %name, %scope, %namespace, %answering_scope, %answering_namespace,
                "hidden zone"
            );
        }
    }

    /// The contributions of an instance in a state; none if it does not exist there.
    fn contributions(
        &mut self,
        scope: &Scope,
        state: &ScopeState,
        service: &ServiceId,
        id: &InstanceId,
    ) -> Vec<(Box<[u8]>, Contribution)> {
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
        contributions_of(instance, service, namespace, key)
    }
}

/// The contributions of an instance to record sets, with the keys of their names.
fn contributions_of(
    entry: &InstanceEntry,
    service: &ServiceEntry,
    namespace: &Namespace,
    key: ZoneKey,
) -> Vec<(Box<[u8]>, Contribution)> {
    let service = service.service();
    let records = dns::records_of(entry.instance(), service, namespace);
    if records.is_empty() {
        return Vec::new();
    }
    let (Some(Ok(zone)), Some(Ok(own))) = (namespace.zone_name(), dns::service_name(service, namespace))
    else {
        return Vec::new();
    };
    let weighted =
        service.dns_config().is_some_and(|config| config.routing_policy == RoutingPolicy::Weighted);
    let routable = door::is_routable(entry, service);
    let has_capitals = entry.instance().id.as_str().bytes().any(|b| b.is_ascii_uppercase());
    let contribution = |record: &Record| {
        // An instance's own name answers with all of its records.
        let policy =
            if weighted && record.owner == own { RoutingPolicy::Weighted } else { RoutingPolicy::Multivalue };
        let terms = Terms { ttl: record.ttl, policy };
        let relative = record.owner.relative_to(&zone)?;
        Some((
            key_of(key, relative),
            Contribution { data: data(record, &records, has_capitals)?, routable, terms },
        ))
    };
    records.iter().filter_map(contribution).collect()
}

/// The data of a record. `all` are the records of its instance.
fn data(record: &Record, all: &[Record], has_capitals: bool) -> Option<Data> {
    Some(match &record.data {
        RecordData::A(address) => Data::A(*address),
        RecordData::Aaaa(address) => Data::Aaaa(*address),
        RecordData::Cname(target) => Data::Cname(target.clone()),
        RecordData::Alias { kind, target } => Data::Alias(*kind, target.clone()),
        RecordData::Srv { port, target } => {
            let target_labels = labels_below(target, &record.owner)?;
            let mut srv = SrvData {
                port: *port,
                target: target_labels,
                ipv4: None,
                ipv6: None,
                may_share_target: has_capitals,
            };
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

/// The labels of an SRV record's target before the record's own name.
fn labels_below(target: &DnsName, owner: &DnsName) -> Option<Labels> {
    target.relative_to(owner).map(Into::into)
}

/// Replaces the contributions of one instance. All changes of one name become visible at once.
fn replace(names: &Names, removed: Vec<(Box<[u8]>, Contribution)>, added: Vec<(Box<[u8]>, Contribution)>) {
    let mut steps = steps(removed, added).into_iter().peekable();
    while let Some(Step { key, adds, contribution: first, .. }) = steps.next() {
        let had = names.get(&key).is_some_and(|entry| entry.has_records());
        if adds && !had {
            for ancestor in ancestors(&key) {
                names.entry(ancestor).or_default().below += 1;
            }
        }
        let mut entry = names.entry(key.clone()).or_default();
        apply(&mut entry, adds, first);
        while let Some(step) = steps.next_if(|next| next.key == key) {
            apply(&mut entry, step.adds, step.contribution);
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

fn apply(entry: &mut Entry, adds: bool, contribution: Contribution) {
    if adds {
        entry.add(contribution);
    } else {
        entry.remove(&contribution);
    }
}
