//! Operations: telling how far they are.

use std::sync::Arc;

use super::{ReadContext, check::Check};
use crate::{constraint, error::Error, model::Operation, request::GetOperationRequest};

pub(crate) fn get(request: &GetOperationRequest, context: &ReadContext<'_>) -> Result<Arc<Operation>, Error> {
    let mut check = Check::default();
    let id = check.required("operationId", request.operation_id.as_deref(), |text| {
        constraint::length(text, 0, 255)?;
        Ok(text.to_owned())
    });
    let owner = check.owner_account(request.owner_account.as_deref());
    let id = check.finish(id)?;
    context
        .operations
        .get(&id)
        .filter(|operation| operation.scope == *context.scope && context.owns(owner.as_ref()))
        .ok_or(Error::OperationNotFound(id))
}
