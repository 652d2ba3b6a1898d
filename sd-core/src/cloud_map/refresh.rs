//! Refusals that rest on what the cell shows: the registry looks again first.

use super::ScopedCloudMap;
use crate::{
    api::call::Request,
    api::error::{Error, InUse},
    model::{EntityKey, InstanceId, NamespaceId, OperationId, Scope, ServiceId, action::Action},
    ops::own_id,
    store::registry::{CommitError, Lookup},
};

/// The error of the API for a registry that has failed. `None` if the request is to be planned again.
pub(super) fn failure(error: CommitError) -> Option<Error> {
    match error {
        CommitError::Conflict | CommitError::Ambiguous => None,
        CommitError::Rejected { key, reason } => Some(Error::Rejected { key, reason }),
        CommitError::Unavailable { retry_after, source } => {
            Some(Error::Unavailable { retry_after, source: Some(source.into()) })
        }
    }
}

/// What a refusal rests on. `request` is called where the error does not name it. A malformed id names nothing, so there is
/// nothing to look for.
pub(super) fn facts(error: &Error, scope: &Scope, request: impl FnOnce() -> Option<Request>) -> Vec<Lookup> {
    let fact = match error {
        Error::NamespaceNotFound(text) => namespace(scope, text).map(Lookup::Entity),
        Error::ServiceNotFound(text) => service(scope, text).map(Lookup::Entity),
        Error::InstanceNotFound { instance_id, service_id } => {
            // The service as well: GetInstance does not say which of the two is missing.
            let instance = instance(scope, service_id, instance_id).map(Lookup::Entity);
            return service(scope, service_id).map(Lookup::Entity).into_iter().chain(instance).collect();
        }
        Error::ResourceNotFound(arn) => {
            namespace(scope, arn).or_else(|| service(scope, arn)).map(Lookup::Entity)
        }
        Error::OperationNotFound(id) => OperationId::parse(id).ok().map(Lookup::Operation),
        Error::NamespaceAlreadyExists { namespace_id, .. } => {
            Some(Lookup::Entity(EntityKey::Namespace(namespace_id.clone())))
        }
        Error::ServiceAlreadyExists { service_id, .. } => {
            Some(Lookup::Entity(EntityKey::Service(service_id.clone())))
        }
        Error::ResourceInUse(in_use) => {
            let key = match (in_use, request()) {
                (InUse::NamespaceHasServices, Some(Request::DeleteNamespace(request))) => {
                    request.id.and_then(|id| namespace(scope, &id))
                }
                (InUse::ServiceHasInstances, Some(Request::DeleteService(request))) => {
                    request.id.and_then(|id| service(scope, &id))
                }
                _ => None,
            };
            key.map(Lookup::Children)
        }
        _ => None,
    };
    fact.into_iter().collect()
}

fn namespace(scope: &Scope, text: &str) -> Option<EntityKey> {
    own_id(scope, text, "namespace").and_then(|id| NamespaceId::parse(id).ok()).map(EntityKey::Namespace)
}

fn service(scope: &Scope, text: &str) -> Option<EntityKey> {
    own_id(scope, text, "service").and_then(|id| ServiceId::parse(id).ok()).map(EntityKey::Service)
}

fn instance(scope: &Scope, service: &str, id: &str) -> Option<EntityKey> {
    let service = own_id(scope, service, "service").and_then(|id| ServiceId::parse(id).ok())?;
    InstanceId::parse(id).ok().map(|id| EntityKey::Instance(service, id))
}

impl ScopedCloudMap {
    /// Before a read of an operation or an entity by its id: lets the registry look for it, if the cell does not have it.
    pub(super) async fn look_ahead(&self, action: Action, request: impl FnOnce() -> Request) {
        let Self { cloud_map, scope, .. } = self;
        let is_by_id = matches!(
            action,
            Action::GetOperation | Action::GetNamespace | Action::GetService | Action::GetInstance
        );
        if !is_by_id {
            return;
        }
        let fact = match request() {
            Request::GetOperation(request) => {
                request.operation_id.and_then(|id| OperationId::parse(&id).ok()).map(Lookup::Operation)
            }
            Request::GetNamespace(request) => {
                request.id.and_then(|id| namespace(scope, &id)).map(Lookup::Entity)
            }
            Request::GetService(request) => request.id.and_then(|id| service(scope, &id)).map(Lookup::Entity),
            Request::GetInstance(request) => {
                let ids = request.service_id.zip(request.instance_id);
                ids.and_then(|(service, id)| instance(scope, &service, &id)).map(Lookup::Entity)
            }
            _ => None,
        };
        let Some(fact) = fact.filter(|fact| !self.shows(fact)) else { return };
        if let Err(error) = cloud_map.inner.registry.refresh(scope, &[fact]).await {
            // The read is answered from what is there.
            tracing::debug!(%scope, %error, "cannot look in the registry's store for what a read names");
        }
    }

    fn shows(&self, fact: &Lookup) -> bool {
        let cell = self.cloud_map.cell();
        let state = cell.load();
        let here = state.scope(&self.scope);
        match fact {
            // In this order: an operation that ends is in the log before it is not under way any more.
            Lookup::Operation(id) => {
                here.in_flight(id.as_str()).is_some() || cell.operations().get(id.as_str()).is_some()
            }
            Lookup::Entity(EntityKey::Namespace(id)) => here.namespace(id.as_str()).is_some(),
            Lookup::Entity(EntityKey::Service(id)) => here.service(id.as_str()).is_some(),
            Lookup::Entity(EntityKey::Instance(service, id)) => here
                .service(service.as_str())
                .is_some_and(|entry| entry.instances().get(id.as_str()).is_some()),
            Lookup::Children(_) => false,
        }
    }
}
