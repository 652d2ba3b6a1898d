//! Witnesses: observers that record their calls, wakers that count, and the check of a state.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use crate::{
    model::{OperationId, Scope},
    state::{
        InstanceEntry, NamespaceEntry, ServiceEntry, State,
        change::{Change, ChangeSet},
    },
    store::{
        cell::{Attached, Observer, StateCell},
        registry::{CommitError, Registry},
        subscription::Subscription,
    },
};

/// The state that a registry shows.
pub(super) fn state(registry: &Arc<dyn Registry>) -> State {
    registry.cell().load().clone()
}

/// Commits what must be stored.
pub(super) async fn commit(registry: &Arc<dyn Registry>, set: ChangeSet) {
    let shown = format!("{set:?}");
    let result = registry.commit(set).await;
    assert!(result.is_ok(), "{result:?} for {shown}");
}

/// Commits what must be refused.
pub(super) async fn refused(registry: &Arc<dyn Registry>, set: ChangeSet) {
    let shown = format!("{set:?}");
    let result = registry.commit(set).await;
    assert!(matches!(result, Err(CommitError::Conflict)), "{result:?} for {shown}");
}

/// A call of an observer.
#[derive(Clone)]
pub(super) enum Told {
    Rebuilt(State),
    Changed(Set),
}

/// A set of changes, as an observer gets it.
#[derive(Clone)]
pub(super) struct Set {
    pub(super) old: State,
    pub(super) new: State,
    pub(super) scope: Scope,
    pub(super) changes: Vec<Change>,
    /// What the cell showed at that moment.
    pub(super) shown: State,
    /// Whether the operation that the journal looks for was in the log at that moment.
    pub(super) logged: bool,
}

/// An observer that records its calls, and panics on demand.
#[derive(Default)]
pub(super) struct Journal {
    told: Mutex<Vec<Told>>,
    cell: OnceLock<StateCell>,
    operation: OnceLock<OperationId>,
    pub(super) panics: AtomicBool,
    pub(super) panics_in_rebuild: AtomicBool,
}

impl Journal {
    /// A journal that is attached to the registry.
    pub(super) fn attached(registry: &Arc<dyn Registry>) -> (Arc<Self>, Attached) {
        let journal = Arc::new(Self::default());
        let attached = journal.attach(registry);
        (journal, attached)
    }

    pub(super) fn attach(self: &Arc<Self>, registry: &Arc<dyn Registry>) -> Attached {
        self.cell.get_or_init(|| registry.cell().clone());
        registry.cell().attach(Arc::clone(self) as Arc<dyn Observer>)
    }

    /// Looks for this operation in the log from now on.
    pub(super) fn look_for(&self, operation: &OperationId) {
        self.operation.get_or_init(|| operation.clone());
    }

    /// All calls.
    pub(super) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// The number of calls.
    pub(super) fn len(&self) -> usize {
        self.told.lock().unwrap().len()
    }

    /// The sets of changes.
    pub(super) fn sets(&self) -> Vec<Set> {
        let set = |told| match told {
            Told::Changed(set) => Some(set),
            Told::Rebuilt(_) => None,
        };
        self.told().into_iter().filter_map(set).collect()
    }

    /// Asserts that it was rebuilt once, and knows every state from there on.
    pub(super) fn assert_unbroken(&self) {
        let mut told = self.told().into_iter();
        let Some(Told::Rebuilt(start)) = told.next() else { panic!("it is rebuilt when it is attached") };
        let mut last = start.revision();
        for told in told {
            let Told::Changed(set) = told else { panic!("it is rebuilt once") };
            assert_eq!(set.old.revision(), last, "the state before is the last one that it got");
            assert!(set.new.revision() > last, "the state after is newer");
            assert_eq!(set.shown.revision(), set.new.revision(), "the cell shows the state after");
            last = set.new.revision();
        }
    }
}

