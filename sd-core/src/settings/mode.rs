//! Where this implementation accepts more than AWS does, and how to turn that off.

/// How to treat requests that AWS refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a request is refused or it is not")]
pub enum Mode {
    /// Accepts some requests that AWS refuses, and lets some succeed that fail there, as listed in [`DIFFERENCES`].
    #[default]
    Lenient,
    /// Refuses what AWS refuses.
    Strict,
}

/// A point at which the modes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leniency {
    /// `HealthCheckConfig` for a service in a private DNS namespace.
    HealthCheckConfigInPrivateNamespace,
    /// Attributes of instances that begin with `AWS_`, in any case, and that Cloud Map does not know.
    UnknownAwsAttributes,
    /// An instance with a private IPv4 address, or one of documentation, in a service with `HealthCheckConfig`.
    PrivateAddressInCheckedService,
    /// An instance without attributes in an HTTP namespace.
    NoAttributes,
    /// A namespace that takes over the `HttpName` of a deleted one.
    HttpNameOfDeletedNamespace,
    /// Two instances with one address in a service with A or AAAA records.
    SharedAddress,
}

/// How the modes differ at one point.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Difference {
    /// The point.
    pub leniency: Leniency,
    /// The answer of `Strict`, which is AWS's.
    pub strict: &'static str,
    /// The answer of `Lenient`.
    pub lenient: &'static str,
    /// The evidence that AWS refuses it.
    pub source: &'static str,
}

/// Every point at which the modes differ. Nothing else depends on the mode.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        leniency: Leniency::HealthCheckConfigInPrivateNamespace,
        strict: "InvalidInput",
        lenient: "stored; instances keep their initial status until something checks them",
        source: "seen on AWS",
    },
    Difference {
        leniency: Leniency::UnknownAwsAttributes,
        strict: "InvalidInput",
        lenient: "stored like custom attributes",
        source: "seen on AWS",
    },
    Difference {
        leniency: Leniency::PrivateAddressInCheckedService,
        strict: "InvalidInput",
        lenient: "stored",
        source: "seen on AWS for 10.0.0.1; the other ranges are our choice",
    },
    Difference {
        leniency: Leniency::NoAttributes,
        strict: "InvalidInput",
        lenient: "stored",
        source: "API Reference, RegisterInstance",
    },
    Difference {
        leniency: Leniency::HttpNameOfDeletedNamespace,
        strict: "the HttpName has a hash, so that DiscoverInstances by the plain name is NamespaceNotFound",
        lenient: "the HttpName is the plain name again",
        source: "API Reference, HttpProperties; consul-aws issue 46",
    },
    Difference {
        leniency: Leniency::SharedAddress,
        strict: "the operation ends FAIL with INVALID_CHANGE_BATCH",
        lenient: "registered; DNS answers the address once",
        source: "reported by an AWS engineer for IPv4; AAAA records are our choice",
    },
];

impl Mode {
    /// Whether a request is accepted at this point.
    #[must_use]
    pub fn allows(self, leniency: Leniency) -> bool {
        match self {
            Self::Lenient => DIFFERENCES.iter().any(|difference| difference.leniency == leniency),
            Self::Strict => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_allows_nothing_of_the_list() {
        for difference in DIFFERENCES {
            assert!(Mode::Lenient.allows(difference.leniency));
            assert!(!Mode::Strict.allows(difference.leniency));
        }
    }
}
