//! Fault injection: makes API calls fail or stall, so that a test can observe how its program reacts.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    api::error::Error,
    model::{OperationError, OperationErrorCode, Scope, action::Action},
    settings::{
        clock::{Clock, ManualClock},
        quotas::Quotas,
    },
};

/// A fault that applies to the next call of an operation of the API.
///
/// Calls of [`sync_service_instances`](crate::ScopedCloudMap::sync_service_instances) are not affected.
///
/// ```
/// # use sd_backend_memory::MemoryRegistry;
/// use sd_core::{Action, ErrorCode, Fault, Scope, SyncCloudMap, request::ListNamespacesRequest};
///
/// let cloud_map = SyncCloudMap::new(MemoryRegistry::new());
/// cloud_map.cloud_map().faults().inject(Fault::throttle(Action::ListNamespaces).times(2));
/// let here = cloud_map.at(Scope::default());
/// let list = || here.list_namespaces(ListNamespacesRequest::new());
/// assert_eq!(list().unwrap_err().code(), ErrorCode::ThrottlingException);
/// assert_eq!(list().unwrap_err().code(), ErrorCode::ThrottlingException);
/// assert!(list().is_ok());
/// ```
#[derive(Clone, Debug)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    action: Action,
    scope: Option<Scope>,
    effect: Effect,
    /// The number of calls that it still applies to; `None` for all calls.
    times: Option<u32>,
}

#[derive(Clone, Debug)]
enum Effect {
    Refuse(Error),
    Fail(Box<OperationError>),
    Delay(Arc<ManualClock>, Duration),
}

impl Fault {
    fn new(action: Action, effect: Effect) -> Self {
        Self { action, scope: None, effect, times: Some(1) }
    }

    /// Refuses the call with this error. It changes nothing.
    pub fn error(action: Action, error: Error) -> Self {
        Self::new(action, Effect::Refuse(error))
    }

    /// Refuses the call as throttled: with `RequestLimitExceeded` if the service model lists that for the operation, otherwise
    /// with `ThrottlingException`, one of the API's common errors.
    pub fn throttle(action: Action) -> Self {
        let error = Quotas::aws().rate(action).map_or(Error::Throttling(action), Error::RequestLimitExceeded);
        Self::error(action, error)
    }

    /// Accepts the call, but the operation that it starts ends in FAIL, at its usual time and without effect.
    ///
    /// A call of an action that starts no operation is refused with [`Error::Internal`], to show the mistake in the test. A
    /// call that is refused anyway, or that replays an earlier request, uses up the fault without effect.
    pub fn fail_operation(action: Action, code: OperationErrorCode, message: impl Into<String>) -> Self {
        Self::new(action, Effect::Fail(OperationError::new(code, message.into())))
    }

    /// Delays the call until the clock has advanced by this much, and then runs it as if it had come at that time. A call that
    /// is dropped before that does nothing.
    ///
    /// It applies to asynchronous writes and to all requests of a door. Reads and synchronous writes through the typed handles
    /// cannot wait, so they ignore it.
    pub fn delay(action: Action, clock: &Arc<ManualClock>, by: Duration) -> Self {
        Self::new(action, Effect::Delay(Arc::clone(clock), by))
    }

    /// Applies to the next `times` calls instead of one.
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Applies to every call until the faults are [cleared](Faults::clear).
    pub fn always(self) -> Self {
        Self { times: None, ..self }
    }

    /// Applies only to calls of this account and Region.
    pub fn at(self, scope: Scope) -> Self {
        Self { scope: Some(scope), ..self }
    }

    /// The operation of the API that the fault applies to.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    fn concerns(&self, action: Action, scope: &Scope) -> bool {
        self.action == action && self.scope.as_ref().is_none_or(|only| only == scope)
    }
}

/// A fault that applies to a call, other than a delay.
pub(crate) enum Met {
    Refusal(Error),
    Failure(Box<OperationError>),
}

/// The injected faults of a [`CloudMap`](crate::CloudMap) that still apply. Clones share them.
///
/// A call gets the oldest delay and the oldest other fault that apply to it.
#[derive(Clone, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Whether there are faults, so that calls without faults take no lock.
    any: AtomicBool,
    open: Mutex<Vec<Fault>>,
}

impl Faults {
    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        self.change(|open| open.extend(Some(fault).filter(|fault| fault.times != Some(0))));
    }

    /// Removes all faults.
    pub fn clear(&self) {
        self.change(Vec::clear);
    }

    /// The faults that still apply, oldest first. At the end of a test it is empty if all its faults were used.
    #[must_use]
    pub fn open(&self) -> Vec<Fault> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Fault>) -> T) -> T {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut open);
        self.0.any.store(!open.is_empty(), Ordering::Release);
        result
    }

    fn take(&self, action: Action, scope: &Scope, is_meant: impl Fn(&Effect) -> bool) -> Option<Effect> {
        if !self.0.any.load(Ordering::Acquire) {
            return None;
        }
        self.change(|open| {
            let place =
                open.iter().position(|fault| fault.concerns(action, scope) && is_meant(&fault.effect))?;
            let fault = &mut open[place];
            let effect = fault.effect.clone();
            match &mut fault.times {
                Some(1) => drop(open.remove(place)),
                Some(times) => *times -= 1,
                None => {}
            }
            Some(effect)
        })
    }

    /// The wait of a delayed call.
    pub(crate) fn delay(&self, action: Action, scope: &Scope) -> Option<impl Future<Output = ()> + use<>> {
        match self.take(action, scope, |effect| matches!(effect, Effect::Delay(..)))? {
            Effect::Delay(clock, by) => {
                let moment = clock.now().after(by);
                Some(async move { clock.reached(moment).await })
            }
            Effect::Refuse(_) | Effect::Fail(_) => None,
        }
    }

    pub(crate) fn meet(&self, action: Action, scope: &Scope) -> Option<Met> {
        match self.take(action, scope, |effect| !matches!(effect, Effect::Delay(..)))? {
            Effect::Refuse(error) => Some(Met::Refusal(error)),
            Effect::Fail(error) => Some(Met::Failure(error)),
            Effect::Delay(..) => None,
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.open()).finish()
    }
}
