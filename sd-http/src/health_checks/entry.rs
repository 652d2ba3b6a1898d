//! What a prober knows of one instance.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sd_core::{
    Scope, State, Timestamp,
    health_check::{Check, CheckTarget, NotChecked, Subject, Tally},
    model::{CustomHealthStatus, Instance, InstanceId, Namespace, Service, ServiceId},
};
use uuid::Uuid;

use super::{
    history::{CheckResult, History},
    probe::{Probed, request},
};

/// The name of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) scope: Scope,
    pub(super) service: ServiceId,
    pub(super) instance: InstanceId,
}

impl Key {
    /// The check of the instance in this state.
    pub(super) fn check<'s>(&self, state: &'s State) -> Option<Check<'s>> {
        Check::of(state, &self.scope, self.service.as_str(), self.instance.as_str())
    }
}

/// An instance that is checked.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) key: Key,
    known: Mutex<Known>,
}

/// What is known of the instance as it is registered now.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) subject: Subject,
    pub(super) tally: Tally,
    pub(super) history: History,
    pub(super) target: Result<CheckTarget, NotChecked>,
    prepared: Option<Prepared>,
}

/// A plan, and the entities that it was made from. Each change of an entity is a new `Arc`.
#[derive(Debug)]
struct Prepared {
    service: Arc<Service>,
    namespace: Arc<Namespace>,
    instance: Arc<Instance>,
    plan: Arc<Plan>,
}

impl Prepared {
    fn is_of(&self, check: &Check<'_>) -> bool {
        Arc::ptr_eq(&self.instance, check.instance())
            && Arc::ptr_eq(&self.service, check.service())
            && Arc::ptr_eq(&self.namespace, check.namespace())
    }
}

impl Known {
    fn new(check: &Check<'_>) -> Self {
        Self {
            subject: check.subject(),
            tally: Tally::new(check.health()),
            history: History::default(),
            target: check.target(),
            prepared: None,
        }
    }
}

/// What one probe asks, and of which instance.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) subject: Subject,
    pub(super) target: CheckTarget,
    pub(super) request: String,
}

/// The meaning of a result.
pub(super) enum Counted {
    /// The status stays.
    Same,
    /// This is to be stored.
    Changed(CustomHealthStatus),
    /// The result is about an instance or a check that is not there any more.
    Outdated,
}

impl Entry {
    pub(super) fn new(id: u64, key: Key, check: &Check<'_>) -> Self {
        Self { id, key, known: Mutex::new(Known::new(check)) }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates what is known from the instance's current check. Returns whether it starts over.
    pub(super) fn follow(&self, check: &Check<'_>) -> bool {
        let mut known = self.known();
        let is_new = !check.is_about(&known.subject);
        if is_new {
            *known = Known::new(check);
        }
        is_new
    }

    /// The plan of a probe now, and whether there is no result yet; `None` if the instance is not checked any more.
    pub(super) fn plan(&self, state: &State) -> Option<(Arc<Plan>, bool)> {
        let check = self.key.check(state)?;
        let mut known = self.known();
        if let Some(prepared) = known.prepared.as_ref().filter(|prepared| prepared.is_of(&check)) {
            return Some((Arc::clone(&prepared.plan), known.history.last().is_none()));
        }
        if !check.is_about(&known.subject) {
            *known = Known::new(&check);
        }
        known.prepared = None;
        // The service's name in DNS, and so the target, can change with the namespace.
        known.target = check.target();
        let target = known.target.clone().ok()?;
        // The id of the check, which targets see.
        let (service, instance) = (check.service().incarnation, check.instance().incarnation);
        let reference = Uuid::from_u64_pair(service.0, instance.0).to_string();
        let request = request(&target, &reference);
        let plan = Arc::new(Plan { subject: known.subject.clone(), target, request });
        known.prepared = Some(Prepared {
            service: Arc::clone(check.service()),
            namespace: Arc::clone(check.namespace()),
            instance: Arc::clone(check.instance()),
            plan: Arc::clone(&plan),
        });
        Some((plan, known.history.last().is_none()))
    }

    /// Counts a result.
    pub(super) fn count(&self, plan: &Plan, probed: Probed, state: &State, now: Timestamp) -> Counted {
        let Some(check) = self.key.check(state).filter(|check| check.is_about(&plan.subject)) else {
            return Counted::Outdated;
        };
        let mut known = self.known();
        if known.subject != plan.subject {
            return Counted::Outdated;
        }
        let result = match probed.result {
            Ok(_) => CustomHealthStatus::Healthy,
            Err(_) => CustomHealthStatus::Unhealthy,
        };
        known.history.add(CheckResult::new(now, probed));
        match known.tally.count(check.health(), result, plan.subject.config.failure_threshold) {
            Some(status) => Counted::Changed(status),
            None => Counted::Same,
        }
    }
}
