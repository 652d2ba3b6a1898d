use std::collections::BTreeMap;

use super::{
    VERSION,
    reading::{Reading, RestoreError},
    record,
};
use crate::{
    model::{
        self, CreatorRequestId, Fingerprint, HostedZone, HostedZoneId, Incarnation, NamespaceId,
        NamespaceName, OperationId, Scope, Timestamp, UpdaterRequestId, VpcId,
    },
    state::NamespaceEntry,
};

record! {
    /// A namespace.
    pub struct Namespace {
        /// The version of this form.
        pub version: u16,
        /// The account: 12 digits.
        pub account: String,
        /// The Region.
        pub region: String,
        /// Its id.
        pub id: String,
        /// Its name.
        pub name: String,
        /// Its `HttpName`.
        pub http_name: String,
        /// Its type, with what only that type has.
        pub kind: NamespaceKind,
        /// At most 1024 characters.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "Option::is_none"))]
        pub description: Option<String>,
        /// Its tags.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "BTreeMap::is_empty"))]
        pub tags: BTreeMap<String, String>,
        /// When it was created, in milliseconds.
        pub created: u64,
        /// The token of the request that created it.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "Option::is_none"))]
        pub creator_request_id: Option<String>,
        /// The operation that created it.
        pub created_by: String,
        /// What the request that created it asked for.
        #[cfg_attr(feature = "stored", serde(with = "super::hex128"))]
        pub created_as: u128,
        /// The token of the request that updated it last.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "Option::is_none"))]
        pub updater_request_id: Option<String>,
        /// The operation that updated it last.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "Option::is_none"))]
        pub updated_by: Option<String>,
        /// Tells it from another that gets the same id.
        #[cfg_attr(feature = "stored", serde(with = "super::hex"))]
        pub incarnation: u64,
        /// Its place in lists.
        pub place: u64,
    }
}

/// The type of a namespace, with what only that type has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "stored", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "stored",
    serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")
)]
#[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
pub enum NamespaceKind {
    /// `HTTP`
    Http,
    /// `DNS_PRIVATE`
    DnsPrivate {
        /// The VPC.
        vpc: String,
        /// The id of the zone.
        hosted_zone_id: String,
        /// The TTL of the SOA record in seconds: 0–2147483647.
        soa_ttl: u32,
    },
    /// `DNS_PUBLIC`
    DnsPublic {
        /// The id of the zone.
        hosted_zone_id: String,
        /// The TTL of the SOA record in seconds: 0–2147483647.
        soa_ttl: u32,
    },
}

impl Namespace {
    /// The record of a namespace that has this place in lists.
    #[must_use]
    pub fn of(namespace: &model::Namespace, place: u64) -> Self {
        let text = |zone: &HostedZone| (zone.id.as_str().to_owned(), zone.soa_ttl);
        let kind = match &namespace.kind {
            model::NamespaceKind::Http => NamespaceKind::Http,
            model::NamespaceKind::DnsPrivate { vpc, zone } => {
                let (hosted_zone_id, soa_ttl) = text(zone);
                NamespaceKind::DnsPrivate { vpc: vpc.as_str().to_owned(), hosted_zone_id, soa_ttl }
            }
            model::NamespaceKind::DnsPublic { zone } => {
                let (hosted_zone_id, soa_ttl) = text(zone);
                NamespaceKind::DnsPublic { hosted_zone_id, soa_ttl }
            }
        };
        Self {
            version: VERSION,
            account: namespace.scope.account().to_string(),
            region: namespace.scope.region().to_string(),
            id: namespace.id.to_string(),
            name: namespace.name.to_string(),
            http_name: namespace.http_name.to_string(),
            kind,
            description: namespace.description.as_deref().map(str::to_owned),
            tags: namespace.tags.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            created: namespace.created.as_millis(),
            creator_request_id: namespace.creator_request_id.as_ref().map(ToString::to_string),
            created_by: namespace.created_by.to_string(),
            created_as: namespace.created_as.as_u128(),
            updater_request_id: namespace.updater_request_id.as_ref().map(ToString::to_string),
            updated_by: namespace.updated_by.as_ref().map(ToString::to_string),
            incarnation: namespace.incarnation.0,
            place,
        }
    }

    /// The record of a namespace.
    #[must_use]
    pub fn of_entry(entry: &NamespaceEntry) -> Self {
        Self::of(entry.namespace(), entry.place())
    }

    /// The namespace of this record.
    ///
    /// # Errors
    /// The member that cannot be read.
    pub fn restore(self) -> Result<model::Namespace, RestoreError> {
        let reading = Reading::of("namespace", &self.id, self.version)?;
        let zone = |id: &str, soa_ttl: u32| -> Result<HostedZone, RestoreError> {
            if i32::try_from(soa_ttl).is_err() {
                return Err(reading.wrong("soa_ttl", format_args!("{soa_ttl} is above 2147483647")));
            }
            Ok(HostedZone::new(reading.read("hosted_zone_id", id, HostedZoneId::parse)?, soa_ttl))
        };
        let (name, kind) = match &self.kind {
            NamespaceKind::Http => {
                (reading.read("name", &self.name, NamespaceName::parse)?, model::NamespaceKind::Http)
            }
            NamespaceKind::DnsPrivate { vpc, hosted_zone_id, soa_ttl } => (
                reading.read("name", &self.name, NamespaceName::parse_private)?,
                model::NamespaceKind::DnsPrivate {
                    vpc: reading.read("vpc", vpc, VpcId::parse)?,
                    zone: zone(hosted_zone_id, *soa_ttl)?,
                },
            ),
            NamespaceKind::DnsPublic { hosted_zone_id, soa_ttl } => (
                reading.read("name", &self.name, NamespaceName::parse_public)?,
                model::NamespaceKind::DnsPublic { zone: zone(hosted_zone_id, *soa_ttl)? },
            ),
        };
        Ok(model::Namespace {
            scope: reading.scope(&self.account, &self.region)?,
            id: reading.read("id", &self.id, NamespaceId::parse)?,
            name,
            http_name: reading.read("http_name", &self.http_name, NamespaceName::parse)?,
            kind,
            description: reading.description(self.description.as_deref())?,
            created: Timestamp::from_millis(self.created),
            creator_request_id: reading.read_optional(
                "creator_request_id",
                self.creator_request_id.as_deref(),
                CreatorRequestId::parse,
            )?,
            created_by: reading.read("created_by", &self.created_by, OperationId::parse)?,
            created_as: Fingerprint::from_u128(self.created_as),
            updater_request_id: reading.read_optional(
                "updater_request_id",
                self.updater_request_id.as_deref(),
                UpdaterRequestId::parse,
            )?,
            updated_by: reading.read_optional(
                "updated_by",
                self.updated_by.as_deref(),
                OperationId::parse,
            )?,
            incarnation: Incarnation(self.incarnation),
            tags: reading.tags(self.tags)?,
            zone_name: Default::default(),
        })
    }
}

impl Reading<'_> {
    /// The account and Region of a record.
    pub(super) fn scope(self, account: &str, region: &str) -> Result<Scope, RestoreError> {
        let account = self.read("account", account, model::AccountId::parse)?;
        Ok(Scope::new(account, self.read("region", region, model::Region::parse)?))
    }
}
