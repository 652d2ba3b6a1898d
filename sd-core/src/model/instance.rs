use std::sync::Arc;

use super::{Attributes, Endpoint, derived::Derived};
use crate::model::{AccountId, CreatorRequestId, Incarnation, InstanceId, OperationId, Timestamp};

/// An instance: one thing that can be found through its service.
///
/// Its health is not part of it: health changes often, and nothing that was derived from the instance changes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// Its id, unique in the service.
    pub id: InstanceId,
    /// What was registered.
    pub attributes: Attributes,
    /// What the reserved attributes say, parsed once.
    pub endpoint: Endpoint,
    /// When the id was first registered. Registering it again keeps this moment.
    pub created: Timestamp,
    /// The token of the request that registered it last.
    pub creator_request_id: Option<CreatorRequestId>,
    /// The operation that registered it last, for replays of that request.
    pub registered_by: OperationId,
    /// The account that registered it.
    pub created_by_account: AccountId,
    /// The host that keeps it in step with something of its own, if one does. Registering it again by the API keeps the
    /// owner. See [`sync_service_instances`](crate::ScopedCloudMap::sync_service_instances).
    pub owner: Option<Arc<str>>,
    /// Tells it from another that gets the same id.
    pub incarnation: Incarnation,
    pub(crate) wire: Derived<Box<[u8]>>,
}

impl Instance {
    /// The part of a wire answer that never changes while this instance exists, encoded at its first use.
    ///
    /// The slot belongs to one door, that of the AWS protocols: it is opaque here, and `encode` must be the same function
    /// at every call.
    pub fn wire_fragment(&self, encode: impl FnOnce(&Self) -> Box<[u8]>) -> &[u8] {
        self.wire.get(|| encode(self))
    }
}
