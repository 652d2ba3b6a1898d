//! What is stored: one object for each entity, as bytes. None grows with its scope.

use std::{collections::VecDeque, sync::Arc};

use sd_core::{
    Scope, Timestamp,
    model::{
        EntityKey, Health, Instance, InstanceId, Namespace, NamespaceId, Operation, OperationId, Service,
        ServiceId, UniqueKey,
    },
    state::PendingOperation,
    stored,
};
use serde_json::{Value, json};

/// The name of an object.
pub(crate) type Name = String;

/// Marks one attempt to write an object.
pub(crate) type Nonce = String;

/// The kinds of objects. Each is watched by itself, so that one may lag behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Namespace,
    Service,
    Instance,
    /// A unique key of a namespace.
    Claim,
    /// An operation without an entity.
    Operation,
    /// How often a scope was reset.
    Resets,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Namespace, Self::Service, Self::Instance, Self::Claim, Self::Operation, Self::Resets];

    fn letter(self) -> char {
        match self {
            Self::Namespace => 'n',
            Self::Service => 's',
            Self::Instance => 'i',
            Self::Claim => 'k',
            Self::Operation => 'o',
            Self::Resets => 'r',
        }
    }

    /// The kind of the object with this name.
    pub(crate) fn of(name: &str) -> Self {
        let kind = Self::ALL.into_iter().find(|kind| name.starts_with(kind.letter()));
        kind.expect("a name begins with the letter of its kind")
    }

    /// How the names of its objects in a scope begin.
    pub(crate) fn prefix(self, scope: &Scope) -> Name {
        format!("{}/{scope}/", self.letter())
    }

    fn named(self, scope: &Scope, text: impl std::fmt::Display) -> Name {
        format!("{}{text}", self.prefix(scope))
    }
}

pub(crate) fn namespace_name(scope: &Scope, id: &NamespaceId) -> Name {
    Kind::Namespace.named(scope, id)
}

pub(crate) fn service_name(scope: &Scope, id: &ServiceId) -> Name {
    Kind::Service.named(scope, id)
}

/// How the names of a service's instances begin. The service's life is in them, so a successor has other ones.
pub(crate) fn slot_prefix(scope: &Scope, life: u64) -> Name {
    Kind::Instance.named(scope, format_args!("{life:016x}/"))
}

pub(crate) fn slot_name(scope: &Scope, life: u64, id: &InstanceId) -> Name {
    format!("{}{id}", slot_prefix(scope, life))
}

pub(crate) fn claim_name(scope: &Scope, key: &UniqueKey) -> Name {
    Kind::Claim.named(scope, key)
}

pub(crate) fn operation_name(scope: &Scope, id: &OperationId) -> Name {
    Kind::Operation.named(scope, id)
}

pub(crate) fn resets_name(scope: &Scope) -> Name {
    Kind::Resets.named(scope, "")
}

/// How far the life of a namespace or service has come. Others are `Active`, or `Gone` when only a tombstone is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Shown to nobody.
    Creating,
    Active,
    /// Shown as `Active`: somebody is about to delete it.
    Closing,
    Gone,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Creating, Self::Active, Self::Closing, Self::Gone];

    fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Closing => "CLOSING",
            Self::Gone => "GONE",
        }
    }
}

/// Another object, while it has this life: the parent of an entity, the owner of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: Name,
    pub(crate) life: u64,
}

/// The entity of an object, if it exists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entity {
    None,
    Namespace(Arc<Namespace>),
    Service(Arc<Service>),
    /// The health counts as long as the service has the same number of `checks`; after that it has started anew.
    Instance(Arc<Instance>, Health),
}

