//! Faults: what tests let go wrong in the API, so that they see what their program makes of it.

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

/// Something that goes wrong with the next call of an operation of the API. What a host does by
/// [`sync_service_instances`](crate::ScopedCloudMap::sync_service_instances) is no such call.
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
    /// How many more calls meet it; all without a number.
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

    /// The call is refused with this error, and changes nothing.
    pub fn error(action: Action, error: Error) -> Self {
        Self::new(action, Effect::Refuse(error))
    }

    /// The call is refused because there were too many: with `RequestLimitExceeded` where the API's model has that, else
    /// with `ThrottlingException`, one of the API's common errors.
    pub fn throttle(action: Action) -> Self {
        let error = Quotas::aws().rate(action).map_or(Error::Throttling(action), Error::RequestLimitExceeded);
        Self::error(action, error)
    }

    /// The call is accepted, and the operation that it starts ends in FAIL, when its time is over, and has no effect. An
    /// action that starts no operation is refused with [`Error::Internal`], since the test has mistaken it. A call that is
    /// refused for its own sake, or answered with an operation from before, meets it as well, and no operation fails.
    pub fn fail_operation(action: Action, code: OperationErrorCode, message: impl Into<String>) -> Self {
        Self::new(action, Effect::Fail(OperationError::new(code, message.into())))
    }

    /// The call is held back until the clock has moved on by so much, and is then done as if it had come at that moment. A
    /// call can be dropped meanwhile, and does nothing then.
    ///
    /// It concerns whoever can wait: the asynchronous writes and [`call`](crate::ScopedCloudMap::call), and all requests of a
    /// door. The methods that read answer at once, and so does the handle without asynchrony.
    pub fn delay(action: Action, clock: &Arc<ManualClock>, by: Duration) -> Self {
        Self::new(action, Effect::Delay(Arc::clone(clock), by))
    }

    /// So many calls meet it, in place of one.
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Every call meets it, until the faults are [cleared](Faults::clear).
    pub fn always(self) -> Self {
        Self { times: None, ..self }
    }

    /// Only calls of this account and Region meet it.
    pub fn at(self, scope: Scope) -> Self {
        Self { scope: Some(scope), ..self }
    }

    /// The operation of the API that goes wrong.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    fn concerns(&self, action: Action, scope: &Scope) -> bool {
        self.action == action && self.scope.as_ref().is_none_or(|only| only == scope)
    }
}

/// What a call meets, other than a delay.
pub(crate) enum Met {
    Refusal(Error),
    Failure(Box<OperationError>),
}

/// The faults of a [`CloudMap`](crate::CloudMap) that no call has met yet. A handle: clones share them.
///
/// Of the faults that concern a call it meets the oldest delay and the oldest other one.
#[derive(Clone, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// So that the calls of those who inject nothing take no lock.
    any: AtomicBool,
    open: Mutex<Vec<Fault>>,
}

impl Faults {
    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        self.change(|open| open.extend(Some(fault).filter(|fault| fault.times != Some(0))));
    }

    /// Takes all of them back.
    pub fn clear(&self) {
        self.change(Vec::clear);
    }

    /// Those that calls can still meet, oldest first: none at the end of a test whose calls have met what it injected.
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

    /// The wait of a call that is held back.
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
