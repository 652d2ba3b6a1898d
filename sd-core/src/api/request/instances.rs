//! Requests about instances: registering them, finding them, reports of their health.

use std::collections::BTreeMap;

use super::{HealthStatusFilter, OneOf};
use crate::model::CustomHealthStatus;

request! {
    /// Registers an instance, or replaces what was registered under its id.
    RegisterInstanceRequest {
        required {
            /// The id or ARN of the service.
            service_id,
            /// The id of the instance: 1–64 characters of `[0-9a-zA-Z_/:.@-]`.
            instance_id,
        }
        optional {
            /// An idempotency token of at most 64 characters.
            creator_request_id: String => with_creator_request_id,
            /// The attributes; which `AWS_…` ones are required depends on the service. Required, may be empty.
            attributes: BTreeMap<String, String> => with_attributes,
        }
    }
}

impl RegisterInstanceRequest {
    /// Adds an attribute.
    #[must_use]
    pub fn with_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.get_or_insert_default().insert(key.into(), value.into());
        self
    }
}

request! {
    /// Removes an instance.
    DeregisterInstanceRequest {
        required {
            /// The id or ARN of the service.
            service_id,
            /// The id of the instance.
            instance_id,
        }
        optional {}
    }
}

request! {
    /// Describes an instance.
    GetInstanceRequest {
        required {
            /// The id or ARN of the service.
            service_id,
            /// The id of the instance.
            instance_id,
        }
        optional {}
    }
}

request! {
    /// Lists the instances of a service in order of registration.
    ListInstancesRequest {
        required {
            /// The id or ARN of the service.
            service_id,
        }
        optional {
            /// Where the last page ended.
            next_token: String => with_next_token,
            /// The most entries of a page: 1–100, by default 100.
            max_results: i64 => with_max_results,
        }
    }
}

request! {
    /// Finds instances by the names of their namespace and service.
    DiscoverInstancesRequest {
        required {
            /// The `HttpName` of the namespace, or its ARN.
            namespace_name,
            /// The name of the service.
            service_name,
        }
        optional {
            /// The most instances: 1–1000, by default 100. Of more, some at random.
            max_results: i64 => with_max_results,
            /// Attributes that an instance must have.
            query_parameters: BTreeMap<String, String> => with_query_parameters,
            /// Attributes that decide if any instance has them all.
            optional_parameters: BTreeMap<String, String> => with_optional_parameters,
            /// By default [`HealthStatusFilter::Healthy`].
            health_status: OneOf<HealthStatusFilter> => with_health_status,
            /// The account that owns the namespace, 12 digits.
            owner_account: String => with_owner_account,
        }
    }
}

impl DiscoverInstancesRequest {
    /// Adds an attribute that an instance must have.
    #[must_use]
    pub fn with_query_parameter(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.query_parameters.get_or_insert_default().insert(key.into(), value.into());
        self
    }

    /// Adds an attribute that decides if any instance has it and the other optional ones.
    #[must_use]
    pub fn with_optional_parameter(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.optional_parameters.get_or_insert_default().insert(key.into(), value.into());
        self
    }
}

request! {
    /// Tells whether the registrations of a service have changed, without finding them.
    DiscoverInstancesRevisionRequest {
        required {
            /// The `HttpName` of the namespace, or its ARN.
            namespace_name,
            /// The name of the service.
            service_name,
        }
        optional {
            /// The account that owns the namespace, 12 digits.
            owner_account: String => with_owner_account,
        }
    }
}

request! {
    /// Tells the health of instances.
    GetInstancesHealthStatusRequest {
        required {
            /// The id or ARN of the service.
            service_id,
        }
        optional {
            /// Only these instances; all without them.
            instances: Vec<String> => with_instances,
            /// The most entries of a page: 1–100, by default 100.
            max_results: i64 => with_max_results,
            /// Where the last page ended.
            next_token: String => with_next_token,
        }
    }
}

request! {
    /// Reports the health of an instance of a service with a custom health check.
    UpdateInstanceCustomHealthStatusRequest {
        required {
            /// The id or ARN of the service.
            service_id,
            /// The id of the instance.
            instance_id,
            /// What the caller found.
            status: OneOf<CustomHealthStatus>,
        }
        optional {}
    }
}
