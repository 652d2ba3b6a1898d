//! The instances that a prober checks, by service.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sd_core::{
    Scope,
    model::{HealthCheckConfig, InstanceId, ServiceId},
};

use super::entry::{Entry, Key};

/// The instances that are checked, by service. The lock is held to look up or to copy handles, and never across
/// anything that waits.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<Services>);

type Services = HashMap<(Scope, ServiceId), Checked>;

/// A service whose instances are checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) config: HealthCheckConfig,
    pub(super) instances: HashMap<InstanceId, Arc<Entry>>,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, Services> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        let services = self.lock();
        services.get(&(key.scope.clone(), key.service.clone()))?.instances.get(&key.instance).cloned()
    }

    pub(super) fn insert(&self, entry: Arc<Entry>, config: &HealthCheckConfig) {
        let Key { scope, service, instance } = entry.key.clone();
        let mut services = self.lock();
        let checked = services
            .entry((scope, service))
            .or_insert_with(|| Checked { config: config.clone(), instances: HashMap::new() });
        checked.instances.insert(instance, entry);
    }

    pub(super) fn remove(&self, key: &Key) -> Option<Arc<Entry>> {
        let mut services = self.lock();
        let of = (key.scope.clone(), key.service.clone());
        let checked = services.get_mut(&of)?;
        let removed = checked.instances.remove(&key.instance);
        if checked.instances.is_empty() {
            services.remove(&of);
        }
        removed
    }

    /// Sets the check of a service. Returns whether it had this one.
    pub(super) fn has_check(&self, of: &(Scope, ServiceId), config: Option<&HealthCheckConfig>) -> bool {
        let mut services = self.lock();
        match (services.get_mut(of), config) {
            (None, None) => true,
            (Some(checked), Some(config)) if checked.config == *config => true,
            (Some(checked), Some(config)) => {
                checked.config = config.clone();
                false
            }
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    /// The keys of a service's instances.
    pub(super) fn keys_of(&self, of: &(Scope, ServiceId)) -> Vec<Key> {
        let services = self.lock();
        services
            .get(of)
            .into_iter()
            .flat_map(|checked| checked.instances.values())
            .map(|entry| entry.key.clone())
            .collect()
    }

    /// The instances of a service.
    pub(super) fn entries_of(&self, of: &(Scope, ServiceId)) -> Vec<Arc<Entry>> {
        let services = self.lock();
        services.get(of).into_iter().flat_map(|checked| checked.instances.values()).cloned().collect()
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        let services = self.lock();
        let entries = services.values().flat_map(|checked| checked.instances.values());
        entries.map(|entry| entry.key.clone()).collect()
    }

    pub(super) fn clear(&self) {
        let services = std::mem::take(&mut *self.lock());
        drop(services);
    }
}
