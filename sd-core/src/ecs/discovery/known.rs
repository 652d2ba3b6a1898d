//! The tasks that a host has reported.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use super::{Refusal, view::Look};
use crate::{
    ecs::{Task, TaskStatus},
    model::{Health, Instance, InstanceId, ServiceId, Timestamp},
    state::{InstanceEntry, ServiceEntry},
};

/// The most stopped tasks that are remembered between two listings. A late change cannot register them again.
const STOPPED: usize = 10_000;

/// The tasks that a host has reported.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    pub(super) known: HashMap<String, Known>,
    /// Tasks that may not be in step.
    pub(super) unsettled: BTreeSet<String>,
    /// Tasks that have ended, the oldest first.
    stopped: VecDeque<String>,
    /// The moment of the newest listing. A change of an unknown task up to this moment is outdated: the task has ended.
    past: Option<u64>,
    /// The number of listings.
    listings: u64,
    /// How many of the known tasks the newest listing has, as far as they are noted.
    listed: usize,
    /// Whether a listing left tasks out that are not forgotten yet.
    has_gone: bool,
    /// The number of surveys.
    surveys: u64,
}

/// A task as it was reported last, and what was done for it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) task: Arc<Task>,
    /// The moment of the newest report.
    pub(super) moment: u64,
    /// Grows with each change.
    pub(super) generation: u64,
    /// The services in which it may have an instance.
    pub(super) places: Vec<ServiceId>,
    /// When it may be stopped, once it is not registered any more.
    pub(super) may_stop_at: Option<Timestamp>,
    /// Its instances when it was last found in step.
    pub(super) in_step: Vec<InStep>,
    /// The number of the newest listing that has it, if there is one.
    pub(super) listing: Option<u64>,
    /// The number of the newest survey that found one of its instances, and how many it found unchanged.
    met: (u64, usize),
    /// Whether a listing left it out.
    pub(super) is_gone: bool,
    pub(super) refusals: Vec<Refusal>,
}

/// An instance that is registered as its task requires.
#[derive(Clone, Debug)]
pub(super) struct InStep {
    pub(super) service: ServiceId,
    pub(super) instance: Arc<Instance>,
    pub(super) health: Health,
}

/// How tasks and instances differ.
pub(super) struct Survey {
    /// The ids of tasks that may not be in step.
    pub(super) out_of_step: Vec<String>,
    /// Instances of the owner that belong to no known task.
    pub(super) strangers: Vec<(ServiceId, InstanceId)>,
}

impl Tasks {
    /// Whether a change at this moment can be current: the task is known, or began after the newest listing.
    pub(super) fn can_be_current(&self, moment: u64, id: &str) -> bool {
        self.known.contains_key(id) || Some(moment) > self.past
    }

    /// Begins a listing. Returns its number, or `None` if another listing is newer.
    pub(super) fn begin_listing(&mut self, moment: u64) -> Option<u64> {
        if Some(moment) < self.past {
            return None;
        }
        self.past = Some(moment);
        self.listings += 1;
        self.listed = 0;
        Some(self.listings)
    }

    /// Stores a report of a task, unless a newer one is known. Returns the task if it has just begun to stop.
    pub(super) fn note(&mut self, moment: u64, task: Arc<Task>, listing: Option<u64>) -> Option<Known> {
        let mut was_stopped = false;
        let known = match self.known.get_mut(&task.id) {
            Some(known) => {
                if listing > known.listing {
                    known.listing = listing;
                    self.listed += usize::from(listing == Some(self.listings));
                }
                if known.moment > moment {
                    return None;
                }
                known.moment = moment;
                if !known.is_gone && known.task == task {
                    return None;
                }
                known.generation += 1;
                known.is_gone = false;
                was_stopped = known.task.last_status == TaskStatus::Stopped;
                known.task = task;
                known
            }
            None => {
                let mut known = Known::new(moment, task);
                known.listing = listing;
                self.listed += usize::from(listing == Some(self.listings));
                self.known.entry(known.task.id.clone()).or_insert(known)
            }
        };
        if known.is_wanted() || !known.places.is_empty() {
            self.unsettled.insert(known.task.id.clone());
        }
        let stopping = (known.stops() && known.may_stop_at.is_none()).then(|| known.clone());
        if known.task.last_status == TaskStatus::Stopped && !was_stopped {
            self.stopped.push_back(known.task.id.clone());
            self.bound_stopped();
        }
        stopping
    }

