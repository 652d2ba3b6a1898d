//! Where the engine accepts more than AWS does, and the setting that turns this off.

/// How to treat requests that AWS refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a request is refused or it is not")]
pub enum Mode {
    /// Accepts some requests that AWS refuses, and lets some operations succeed that fail at AWS: see [`DIFFERENCES`].
    #[default]
    Lenient,
    /// Refuses the requests that AWS refuses.
    Strict,
}

/// Something that `Lenient` accepts and AWS does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leniency {
    /// `HealthCheckConfig` of a service in a private DNS namespace.
    HealthCheckConfigInPrivateNamespace,
    /// Attributes of instances that begin with `AWS_`, in any case, and are unknown to Cloud Map.
    UnknownAwsAttributes,
    /// A private or documentation IPv4 address of an instance of a service with `HealthCheckConfig`.
    PrivateAddressInCheckedService,
    /// An instance without attributes in an HTTP namespace.
    NoAttributes,
    /// A namespace that gets the `HttpName` of a deleted namespace.
    HttpNameOfDeletedNamespace,
    /// Two instances with one address in a service with A or AAAA records.
    SharedAddress,
    /// The port of an ECS service registry whose Cloud Map service has no SRV records.
    RegistryPortWithoutSrv,
}

/// A difference between the modes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Difference {
    /// What `Lenient` accepts.
    pub leniency: Leniency,
    /// The behavior of `Strict` and of AWS.
    pub strict: &'static str,
    /// The behavior of `Lenient`.
    pub lenient: &'static str,
    /// The source of AWS's behavior.
    pub source: &'static str,
}

/// All differences between the modes. Nothing else depends on the mode.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        leniency: Leniency::HealthCheckConfigInPrivateNamespace,
        strict: "InvalidInput",
        lenient: "stored; instances are checked",
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
        lenient: "stored; the address is checked",
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
    Difference {
        leniency: Leniency::RegistryPortWithoutSrv,
        strict: "InvalidParameterException of ECS",
        lenient: "accepted with a warning; tasks are registered with the port, for health checks",
        source: "seen on AWS",
    },
];

impl Mode {
    /// Whether the mode accepts this.
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
    fn strict_allows_no_difference() {
        for difference in DIFFERENCES {
            assert!(Mode::Lenient.allows(difference.leniency));
            assert!(!Mode::Strict.allows(difference.leniency));
        }
    }
}
