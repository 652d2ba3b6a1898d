//! What a replica knows of the store, and the state that this comes to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sd_core::{
    Change, ChangeSet, Scope, State, StateCell, Timestamp,
    model::{Health, InstanceId, NamespaceId, Operation, OperationId, ServiceId},
};

use crate::{
    objects::{Entity, Kind, Name, Nonce, Spec, namespace_name, resets_name, service_name},
    store::{Event, Object},
};

/// An object that was read, and its version.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) version: u64,
    pub(crate) spec: Arc<Spec>,
}

impl Seen {
    pub(crate) fn of(object: &Object) -> Self {
        Self { version: object.version, spec: Arc::new(Spec::from_bytes(&object.bytes)) }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Mirror {
    /// With the revision as of which each is so.
    objects: BTreeMap<Name, (u64, Option<Arc<Spec>>)>,
    /// Writes of instances of which this replica does not know whether they count, and what it shows instead.
    unconfirmed: BTreeMap<Nonce, Option<Arc<Spec>>>,
    /// How far it has followed each kind.
    cursors: [u64; Kind::ALL.len()],
    /// How many resets of each scope are shown.
    resets: BTreeMap<Scope, u64>,
    /// The latest moment of all writes.
    pub(crate) at: Timestamp,
    /// A set is being stored: the watch waits.
    pub(crate) writing: bool,
    /// Something has changed since it was shown.
    pub(crate) is_new: bool,
}

/// The namespaces and services that count, by name.
struct Counting<'a> {
    namespaces: BTreeMap<&'a Name, &'a Arc<Spec>>,
    services: BTreeMap<&'a Name, &'a Arc<Spec>>,
}

impl Mirror {
    /// An object, if it exists.
    pub(crate) fn object(&self, name: &str) -> Option<Seen> {
        let (version, spec) = self.objects.get(name)?;
        spec.as_ref().map(|spec| Seen { version: *version, spec: Arc::clone(spec) })
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&Name, u64, &Arc<Spec>)> {
        let objects = self.objects.iter().filter(move |(name, _)| Kind::of(name) == kind);
        objects.filter_map(|(name, (version, spec))| Some((name, *version, spec.as_ref()?)))
    }

    /// A namespace, if it was not deleted.
    pub(crate) fn namespace(&self, scope: &Scope, id: &NamespaceId) -> Option<Seen> {
        self.object(&namespace_name(scope, id)).filter(|seen| seen.spec.counts())
    }

    /// A service, if it was not deleted.
    pub(crate) fn service(&self, scope: &Scope, id: &ServiceId) -> Option<Seen> {
        self.object(&service_name(scope, id)).filter(|seen| seen.spec.counts())
    }

    /// How many resets of a scope there were.
    pub(crate) fn resets(&self, scope: &Scope) -> u64 {
        self.object(&resets_name(scope)).map_or(0, |seen| seen.spec.resets)
    }

    /// What is shown of an instance.
    pub(crate) fn shown(&self, name: &str) -> Option<&Arc<Spec>> {
        let spec = self.objects.get(name)?.1.as_ref()?;
        let replaced = spec.recent.last().and_then(|nonce| self.unconfirmed.get(nonce));
        replaced.map_or(Some(spec), Option::as_ref)
    }

    /// The object with an operation that is under way.
    pub(crate) fn place_of_pending(&self, id: &OperationId) -> Option<Name> {
        let mut objects = self.objects.iter().filter_map(|(name, (_, spec))| Some((name, spec.as_ref()?)));
        let found = objects
            .find(|(_, spec)| spec.pending.as_ref().is_some_and(|pending| pending.operation.id == *id));
        found.map(|(name, _)| name.clone())
    }

    /// From now on this write is not shown, but what was there before.
    pub(crate) fn doubt(&mut self, nonce: &Nonce, name: &str) {
        let before = self.shown(name).cloned();
        self.is_new = true;
        self.unconfirmed.insert(nonce.clone(), before);
    }

    pub(crate) fn confirm(&mut self, nonce: &Nonce) {
        self.is_new |= self.unconfirmed.remove(nonce).is_some();
    }

