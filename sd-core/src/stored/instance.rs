use std::{collections::BTreeMap, sync::Arc};

use super::{
    VERSION,
    reading::{Reading, RestoreError},
    record,
};
use crate::{
    model::{
        self, AccountId, Attributes, CreatorRequestId, Endpoint, HealthStatus, Incarnation, InstanceId,
        OperationId, ServiceId, Timestamp, constraint,
    },
    state::InstanceEntry,
};

record! {
    /// An instance and its health.
    pub struct Instance {
        /// The version of this form.
        pub version: u16,
        /// The account of its service: 12 digits.
        pub account: String,
        /// The Region of its service.
        pub region: String,
        /// The service that it is in.
        pub service_id: String,
        /// Its id.
        pub id: String,
        /// What was registered.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "BTreeMap::is_empty"))]
        pub attributes: BTreeMap<String, String>,
        /// When its id was first registered, in milliseconds.
        pub created: u64,
        /// The token of the request that registered it last.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "Option::is_none"))]
        pub creator_request_id: Option<String>,
        /// The operation that registered it last.
        pub registered_by: String,
        /// The account that registered it.
        pub created_by_account: String,
        /// The host that keeps it in step with something of its own.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "Option::is_none"))]
        pub owner: Option<String>,
        /// Tells it from another that gets the same id.
        #[cfg_attr(feature = "stored", serde(with = "super::hex"))]
        pub incarnation: u64,
        /// Its health.
        pub health: Health,
        /// Its place in lists.
        pub place: u64,
    }
}

record! {
    /// The health of an instance.
    pub struct Health {
        /// `HEALTHY`, `UNHEALTHY` or `UNKNOWN`.
        pub status: String,
        /// When the opposite status takes effect that was reported, in milliseconds.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "Option::is_none"))]
        pub report_due: Option<u64>,
        /// How many results of a health checker in a row contradict the status, at least 1.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "Option::is_none"))]
        pub contrary_results: Option<u8>,
        /// Whether the first result of a health checker decides the status.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "std::ops::Not::not"))]
        pub awaits_first_result: bool,
    }
}

impl Instance {
    /// The record of an instance of this service that has this health and this place in lists.
    #[must_use]
    pub fn of(
        scope: &model::Scope,
        service: &ServiceId,
        instance: &model::Instance,
        health: model::Health,
        place: u64,
    ) -> Self {
        let attributes = instance.attributes.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self {
            version: VERSION,
            account: scope.account().to_string(),
            region: scope.region().to_string(),
            service_id: service.to_string(),
            id: instance.id.to_string(),
            attributes: attributes.collect(),
            created: instance.created.as_millis(),
            creator_request_id: instance.creator_request_id.as_ref().map(ToString::to_string),
            registered_by: instance.registered_by.to_string(),
            created_by_account: instance.created_by_account.to_string(),
            owner: instance.owner.as_deref().map(str::to_owned),
            incarnation: instance.incarnation.0,
            health: health.into(),
            place,
        }
    }

    /// The record of an instance of this service.
    #[must_use]
    pub fn of_entry(scope: &model::Scope, service: &ServiceId, entry: &InstanceEntry) -> Self {
        Self::of(scope, service, entry.instance(), entry.health(), entry.place())
    }

    /// The scope of its service.
    pub(crate) fn scope(&self) -> Result<model::Scope, RestoreError> {
        self.reading()?.scope(&self.account, &self.region)
    }

    fn reading(&self) -> Result<Reading<'_>, RestoreError> {
        Reading::of_instance(&self.service_id, &self.id, self.version)
    }

    /// The service, the instance and its health.
    ///
    /// # Errors
    /// The member that cannot be read.
    pub fn restore(self) -> Result<(ServiceId, model::Instance, model::Health), RestoreError> {
        let reading = self.reading()?;
        reading.pairs("attributes", &self.attributes, (constraint::ATTR_KEY, constraint::ATTR_VALUE))?;
        let endpoint = Endpoint::of(&self.attributes).map_err(|error| reading.wrong("attributes", error))?;
        let pairs = self.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let attributes =
            Attributes::from_sorted(&pairs).ok_or_else(|| reading.wrong("attributes", "too long"))?;
        let instance = model::Instance {
            id: reading.read("id", &self.id, InstanceId::parse)?,
            attributes,
            endpoint,
            created: Timestamp::from_millis(self.created),
            creator_request_id: reading.read_optional(
                "creator_request_id",
                self.creator_request_id.as_deref(),
                CreatorRequestId::parse,
            )?,
            registered_by: reading.read("registered_by", &self.registered_by, OperationId::parse)?,
            created_by_account: reading.read(
                "created_by_account",
                &self.created_by_account,
                AccountId::parse,
            )?,
            owner: self.owner.as_deref().map(Arc::from),
            incarnation: Incarnation(self.incarnation),
            wire: Default::default(),
        };
        Ok((
            reading.read("service_id", &self.service_id, ServiceId::parse)?,
            instance,
            self.health.restore(reading)?,
        ))
    }
}

impl Health {
    pub(super) fn restore(&self, reading: Reading<'_>) -> Result<model::Health, RestoreError> {
        let all = [HealthStatus::Healthy, HealthStatus::Unhealthy, HealthStatus::Unknown];
        let status = reading.one_of("health", &self.status, &all, HealthStatus::as_str)?;
        let due = self.report_due.map(Timestamp::from_millis);
        let health = model::Health::of_parts(status, due, self.contrary_results, self.awaits_first_result);
        health.ok_or_else(|| {
            reading.wrong(
                "health",
                "a report, results and the wait for the first result exclude each other; results are at least 1; UNKNOWN \
                 has neither a report nor results; HEALTHY does not wait for the first result",
            )
        })
    }
}

impl From<model::Health> for Health {
    fn from(health: model::Health) -> Self {
        Self {
            status: health.status().as_str().to_owned(),
            report_due: health.next_deadline().map(Timestamp::as_millis),
            contrary_results: health.contrary_results(),
            awaits_first_result: health.awaits_first_result(),
        }
    }
}
