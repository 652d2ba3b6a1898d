//! Explanations of answers: why an answer has an instance or lacks it.

use std::{fmt, sync::Arc};

use crate::{
    dns::records::{View, candidates, exists, owners_at, service_name, zone_of},
    model::{DnsName, DnsNameError, HealthStatus, InstanceId, Namespace, RecordType, Service, ServiceId},
    state::{InstanceEntry, ServiceEntry, State},
};

/// Explains the answer to a discovery or a DNS question. [`Display`](fmt::Display) writes it for people.
///
/// It names the instances that an answer is drawn from. The draw itself is random.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The outcome.
    pub outcome: Outcome,
    /// The namespace that answers, if one does.
    pub namespace: Option<Arc<Namespace>>,
    /// The instances that were considered.
    pub candidates: Vec<Candidate>,
    /// The most instances or records of an answer.
    pub limit: usize,
    /// The services of the namespace whose names are not valid DNS names, with the error. Empty for a discovery.
    pub nameless: Vec<(ServiceId, DnsNameError)>,
}

/// The outcome of a discovery or a DNS question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Answered with the eligible instances, if there are any.
    Answered,
    /// Answered with a CNAME record; the question continues at its target.
    AnsweredByCname,
    /// A discovery: the namespace has no service of this name, so the answer is empty.
    NoService,
    /// A DNS question: the name is in no zone of the view (REFUSED).
    NoZone,
    /// A DNS question: neither the name nor any name below it exists (NXDOMAIN).
    NoName,
    /// A DNS question: the name has no records of this type (NODATA).
    NoType,
}

/// An instance that was considered for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// The service.
    pub service: ServiceId,
    /// The instance's id.
    pub instance: InstanceId,
    /// The status in effect.
    pub health: HealthStatus,
    /// Why it has this health, if a prober [says so](crate::CloudMap::explain_health_by).
    pub reason: Option<String>,
    /// Why it cannot be in the answer; `None` if it is eligible.
    pub left_out: Option<LeftOut>,
}

/// Why an instance cannot be in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftOut {
    /// Its health does not match the filter, or it is unhealthy and others are healthy.
    Health,
    /// It lacks a query parameter.
    QueryParameters,
    /// It lacks an optional parameter, and others have them all.
    OptionalParameters,
    /// Its service has no records of the type.
    NotConfigured(RecordType),
    /// It lacks this attribute, which a record of the type needs.
    NoAttribute(&'static str),
    /// Its id is not valid in a DNS name, which the record needs.
    NoDnsName(DnsNameError),
}

impl Explanation {
    pub(crate) fn new(outcome: Outcome, limit: usize) -> Self {
        Self { outcome, namespace: None, candidates: Vec::new(), limit, nameless: Vec::new() }
    }

    /// The instances that the answer is drawn from.
    pub fn eligible(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(|candidate| candidate.left_out.is_none())
    }
}

impl Candidate {
    pub(crate) fn new(service: &ServiceEntry, entry: &InstanceEntry, left_out: Option<LeftOut>) -> Self {
        Self {
            service: service.service().id.clone(),
            instance: entry.instance().id.clone(),
            health: entry.health().status(),
            reason: None,
            left_out,
        }
    }
}

/// Explains the answer of [`resolve`](crate::dns::records::resolve).
pub(crate) fn explain(state: &State, view: &View, name: &DnsName, kind: RecordType) -> Explanation {
    let Some((scope, entry, _)) = zone_of(state, view, name) else {
        return Explanation::new(Outcome::NoZone, 0);
    };
    let namespace = entry.namespace();
    let owners = owners_at(scope, entry, name);
    let answer = |kind| explain_type(&owners, namespace, name, kind);
    let mut explanation = answer(kind);
    if explanation.eligible().next().is_none() {
        let cname = answer(RecordType::Cname);
        if kind != RecordType::Cname && cname.eligible().next().is_some() {
            explanation = Explanation { outcome: Outcome::AnsweredByCname, ..cname };
        } else {
            let exists = exists(state, view, scope, entry, name);
            explanation.outcome = if exists { Outcome::NoType } else { Outcome::NoName };
        }
    }
    explanation.nameless = scope
        .services_of(entry)
        .filter_map(|entry| match service_name(entry.service(), namespace)? {
            Ok(_) => None,
            Err(error) => Some((entry.service().id.clone(), error)),
        })
        .collect();
    explanation.namespace = Some(Arc::clone(namespace));
    explanation
}

