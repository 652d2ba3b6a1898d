use super::{
    Change, VERSION,
    reading::{Reading, RestoreError},
    record,
};
use crate::{
    model::{
        self, InstanceId, NamespaceId, OperationError, OperationErrorCode, OperationId, OperationStatus,
        OperationTargets, OperationType, ServiceId, Timestamp, UniqueKey, action::Action,
    },
    state::change,
};

record! {
    /// An operation, as it was when it was submitted or as it ended.
    pub struct Operation {
        /// The version of this form.
        pub version: u16,
        /// The account: 12 digits.
        pub account: String,
        /// The Region.
        pub region: String,
        /// Its id.
        pub id: String,
        /// What it does, such as `REGISTER_INSTANCE`.
        #[cfg_attr(feature = "stored", serde(rename = "type"))]
        pub kind: String,
        /// How far it is.
        pub status: String,
        /// Why it failed, or is going to fail.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "Option::is_none"))]
        pub error: Option<Failure>,
        /// What it changes.
        pub target: Target,
        /// The namespace that its target is in, or is.
        pub namespace_id: String,
        /// When it was submitted, in milliseconds.
        pub created: u64,
        /// When its status changed last, in milliseconds.
        pub updated: u64,
        /// Its [place](crate::stored#places) in lists: the revision of the set that began it, or that finished it if none began
        /// it, or the next vacant one.
        pub place: u64,
    }
}

record! {
    /// Why an operation failed.
    pub struct Failure {
        /// The code, such as `CANNOT_CREATE_HOSTED_ZONE`.
        pub code: String,
        /// A sentence for people.
        pub message: String,
    }
}

/// What an operation changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "stored", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "stored", serde(rename_all = "camelCase", rename_all_fields = "camelCase"))]
#[allow(clippy::exhaustive_enums, reason = "the API has operations on these three")]
pub enum Target {
    /// The namespace of this id.
    Namespace(String),
    /// The service of this id.
    Service(String),
    /// An instance.
    Instance {
        /// The service that it is in.
        service_id: String,
        /// Its id.
        id: String,
    },
}

record! {
    /// An operation that is under way.
    pub struct PendingOperation {
        /// The version of this form.
        pub version: u16,
        /// The request that started it, such as `RegisterInstance`.
        pub action: String,
        /// The operation as it was submitted. Its error, if it has one, is how it is going to fail.
        pub operation: Operation,
        /// When it becomes PENDING, in milliseconds.
        pub pending_from: u64,
        /// When it ends, in milliseconds.
        pub due: u64,
        /// What it changes then.
        pub effect: Vec<Change>,
        /// What no other operation may have in the meantime, as [`UniqueKey`] writes it.
        pub claims: Vec<String>,
    }
}

impl Operation {
    /// The record of an operation that has this place in lists.
    #[must_use]
    pub fn of(operation: &model::Operation, place: u64) -> Self {
        let error = operation.error.as_deref();
        Self {
            version: VERSION,
            account: operation.scope.account().to_string(),
            region: operation.scope.region().to_string(),
            id: operation.id.to_string(),
            kind: operation.kind.as_str().to_owned(),
            status: operation.status.as_str().to_owned(),
            error: error.map(|e| Failure { code: e.code.as_str().to_owned(), message: e.message.clone() }),
            target: match &operation.targets {
                OperationTargets::Namespace(id) => Target::Namespace(id.to_string()),
                OperationTargets::Service(id) => Target::Service(id.to_string()),
                OperationTargets::Instance(service, id) => {
                    Target::Instance { service_id: service.to_string(), id: id.to_string() }
                }
            },
            namespace_id: operation.namespace.to_string(),
            created: operation.created.as_millis(),
            updated: operation.updated.as_millis(),
            place,
        }
    }

    /// The operation of this record.
    ///
    /// # Errors
    /// The member that cannot be read.
    pub fn restore(self) -> Result<model::Operation, RestoreError> {
        let reading = Reading::of("operation", &self.id, self.version)?;
        let error = self.error.as_ref().map(|failure| {
            let code = reading.one_of(
                "error",
                &failure.code,
                &OperationErrorCode::ALL,
                OperationErrorCode::as_str,
            )?;
            Ok(OperationError::new(code, failure.message.clone()))
        });
        Ok(model::Operation {
            scope: reading.scope(&self.account, &self.region)?,
            id: reading.read("id", &self.id, OperationId::parse)?,
            kind: reading.one_of("kind", &self.kind, &OperationType::ALL, OperationType::as_str)?,
            status: reading.one_of("status", &self.status, &OperationStatus::ALL, OperationStatus::as_str)?,
            error: error.transpose()?,
            targets: match &self.target {
                Target::Namespace(id) => {
                    OperationTargets::Namespace(reading.read("target", id, NamespaceId::parse)?)
                }
                Target::Service(id) => {
                    OperationTargets::Service(reading.read("target", id, ServiceId::parse)?)
                }
                Target::Instance { service_id, id } => OperationTargets::Instance(
                    reading.read("target", service_id, ServiceId::parse)?,
                    reading.read("target", id, InstanceId::parse)?,
                ),
            },
            namespace: reading.read("namespace_id", &self.namespace_id, NamespaceId::parse)?,
            created: Timestamp::from_millis(self.created),
            updated: Timestamp::from_millis(self.updated),
        })
    }
}

impl PendingOperation {
    /// The record of an operation under way that has this place in lists.
    #[must_use]
    pub fn of(pending: &change::PendingOperation, place: u64) -> Self {
        Self {
            version: VERSION,
            action: pending.action.as_str().to_owned(),
            operation: Operation::of(&pending.operation, place),
            pending_from: pending.pending_from.as_millis(),
            due: pending.due.as_millis(),
            effect: pending
                .effect
                .iter()
                .map(|change| Change::of(&pending.operation.scope, change))
                .collect(),
            claims: pending.claims.iter().map(ToString::to_string).collect(),
        }
    }

    /// The operation under way of this record.
    ///
    /// # Errors
    /// The member that cannot be read.
    pub fn restore(self) -> Result<change::PendingOperation, RestoreError> {
        let id = self.operation.id.clone();
        let operation = self.operation.restore()?;
        let reading = Reading::of("pending operation", &id, self.version)?;
        let action = Action::parse(&self.action)
            .filter(|action| action.starts_operation())
            .ok_or_else(|| reading.wrong("action", format_args!("{:?} starts no operation", self.action)))?;
        if operation.status != OperationStatus::Submitted {
            return Err(reading.wrong("status", "an operation under way is stored as SUBMITTED"));
        }
        let effect: Vec<_> = self.effect.into_iter().map(Change::restore).collect::<Result<_, _>>()?;
        if effect.iter().any(|change| matches!(change, change::Change::BeginOperation(_))) {
            return Err(reading.wrong("effect", "an operation begins no other"));
        }
        let is_foreign = |change: &change::Change| match change {
            change::Change::PutNamespace(namespace) => namespace.scope != operation.scope,
            change::Change::PutService(service) => service.scope != operation.scope,
            _ => false,
        };
        if effect.iter().any(is_foreign) {
            return Err(reading.wrong("effect", "it changes another scope"));
        }
        let claims = self.claims.iter().map(|claim| reading.read("claims", claim, str::parse::<UniqueKey>));
        Ok(change::PendingOperation {
            action,
            operation,
            pending_from: Timestamp::from_millis(self.pending_from),
            due: Timestamp::from_millis(self.due),
            claims: claims.collect::<Result<_, _>>()?,
            effect,
        })
    }
}
