//! What a host told of its tasks, and how they were found.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use super::{Refusal, view::Look};
use crate::{
    ecs::{Task, TaskStatus},
    model::{Health, Instance, InstanceId, ServiceId, Timestamp},
    ops::sync,
    state::{InstanceEntry, ScopeState},
};

/// How many stopped tasks are remembered, so that what is told of them late does not register them again. Beyond them, the
/// oldest is forgotten.
const STOPPED: usize = 10_000;

/// What was told of tasks.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    pub(super) known: HashMap<String, Known>,
    /// Those that are not in step as far as is known.
    pub(super) unsettled: BTreeSet<String>,
    /// Those that have ended, the oldest first.
    pub(super) stopped: VecDeque<String>,
    /// The newest moment of a listing. What is told of an unknown task before it is old: the task has ended.
    pub(super) past: Option<u64>,
    /// The number of listings.
    pub(super) listings: u64,
    /// The number of surveys.
    surveys: u64,
}

/// What is known of a task.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) task: Arc<Task>,
    /// When this was so.
    pub(super) moment: u64,
    /// Grows with each change.
    pub(super) generation: u64,
    /// The services in which it may have an instance.
    pub(super) places: Vec<ServiceId>,
    /// When it may be stopped, once it is not registered any more.
    pub(super) may_stop_at: Option<Timestamp>,
    /// How it was when it was last found in step.
    pub(super) in_step: Vec<InStep>,
    /// The number of the newest listing that has it.
    pub(super) listing: u64,
    /// The number of the newest survey that has met it, and how many of its instances.
    met: (u64, usize),
    /// Whether it had ended before its last change.
    pub(super) was_stopped: bool,
    /// A listing did not have it.
    pub(super) is_gone: bool,
    pub(super) refusals: Vec<Refusal>,
}

/// An instance that is as its task wants it.
#[derive(Clone, Debug)]
pub(super) struct InStep {
    pub(super) service: ServiceId,
    pub(super) instance: Arc<Instance>,
    pub(super) health: Health,
}

/// How tasks and instances differ.
pub(super) struct Survey {
    /// The ids of tasks that are not in step as far as is known.
    pub(super) out_of_step: Vec<String>,
    /// Instances of the owner that no task is known to have.
    pub(super) strangers: Vec<(ServiceId, InstanceId)>,
}

impl Tasks {
    /// Whether a change at this moment can be news: the task is known, or has begun after the newest listing.
    pub(super) fn can_be_new(&self, moment: u64, id: &str) -> bool {
        self.known.contains_key(id) || Some(moment) > self.past
    }

    /// The number of a listing. `None` if it is older than another one.
    pub(super) fn begin_listing(&mut self, moment: u64) -> Option<u64> {
        if Some(moment) < self.past {
            return None;
        }
        self.past = Some(moment);
        self.listings += 1;
        Some(self.listings)
    }

    /// Notes what a task is like, unless something newer is known, and that a listing has it. Returns the task if it has just
    /// begun to stop.
    pub(super) fn note(&mut self, moment: u64, task: Arc<Task>, listing: Option<u64>) -> Option<Known> {
        let known = match self.known.get_mut(&task.id) {
            Some(known) => {
                known.listing = listing.unwrap_or(known.listing);
                if known.moment > moment {
                    return None;
                }
                known.moment = moment;
                if !known.is_gone && known.task == task {
                    return None;
                }
                known.generation += 1;
                known.is_gone = false;
                known.was_stopped = known.task.last_status == TaskStatus::Stopped;
                known.task = task;
                known
            }
            None => {
                let mut known = Known::new(moment, task);
                known.listing = listing.unwrap_or_default();
                self.known.entry(known.task.id.clone()).or_insert(known)
            }
        };
        if known.is_wanted() || !known.places.is_empty() {
            self.unsettled.insert(known.task.id.clone());
        }
        let stopping = (known.stops() && known.may_stop_at.is_none()).then(|| known.clone());
        if known.task.last_status == TaskStatus::Stopped && !known.was_stopped {
            self.stopped.push_back(known.task.id.clone());
            self.bound_stopped();
        }
        stopping
    }

    pub(super) fn bound_stopped(&mut self) {
        while self.stopped.len() > STOPPED {
            let Some(id) = self.stopped.pop_front() else { return };
            if let Some(known) = self.known.remove(&id) {
                self.past = self.past.max(Some(known.moment));
                self.unsettled.remove(&id);
            }
        }
    }

