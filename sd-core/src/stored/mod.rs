//! Every fact of a registry as a plain record, for backends that write facts down.
//!
//! A record holds texts and numbers only: ids and enumerations as the API spells them, moments in milliseconds since the
//! Unix epoch. `of` and `of_entry` make records. [`restore`](Namespace::restore) reads them, checks every member, and names the
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
//! # Places
//! The *place* of an entity is its place in lists among what was created in the same millisecond: the revision that brought
//! it. A page token holds it, so that a token that was made before a restart goes on after it.
//!
//! The place of an operation is the revision of the set that began it, also after it has ended, or of the set that finished
//! it. A set without changes has the revision of the change before it, so its operation gets the next place that is vacant
//! among the operations of its scope and millisecond.
//!
//! # Writing a store
//! A backend that is the only writer of its store keeps a [`Written`](crate::store::Written) beside its
//! [`StateWriter`](crate::StateWriter). For each checked set it gives the [writes](Write) that the set leads to: the records of
//! what is changed and of what depends on that, the operations that finish, what the scope keeps, and what has happened by
//! itself since the last writes. Their number is that of the changes, not that of the entities.
//!
//! ```
//! use std::{collections::BTreeMap, sync::Mutex};
//!
//! use sd_core::{
//!     ChangeSet, CommitError, OperationLog, Registry, State, StateCell, StateWriter,
//!     store::Written,
//!     stored::{Facts, Record, RestoreError, Write},
//! };
//!
//! /// Stands for a disk or a database.
//! type Records = BTreeMap<String, Record>;
//!
//! #[derive(Debug)]
//! struct Stored {
//!     writer: StateWriter,
//!     /// Locked from the check of a set to its publication.
//!     store: Mutex<(Records, Written)>,
//! }
//!
//! impl Stored {
//!     fn open(records: Records) -> Result<Self, RestoreError> {
//!         let (facts, finished) = Facts::of_records(records.values().cloned())?;
//!         let state = State::restore(facts)?;
//!         let written = Written::new(state.clone());
//!         let writer = StateWriter::restored(state, finished, OperationLog::CAPACITY)?;
//!         Ok(Self { writer, store: Mutex::new((records, written)) })
//!     }
//! }
//!
//! #[async_trait::async_trait]
//! impl Registry for Stored {
//!     fn cell(&self) -> &StateCell {
//!         self.writer.cell()
//!     }
//!
//!     async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
//!         let mut store = self.store.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
//!         let (records, written) = &mut *store;
//!         let checked = self.writer.check(changes)?;
//!         let writes = written.writes(&checked);
//!         for write in writes.writes() {
//!             match write {
//!                 Write::Put(record) => drop(records.insert(record.key(), record.clone())),
//!                 Write::Delete(key) => drop(records.remove(key)),
//!                 Write::DeleteAll(prefix) => records.retain(|key, _| !key.starts_with(prefix)),
//!             }
//!         }
//!         *written = writes.into_written();
//!         checked.publish();
//!         Ok(())
//!     }
//! }
//! # use sd_core::{Immediate, Scope, SyncCloudMap, request::CreateHttpNamespaceRequest};
//! # impl Immediate for Stored {}
//! # let first = std::sync::Arc::new(Stored::open(Records::new())?);
//! # let api = SyncCloudMap::new(std::sync::Arc::clone(&first)).at(Scope::default());
//! # api.create_http_namespace(CreateHttpNamespaceRequest::new("app"))?;
//! # let again = Stored::open(first.store.lock().unwrap().0.clone())?;
//! # assert!(again.cell().load().scope(&Scope::default()).namespace_by_http_name("app").is_some());
//! # assert_eq!(again.cell().operations().len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - **A write fails.** If nothing is stored, the backend drops the checked set and the writes, and returns
//!   [`CommitError::Unavailable`](crate::CommitError::Unavailable). If it does not know, or some of the writes are stored, it
//!   does all of them again: they may be repeated. A backend that gives up returns
//!   [`CommitError::Ambiguous`](crate::CommitError::Ambiguous), and takes no other set until its store is opened again: every
//!   prefix of the writes can be restored.
//! - **Operations that end by themselves** are stored with the next set. To store them earlier, commit a set without changes.
//!   Nothing is lost without that: a state that is restored before comes to the same, at the same moments.
//! - **The revision of a set is known only when it is published.** If an operation ends between the check and the
//!   publication, entities of the set have a higher place than the one that was stored. The next writes correct that.
//! - **Finished operations pile up.** The log keeps the newest 100,000, and a store may delete what
//!   [`OperationLog::get`](crate::OperationLog::get) does not find any more, for example when it is opened.
//!
//! Records can also be made one by one, for a store with another form: [`Namespace::of_entry`], [`Service::of_entry`],
//! [`Instance::of_entry`], [`Scope::of`], and for operations [`PendingOperation::of`] and [`Operation::of`].
//!
//! # All facts at once
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
mod write;

pub use change::Change;
pub use facts::{Facts, Scope};
pub use instance::{Health, Instance};
pub use namespace::{Namespace, NamespaceKind};
pub use operation::{Failure, Operation, PendingOperation, Target};
pub use reading::RestoreError;
pub use service::{DnsConfig, DnsRecord, HealthCheck, Service};
pub(crate) use write::key_in;
pub use write::{Counters, Record, Write};

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
