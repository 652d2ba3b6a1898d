//! The requests of the API, as a caller sends them: unchecked, every member optional.
//!
//! A door fills in what it has decoded; the planners check it. So each rule, and the wording of what breaks it, is in
//! one place, and a missing member is reported like any other. Callers in Rust start from `new`, which takes what is
//! required, and add the rest with the `with_…` methods. A text member takes ids and ARNs as they are; an
//! [enumeration](OneOf) takes its values, or any text.
//!
//! ```
//! # use sd_backend_memory::MemoryRegistry;
//! # use sd_core::{Blueprint, Scope, SyncCloudMap, model::CustomHealthStatus};
//! use sd_core::request::{
//!     DiscoverInstancesRequest, HealthStatusFilter, UpdateInstanceCustomHealthStatusRequest,
//! };
//!
//! # let cloud_map = SyncCloudMap::new(MemoryRegistry::new()).at(Scope::default());
//! # use sd_core::request::{CreateServiceRequest, HealthCheckCustomConfigInput};
//! # let check = HealthCheckCustomConfigInput::default();
//! # let checked = CreateServiceRequest::new("web").with_health_check_custom_config(check);
//! # let app = Blueprint::new().http_namespace("app").service(checked).instance("web-1", []).apply_sync(&cloud_map)?;
//! # let service_id = app.service_id("web").unwrap();
//! let unhealthy = CustomHealthStatus::Unhealthy;
//! let report = UpdateInstanceCustomHealthStatusRequest::new(service_id, "web-1", unhealthy);
//! cloud_map.update_instance_custom_health_status(report)?;
//!
//! let healthy = DiscoverInstancesRequest::new("app", "web");
//! assert!(cloud_map.discover_instances(&healthy)?.instances.is_empty());
//! let all = healthy.with_health_status(HealthStatusFilter::All);
//! assert_eq!(cloud_map.discover_instances(&all)?.instances.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::model::Timestamp;

/// The type of a required member: a text, unless there is another one.
macro_rules! required_type {
    () => {
        String
    };
    ($type:ty) => {
        $type
    };
}

/// Declares a request: required members become arguments of `new`, the others get a `with_…` method.
macro_rules! request {
    (
        $(#[$doc:meta])* $name:ident {
            required { $($(#[$rdoc:meta])* $rfield:ident $(: $rtype:ty)?,)* }
            optional { $($(#[$odoc:meta])* $ofield:ident: $otype:ty => $with:ident,)* }
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$rdoc])* pub $rfield: Option<required_type!($($rtype)?)>,)*
            $($(#[$odoc])* pub $ofield: Option<$otype>,)*
        }

        impl $name {
            /// A request with the members that are required.
            #[must_use]
            #[allow(clippy::new_without_default, reason = "Default is derived; requests without required members have both")]
            pub fn new($($rfield: impl Into<required_type!($($rtype)?)>),*) -> Self {
                Self { $($rfield: Some($rfield.into()),)* ..Self::default() }
            }

            $(
                #[doc = concat!("Sets [`", stringify!($ofield), "`](Self::", stringify!($ofield), ").")]
                #[must_use]
                pub fn $with(mut self, $ofield: impl Into<$otype>) -> Self {
                    self.$ofield = Some($ofield.into());
                    self
                }
            )*
        }
    };
}

mod instances;
mod namespaces;
mod one_of;
mod services;

pub use instances::*;
pub use namespaces::*;
pub use one_of::{Enumeration, FilterCondition, FilterName, HealthStatusFilter, OneOf, ServiceTypeOption};
pub use services::*;

request! {
    /// Tells how far an operation is.
    GetOperationRequest {
        required {
            /// The id.
            operation_id,
        }
        optional {
            /// The account that owns the operation's namespace, 12 digits.
            owner_account: String => with_owner_account,
        }
    }
}

request! {
    /// Lists operations in the order in which they were started.
    ListOperationsRequest {
        required {}
        optional {
            /// Where the last page ended.
            next_token: String => with_next_token,
            /// The most entries of a page: 1–100, by default 100.
            max_results: i64 => with_max_results,
            /// Conditions that must all hold: NAMESPACE_ID, SERVICE_ID, STATUS, TYPE, UPDATE_DATE.
            filters: Vec<Filter> => with_filters,
        }
    }
}

request! {
    /// Adds tags to a namespace or service, or replaces those of the same keys.
    TagResourceRequest {
        required {
            /// The ARN of the namespace or service.
            resource_arn,
        }
        optional {
            /// At most 200 tags; of one key, the last counts. Required, may be empty.
            tags: Vec<Tag> => with_tags,
        }
    }
}

request! {
    /// Removes tags from a namespace or service.
    UntagResourceRequest {
        required {
            /// The ARN of the namespace or service.
            resource_arn,
        }
        optional {
            /// At most 200 keys; one that the resource does not have is ignored. Required, may be empty.
            tag_keys: Vec<String> => with_tag_keys,
        }
    }
}

request! {
    /// Lists the tags of a namespace or service.
    ListTagsForResourceRequest {
        required {
            /// The ARN of the namespace or service.
            resource_arn,
        }
        optional {}
    }
}

/// A tag of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tag {
    /// 1–128 characters.
    pub key: Option<String>,
    /// 0–256 characters.
    pub value: Option<String>,
}

impl Tag {
    /// A tag.
    #[must_use]
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: Some(key.into()), value: Some(value.into()) }
    }
}

/// A condition on what is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// What is compared. Which names a list takes, its request says.
    pub name: Option<OneOf<FilterName>>,
    /// With what.
    pub values: Option<Vec<String>>,
    /// `EQ` if absent.
    pub condition: Option<OneOf<FilterCondition>>,
}

impl Filter {
    /// The condition that `name` equals `value`.
    #[must_use]
    pub fn eq(name: impl Into<OneOf<FilterName>>, value: impl Into<String>) -> Self {
        Self { name: Some(name.into()), values: Some(vec![value.into()]), condition: None }
    }

    /// The condition that `name` equals one of `values`.
    #[must_use]
    pub fn one_of(
        name: impl Into<OneOf<FilterName>>,
        values: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        Self { name: Some(name.into()), values: Some(values), condition: Some(FilterCondition::In.into()) }
    }

    /// The condition that an operation was changed at `from` or later, and at `to` or earlier.
    #[must_use]
    pub fn updated_between(from: Timestamp, to: Timestamp) -> Self {
        let seconds = |millis: u64| format!("{}.{:03}", millis / 1000, millis % 1000);
        let values = [from, to].map(|moment| seconds(moment.as_millis()));
        Self {
            name: Some(FilterName::UpdateDate.into()),
            values: Some(values.to_vec()),
            condition: Some(FilterCondition::Between.into()),
        }
    }

    /// The condition that `name` begins with `prefix`.
    #[must_use]
    pub fn begins_with(name: impl Into<OneOf<FilterName>>, prefix: impl Into<String>) -> Self {
        Self { condition: Some(FilterCondition::BeginsWith.into()), ..Self::eq(name, prefix) }
    }
}