    /// The instances whose last write is in doubt.
    pub(crate) fn doubtful(&self) -> Vec<(Nonce, Arc<Spec>)> {
        let last = self
            .of_kind(Kind::Instance)
            .filter_map(|(_, _, spec)| Some((spec.recent.last()?.clone(), Arc::clone(spec))));
        last.filter(|(nonce, _)| self.unconfirmed.contains_key(nonce)).collect()
    }

    /// Reads an object. A version that is known is not parsed again.
    pub(crate) fn read(&mut self, object: &Object) -> Seen {
        match self.objects.get(&object.name) {
            Some((version, Some(spec))) if *version == object.version => {
                Seen { version: *version, spec: Arc::clone(spec) }
            }
            _ => {
                let seen = Seen::of(object);
                self.put(&object.name, &seen);
                seen
            }
        }
    }

    pub(crate) fn put(&mut self, name: &str, seen: &Seen) {
        self.set(name, seen.version, Some(&seen.spec));
    }

    /// As of this revision there is no such object.
    pub(crate) fn remove(&mut self, name: &str, revision: u64) {
        self.set(name, revision, None);
    }

    fn set(&mut self, name: &str, revision: u64, spec: Option<&Arc<Spec>>) {
        if self.objects.get(name).is_none_or(|(known, _)| *known < revision) {
            let before = self.objects.insert(name.to_owned(), (revision, spec.cloned()));
            // No claim is shown.
            let was_there = before.is_some_and(|(_, spec)| spec.is_some());
            self.is_new |= Kind::of(name) != Kind::Claim && (was_there || spec.is_some());
        }
    }

    /// All objects of a kind whose name begins so, as of a revision.
    pub(crate) fn listed(
        &mut self,
        kind: Kind,
        prefix: &str,
        objects: &[Object],
        revision: u64,
    ) -> Vec<(Name, Seen)> {
        let found = objects.iter().map(|object| (object.name.clone(), self.read(object))).collect();
        let listed: BTreeSet<_> = objects.iter().map(|object| &object.name).collect();
        let gone = self.of_kind(kind).filter(|(name, version, _)| {
            *version <= revision && name.starts_with(prefix) && !listed.contains(name)
        });
        for name in gone.map(|(name, ..)| name.clone()).collect::<Vec<_>>() {
            self.remove(&name, revision);
        }
        found
    }

    pub(crate) fn cursor(&mut self, kind: Kind) -> &mut u64 {
        &mut self.cursors[kind as usize]
    }

    pub(crate) fn event(&mut self, event: &Event) {
        *self.cursor(Kind::of(&event.name)) = event.revision;
        match &event.object {
            Some(object) => drop(self.read(object)),
            None => self.remove(&event.name, event.revision),
        }
    }

    /// The scopes that were reset since they were shown.
    pub(crate) fn started_over(&self) -> Vec<Scope> {
        let shown = |scope: &Scope| self.resets.get(scope).copied().unwrap_or_default();
        let markers = self.of_kind(Kind::Resets).map(|(_, _, spec)| spec);
        markers.filter(|spec| spec.resets > shown(&spec.scope)).map(|spec| spec.scope.clone()).collect()
    }

    /// Shows what is known of the resets of a scope.
    pub(crate) fn shows_resets(&mut self, scope: &Scope) {
        let resets = self.resets(scope);
        self.resets.insert(scope.clone(), resets);
    }

    /// Kinds lag independently. Parents that have not arrived hide their children, and of two namespaces with one key the
    /// newer one counts.
    fn counting(&self) -> Counting<'_> {
        let mut namespaces: Vec<_> =
            self.of_kind(Kind::Namespace).filter(|(_, _, spec)| spec.counts()).collect();
        namespaces.sort_by_key(|(_, version, _)| std::cmp::Reverse(*version));
        let mut taken = BTreeSet::new();
        namespaces.retain(|(_, _, spec)| {
            let is_created = spec.entity != Entity::None;
            let mut keys =
                spec.keys.iter().filter(|key| !(is_created && spec.in_creation.as_ref() == Some(key)));
            let is_first = keys.clone().all(|key| !taken.contains(key));
            if is_first {
                taken.extend(keys.by_ref());
            }
            is_first
        });
        let namespaces: BTreeMap<_, _> = namespaces.into_iter().map(|(name, _, spec)| (name, spec)).collect();
        let has_parent = |spec: &Spec| {
            let parent = spec.parent.as_ref().and_then(|link| Some((link, namespaces.get(&link.name)?)));
            parent.is_some_and(|(link, parent)| {
                // A service of a namespace that is being deleted has been deleted before.
                let goes = parent.pending.as_ref().is_some_and(|pending| {
                    pending.effect.iter().any(|change| matches!(change, Change::DeleteNamespace(_)))
                });
                parent.life == link.life && parent.entity != Entity::None && !goes
            })
        };
        let services = self.of_kind(Kind::Service).filter(|(_, _, spec)| spec.counts() && has_parent(spec));
        let services = services.map(|(name, _, spec)| (name, spec)).collect();
        Counting { namespaces, services }
    }

