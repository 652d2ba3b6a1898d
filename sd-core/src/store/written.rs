//! The records that a set leads to.

use std::{collections::BTreeSet, sync::Arc};

use super::{operation_log::OperationLog, publish::Checked};
use crate::{
    model::{Age, InstanceId, NamespaceId, Operation, OperationId, Revision, Scope, ServiceId},
    state::{InstanceEntry, NamespaceEntry, ScopeState, ServiceEntry, State, change::Change},
    stored::{
        self, Counters, Instance, Namespace, PendingOperation, Record, Service, VERSION, Write, key_in,
    },
};

/// What a backend has written to its store, as its only writer. It derives the next writes.
///
/// See [Writing a store](crate::stored#writing-a-store).
#[derive(Clone, Debug)]
pub struct Written {
    state: State,
    /// What the last set wrote. If time passed before it was published, its places are others by now.
    last: BTreeSet<(Scope, Touched)>,
    operation: Option<(Arc<Operation>, u64)>,
}

/// The writes that a set leads to.
#[derive(Clone, Debug)]
#[must_use = "they are to be stored before the set is published"]
pub struct Writes {
    writes: Vec<Write>,
    written: Written,
}

/// What a change is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Touched {
    Namespace(NamespaceId),
    Service(ServiceId),
    Instance(ServiceId, InstanceId),
    Pending(OperationId),
}

impl Writes {
    /// The writes. A store with transactions does them in one. Another does them in this order: what every prefix of them
    /// leaves can be restored.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// What is written once all of them are stored.
    #[must_use]
    pub fn into_written(self) -> Written {
        self.written
    }
}

impl Written {
    /// What a store holds from which this state was restored. An empty store holds an empty state.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self { state, last: BTreeSet::new(), operation: None }
    }

    /// The writes that lead from there to what a checked set leads to: its changes, its operation, what its scope keeps, and
    /// what has happened by itself since the last writes. A set without changes leads to the latter alone.
    ///
    /// The cost is that of these changes, whatever else the registry holds. An update of a service that changes its health
    /// check writes all its instances, because it changes their health.
    pub fn writes(&self, checked: &Checked<'_>) -> Writes {
        let (base, set) = (checked.state(), checked.set());
        let log = checked.cell().operations();
        // It was applied when it was checked.
        let after = base.apply(set).unwrap_or_else(|_| base.clone());
        let elapsed = self.state.advanced(checked.cell().passed());
        let elapsed = elapsed.map_or_else(Vec::new, |(_, elapsed)| elapsed);
        let reset = set.reset.then_some(&set.scope);

        let mut plan = Plan::new(&self.state, &after);
        let mut finished = Vec::new();
        for one in &elapsed {
            plan.changes(&one.scope, &one.changes);
            for (operation, age) in &one.operations {
                plan.touch(&one.scope, Touched::Pending(operation.id.clone()));
                // Time has passed for the cell since the set was checked: the next writes have it.
                let is_over = after.scope(&one.scope).in_flight(operation.id.as_str()).is_none();
                if is_over && reset != Some(&one.scope) {
                    let age = log.age(operation.id.as_str()).unwrap_or(*age);
                    finished.push((Arc::clone(operation), age.place()));
                }
            }
        }
        if let Some(scope) = reset {
            plan.changes(scope, &self.state.deletions(scope));
            plan.changes(scope, &base.deletions(scope));
            plan.scopes.insert(scope.clone());
        }
        for (scope, touched) in &self.last {
            if touched.place(self.state.scope(scope)) != touched.place(base.scope(scope)) {
                plan.touch(scope, touched.clone());
            }
        }
        if let Some((operation, place)) = &self.operation
            && reset != Some(&operation.scope)
            && let Some(age) = log.age(operation.id.as_str())
            && age.place() != *place
        {
            finished.push((Arc::clone(operation), age.place()));
        }
        let mut own = Plan::new(&self.state, &after);
        own.changes(&set.scope, &set.changes);
        let last = own.touched.clone();
        plan.touched.append(&mut own.touched);
        plan.scopes.append(&mut own.scopes);

        let operation = set.operation.as_ref().and_then(|operation| {
            let place = place_of(operation, after.revision(), reset.is_some(), log)?;
            Some((Arc::clone(operation), place))
        });
        let writes = plan.writes(reset, &finished, operation.as_ref());
        Writes { writes, written: Self { state: after, last, operation } }
    }
}