    /// Notes that tasks which are not in the listing are gone, unless they were told of later.
    pub(super) fn leave_out(&mut self, moment: u64, listing: u64) {
        for known in self.known.values_mut() {
            // Two listings may overlap.
            if known.moment <= moment && known.listing < listing && !known.is_gone {
                known.is_gone = true;
                known.generation += 1;
            }
        }
    }

    /// Compares the tasks with the owner's instances. Costs a look at each instance of the scope and at each task.
    pub(super) fn survey(&mut self, here: &ScopeState, owner: &str) -> Survey {
        self.surveys += 1;
        let Self { known, surveys, .. } = self;
        let mut strangers = Vec::new();
        for (entry, found) in sync::registered_by(here, owner) {
            let id = &found.instance().id;
            match known.get_mut(id.as_str()) {
                Some(known) if known.places.contains(&entry.service().id) => known.meet(found, *surveys),
                _ => strangers.push((entry.service().id.clone(), id.clone())),
            }
        }
        strangers.extend(sync::arriving_for(here, owner).map(|(service, id)| (service.clone(), id.clone())));
        let out_of_step = known.iter().filter(|(_, known)| !known.is_in_step(*surveys));
        let mut out_of_step: Vec<_> = out_of_step.map(|(id, _)| id.clone()).collect();
        // In a fixed order, so that a host's runs are alike.
        out_of_step.sort_unstable();
        Survey { out_of_step, strangers }
    }

    /// Whether a task may have an instance in the service.
    pub(super) fn expects(&self, service: &ServiceId, id: &InstanceId) -> bool {
        self.known.get(id.as_str()).is_some_and(|known| known.places.contains(service))
    }

    /// Forgets tasks that are gone and have no instances.
    pub(super) fn forget(&mut self, moment: u64) {
        let Self { known, unsettled, stopped, .. } = self;
        known.retain(|id, known| {
            let is_over = known.is_gone || known.task.last_status == TaskStatus::Stopped;
            !(is_over && known.moment <= moment && !unsettled.contains(id))
        });
        stopped.retain(|id| known.contains_key(id));
    }

    /// A copy of what is known. Until it ends, the task is not settled, also if the caller is dropped.
    pub(super) fn begin(&mut self, id: &str) -> Option<Known> {
        let known = self.known.get(id)?.clone();
        self.unsettled.insert(id.to_owned());
        Some(known)
    }

    /// Notes that the task may get an instance in these services.
    pub(super) fn expect_in<'a>(&mut self, id: &str, services: impl Iterator<Item = &'a ServiceId>) {
        let Some(known) = self.known.get_mut(id) else { return };
        for service in services {
            if !known.places.contains(service) {
                known.places.push(service.clone());
            }
        }
    }

    pub(super) fn end(&mut self, id: &str, is_settled: bool, look: &Look) {
        let Some(known) = self.known.get_mut(id) else { return };
        known.refusals.clone_from(&look.refusals);
        known.in_step.clear();
        if is_settled {
            known.in_step.clone_from(&look.in_step);
            known.places.clear();
            known.places.extend(look.in_step.iter().map(|found| found.service.clone()));
            self.unsettled.remove(id);
        }
    }
}

impl Known {
    pub(super) fn new(moment: u64, task: Arc<Task>) -> Self {
        Self {
            task,
            moment,
            generation: 0,
            places: Vec::new(),
            may_stop_at: None,
            in_step: Vec::new(),
            listing: 0,
            met: (0, 0),
            was_stopped: false,
            is_gone: false,
            refusals: Vec::new(),
        }
    }

    pub(super) fn stops(&self) -> bool {
        self.task.last_status >= TaskStatus::Deactivating
    }

    /// Whether the task is to be registered.
    pub(super) fn is_wanted(&self) -> bool {
        self.task.last_status.is_registered() && !self.is_gone
    }

    /// Notes that a survey has met an instance, if it is as it was when the task was found in step.
    fn meet(&mut self, found: &InstanceEntry, survey: u64) {
        let is_as_before = self
            .in_step
            .iter()
            .any(|before| Arc::ptr_eq(found.instance(), &before.instance) && found.health() == before.health);
        if self.met.0 != survey {
            self.met = (survey, 0);
        }
        self.met.1 += usize::from(is_as_before);
    }

    /// Whether a survey has met all instances of the task as they were when it was found in step, and no others.
    fn is_in_step(&self, survey: u64) -> bool {
        let wanted = if self.is_wanted() { self.task.registries.len() } else { 0 };
        let met = if self.met.0 == survey { self.met.1 } else { 0 };
        met == wanted && self.places.len() == wanted && self.in_step.len() == wanted
    }
}
