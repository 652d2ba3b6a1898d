use super::{
    Facts, Instance, Namespace, Operation, PendingOperation, RestoreError, Scope, Service, reading::Reading,
    record,
};
use crate::model;

record! {
    /// What a registry counts.
    pub struct Counters {
        /// The version of this form.
        pub version: u16,
        /// As [`Facts::revision`].
        pub revision: u64,
        /// As [`Facts::last_instances_revision`].
        pub last_instances_revision: u64,
    }
}

/// A record of any kind, for stores that hold all of them alike.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "stored", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "stored", serde(rename_all = "camelCase"))]
#[allow(clippy::exhaustive_enums, reason = "a backend stores every kind of record")]
pub enum Record {
    /// What the registry counts, once.
    Counters(Counters),
    /// What a scope keeps beside its entities.
    Scope(Scope),
    /// A namespace.
    Namespace(Box<Namespace>),
    /// A service.
    Service(Box<Service>),
    /// An instance and its health.
    Instance(Box<Instance>),
    /// An operation that is under way.
    PendingOperation(Box<PendingOperation>),
    /// An operation that has finished.
    Operation(Box<Operation>),
}

/// One write to a store of records by [key](Record::key). It may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a backend does every kind of write")]
pub enum Write {
    /// The record is stored, in place of the one that has its key.
    Put(Record),
    /// The record with this key is deleted, if there is one.
    Delete(String),
    /// The records whose keys begin with this are deleted.
    DeleteAll(String),
}

impl Record {
    /// The record's key, such as `service/123456789012/us-east-1/srv-ylexjili4cdxy3xm`.
    ///
    /// The parts are the kind, the account, the Region and the id; an instance has the id of its service before its own,
    /// which is the only part that may contain a `/`. Keys of later versions are the same.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Counters(_) => "counters".to_owned(),
            Self::Scope(record) => key("scope", &record.account, &record.region, &[]),
            Self::Namespace(record) => key("namespace", &record.account, &record.region, &[&record.id]),
            Self::Service(record) => key("service", &record.account, &record.region, &[&record.id]),
            Self::Instance(record) => {
                key("instance", &record.account, &record.region, &[&record.service_id, &record.id])
            }
            Self::PendingOperation(record) => {
                let operation = &record.operation;
                key("pending", &operation.account, &operation.region, &[&operation.id])
            }
            Self::Operation(record) => key("operation", &record.account, &record.region, &[&record.id]),
        }
    }
}

/// The key of a record of this kind in a scope.
pub(crate) fn key_in(kind: &str, scope: &model::Scope, ids: &[&str]) -> String {
    key(kind, scope.account().as_str(), scope.region().as_str(), ids)
}

fn key(kind: &str, account: &str, region: &str, ids: &[&str]) -> String {
    let mut key = format!("{kind}/{account}/{region}");
    for id in ids {
        key.push('/');
        key.push_str(id);
    }
    key
}

impl Facts {
    /// The facts and the finished operations of these records, which come in any order.
    ///
    /// # Errors
    /// The version of the counters, if it is a later one. The other records are read by [`State::restore`](crate::State::restore)
    /// and [`StateWriter::restored`](crate::StateWriter::restored).
    pub fn of_records(
        records: impl IntoIterator<Item = Record>,
    ) -> Result<(Self, Vec<Operation>), RestoreError> {
        let (mut facts, mut finished) = (Self::default(), Vec::new());
        for record in records {
            match record {
                Record::Counters(counters) => {
                    Reading::of("counters", "", counters.version)?;
                    facts.revision = counters.revision;
                    facts.last_instances_revision = counters.last_instances_revision;
                }
                Record::Scope(record) => facts.scopes.push(record),
                Record::Namespace(record) => facts.namespaces.push(*record),
                Record::Service(record) => facts.services.push(*record),
                Record::Instance(record) => facts.instances.push(*record),
                Record::PendingOperation(record) => facts.pending.push(*record),
                Record::Operation(record) => finished.push(*record),
            }
        }
        Ok((facts, finished))
    }
}
