use std::sync::Arc;

use super::{Attributes, Endpoint, derived::Derived};
use crate::model::{AccountId, CreatorRequestId, Incarnation, InstanceId, OperationId, Timestamp};

/// An instance: an endpoint that can be found through its service.
///
/// Its health is kept beside it: health changes often, and what is derived from the instance does not change with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// The id, unique in the service.
    pub id: InstanceId,
    /// All attributes, as registered.
    pub attributes: Attributes,
    /// The reserved attributes, parsed.
    pub endpoint: Endpoint,
    /// When the id was first registered. Another registration does not change it.
    pub created: Timestamp,
    /// The token of the last request that registered it.
    pub creator_request_id: Option<CreatorRequestId>,
    /// The last operation that registered it, which answers a replay of its request.
    pub registered_by: OperationId,
    /// The account that registered it.
    pub created_by_account: AccountId,
    /// The host that keeps it in step with its own tasks, if any. A registration by the API does not change it. See
    /// [`sync_service_instances`](crate::ScopedCloudMap::sync_service_instances).
    pub owner: Option<Arc<str>>,
    /// Distinguishes it from a later instance with the same id.
    pub incarnation: Incarnation,
    pub(crate) wire: Derived<Box<[u8]>>,
}
