//! What a request asked for, in 128 bits.

use std::{fmt, hash::Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::{DnsConfig, HealthCheck, Tags};

/// Tells whether a request with the same token asks for what the first one asked for: SipHash-1-3 of its members.
///
/// Stored registries depend on the value of each request, so what is hashed may never change.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The number, for a store.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// The fingerprint of this number, from a store.
    #[must_use]
    pub const fn from_u128(number: u128) -> Self {
        Self(number)
    }

    /// The fingerprint of a request that creates a namespace.
    pub(crate) fn of_namespace(
        name: &str,
        description: Option<&str>,
        tags: &Tags,
        soa_ttl: Option<u32>,
    ) -> Self {
        let mut members = Members::default();
        members.text(name);
        members.optional_text(description);
        members.tags(tags);
        members.number(soa_ttl.map_or(u64::MAX, u64::from));
        members.finish()
    }

    /// The fingerprint of a request that creates a service in this namespace.
    pub(crate) fn of_service(
        namespace: &str,
        name: &str,
        dns: Option<&DnsConfig>,
        check: &HealthCheck,
        description: Option<&str>,
        tags: &Tags,
    ) -> Self {
        let mut members = Members::default();
        members.text(namespace);
        members.text(name);
        members.number(dns.map_or(u64::MAX, |dns| dns.records.len() as u64));
        if let Some(dns) = dns {
            members.text(dns.routing_policy.as_str());
            for record in &dns.records {
                members.text(record.kind.as_str());
                members.number(record.ttl.into());
            }
        }
        match check {
            HealthCheck::None => members.text("none"),
            HealthCheck::Custom => members.text("custom"),
            HealthCheck::Route53(config) => {
                members.text(config.kind.as_str());
                members.optional_text(config.resource_path.as_deref());
                members.number(config.failure_threshold.get().into());
            }
        }
        members.optional_text(description);
        members.tags(tags);
        members.finish()
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({:032x})", self.0)
    }
}

/// Hashes members so that no two lists of them look alike: each text comes after its length.
#[derive(Default)]
struct Members(SipHasher13);

impl Members {
    fn number(&mut self, number: u64) {
        self.0.write(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.write(text.as_bytes());
    }

    fn optional_text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.number(u64::MAX),
        }
    }

    fn tags(&mut self, tags: &Tags) {
        self.number(tags.len() as u64);
        for (key, value) in tags.iter() {
            self.text(key);
            self.text(value);
        }
    }

    fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finish128().as_u128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DnsRecord, RecordType, RoutingPolicy};

    /// Stored registries hold these values: they may never change.
    #[test]
    fn fingerprints_are_the_same_in_every_version() {
        let tags = Tags::new([("k".to_owned(), "v".to_owned())].into());
        let namespace = Fingerprint::of_namespace("app.local", Some("words"), &tags, Some(15));
        assert_eq!(namespace.as_u128(), NAMESPACE);
        let dns = DnsConfig::new(RoutingPolicy::Multivalue, vec![DnsRecord::new(RecordType::A, 60)]);
        let service =
            Fingerprint::of_service("ns-1", "web", Some(&dns), &HealthCheck::Custom, None, &Tags::default());
        assert_eq!(service.as_u128(), SERVICE);
    }

    const NAMESPACE: u128 = 318767208628663388161990953323697986904;
    const SERVICE: u128 = 40333563126879808876822910485870641976;

    #[test]
    fn members_that_run_together_differ() {
        let of = |name, description| Fingerprint::of_namespace(name, description, &Tags::default(), None);
        assert_ne!(of("ab", Some("c")), of("a", Some("bc")));
        assert_ne!(of("ab", None), of("ab", Some("")));
        assert_eq!(of("ab", None), of("ab", None));
    }
}