/// An object.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) scope: Scope,
    /// The moment of the set that wrote it.
    pub(crate) at: Timestamp,
    pub(crate) phase: Phase,
    /// Chosen by the write that creates the entity. 0 if the entity never existed.
    pub(crate) life: u64,
    /// Counts the changes of the entity, not those of marks.
    pub(crate) version: u64,
    pub(crate) parent: Option<Link>,
    /// The names of the claims that a namespace needs, sorted.
    pub(crate) keys: Vec<Name>,
    /// The one that it needs only while it is being created.
    pub(crate) in_creation: Option<Name>,
    /// How often a service has begun or ceased to be checked; of an instance: under which number its health was written.
    pub(crate) checks: u64,
    /// How many resets of the scope were before it; those of the marker of a scope.
    pub(crate) resets: u64,
    /// A request has been answered from this instance, so its writer does not take it back any more.
    pub(crate) settled: bool,
    /// Which instance it is.
    pub(crate) slot: Option<(ServiceId, InstanceId)>,
    pub(crate) entity: Entity,
    pub(crate) pending: Option<Arc<PendingOperation>>,
    pub(crate) recent: Recent,
}

impl Spec {
    pub(crate) fn new(scope: &Scope, at: Timestamp, life: u64) -> Self {
        Self {
            scope: scope.clone(),
            at,
            phase: Phase::Active,
            life,
            version: 1,
            parent: None,
            keys: Vec::new(),
            in_creation: None,
            checks: 0,
            resets: 0,
            settled: false,
            slot: None,
            entity: Entity::None,
            pending: None,
            recent: Recent::default(),
        }
    }

    /// Whether an object with a life of its own has it still, or a mark at most.
    pub(crate) fn counts(&self) -> bool {
        matches!(self.phase, Phase::Active | Phase::Closing)
    }

