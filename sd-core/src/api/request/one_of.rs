//! Members that are enumerations in the API.

use std::{fmt, ops::Deref};

use crate::model::{
    CustomHealthStatus, HealthCheckType, NamespaceType, OperationStatus, OperationType, RecordType,
    RoutingPolicy,
};

/// A value of an enumeration of the API, or any other text that a caller sent in its place.
///
/// Callers in Rust give the value, doors give the text: both convert into this. A text that spells a value is that value.
/// Any other text is kept, so that the refusal can quote it.
///
/// ```
/// use sd_core::request::{HealthStatusFilter, OneOf};
///
/// let all = OneOf::from(HealthStatusFilter::All);
/// assert_eq!(OneOf::from("ALL"), all);
/// assert_eq!(all.known(), Some(HealthStatusFilter::All));
/// assert_eq!(OneOf::<HealthStatusFilter>::from("SOME").known(), None);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct OneOf<T>(Value<T>);

#[derive(Clone, PartialEq, Eq)]
enum Value<T> {
    Known(T),
    /// Spells no value.
    Other(String),
}

/// An enumeration of the API.
pub trait Enumeration: sealed::Sealed + Copy + 'static {
    /// Its values.
    const VALUES: &'static [Self];

    /// The API's spelling.
    fn spelling(self) -> &'static str;
}

mod sealed {
    #[allow(unnameable_types, reason = "nobody else implements it")]
    pub trait Sealed {}
}

impl<T: Enumeration> OneOf<T> {
    /// The value, unless the text spells none.
    #[must_use]
    pub fn known(&self) -> Option<T> {
        match self.0 {
            Value::Known(value) => Some(value),
            Value::Other(_) => None,
        }
    }

    /// The API's spelling of the value, or the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Value::Known(value) => value.spelling(),
            Value::Other(text) => text,
        }
    }

    fn spelled(text: &str) -> Option<Self> {
        let value = T::VALUES.iter().copied().find(|value| value.spelling() == text)?;
        Some(Self(Value::Known(value)))
    }
}

impl<T: Enumeration> Deref for OneOf<T> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<T: Enumeration> From<T> for OneOf<T> {
    fn from(value: T) -> Self {
        Self(Value::Known(value))
    }
}

impl<T: Enumeration> From<&str> for OneOf<T> {
    fn from(text: &str) -> Self {
        Self::spelled(text).unwrap_or_else(|| Self(Value::Other(text.to_owned())))
    }
}

impl<T: Enumeration> From<String> for OneOf<T> {
    fn from(text: String) -> Self {
        Self::spelled(&text).unwrap_or(Self(Value::Other(text)))
    }
}

impl<T: Enumeration> fmt::Debug for OneOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<T: Enumeration> fmt::Display for OneOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! enumerations {
    ($($name:ident: $($value:ident)*,)*) => {
        $(
            impl sealed::Sealed for $name {}

            impl Enumeration for $name {
                const VALUES: &'static [Self] = &[$(Self::$value),*];

                fn spelling(self) -> &'static str {
                    self.as_str()
                }
            }

            impl From<$name> for String {
                fn from(value: $name) -> Self {
                    value.as_str().to_owned()
                }
            }
        )*
    };
}

enumerations! {
    CustomHealthStatus: Healthy Unhealthy,
    FilterCondition: Eq In Between BeginsWith,
    FilterName: HttpName Name NamespaceId ResourceOwner ServiceId Status Type UpdateDate,
    HealthCheckType: Http Https Tcp,
    HealthStatusFilter: Healthy Unhealthy All HealthyOrElseAll,
    NamespaceType: Http DnsPrivate DnsPublic,
    OperationStatus: Submitted Pending Success Fail,
    OperationType: CreateNamespace DeleteNamespace UpdateNamespace UpdateService RegisterInstance DeregisterInstance,
    RecordType: A Aaaa Cname Srv,
    RoutingPolicy: Multivalue Weighted,
    ServiceTypeOption: Http,
}

/// Declares an enumeration that occurs in requests only.
macro_rules! request_enumeration {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $value:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
        pub enum $name {
            $($(#[$vdoc])* $value,)*
        }

        impl $name {
            /// The API's spelling.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)*
                }
            }
        }
    };
}

request_enumeration! {
    /// Which instances DiscoverInstances finds by their health. Without a health check in the service it finds all.
    HealthStatusFilter {
        /// Only healthy ones.
        Healthy = "HEALTHY",
        /// Only unhealthy ones.
        Unhealthy = "UNHEALTHY",
        /// All.
        All = "ALL",
        /// Healthy ones, or all if none is healthy.
        HealthyOrElseAll = "HEALTHY_OR_ELSE_ALL",
    }
}

request_enumeration! {
    /// The type of a service that CreateService can ask for.
    ServiceTypeOption {
        /// Found by DiscoverInstances only, also in a DNS namespace.
        Http = "HTTP",
    }
}

request_enumeration! {
    /// What a [`Filter`](super::Filter) compares.
    FilterName {
        /// The `HttpName` of a namespace.
        HttpName = "HTTP_NAME",
        /// The name of a namespace.
        Name = "NAME",
        /// The namespace of a service or operation, by id or ARN.
        NamespaceId = "NAMESPACE_ID",
        /// The owner of a namespace or service: `SELF` or `OTHER_ACCOUNTS`.
        ResourceOwner = "RESOURCE_OWNER",
        /// The service of an operation, by id or ARN.
        ServiceId = "SERVICE_ID",
        /// The [`OperationStatus`] of an operation.
        Status = "STATUS",
        /// The [`NamespaceType`] of a namespace or the [`OperationType`] of an operation.
        Type = "TYPE",
        /// The last change of an operation, in seconds since the Unix epoch.
        UpdateDate = "UPDATE_DATE",
    }
}

request_enumeration! {
    /// How a [`Filter`](super::Filter) compares.
    FilterCondition {
        /// Equal to the one value.
        Eq = "EQ",
        /// Equal to one of the values.
        In = "IN",
        /// Between the two values, which are included.
        Between = "BETWEEN",
        /// Begins with the one value.
        BeginsWith = "BEGINS_WITH",
    }
}