/// The place that an operation of a set gets; `None` if it has one.
fn place_of(operation: &Operation, revision: Revision, is_reset: bool, log: &OperationLog) -> Option<u64> {
    let age = Age::new(operation.created, revision);
    if is_reset {
        return Some(age.place());
    }
    match log.age(operation.id.as_str()) {
        Some(_) => None,
        None => Some(log.vacant(&operation.scope, age).place()),
    }
}

impl Touched {
    fn place(&self, scope: &ScopeState) -> Option<u64> {
        match self {
            Self::Namespace(id) => scope.namespace(id.as_str()).map(NamespaceEntry::place),
            Self::Service(id) => scope.service(id.as_str()).map(ServiceEntry::place),
            Self::Instance(service, id) => {
                scope.service(service.as_str())?.instances().get(id.as_str()).map(InstanceEntry::place)
            }
            Self::Pending(id) => scope.in_flight(id.as_str()).map(|found| found.age.place()),
        }
    }

    fn key(&self, scope: &Scope) -> String {
        match self {
            Self::Namespace(id) => key_in("namespace", scope, &[id.as_str()]),
            Self::Service(id) => key_in("service", scope, &[id.as_str()]),
            Self::Instance(service, id) => key_in("instance", scope, &[service.as_str(), id.as_str()]),
            Self::Pending(id) => key_in("pending", scope, &[id.as_str()]),
        }
    }

    fn record(&self, scope: &Scope, here: &ScopeState) -> Option<Record> {
        Some(match self {
            Self::Namespace(id) => {
                Record::Namespace(Box::new(Namespace::of_entry(here.namespace(id.as_str())?)))
            }
            Self::Service(id) => Record::Service(Box::new(Service::of_entry(here.service(id.as_str())?))),
            Self::Instance(service, id) => {
                let entry = here.service(service.as_str())?.instances().get(id.as_str())?;
                Record::Instance(Box::new(Instance::of_entry(scope, service, entry)))
            }
            Self::Pending(id) => {
                let found = here.in_flight(id.as_str())?;
                let record = PendingOperation::of(&found.pending, found.age.place());
                Record::PendingOperation(Box::new(record))
            }
        })
    }
}

/// What is to be written to get from one state to another.
struct Plan<'s> {
    before: &'s State,
    after: &'s State,
    touched: BTreeSet<(Scope, Touched)>,
    /// The scopes whose own records change.
    scopes: BTreeSet<Scope>,
}

impl<'s> Plan<'s> {
    fn new(before: &'s State, after: &'s State) -> Self {
        Self { before, after, touched: BTreeSet::new(), scopes: BTreeSet::new() }
    }

    fn touch(&mut self, scope: &Scope, touched: Touched) {
        self.touched.insert((scope.clone(), touched));
    }

    fn changes(&mut self, scope: &Scope, changes: &[Change]) {
        let is_there = |state: &State| state.has_scope(scope);
        if is_there(self.before) != is_there(self.after) {
            self.scopes.insert(scope.clone());
        }
        for change in changes {
            match change {
                Change::PutNamespace(namespace) => {
                    self.touch(scope, Touched::Namespace(namespace.id.clone()));
                }
                Change::DeleteNamespace(id) => {
                    self.scopes.insert(scope.clone());
                    self.touch(scope, Touched::Namespace(id.clone()));
                }
                Change::PutService(service) => {
                    self.touch(scope, Touched::Service(service.id.clone()));
                    let before = self.before.scope(scope).service(service.id.as_str());
                    if before.is_some_and(|before| before.service().health_check != service.health_check) {
                        self.instances(scope, &service.id);
                    }
                }
                Change::DeleteService(id) => {
                    self.scopes.insert(scope.clone());
                    self.touch(scope, Touched::Service(id.clone()));
                }
                Change::PutInstance { service, instance, .. } => {
                    self.touch(scope, Touched::Service(service.clone()));
                    self.touch(scope, Touched::Instance(service.clone(), instance.id.clone()));
                }
                Change::DeleteInstance { service, id } => {
                    self.touch(scope, Touched::Service(service.clone()));
                    self.touch(scope, Touched::Instance(service.clone(), id.clone()));
                }
                Change::PutHealth { service, id, .. } => {
                    self.touch(scope, Touched::Instance(service.clone(), id.clone()));
                }
                Change::BeginOperation(pending) => {
                    self.touch(scope, Touched::Pending(pending.operation.id.clone()));
                }
                Change::EndOperation(id) => self.touch(scope, Touched::Pending(id.clone())),
            }
        }
    }

