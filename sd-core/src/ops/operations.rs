//! Operations: telling how far they are.

use std::sync::Arc;

use super::{
    ReadContext,
    check::Check,
    namespaces::{FilterMembers, members, single},
    own_id,
    page::{asked, page},
};
use crate::{
    constraint,
    error::{Error, rule},
    ids::{NamespaceId, OperationId},
    model::{Operation, OperationStatus, OperationType},
    request::{GetOperationRequest, ListOperationsRequest},
    response::{OperationSummary, Page},
    state::Age,
};

pub(crate) fn get(request: &GetOperationRequest, context: &ReadContext<'_>) -> Result<Arc<Operation>, Error> {
    let mut check = Check::default();
    let id = check.required("operationId", request.operation_id.as_deref(), |text| {
        constraint::length(text, 0, 255)?;
        Ok(text.to_owned())
    });
    let owner = check.owner_account(request.owner_account.as_deref());
    let id = check.finish(id)?;
    let in_flight = context.under_way().in_flight(&id).map(|found| Arc::new(found.pending.at(context.now)));
    in_flight
        .or_else(|| context.operations.get(&id).filter(|operation| operation.scope == *context.scope))
        .filter(|_| context.owns(owner))
        .ok_or(Error::OperationNotFound(id))
}

pub(crate) fn list(
    request: &ListOperationsRequest,
    context: &ReadContext<'_>,
) -> Result<Page<OperationSummary>, Error> {
    const LIST: &str = "ListOperations";
    const NAMES: &[&str] = &["NAMESPACE_ID", "SERVICE_ID", "STATUS", "TYPE", "UPDATE_DATE"];
    let mut check = Check::default();
    let asked = asked(&mut check, request.next_token.as_deref(), request.max_results);
    let mut filters = Vec::new();
    for filter in request.filters.as_deref().unwrap_or_default() {
        filters.push(members(&mut check, filter, NAMES));
    }
    let filters: Vec<_> = check.finish(filters.into_iter().collect())?;
    let filters = filters
        .into_iter()
        .map(|filter| OperationFilter::of(filter, context))
        .collect::<Result<Vec<_>, Error>>()?;
    let page_request = asked.of(LIST, context.scope)?;
    let after = page_request.after.as_ref().and_then(|(age, id)| Some((*age, OperationId::parse(id).ok()?)));
    let wanted = |operation: &Operation| {
        operation.scope == *context.scope
            && is_listed(operation, context)
            && filters.iter().all(|filter| filter.matches(operation))
    };
    // One more than the page holds tells that there is another page.
    let enough = page_request.max_results + 1;
    let mut found: Vec<(Age, OperationSummary)> = Vec::new();
    context.operations.after(after.as_ref().map(|(age, _)| *age), |age, operation| {
        if wanted(operation) {
            found.push((age, OperationSummary::of(operation)));
        }
        found.len() < enough
    });
    let under_way =
        context.under_way().all_in_flight().map(|found| (found.age, found.pending.at(context.now)));
    let under_way = under_way.filter(|(age, operation)| {
        after.as_ref().is_none_or(|(last, id)| (*last, id) < (*age, &operation.id)) && wanted(operation)
    });
    found.extend(under_way.map(|(age, operation)| (age, OperationSummary::of(&operation))));
    found.sort_by(|(age, a), (other_age, b)| age.cmp(other_age).then_with(|| a.id.cmp(&b.id)));
    // One that ends at this moment may be found at both places.
    found.dedup_by(|(_, a), (_, b)| a.id == b.id);
    let entries = found.into_iter();
    let page =
        page(LIST, context.scope, &page_request, entries, |(age, operation)| (*age, operation.id.as_str()));
    Ok(page.map(|(_, operation)| operation))
}

/// The operations of a namespace that is gone are not listed, as moto's tests record of AWS; those that created none are.
fn is_listed(operation: &Operation, context: &ReadContext<'_>) -> bool {
    match (operation.kind, operation.status) {
        (OperationType::CreateNamespace, OperationStatus::Success) => {}
        (OperationType::CreateNamespace, _) => return true,
        _ => {}
    }
    context.here().namespace(operation.namespace.as_str()).is_some()
}

/// A condition of ListOperations.
enum OperationFilter<'r> {
    /// In this namespace; in none if what was given names no namespace of this scope.
    Namespace(Option<NamespaceId>),
    /// On this service or its instances.
    Service(&'r str),
    Status(Vec<OperationStatus>),
    Type(Vec<OperationType>),
    /// Between these moments, in seconds since the Unix epoch, both included.
    UpdateDate(f64, f64),
}

impl<'r> OperationFilter<'r> {
    fn of((name, condition, values): FilterMembers<'r>, context: &ReadContext<'_>) -> Result<Self, Error> {
        let takes = |conditions: &str| {
            Err(rule("filters.member.condition", format!("The filter {name} takes {conditions}.")))
        };
        match (name, condition) {
            ("NAMESPACE_ID", "EQ") => {
                let id = own_id(context.scope, single(values)?, "namespace");
                Ok(Self::Namespace(id.and_then(|id| NamespaceId::parse(id).ok())))
            }
            ("SERVICE_ID", "EQ") => {
                let value = single(values)?;
                Ok(Self::Service(own_id(context.scope, value, "service").unwrap_or_default()))
            }
            ("STATUS", "EQ" | "IN") => Ok(Self::Status(each(condition, values, status)?)),
            ("TYPE", "EQ" | "IN") => Ok(Self::Type(each(condition, values, operation_type)?)),
            ("UPDATE_DATE", "BETWEEN") => match values {
                [start, end] => match (start.parse(), end.parse()) {
                    (Ok(start), Ok(end)) => Ok(Self::UpdateDate(start, end)),
                    _ => Err(rule(
                        "filters.member.values",
                        "The filter UPDATE_DATE takes seconds since the Unix epoch.",
                    )),
                },
                _ => Err(rule("filters.member.values", "The condition BETWEEN takes two values.")),
            },
            ("NAMESPACE_ID" | "SERVICE_ID", _) => takes("EQ"),
            ("UPDATE_DATE", _) => takes("BETWEEN"),
            _ => takes("EQ or IN"),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "milliseconds of this era need 41 bits of 53")]
    fn matches(&self, operation: &Operation) -> bool {
        match self {
            Self::Namespace(id) => id.as_ref() == Some(&operation.namespace),
            Self::Service(id) => operation.targets.service().is_some_and(|service| service.as_str() == *id),
            Self::Status(wanted) => wanted.contains(&operation.status),
            Self::Type(wanted) => wanted.contains(&operation.kind),
            Self::UpdateDate(start, end) => {
                let updated = operation.updated.as_millis() as f64 / 1000.0;
                (*start..=*end).contains(&updated)
            }
        }
    }
}

/// The values of EQ, which takes one, or of IN.
fn each<T>(condition: &str, values: &[String], parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Error> {
    if condition == "EQ" {
        single(values)?;
    }
    let parsed: Option<Vec<T>> = values.iter().map(|value| parse(value)).collect();
    parsed.filter(|parsed| !parsed.is_empty()).ok_or_else(|| {
        rule("filters.member.values", "A value of the filter is none of the API's enumeration.")
    })
}

fn status(text: &str) -> Option<OperationStatus> {
    // The API Reference says SUCCEED in the text of this filter.
    let text = if text == "SUCCEED" { "SUCCESS" } else { text };
    OperationStatus::ALL.into_iter().find(|status| status.as_str() == text)
}

fn operation_type(text: &str) -> Option<OperationType> {
    OperationType::ALL.into_iter().find(|kind| kind.as_str() == text)
}
