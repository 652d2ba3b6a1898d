//! Registries that do not find everything again when their store is opened once more.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Change, ChangeSet, CommitError, Immediate, Registry, State, StateCell,
    conformance::{Group, Subject},
    stored::{Facts, Operation},
};

use super::{assert_subjects_break, broken_rules};

/// What a store does not keep, or a handle does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Nothing is stored.
    Everything,
    /// Nothing more is stored after the first restart.
    WritesAfterARestart,
    Operations,
    Places,
    OperationsUnderWay,
    /// What has ended by itself is not stored, nor that it has ended.
    Ends,
    Reports,
    Tokens,
    /// What a scope keeps beside its entities.
    Scopes,
    FormerNames,
    InstancesRevisions,
    /// The number that all emptied scopes share.
    LastInstancesRevision,
    /// A reset deletes the entities, and not the operations.
    ResetsOfOperations,
    /// Refused sets are stored.
    Refusals,
    /// Health that changes with the check of a service.
    HealthOfChecks,
}

/// The records of a registry.
#[derive(Debug, Default)]
struct Store {
    facts: Facts,
    finished: Vec<Operation>,
    opened: usize,
    is_open: bool,
}

/// A registry that writes everything down after each commit. One at a time is open on a store.
#[derive(Debug)]
struct Recorded {
    registry: MemoryRegistry,
    store: Arc<Mutex<Store>>,
    flaw: Flaw,
}

impl Recorded {
    fn open(store: &Arc<Mutex<Store>>, flaw: Flaw) -> Arc<Self> {
        let mut opened = store.lock().unwrap();
        assert!(!opened.is_open, "a handle was not dropped");
        opened.is_open = true;
        opened.opened += 1;
        let state = State::restore(opened.facts.clone()).unwrap();
        let registry = MemoryRegistry::restored(state, opened.finished.clone()).unwrap();
        Arc::new(Self { registry, store: Arc::clone(store), flaw })
    }

    fn save(&self, set: &ChangeSet) {
        let mut store = self.store.lock().unwrap();
        let has_stopped = self.flaw == Flaw::WritesAfterARestart && store.opened > 1;
        if self.flaw == Flaw::Everything || has_stopped {
            return;
        }
        let cell = self.registry.cell();
        let mut facts = Facts::of(&cell.load());
        let mut finished = cell.operations().stored();
        match self.flaw {
            Flaw::Operations => finished.clear(),
            Flaw::Places => {
                facts.namespaces.iter_mut().for_each(|namespace| namespace.place = 0);
                facts.services.iter_mut().for_each(|service| service.place = 0);
                facts.instances.iter_mut().for_each(|instance| instance.place = 0);
                finished.iter_mut().for_each(|operation| operation.place = 0);
            }
            Flaw::OperationsUnderWay => facts.pending.clear(),
            Flaw::Ends => {
                let before = std::mem::take(&mut store.facts.pending);
                let is_new = |id: &str| facts.pending.iter().all(|pending| pending.operation.id != id);
                let ended: Vec<_> =
                    before.into_iter().filter(|pending| is_new(&pending.operation.id)).collect();
                finished.retain(|operation| ended.iter().all(|p| p.operation.id != operation.id));
                facts.pending.extend(ended.into_iter().filter(|_| !set.reset));
            }
            Flaw::Reports => {
                facts.instances.iter_mut().for_each(|instance| instance.health.report_due = None);
            }
            Flaw::Tokens => {
                facts.namespaces.iter_mut().for_each(|namespace| namespace.creator_request_id = None);
                facts.instances.iter_mut().for_each(|instance| instance.creator_request_id = None);
            }
            Flaw::Scopes => facts.scopes.clear(),
            Flaw::FormerNames => facts.scopes.iter_mut().for_each(|scope| scope.former_names.clear()),
            Flaw::InstancesRevisions => {
                facts.services.iter_mut().for_each(|service| service.instances_revision = 0);
            }
            Flaw::LastInstancesRevision => facts.last_instances_revision = 0,
            Flaw::ResetsOfOperations => {
                let known = |id: &str| finished.iter().any(|operation| operation.id == id);
                let kept: Vec<_> =
                    store.finished.iter().filter(|operation| !known(&operation.id)).cloned().collect();
                finished.extend(kept);
            }
            Flaw::HealthOfChecks if !set.changes.is_empty() => {
                for instance in &mut facts.instances {
                    let stored = store.facts.instances.iter().find(|stored| {
                        (&stored.service_id, &stored.id) == (&instance.service_id, &instance.id)
                    });
                    let is_changed = set.changes.iter().any(|change| match change {
                        Change::PutInstance { service, instance: put, .. } => {
                            service.as_str() == instance.service_id && put.id.as_str() == instance.id
                        }
                        Change::PutHealth { service, id, .. } => {
                            service.as_str() == instance.service_id && id.as_str() == instance.id
                        }
                        _ => false,
                    });
                    if let Some(stored) = stored.filter(|_| !is_changed) {
                        instance.health = stored.health.clone();
                    }
                }
            }
            _ => {}
        }
        (store.facts, store.finished) = (facts, finished);
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.store.lock().unwrap().is_open = false;
    }
}

