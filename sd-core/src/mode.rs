//! Where this implementation accepts more than AWS does, and how to turn that off.

/// How a request is treated that AWS refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a request is refused or it is not")]
pub enum Mode {
    /// What AWS refuses may be accepted, as listed in [`DIFFERENCES`]; what AWS accepts is never answered differently.
    #[default]
    Lenient,
    /// What AWS refuses is refused.
    Strict,
}

/// A point at which the modes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leniency {
    /// `HealthCheckConfig` for a service in a private DNS namespace.
    HealthCheckConfigInPrivateNamespace,
}

/// What the modes do at a point where they differ.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Difference {
    /// The point.
    pub leniency: Leniency,
    /// What `Strict` does, as AWS does.
    pub strict: &'static str,
    /// What `Lenient` does.
    pub lenient: &'static str,
    /// Where it is known from that AWS refuses it.
    pub source: &'static str,
}

/// Every point at which the modes differ. Nothing else depends on the mode.
pub const DIFFERENCES: &[Difference] = &[Difference {
    leniency: Leniency::HealthCheckConfigInPrivateNamespace,
    strict: "InvalidInput",
    lenient: "stored; instances keep their initial status until something checks them",
    source: "API Reference, HealthCheckConfig: for public DNS and HTTP namespaces only",
}];

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
