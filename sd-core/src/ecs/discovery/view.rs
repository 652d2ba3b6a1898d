//! Where the instances of a task stand in a state, and what is left to do.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Refusal,
    known::{InStep, Known},
};
use crate::{
    cloud_map::DesiredInstance,
    ecs::{EcsError, instance::instance_in, registry::service_of},
    model::{CustomHealthStatus, Scope, Service, ServiceId, Timestamp},
    ops::{
        instance_health,
        sync::{self, Standing},
    },
    settings::timing::Timing,
    state::State,
};

/// Something to be done for a task.
pub(super) enum Step {
    Register(DesiredInstance),
    Report(CustomHealthStatus),
    Deregister,
}

/// What is left to do for a task, and where it stands.
#[derive(Default)]
pub(super) struct Look {
    pub(super) steps: Vec<(ServiceId, Step)>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) in_step: Vec<InStep>,
    /// Operations are under way, after which there may be more to do.
    pub(super) is_waiting: bool,
}

/// A state, and what decides how a host's tasks stand in it.
pub(super) struct View<'a> {
    pub(super) state: &'a State,
    pub(super) scope: &'a Scope,
    pub(super) owner: &'a str,
    pub(super) now: Timestamp,
    pub(super) timing: Timing,
}

impl View<'_> {
    pub(super) fn look(&self, known: &Known) -> Look {
        let (mut look, mut wanted) = (Look::default(), BTreeSet::new());
        for registry in known.task.registries.iter().filter(|_| known.is_wanted()) {
            let found = service_of(registry, self.state, self.scope);
            let found = found.and_then(|service| {
                if !wanted.insert(service.id.clone()) {
                    // ECS allows one registry. With Service Connect there are more, which could name one service.
                    return Err(EcsError::invalid_parameter("Two registries of the task are one service."));
                }
                Ok((service, instance_in(&known.task, registry, service)?))
            });
            match found {
                Ok((service, instance)) => self.look_at(&mut look, service, instance),
                Err(error) => {
                    look.refusals
                        .push(Refusal { service: registry.registry_arn.clone(), reason: error.into() });
                }
            }
        }
        for place in self.places(known).into_iter().filter(|place| !wanted.contains(place)) {
            look.steps.push((place, Step::Deregister));
        }
        look
    }

    /// The services in which the task has an instance. The services of its registries are included, because the host may have
    /// restarted and forgotten where it registered the task.
    pub(super) fn places(&self, known: &Known) -> BTreeSet<ServiceId> {
        let here = self.state.scope(self.scope);
        let registries = known.task.registries.iter();
        let of_registries =
            registries.filter_map(|registry| service_of(registry, self.state, self.scope).ok());
        let places = known.places.iter().chain(of_registries.map(|service| &service.id));
        let has = |place: &&ServiceId| {
            here.service(place.as_str())
                .is_some_and(|entry| sync::has(here, entry, &known.task.id, self.owner))
        };
        places.filter(has).cloned().collect()
    }

    /// What is left to do for the instance of a task in a service.
    pub(super) fn look_at(&self, look: &mut Look, service: &Service, mut instance: DesiredInstance) {
        let here = self.state.scope(self.scope);
        let Some(entry) = here.service(service.id.as_str()) else { return };
        // A report follows the registration, so that it takes effect after the delay of reports.
        let health = instance.health.take();
        match sync::standing(here, entry, (&instance.id, &instance.attributes), self.owner) {
            Standing::InStep(found) => {
                let report = health.filter(|status| {
                    instance_health::would_change(entry, found, *status, self.now, &self.timing)
                });
                if let Some(status) = report {
                    look.steps.push((service.id.clone(), Step::Report(status)));
                }
                look.in_step.push(InStep {
                    service: service.id.clone(),
                    instance: Arc::clone(found.instance()),
                    health: found.health(),
                });
            }
            Standing::Arriving(_) => look.is_waiting = true,
            Standing::Differs => look.steps.push((service.id.clone(), Step::Register(instance))),
        }
    }
}