#[async_trait]
impl Registry for Recorded {
    fn cell(&self) -> &StateCell {
        self.registry.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        let result = self.registry.commit(changes.clone()).await;
        if result.is_ok() {
            self.save(&changes);
        } else if self.flaw == Flaw::Refusals {
            let mut forced = changes.clone();
            forced.preconditions.clear();
            if let Ok(state) = self.cell().load().apply(&forced) {
                self.store.lock().unwrap().facts = Facts::of(&state);
            }
        }
        result
    }
}

impl Immediate for Recorded {}

fn subject(flaw: Flaw) -> Subject {
    let store = Arc::new(Mutex::new(Store::default()));
    let first = Recorded::open(&store, flaw);
    Subject::immediate(first).reopened_by(move || {
        let opened: Arc<dyn Registry> = Recorded::open(&store, flaw);
        std::future::ready(opened)
    })
}

fn assert_flaw_breaks(flaw: Flaw, expected: &[&str]) {
    assert_subjects_break(Group::Restart, move || subject(flaw), expected);
}

/// The rules that look at every fact.
const FACTS: &str = "facts_and_operations_are_the_same_after_a_restart";

#[test]
fn a_registry_that_stores_everything_breaks_no_rule() {
    let all = [Group::Every, Group::Immediate, Group::Restart];
    assert_eq!(broken_rules(&all, || subject(Flaw::None)), Default::default());
}

#[test]
fn finds_a_registry_that_stores_nothing() {
    assert_flaw_breaks(
        Flaw::Everything,
        &[
            "a_page_token_goes_on_after_a_restart",
            "a_report_takes_effect_at_its_moment_after_a_restart",
            "a_request_token_is_replayed_after_a_restart",
            "a_reset_stays_after_a_restart",
            "an_operation_ends_at_its_moment_after_a_restart",
            "an_operation_ends_once_over_a_restart",
            FACTS,
            "former_http_names_stay_after_a_restart",
            "the_instances_revision_grows_over_a_restart",
        ],
    );
}

#[test]
fn finds_a_registry_that_stores_nothing_after_a_restart() {
    assert_flaw_breaks(
        Flaw::WritesAfterARestart,
        &[
            "a_reset_stays_after_a_restart",
            FACTS,
            "former_http_names_stay_after_a_restart",
            "the_instances_revision_grows_over_a_restart",
        ],
    );
}

#[test]
fn finds_lost_operations() {
    assert_flaw_breaks(
        Flaw::Operations,
        &[
            "a_page_token_goes_on_after_a_restart",
            "a_request_token_is_replayed_after_a_restart",
            "a_reset_stays_after_a_restart",
            "an_operation_ends_once_over_a_restart",
            FACTS,
        ],
    );
}

#[test]
fn finds_lost_places() {
    assert_flaw_breaks(Flaw::Places, &["a_page_token_goes_on_after_a_restart"]);
}

#[test]
fn finds_lost_operations_under_way() {
    assert_flaw_breaks(Flaw::OperationsUnderWay, &["an_operation_ends_at_its_moment_after_a_restart", FACTS]);
}

#[test]
fn finds_operations_that_end_again() {
    assert_flaw_breaks(Flaw::Ends, &["an_operation_ends_once_over_a_restart", FACTS]);
}

#[test]
fn finds_lost_reports() {
    assert_flaw_breaks(Flaw::Reports, &["a_report_takes_effect_at_its_moment_after_a_restart", FACTS]);
}

#[test]
fn finds_lost_tokens() {
    assert_flaw_breaks(
        Flaw::Tokens,
        &["a_request_token_is_replayed_after_a_restart", "a_reset_stays_after_a_restart", FACTS],
    );
}

#[test]
fn finds_lost_records_of_scopes() {
    assert_flaw_breaks(
        Flaw::Scopes,
        &[
            "a_reset_stays_after_a_restart",
            FACTS,
            "former_http_names_stay_after_a_restart",
            "the_instances_revision_grows_over_a_restart",
        ],
    );
}

#[test]
fn finds_lost_former_names() {
    assert_flaw_breaks(
        Flaw::FormerNames,
        &["a_reset_stays_after_a_restart", FACTS, "former_http_names_stay_after_a_restart"],
    );
}

#[test]
fn finds_lost_instances_revisions() {
    assert_flaw_breaks(
        Flaw::InstancesRevisions,
        &["a_reset_stays_after_a_restart", FACTS, "the_instances_revision_grows_over_a_restart"],
    );
}

#[test]
fn finds_the_lost_instances_revision_of_emptied_scopes() {
    assert_flaw_breaks(Flaw::LastInstancesRevision, &["the_instances_revision_grows_over_a_restart"]);
}

#[test]
fn finds_operations_that_survive_a_reset() {
    assert_flaw_breaks(Flaw::ResetsOfOperations, &["a_reset_stays_after_a_restart"]);
}

#[test]
fn finds_stored_refusals() {
    assert_flaw_breaks(Flaw::Refusals, &[FACTS]);
}

#[test]
fn finds_health_that_outlives_the_check_of_its_service() {
    assert_flaw_breaks(Flaw::HealthOfChecks, &[FACTS]);
}
