//! The requests of the API, as a caller sends them: unchecked, every member optional.
//!
//! A door fills in what it has decoded; the planners check it. So each rule, and the wording of what breaks it, is in
//! one place, and a missing member is reported like any other. Callers in Rust start from `new`, which takes what is
//! required, and add the rest with the `with_…` methods.

/// Declares a request: required members become arguments of `new`, the others get a `with_…` method.
macro_rules! request {
    (
        $(#[$doc:meta])* $name:ident {
            required { $($(#[$rdoc:meta])* $rfield:ident,)* }
            optional { $($(#[$odoc:meta])* $ofield:ident: $otype:ty => $with:ident,)* }
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$rdoc])* pub $rfield: Option<String>,)*
            $($(#[$odoc])* pub $ofield: Option<$otype>,)*
        }

        impl $name {
            /// A request with the members that are required.
            #[must_use]
            #[allow(clippy::new_without_default, reason = "Default is derived; requests without required members have both")]
            pub fn new($($rfield: impl Into<String>),*) -> Self {
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
mod services;

pub use instances::*;
pub use namespaces::*;
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
    /// What is compared.
    pub name: Option<String>,
    /// With what.
    pub values: Option<Vec<String>>,
    /// EQ (if absent), IN, BETWEEN or BEGINS_WITH.
    pub condition: Option<String>,
}

impl Filter {
    /// The condition that `name` equals `value`.
    #[must_use]
    pub fn eq(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: Some(name.into()), values: Some(vec![value.into()]), condition: None }
    }

    /// The condition that `name` begins with `prefix`.
    #[must_use]
    pub fn begins_with(name: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self { condition: Some("BEGINS_WITH".to_owned()), ..Self::eq(name, prefix) }
    }
}
