//! Every fact of a registry as a plain record, for backends that write facts down.
//!
//! A record holds texts and numbers only: ids and enumerations as the API spells them, moments in milliseconds since the
//! Unix epoch. `of` and `From` make records. [`restore`](Namespace::restore) reads them, checks every member, and names the
//! entity and the member that it cannot read. With the feature `stored` records implement serde's traits; members are
//! written in camel case, and absent ones are left out.
//!
//! # Versions
//! Each record has the version of its form, today [`VERSION`]. Every later version of this crate reads the earlier ones.
//! A record of a later version is refused: it may say what this version does not understand.
//!
//! # What a backend stores
//! | record | when |
//! |---|---|
//! | [`Namespace`], [`Service`], [`Instance`] | a change puts or deletes one, or its health changes |
//! | [`Service::instances_revision`] | a change puts or deletes an instance of the service |
//! | [`PendingOperation`] | an operation begins or ends |
//! | [`Operation`] | a [`ChangeSet`](crate::ChangeSet) finishes one, or it was due |
//! | [`Scope`] | a namespace is deleted, or a scope is emptied |
//!
//! The *place* of an entity is its place in lists among what was created in the same millisecond: the revision that brought
//! it. A page token holds it, so that a token that was made before a restart goes on after it.
//!
//! ```
//! use sd_backend_memory::MemoryRegistry;
//! use sd_core::{Scope, State, SyncCloudMap, request::CreateHttpNamespaceRequest, stored::Facts};
//!
//! let cloud_map = SyncCloudMap::new(MemoryRegistry::new());
//! cloud_map.at(Scope::default()).create_http_namespace(CreateHttpNamespaceRequest::new("app"))?;
//!
//! let facts = Facts::of(&cloud_map.cloud_map().state());
//! assert_eq!(facts.namespaces[0].name, "app");
//! let state = State::restore(facts)?;
//! assert!(state.scope(&Scope::default()).namespace_by_http_name("app").is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod change;
mod facts;
mod instance;
mod namespace;
mod operation;
mod reading;
mod service;

pub use change::Change;
pub use facts::{Facts, Scope};
pub use instance::{Health, Instance};
pub use namespace::{Namespace, NamespaceKind};
pub use operation::{Failure, Operation, PendingOperation, Target};
pub use reading::RestoreError;
pub use service::{DnsConfig, DnsRecord, HealthCheck, Service};

/// The version of the records that this version of the crate writes, and the highest that it reads.
pub const VERSION: u16 = 1;

/// Declares a record: plain, comparable, and serializable with the feature `stored`.
macro_rules! record {
    ($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "stored", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "stored", serde(rename_all = "camelCase"))]
        #[allow(clippy::exhaustive_structs, reason = "a backend makes records of what it has read")]
        pub struct $name { $($body)* }
    };
}
use record;

/// 64-bit numbers that are random: as texts of 16 hexadecimal digits, since readers of JSON may not keep them as numbers.
#[cfg(feature = "stored")]
mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

/// 128-bit numbers, likewise.
#[cfg(feature = "stored")]
mod hex128 {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(number: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}