// The cell would catch a panic, so the calls are recorded and checked later.
impl Observer for Journal {
    fn changed(&self, old: &State, new: &State, scope: &Scope, changes: &[Change]) {
        let cell = self.cell.get().expect("set when it is attached");
        let logged = self.operation.get().is_some_and(|id| cell.operations().get(id.as_str()).is_some());
        let shown = cell.load().clone();
        let (old, new, scope, changes) = (old.clone(), new.clone(), scope.clone(), changes.to_vec());
        self.told.lock().unwrap().push(Told::Changed(Set { old, new, scope, changes, shown, logged }));
        assert!(!self.panics.swap(false, Ordering::SeqCst), "as asked");
    }

    fn rebuild(&self, new: &State) {
        assert!(!self.panics_in_rebuild.swap(false, Ordering::SeqCst), "as asked");
        self.told.lock().unwrap().push(Told::Rebuilt(new.clone()));
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Journal")
    }
}

/// A waker that counts, and reads the cell at once, as a task on another thread would.
pub(super) struct Alarm {
    cell: StateCell,
    rung: AtomicUsize,
    seen: Mutex<Vec<State>>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.seen.lock().unwrap().push(self.cell.load().clone());
        self.rung.fetch_add(1, Ordering::SeqCst);
    }
}

/// A subscription that is asked by hand.
pub(super) struct Waiter {
    subscription: Subscription,
    alarm: Arc<Alarm>,
}

impl Waiter {
    pub(super) fn new(registry: &Arc<dyn Registry>) -> Self {
        let cell = registry.cell().clone();
        let alarm = Alarm { cell, rung: AtomicUsize::new(0), seen: Mutex::default() };
        Self { subscription: registry.cell().subscribe(), alarm: Arc::new(alarm) }
    }

    /// Asks once: the new state, or that it waits.
    pub(super) fn ask(&mut self) -> Option<State> {
        let waker = Waker::from(Arc::clone(&self.alarm));
        match self.subscription.poll_changed(&mut Context::from_waker(&waker)) {
            Poll::Ready(state) => Some(state.clone()),
            Poll::Pending => None,
        }
    }

    /// How often it was woken.
    pub(super) fn rung(&self) -> usize {
        self.alarm.rung.load(Ordering::SeqCst)
    }

    /// What the cell showed each time it was woken.
    pub(super) fn seen(&self) -> Vec<State> {
        self.alarm.seen.lock().unwrap().clone()
    }
}

/// Asserts that the state can be: children have their parents, and the indexes agree with the entities.
pub(super) fn assert_legal(state: &State) {
    for (scope, here) in state.scopes() {
        let mut children = 0;
        for entry in here.namespaces() {
            let namespace = entry.namespace();
            let found = here.namespace(namespace.id.as_str()).map(NamespaceEntry::namespace);
            assert_eq!(found, Some(namespace));
            let found = here.namespace_by_http_name(namespace.http_name.as_str());
            let found = found.map(|found| &found.namespace().id);
            assert_eq!(found, Some(&namespace.id), "{scope}: the name leads to another");
            assert_eq!(here.services_of(entry).count(), entry.service_count(), "{scope}: {}", namespace.id);
            for service in here.services_of(entry).map(ServiceEntry::service) {
                assert_eq!(service.namespace_id, namespace.id, "{scope}: {}", service.id);
                let found = here.service_by_name(entry, service.name.as_str());
                assert_eq!(found.map(ServiceEntry::service), Some(service));
            }
            children += entry.service_count();
        }
        assert_eq!(here.namespaces_after(None).count(), here.namespaces().count());
        assert_eq!(here.services_after(None).count(), children, "{scope}: a service without its namespace");
        for service in here.services_after(None) {
            let instances = service.instances();
            assert_eq!(instances.iter().count(), instances.len());
            assert_eq!(instances.after(None, usize::MAX).len(), instances.len());
            let routable = |entry: &&InstanceEntry| entry.health().is_routable();
            assert_eq!(instances.iter().filter(routable).count(), instances.healthy_len());
            for entry in instances.iter() {
                let found = instances.get(entry.instance().id.as_str()).map(InstanceEntry::instance);
                assert_eq!(found, Some(entry.instance()));
                assert!(entry.revision() <= state.revision());
            }
        }
    }
}