    pub(crate) fn is_due(&self, at: Timestamp) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.due <= at)
    }

    /// The version of the entity at this moment: an operation that is due has changed it.
    pub(crate) fn version_at(&self, at: Timestamp) -> u64 {
        self.version + u64::from(self.is_due(at))
    }

    pub(crate) fn is_child_of(&self, life: u64) -> bool {
        self.parent.as_ref().is_some_and(|parent| parent.life == life)
    }

    /// The entity that it is about.
    pub(crate) fn key(&self) -> Option<EntityKey> {
        match (&self.entity, &self.slot) {
            (Entity::Namespace(namespace), _) => Some(EntityKey::Namespace(namespace.id.clone())),
            (Entity::Service(service), _) => Some(EntityKey::Service(service.id.clone())),
            (_, Some((service, id))) => Some(EntityKey::Instance(service.clone(), id.clone())),
            (Entity::None | Entity::Instance(..), None) => None,
        }
    }

    /// The operations that its writes have finished. A creation that is not complete has finished none.
    pub(crate) fn finished(&self) -> impl Iterator<Item = &Arc<Operation>> {
        let all = self.recent.writes.len();
        let complete = if self.phase == Phase::Creating { all.saturating_sub(1) } else { all };
        self.recent.writes.iter().take(complete).flat_map(|(_, finished)| finished)
    }

    pub(crate) fn to_bytes(&self) -> Arc<[u8]> {
        let entity = match &self.entity {
            Entity::None => Value::Null,
            Entity::Namespace(namespace) => json!({ "namespace": stored::Namespace::of(namespace, 0) }),
            Entity::Service(service) => json!({ "service": stored::Service::of(service, 0, 0) }),
            Entity::Instance(instance, health) => {
                let service = self.slot.as_ref().map(|(service, _)| service).expect("an instance has a slot");
                json!({ "instance": stored::Instance::of(&self.scope, service, instance, *health, 0) })
            }
        };
        let operation = |operation: &Arc<Operation>| json!(stored::Operation::of(operation, 0));
        let write = |(nonce, finished): &(Nonce, Vec<Arc<Operation>>)| {
            json!([nonce, finished.iter().map(operation).collect::<Vec<_>>()])
        };
        let object = json!({
            "scope": [self.scope.account().as_str(), self.scope.region().as_str()],
            "at": self.at.as_millis(),
            "phase": self.phase.as_str(),
            "life": self.life,
            "version": self.version,
            "parent": self.parent.as_ref().map(|parent| json!([parent.name, parent.life])),
            "keys": self.keys,
            "inCreation": self.in_creation,
            "checks": self.checks,
            "resets": self.resets,
            "settled": self.settled,
            "slot": self.slot.as_ref().map(|(service, id)| json!([service.as_str(), id.as_str()])),
            "entity": entity,
            "pending": self.pending.as_ref().map(|pending| json!(stored::PendingOperation::of(pending, 0))),
            "count": self.recent.count,
            "recent": self.recent.writes.iter().map(write).collect::<Vec<_>>(),
        });
        object.to_string().into_bytes().into()
    }

    /// Reads an object.
    ///
    /// # Panics
    /// If it is not one that [`to_bytes`](Self::to_bytes) has written.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let object: Value = serde_json::from_slice(bytes).expect("an object is JSON");
        let number = |member: &str| object[member].as_u64().expect("a number");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let texts = |value: &Value| value.as_array().expect("a list").iter().map(text).collect::<Vec<_>>();
        let pair = |member: &str| object[member].as_array().map(|pair| (pair[0].clone(), pair[1].clone()));
        let entity = &object["entity"];
        let read = |value: &Value| value.clone();
        let entity = if let Some(namespace) = entity.get("namespace") {
            let record: stored::Namespace = serde_json::from_value(read(namespace)).expect("a namespace");
            Entity::Namespace(Arc::new(record.restore().expect("a namespace")))
        } else if let Some(service) = entity.get("service") {
            let record: stored::Service = serde_json::from_value(read(service)).expect("a service");
            Entity::Service(Arc::new(record.restore().expect("a service")))
        } else if let Some(instance) = entity.get("instance") {
            let record: stored::Instance = serde_json::from_value(read(instance)).expect("an instance");
            let (_, instance, health) = record.restore().expect("an instance");
            Entity::Instance(Arc::new(instance), health)
        } else {
            Entity::None
        };
        let pending = Some(&object["pending"]).filter(|pending| !pending.is_null()).map(|pending| {
            let record: stored::PendingOperation =
                serde_json::from_value(read(pending)).expect("an operation");
            Arc::new(record.restore().expect("an operation"))
        });
        let operation = |operation: &Value| {
            let record: stored::Operation = serde_json::from_value(operation.clone()).expect("an operation");
            Arc::new(record.restore().expect("an operation"))
        };
        let writes = object["recent"].as_array().expect("a list").iter().map(|write| {
            let finished = write[1].as_array().expect("a list").iter().map(operation).collect();
            (text(&write[0]), finished)
        });
        let scope = texts(&object["scope"]);
        let phase = text(&object["phase"]);
        Self {
            scope: Scope::parse(&scope[0], &scope[1]).expect("a scope"),
            at: Timestamp::from_millis(number("at")),
            phase: Phase::ALL.into_iter().find(|it| it.as_str() == phase).expect("a phase"),
            life: number("life"),
            version: number("version"),
            parent: pair("parent")
                .map(|(name, life)| Link { name: text(&name), life: life.as_u64().expect("a life") }),
            keys: texts(&object["keys"]),
            in_creation: object["inCreation"].as_str().map(str::to_owned),
            checks: number("checks"),
            resets: number("resets"),
            settled: object["settled"].as_bool().expect("a truth value"),
            slot: pair("slot").map(|(service, id)| {
                let service = ServiceId::parse(&text(&service)).expect("a service id");
                (service, InstanceId::parse(&text(&id)).expect("an instance id"))
            }),
            entity,
            pending,
            recent: Recent { count: number("count"), writes: writes.collect() },
        }
    }
}

/// The last writes to an object, and the operations that they finished. A writer without an answer finds its write here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    /// How many there were in all.
    pub(crate) count: u64,
    writes: VecDeque<(Nonce, Vec<Arc<Operation>>)>,
}

impl Recent {
    pub(crate) const KEPT: usize = 6;

    pub(crate) fn push(&mut self, nonce: Nonce, finished: Vec<Arc<Operation>>) {
        if self.writes.len() == Self::KEPT {
            self.writes.pop_front();
        }
        self.count += 1;
        self.writes.push_back((nonce, finished));
    }

    /// Forgets the operations of one write.
    pub(crate) fn take_back(&mut self, nonce: &str) {
        for (_, finished) in self.writes.iter_mut().filter(|(found, _)| found == nonce) {
            finished.clear();
        }
    }

    pub(crate) fn has(&self, nonce: &str) -> bool {
        self.writes.iter().any(|(found, _)| found == nonce)
    }

    pub(crate) fn last(&self) -> Option<&Nonce> {
        self.writes.back().map(|(nonce, _)| nonce)
    }
}