    fn bound_stopped(&mut self) {
        while self.stopped.len() > STOPPED {
            let Some(id) = self.stopped.pop_front() else { return };
            if let Some(known) = self.known.remove(&id) {
                self.listed -= usize::from(known.listing == Some(self.listings));
                self.past = self.past.max(Some(known.moment));
                self.unsettled.remove(&id);
            }
        }
    }

    /// Marks the tasks that a listing left out as gone, unless a newer report has them.
    pub(super) fn leave_out(&mut self, moment: u64, listing: u64) {
        if listing == self.listings && self.listed == self.known.len() {
            return;
        }
        self.has_gone = true;
        for known in self.known.values_mut() {
            // A newer listing may run at the same time.
            if known.moment <= moment && known.listing < Some(listing) && !known.is_gone {
                known.is_gone = true;
                known.generation += 1;
            }
        }
    }

    /// Compares the tasks with the owner's registered and arriving instances.
    pub(super) fn survey(
        &mut self,
        registered: &[(&ServiceEntry, &InstanceEntry)],
        arriving: Vec<(ServiceId, InstanceId)>,
    ) -> Survey {
        self.surveys += 1;
        let Self { known, surveys, .. } = self;
        let (mut strangers, mut in_step) = (arriving, 0);
        for (entry, found) in registered {
            let id = &found.instance().id;
            match known.get_mut(id.as_str()) {
                Some(known) if known.places.contains(&entry.service().id) => {
                    known.meet(found, *surveys);
                    in_step += usize::from(known.is_in_step(*surveys));
                }
                _ => strangers.push((entry.service().id.clone(), id.clone())),
            }
        }
        // The usual case, for which a listing need not look at all tasks once more. Counts tasks with several instances only once,
        // because they are in step with the last one.
        if in_step == known.len() {
            return Survey { out_of_step: Vec::new(), strangers };
        }
        let out_of_step = known.iter().filter(|(_, known)| !known.is_in_step(*surveys));
        let mut out_of_step: Vec<_> = out_of_step.map(|(id, _)| id.clone()).collect();
        // A fixed order makes runs repeatable.
        out_of_step.sort_unstable();
        Survey { out_of_step, strangers }
    }

    /// Whether a task may have an instance in the service.
    pub(super) fn expects(&self, service: &ServiceId, id: &InstanceId) -> bool {
        self.known.get(id.as_str()).is_some_and(|known| known.places.contains(service))
    }

    /// Forgets tasks that are gone and have no instances.
    pub(super) fn forget(&mut self, moment: u64) {
        if !self.has_gone && self.stopped.is_empty() {
            return;
        }
        let Self { known, unsettled, stopped, listings, listed, .. } = self;
        let mut has_gone = false;
        known.retain(|id, known| {
            let is_over = known.is_gone || known.task.last_status == TaskStatus::Stopped;
            let is_kept = !is_over || known.moment > moment || unsettled.contains(id);
            has_gone |= is_kept && known.is_gone;
            *listed -= usize::from(!is_kept && known.listing == Some(*listings));
            is_kept
        });
        self.has_gone = has_gone;
        stopped.retain(|id| known.contains_key(id));
    }

    /// Begins to bring a task in step. Until [`end`](Self::end), the task counts as unsettled, even if the caller is dropped.
    pub(super) fn begin(&mut self, id: &str) -> Option<Known> {
        let known = self.known.get(id)?.clone();
        self.unsettled.insert(id.to_owned());
        Some(known)
    }

    /// Stores that the task may get an instance in these services.
    pub(super) fn expect_in<'a>(&mut self, id: &str, services: impl Iterator<Item = &'a ServiceId>) {
        let Some(known) = self.known.get_mut(id) else { return };
        for service in services {
            if !known.places.contains(service) {
                known.places.push(service.clone());
            }
        }
    }

    /// Stores the result of bringing a task in step.
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
    fn new(moment: u64, task: Arc<Task>) -> Self {
        Self {
            task,
            moment,
            generation: 0,
            places: Vec::new(),
            may_stop_at: None,
            in_step: Vec::new(),
            listing: None,
            met: (0, 0),
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

    /// Counts an instance that a survey found, if it is unchanged since the task was found in step.
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

    /// Whether a survey found exactly the instances that the task requires, all of them unchanged.
    fn is_in_step(&self, survey: u64) -> bool {
        let wanted = if self.is_wanted() { self.task.registries.len() } else { 0 };
        let met = if self.met.0 == survey { self.met.1 } else { 0 };
        met == wanted && self.places.len() == wanted && self.in_step.len() == wanted
    }
}