    /// The state that the facts come to, before anything in it is due, and the finished operations that the log does not
    /// have.
    pub(crate) fn state(&mut self, cell: &StateCell) -> (State, Vec<Arc<Operation>>) {
        let (mut sets, mut latest) = (BTreeMap::<&Scope, ChangeSet>::new(), self.at);
        let counting = self.counting();
        let mut add = |spec: &'_ Arc<Spec>, scope, change: Change| {
            latest = latest.max(spec.at);
            let set = sets.entry(scope).or_insert_with(|| ChangeSet::new(spec.scope.clone(), self.at));
            set.changes.push(change);
        };
        let begin = |spec: &Arc<Spec>| spec.pending.as_ref().map(|it| Change::BeginOperation(Arc::clone(it)));
        for spec in counting.namespaces.values() {
            if let Entity::Namespace(namespace) = &spec.entity {
                add(spec, &spec.scope, Change::PutNamespace(Arc::clone(namespace)));
            }
        }
        for spec in counting.services.values() {
            if let Entity::Service(service) = &spec.entity {
                add(spec, &spec.scope, Change::PutService(Arc::clone(service)));
            }
        }
        let shown: Vec<_> = self.of_kind(Kind::Instance).filter_map(|(name, ..)| self.shown(name)).collect();
        for spec in &shown {
            let service = spec.parent.as_ref().and_then(|link| {
                counting.services.get(&link.name).filter(|service| service.life == link.life)
            });
            let (Some(service), Some((service_id, _))) = (service, &spec.slot) else { continue };
            let Entity::Service(checked) = &service.entity else { continue };
            if let Entity::Instance(instance, health) = &spec.entity {
                let health = if service.checks == spec.checks {
                    *health
                } else {
                    Health::initial(&checked.health_check, instance.endpoint.initial_health)
                };
                let (service, instance) = (service_id.clone(), Arc::clone(instance));
                add(spec, &spec.scope, Change::PutInstance { service, instance, health });
            }
            if let Some(begin) = begin(spec) {
                add(spec, &spec.scope, begin);
            }
        }
        let alone = self.of_kind(Kind::Operation).map(|(_, _, spec)| spec).filter(|spec| spec.counts());
        let others =
            counting.namespaces.values().copied().chain(counting.services.values().copied()).chain(alone);
        for spec in others {
            if let Some(begin) = begin(spec) {
                add(spec, &spec.scope, begin);
            }
        }
        let mut state = State::new();
        for set in sets.values() {
            state = state.apply(set).expect("what counts is a legal state");
        }
        let parents = [Kind::Namespace, Kind::Service, Kind::Operation];
        let parents = parents.into_iter().flat_map(|kind| self.of_kind(kind)).map(|(_, _, spec)| spec);
        let finished =
            parents.chain(shown.iter().copied()).filter(|spec| spec.resets >= self.resets(&spec.scope));
        let finished = finished.flat_map(|spec| spec.finished());
        let unknown = |operation: &&Arc<Operation>| cell.operations().get(operation.id.as_str()).is_none();
        let finished = finished.filter(unknown).cloned().collect();
        self.at = latest;
        (state, finished)
    }

    /// The name of the object of an instance that is shown or was.
    pub(crate) fn slot_name(&self, scope: &Scope, service: &ServiceId, id: &InstanceId) -> Option<Name> {
        self.service(scope, service).map(|seen| crate::objects::slot_name(scope, seen.spec.life, id))
    }
}
