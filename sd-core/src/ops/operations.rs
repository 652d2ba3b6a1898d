//! GetOperation and ListOperations.

use std::{collections::HashSet, iter::Peekable, ops::RangeInclusive, sync::Arc};

use super::{
    ReadContext,
    check::Check,
    filters::{self, Among, Checked, Only},
    page::{LOOKED_AT, PageRequest, page},
};
use crate::{
    api::{
        error::Error,
        request::{GetOperationRequest, ListOperationsRequest},
        response::{OperationSummary, Page},
    },
    model::{Age, Operation, OperationId, OperationStatus, OperationType, constraint},
    state::change::PendingOperation,
};

pub(crate) fn get(request: &GetOperationRequest, context: &ReadContext<'_>) -> Result<Arc<Operation>, Error> {
    let mut check = Check::default();
    let id = check.required("operationId", request.operation_id.as_deref(), constraint::OPERATION_ID);
    let owner = check.owner_account(request.owner_account.as_deref());
    let id = check.finish(id)?;
    let in_flight = context.under_way().in_flight(id).map(|found| Arc::new(found.pending.at(context.now)));
    in_flight
        .or_else(|| context.operations.get(id).filter(|operation| operation.scope == *context.scope))
        .filter(|_| context.owns(owner))
        .ok_or_else(|| Error::OperationNotFound(id.to_owned()))
}

pub(crate) fn list(
    request: &ListOperationsRequest,
    context: &ReadContext<'_>,
) -> Result<Page<OperationSummary>, Error> {
    const LIST: &str = "ListOperations";
    const NAMES: &[&str] = &["NAMESPACE_ID", "SERVICE_ID", "STATUS", "TYPE", "UPDATE_DATE"];
    let mut check = Check::default();
    let token = check.next_token(request.next_token.as_deref());
    let max_results = check.max_results(request.max_results);
    let filters = filters::checked(&mut check, request.filters.as_deref(), NAMES);
    let filter = OperationFilter::of(check.finish(filters)?, context)?;
    let page_request = PageRequest::new(LIST, context.scope, token, max_results)?;
    let after = page_request.after(|id| OperationId::parse(id).ok());
    let is_after = |age: Age, operation: &Operation| {
        after.as_ref().is_none_or(|(last, id)| (*last, id) < (age, &operation.id))
    };
    let under_way = context.under_way().all_in_flight().map(|found| (found.age, &found.pending));
    let mut under_way: Vec<_> =
        under_way.filter(|(age, pending)| is_after(*age, &pending.operation)).collect();
    let position = |(age, pending): &(Age, &Arc<PendingOperation>)| (*age, pending.operation.id.clone());
    if under_way.len() > LOOKED_AT {
        // A page looks at no more entries than this.
        under_way.select_nth_unstable_by_key(LOOKED_AT, position);
        under_way.truncate(LOOKED_AT + 1);
    }
    under_way.sort_unstable_by_key(position);
    let under_way = under_way.into_iter().map(|(age, pending)| (age, Arc::new(pending.at(context.now))));
    let finished = context.operations.after(context.scope, after.as_ref().map(|(age, _)| *age));
    let entries =
        Merged { finished: finished.peekable(), under_way: under_way.peekable(), emitted: HashSet::new() };
    let is_wanted =
        |(_, operation): &(Age, Arc<Operation>)| is_listed(operation, context) && filter.matches(operation);
    let page = page(LIST, context.scope, &page_request, entries, is_wanted, |(age, operation)| {
        (*age, operation.id.as_str())
    });
    Ok(page.map(|(_, operation)| OperationSummary::of(&operation)))
}

/// Merges two lists of operations, each in order of age. An operation that ends at this moment may be in both lists; it is
/// emitted once.
struct Merged<F: Iterator, U: Iterator> {
    finished: Peekable<F>,
    under_way: Peekable<U>,
    /// The operations of `under_way` that were emitted.
    emitted: HashSet<OperationId>,
}

impl<F, U> Iterator for Merged<F, U>
where
    F: Iterator<Item = (Age, Arc<Operation>)>,
    U: Iterator<Item = (Age, Arc<Operation>)>,
{
    type Item = (Age, Arc<Operation>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let is_finished = match (self.finished.peek(), self.under_way.peek()) {
                (Some((_, one)), Some((_, other))) if one.id == other.id => {
                    self.under_way.next();
                    true
                }
                (Some((age, one)), Some((other_age, other))) => (*age, &one.id) < (*other_age, &other.id),
                (finished, _) => finished.is_some(),
            };
            if !is_finished {
                let next = self.under_way.next()?;
                self.emitted.insert(next.1.id.clone());
                return Some(next);
            }
            let next = self.finished.next()?;
            if self.emitted.is_empty() || !self.emitted.contains(&next.1.id) {
                return Some(next);
            }
        }
    }
}

/// Operations of deleted namespaces are omitted (per moto's tests against AWS); failed creations are still listed.
fn is_listed(operation: &Operation, context: &ReadContext<'_>) -> bool {
    match (operation.kind, operation.status) {
        (OperationType::CreateNamespace, OperationStatus::Success) => {}
        (OperationType::CreateNamespace, _) => return true,
        _ => {}
    }
    context.here().namespace(operation.namespace.as_str()).is_some()
}

/// The conditions of ListOperations, merged.
struct OperationFilter<'r> {
    namespace: Only<'r>,
    /// The service, or the service of the instance.
    service: Only<'r>,
    statuses: Among<OperationStatus, 4>,
    kinds: Among<OperationType, 6>,
    /// The range of the last update, in seconds since the Unix epoch.
    updated: RangeInclusive<f64>,
}

impl<'r> OperationFilter<'r> {
    fn of(filters: Vec<Checked<'r>>, context: &ReadContext<'_>) -> Result<Self, Error> {
        let mut merged = Self {
            namespace: Only::default(),
            service: Only::default(),
            statuses: Among::of(OperationStatus::ALL, |_| true),
            kinds: Among::of(OperationType::ALL, |_| true),
            updated: f64::NEG_INFINITY..=f64::INFINITY,
        };
        for filter in filters {
            match filter.name {
                "NAMESPACE_ID" => merged.namespace.and_id(&filter, "namespace", context)?,
                "SERVICE_ID" => merged.service.and_id(&filter, "service", context)?,
                "STATUS" => merged.statuses.narrow(&filter.among(OperationStatus::ALL, is_status)?),
                "TYPE" => {
                    let is_type = |kind: OperationType, text: &str| kind.as_str() == text;
                    merged.kinds.narrow(&filter.among(OperationType::ALL, is_type)?);
                }
                _ => {
                    let (start, end) = filter.between()?.into_inner();
                    merged.updated = merged.updated.start().max(start)..=merged.updated.end().min(end);
                }
            }
        }
        Ok(merged)
    }

    #[allow(clippy::cast_precision_loss, reason = "milliseconds of this era need 41 bits of 53")]
    fn matches(&self, operation: &Operation) -> bool {
        let service = operation.targets.service().map_or("", |service| service.as_str());
        self.namespace.matches(operation.namespace.as_str())
            && self.service.matches(service)
            && self.statuses.contains(operation.status)
            && self.kinds.contains(operation.kind)
            && self.updated.contains(&(operation.updated.as_millis() as f64 / 1000.0))
    }
}

fn is_status(status: OperationStatus, text: &str) -> bool {
    // The API Reference spells it SUCCEED for this filter.
    status.as_str() == if text == "SUCCEED" { "SUCCESS" } else { text }
}
