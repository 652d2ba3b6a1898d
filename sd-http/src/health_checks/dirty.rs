//! What has changed since the prober looked: keys, queued by an observer.

use std::{
    collections::HashSet,
    mem,
    sync::{Mutex, PoisonError},
};

use sd_core::{Change, Observer, Scope, State, model::ServiceId};
use tokio::sync::Notify;

use super::entry::Key;

/// The most keys that are queued. With more, everything is looked at.
const LIMIT: usize = 1 << 16;

/// Keys of what has changed.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    keys: Mutex<Keys>,
    pub(super) wake: Notify,
}

/// What to look at.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Whether to look at everything.
    pub(super) all: bool,
    pub(super) services: HashSet<(Scope, ServiceId)>,
    pub(super) instances: HashSet<Key>,
}

impl Dirty {
    pub(super) fn take(&self) -> Keys {
        mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn mark_all(&self) {
        self.add(|keys| keys.all = true);
    }

    fn add(&self, add: impl FnOnce(&mut Keys)) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut keys);
        if keys.all || keys.services.len() + keys.instances.len() > LIMIT {
            *keys = Keys { all: true, ..Keys::default() };
        }
        drop(keys);
        self.wake.notify_one();
    }
}

/// Called under the publish lock, so that it does nothing but queue keys.
impl Observer for Dirty {
    fn changed(&self, old: &State, new: &State, scope: &Scope, changes: &[Change]) {
        let is_checked = |service: &ServiceId| {
            [old, new].iter().any(|state| {
                let entry = state.scope(scope).service(service.as_str());
                entry.is_some_and(|entry| entry.service().health_check.route53().is_some())
            })
        };
        for change in changes {
            match change {
                Change::PutService(service) if is_checked(&service.id) => {
                    self.add(|keys| _ = keys.services.insert((scope.clone(), service.id.clone())));
                }
                Change::DeleteService(service) if is_checked(service) => {
                    self.add(|keys| _ = keys.services.insert((scope.clone(), service.clone())));
                }
                Change::PutInstance { service, instance, .. } if is_checked(service) => {
                    let (scope, service, instance) = (scope.clone(), service.clone(), instance.id.clone());
                    self.add(|keys| _ = keys.instances.insert(Key { scope, service, instance }));
                }
                Change::DeleteInstance { service, id } if is_checked(service) => {
                    let (scope, service, instance) = (scope.clone(), service.clone(), id.clone());
                    self.add(|keys| _ = keys.instances.insert(Key { scope, service, instance }));
                }
                _ => {}
            }
        }
    }

    fn rebuild(&self, _new: &State) {
        self.mark_all();
    }
}
