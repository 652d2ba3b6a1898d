//! What a prober knows of one instance.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sd_core::{
    Scope, State, Timestamp,
    health_check::{Check, CheckTarget, NotChecked, Subject, Tally},
    model::{CustomHealthStatus, InstanceId, ServiceId},
};
use uuid::Uuid;

use super::{
    history::{CheckResult, History},
    probe::Probed,
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
}

impl Known {
    fn new(check: &Check<'_>) -> Self {
        Self {
            subject: check.subject(),
            tally: Tally::new(check.health()),
            history: History::default(),
            target: check.target(),
        }
    }
}

/// What one probe is about.
pub(super) struct Ask {
    pub(super) subject: Subject,
    pub(super) target: CheckTarget,
    /// The id of the check, which targets see.
    pub(super) reference: String,
    /// Whether it has no result yet.
    pub(super) is_first: bool,
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

    /// Takes note of the instance's check as it is now. Returns whether it begins anew.
    pub(super) fn follow(&self, check: &Check<'_>) -> bool {
        let mut known = self.known();
        let is_new = !check.is_about(&known.subject);
        if is_new {
            *known = Known::new(check);
        }
        is_new
    }

    /// What to ask now; `None` if the instance is not checked any more.
    pub(super) fn ask(&self, state: &State) -> Option<Ask> {
        let check = self.key.check(state)?;
        self.follow(&check);
        // The service's name in DNS, and so the target, can change with the namespace.
        let target = check.target();
        let (service, instance) = (check.service().incarnation, check.instance().incarnation);
        let mut known = self.known();
        known.target.clone_from(&target);
        Some(Ask {
            subject: known.subject.clone(),
            target: target.ok()?,
            reference: Uuid::from_u64_pair(service.0, instance.0).to_string(),
            is_first: known.history.last().is_none(),
        })
    }

    /// Counts a result.
    pub(super) fn count(&self, ask: &Ask, probed: Probed, state: &State, now: Timestamp) -> Counted {
        let Some(check) = self.key.check(state).filter(|check| check.is_about(&ask.subject)) else {
            return Counted::Outdated;
        };
        let mut known = self.known();
        if known.subject != ask.subject {
            return Counted::Outdated;
        }
        let result = match probed.result {
            Ok(_) => CustomHealthStatus::Healthy,
            Err(_) => CustomHealthStatus::Unhealthy,
        };
        known.history.add(CheckResult::new(now, probed));
        match known.tally.count(check.health(), result, ask.subject.config.failure_threshold) {
            Some(status) => Counted::Changed(status),
            None => Counted::Same,
        }
    }
}