    fn instances(&mut self, scope: &Scope, service: &ServiceId) {
        let entry = self.after.scope(scope).service(service.as_str());
        for instance in entry.iter().flat_map(|entry| entry.instances().iter()) {
            let touched = Touched::Instance(service.clone(), instance.instance().id.clone());
            self.touched.insert((scope.clone(), touched));
        }
    }

    /// Whether an operation under way in the store is about a service that is deleted. It is deleted before the service.
    fn is_on_deleted(&self, scope: &Scope, id: &OperationId) -> bool {
        let found = self.before.scope(scope).in_flight(id.as_str());
        let service = found.and_then(|found| found.pending.operation.targets.service());
        service.is_some_and(|service| self.after.scope(scope).service(service.as_str()).is_none())
    }

    /// The writes, in an order of which every prefix can be restored: the effect of an operation before the operation leaves
    /// what is under way, a child after its parent on creation and before it on deletion, a deletion before what may get the
    /// name, and the operation of the set last.
    fn writes(
        &self,
        reset: Option<&Scope>,
        finished: &[(Arc<Operation>, u64)],
        operation: Option<&(Arc<Operation>, u64)>,
    ) -> Vec<Write> {
        let operation_record = |(operation, place): &(Arc<Operation>, u64)| {
            Write::Put(Record::Operation(Box::new(stored::Operation::of(operation, *place))))
        };
        let mut writes = Vec::new();
        let counted = |state: &State| (state.revision(), state.last_instances_revision());
        if counted(self.before) != counted(self.after) {
            writes.push(Write::Put(Record::Counters(Counters {
                version: VERSION,
                revision: self.after.revision().as_u64(),
                last_instances_revision: self.after.last_instances_revision().as_u64(),
            })));
        }
        let mut scopes_deleted = Vec::new();
        for scope in &self.scopes {
            match stored::Scope::of(self.after, scope) {
                Some(record) => writes.push(Write::Put(Record::Scope(record))),
                None => scopes_deleted.push(Write::Delete(key_in("scope", scope, &[]))),
            }
        }
        writes.extend(reset.map(|scope| Write::DeleteAll(key_in("operation", scope, &[""]))));
        writes.extend(finished.iter().map(operation_record));
        let (mut ended_first, mut ended, mut begun) = (Vec::new(), Vec::new(), Vec::new());
        let (mut deleted, mut put) = (Vec::new(), Vec::new());
        for (scope, touched) in &self.touched {
            let write = match touched.record(scope, self.after.scope(scope)) {
                Some(record) => Write::Put(record),
                None => Write::Delete(touched.key(scope)),
            };
            match (touched, &write) {
                (Touched::Pending(_), Write::Put(_)) => begun.push(write),
                (Touched::Pending(id), _) if self.is_on_deleted(scope, id) => ended_first.push(write),
                (Touched::Pending(_), _) => ended.push(write),
                (_, Write::Put(_)) => put.push((touched.depth(), write)),
                _ => deleted.push((touched.depth(), write)),
            }
        }
        writes.append(&mut ended_first);
        deleted.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
        put.sort_by_key(|(depth, _)| *depth);
        writes.extend(deleted.into_iter().chain(put).map(|(_, write)| write));
        writes.append(&mut ended);
        writes.append(&mut begun);
        writes.extend(operation.map(operation_record));
        writes.append(&mut scopes_deleted);
        writes
    }
}

impl Touched {
    /// How many parents it has.
    fn depth(&self) -> u8 {
        match self {
            Self::Namespace(_) => 0,
            Self::Service(_) => 1,
            Self::Instance(..) | Self::Pending(_) => 2,
        }
    }
}