fn explain_type(
    owners: &[&ServiceEntry],
    namespace: &Namespace,
    name: &DnsName,
    kind: RecordType,
) -> Explanation {
    let found = candidates(owners, namespace, name, kind);
    let mut explanation = Explanation::new(Outcome::Answered, found.selection.limit);
    for owner in owners {
        let own = matches!(service_name(owner.service(), namespace), Some(Ok(own)) if own == *name);
        for entry in owner.instances().iter() {
            let is_of = |other: &InstanceEntry| Arc::ptr_eq(other.instance(), entry.instance());
            let left_out = if found.records.iter().any(|(_, other, _)| is_of(other)) {
                (!found.selection.has(entry, owner.service())).then_some(LeftOut::Health)
            } else if own || is_named(owner.service(), namespace, entry, name) {
                Some(without_record(owner.service(), namespace, entry, kind, own))
            } else {
                continue;
            };
            explanation.candidates.push(Candidate::new(owner, entry, left_out));
        }
    }
    explanation
}

/// Whether the name is the instance's own.
fn is_named(service: &Service, namespace: &Namespace, entry: &InstanceEntry, name: &DnsName) -> bool {
    let own = service_name(service, namespace).and_then(Result::ok);
    own.is_some_and(|own| own.prefixed(entry.instance().id.as_str()).is_ok_and(|own| own == *name))
}

/// Why an instance has no record of a type, at its service's name or its own.
fn without_record(
    service: &Service,
    namespace: &Namespace,
    entry: &InstanceEntry,
    kind: RecordType,
    at_service: bool,
) -> LeftOut {
    let is_configured = if at_service {
        service.dns_config().is_some_and(|config| config.ttl(kind).is_some())
    } else {
        // An instance's own name has only address records.
        kind.is_address()
    };
    if !is_configured {
        return LeftOut::NotConfigured(kind);
    }
    match kind {
        RecordType::A => LeftOut::NoAttribute("AWS_INSTANCE_IPV4"),
        RecordType::Aaaa => LeftOut::NoAttribute("AWS_INSTANCE_IPV6"),
        RecordType::Cname => LeftOut::NoAttribute("AWS_INSTANCE_CNAME"),
        RecordType::Srv => {
            let own = service_name(service, namespace).and_then(Result::ok);
            match own.map(|own| own.prefixed(entry.instance().id.as_str())) {
                Some(Err(error)) => LeftOut::NoDnsName(error),
                _ => LeftOut::NoAttribute("AWS_INSTANCE_PORT"),
            }
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = self.namespace.as_ref();
        let by =
            namespace.map_or(String::new(), |namespace| format!("{} ({})", namespace.name, namespace.id));
        let (eligible, all) = (self.eligible().count(), self.candidates.len());
        match self.outcome {
            Outcome::Answered | Outcome::AnsweredByCname => {
                let what = if self.outcome == Outcome::Answered { "" } else { " by the CNAME records" };
                write!(
                    f,
                    "{by} answers{what} of at most {} out of {eligible} of {all} instances",
                    self.limit
                )?;
            }
            Outcome::NoService => write!(f, "{by} has no service of this name")?,
            Outcome::NoZone => f.write_str("no zone has this name (REFUSED)")?,
            Outcome::NoName => write!(f, "{by} has no such name (NXDOMAIN)")?,
            Outcome::NoType => write!(f, "{by} has no records of this type at this name (NODATA)")?,
        }
        for Candidate { service, instance, health, reason, left_out } in &self.candidates {
            write!(f, "\n{instance} in {service}, {health}")?;
            if let Some(reason) = reason {
                write!(f, " ({reason})")?;
            }
            f.write_str(": ")?;
            match left_out {
                None => f.write_str("eligible"),
                Some(reason) => write!(f, "left out, {reason}"),
            }?;
        }
        for (service, error) in &self.nameless {
            write!(f, "\n{service} has no name in DNS: {error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Health => f.write_str("because of its health"),
            Self::QueryParameters => f.write_str("because it lacks query parameters"),
            Self::OptionalParameters => f.write_str("because it lacks optional parameters that others have"),
            Self::NotConfigured(kind) => write!(f, "because its service has no {} records", kind.as_str()),
            Self::NoAttribute(key) => write!(f, "because it has no {key}"),
            Self::NoDnsName(error) => write!(f, "because its id is not valid in DNS: {error}"),
        }
    }
}
