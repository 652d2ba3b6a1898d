//! Identifiers, ARNs, and references to resources.

use std::{fmt, hash::Hasher, sync::Arc};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::{
    ServiceName,
    constraint::{self, Constraint, Text},
    newtype::{encode_base32, text_newtype},
};

/// The constraint of ids that this library generates.
const ID: &Text = &Text::of_length(1, 64);

text_newtype! {
    /// The identifier of a namespace: `ns-` and 16 characters of `a-z2-7`.
    NamespaceId, ID
}

text_newtype! {
    /// The identifier of a service: `srv-` and 16 characters of `a-z2-7`.
    ///
    /// It is derived from the namespace and the name: a service that is created again has the same id
    /// (terraform-provider-aws issue 46930), so references to it, such as those of ECS, stay valid.
    ServiceId, ID
}

text_newtype! {
    /// The identifier of an instance, unique in its service: 1–64 characters of `[0-9a-zA-Z_/:.@-]`.
    InstanceId, constraint::INSTANCE_ID
}

text_newtype! {
    /// The identifier of an operation: 32 characters of `a-z2-7`, `-`, and its creation time in milliseconds in base 36.
    OperationId, &Text::of_length(1, 255)
}

text_newtype! {
    /// The identifier of the hosted zone of a DNS namespace: `Z` and upper-case alphanumerics.
    HostedZoneId, ID
}

text_newtype! {
    /// The identifier of a VPC: at most 64 characters. The service model has no format.
    VpcId, constraint::RESOURCE_ID
}

text_newtype! {
    /// The idempotency token of a create or register request: at most 64 characters.
    CreatorRequestId, constraint::RESOURCE_ID
}

text_newtype! {
    /// The idempotency token of a request that updates a namespace: at most 64 characters.
    UpdaterRequestId, constraint::RESOURCE_ID
}

text_newtype! {
    /// An AWS account: 12 digits.
    AccountId, &Text::of_length(12, 12).matching("^[0-9]{12}$", |text| text.bytes().all(|b| b.is_ascii_digit()))
}

text_newtype! {
    /// An AWS Region, such as `us-east-1`: 1–64 lower-case letters, digits and hyphens.
    Region, &Text::of_length(1, 64).matching("^[a-z0-9-]+$", |text| {
        text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

impl Region {
    /// The AWS partition of the Region, as in ARNs: `aws`, `aws-cn`.
    #[must_use]
    pub fn partition(&self) -> &'static str {
        const PREFIXES: [(&str, &str); 7] = [
            ("cn-", "aws-cn"),
            ("us-gov-", "aws-us-gov"),
            ("us-iso-", "aws-iso"),
            ("us-isob-", "aws-iso-b"),
            ("eu-isoe-", "aws-iso-e"),
            ("us-isof-", "aws-iso-f"),
            ("eusc-", "aws-eusc"),
        ];
        PREFIXES
            .into_iter()
            .find_map(|(prefix, partition)| self.as_str().starts_with(prefix).then_some(partition))
            .unwrap_or("aws")
    }
}

/// An account and a Region. Every resource is in one scope, and scopes share nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<(AccountId, Region)>);

impl Scope {
    /// The scope of this account and Region.
    #[must_use]
    pub fn new(account: AccountId, region: Region) -> Self {
        Self(Arc::new((account, region)))
    }

    /// Parses the account and the Region.
    ///
    /// # Errors
    /// The constraint that the account (12 digits) or the Region (`[a-z0-9-]`, 1–64 characters) breaks.
    pub fn parse(account: &str, region: &str) -> Result<Self, Constraint> {
        Ok(Self::new(AccountId::parse(account)?, Region::parse(region)?))
    }

    /// The account.
    #[must_use]
    pub fn account(&self) -> &AccountId {
        &self.0.0
    }

    /// The Region.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.0.1
    }

    /// The ARN of a namespace of this scope.
    #[must_use]
    pub fn namespace_arn(&self, id: &NamespaceId) -> Arn {
        self.arn("namespace", id.as_str())
    }

    /// The ARN of a service of this scope.
    #[must_use]
    pub fn service_arn(&self, id: &ServiceId) -> Arn {
        self.arn("service", id.as_str())
    }

    fn arn(&self, kind: &str, id: &str) -> Arn {
        let (account, region) = (self.account(), self.region());
        Arn(format!("arn:{}:servicediscovery:{region}:{account}:{kind}/{id}", region.partition()).into())
    }
}

impl Default for Scope {
    /// Account 123456789012 in us-east-1.
    fn default() -> Self {
        Self::new(AccountId("123456789012".into()), Region("us-east-1".into()))
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({self})")
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account(), self.region())
    }
}

/// The Amazon Resource Name of a namespace or service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Arn(Arc<str>);

impl Arn {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Arn {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<Arn> for String {
    fn from(arn: Arn) -> Self {
        Self::from(&arn)
    }
}

impl From<&Arn> for String {
    fn from(arn: &Arn) -> Self {
        arn.as_str().to_owned()
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A reference to a namespace or service: an id or an ARN.
///
/// Every `Id`, `ServiceId` and `NamespaceId` member takes either form (service model, type `Arn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResourceRef<'a> {
    /// Account and Region of an ARN; `None` for a plain id, which is in the caller's scope.
    pub(crate) owner: Option<(&'a str, &'a str)>,
    pub(crate) id: &'a str,
}

impl<'a> ResourceRef<'a> {
    /// Parses an id, or the ARN of a resource of `kind` (`namespace`, `service`). `None` for any other ARN.
    pub(crate) fn parse(text: &'a str, kind: &str) -> Option<Self> {
        if !text.starts_with("arn:") {
            return Some(Self { owner: None, id: text });
        }
        let mut parts = text.splitn(6, ':').skip(2);
        let (service, region, account) = (parts.next()?, parts.next()?, parts.next()?);
        let (found, id) = parts.next()?.split_once('/')?;
        (service == "servicediscovery" && found == kind)
            .then_some(Self { owner: Some((account, region)), id })
    }

    /// Whether the resource is in this scope: a plain id is in the caller's.
    pub(crate) fn is_in(&self, scope: &Scope) -> bool {
        self.owner.is_none_or(|owner| owner == (scope.account().as_str(), scope.region().as_str()))
    }
}

/// A random number that an entity gets at its creation. It distinguishes the entity from one created later with the same
/// id, so that a precondition can require that the entity is still the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({:016x})", self.0)
    }
}

impl ServiceId {
    /// The id of the service with this name in this namespace: 80 bits of SipHash-1-3 of both, always the same.
    ///
    /// `fold_case` is for DNS namespaces, which compare names without case: a name gives the same id in any case.
    #[must_use]
    pub fn derive(namespace: &NamespaceId, name: &ServiceName, fold_case: bool) -> Self {
        Self::derive_again(namespace, name, fold_case, 0)
    }

    /// The id for one of several attempts to find an id that is not taken. Attempt 0 gives the id of
    /// [`derive`](Self::derive).
    pub(crate) fn derive_again(
        namespace: &NamespaceId,
        name: &ServiceName,
        fold_case: bool,
        attempt: u32,
    ) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(namespace.as_str().as_bytes());
        hasher.write_u8(0xff);
        if fold_case {
            hasher.write(name.as_str().to_ascii_lowercase().as_bytes());
        } else {
            hasher.write(name.as_str().as_bytes());
        }
        if attempt > 0 {
            hasher.write_u8(0xff);
            hasher.write(&attempt.to_be_bytes());
        }
        let hash = hasher.finish128().as_bytes();
        Self(format!("srv-{}", encode_base32(&hash[..10])).into())
    }
}

/// The hash that is appended to an `HttpName` whose plain form is taken: 8 characters, derived from the namespace's id.
pub(crate) fn name_hash(id: &NamespaceId) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(id.as_str().as_bytes());
    encode_base32(&hasher.finish128().as_bytes()[..5])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_created_again_has_the_same_id() {
        let namespace = NamespaceId::parse("ns-ylexjili4cdxy3xm").unwrap();
        let lower = ServiceName::parse("web").unwrap();
        let upper = ServiceName::parse("Web").unwrap();
        let id = ServiceId::derive(&namespace, &lower, true);
        assert_eq!(id, ServiceId::derive(&namespace, &upper, true));
        assert_ne!(id, ServiceId::derive(&namespace, &upper, false));
        // Stored identifiers depend on this value, so it must never change.
        assert_eq!(id.as_str(), ServiceId::derive(&namespace, &lower, false).as_str());
        assert_eq!(id.as_str().len(), 20);
    }

    #[test]
    fn arns_carry_partition_region_and_account() {
        let id = ServiceId::parse("srv-p5zdwlg5uvvzjita").unwrap();
        let scope = Scope::parse("123456789012", "us-west-2").unwrap();
        assert_eq!(
            scope.service_arn(&id).as_str(),
            "arn:aws:servicediscovery:us-west-2:123456789012:service/srv-p5zdwlg5uvvzjita"
        );
        let china = Scope::parse("123456789012", "cn-north-1").unwrap();
        assert!(china.service_arn(&id).as_str().starts_with("arn:aws-cn:"));
        assert!(Scope::parse("12345678901", "us-west-2").is_err());
        assert!(Scope::parse("123456789012", "US WEST").is_err());
    }

    #[test]
    fn a_reference_is_an_id_or_an_arn_of_the_right_kind() {
        let arn = "arn:aws:servicediscovery:us-west-2:123456789012:service/srv-p5zdwlg5uvvzjita";
        let parsed = ResourceRef::parse(arn, "service").unwrap();
        assert_eq!(parsed.id, "srv-p5zdwlg5uvvzjita");
        assert_eq!(parsed.owner, Some(("123456789012", "us-west-2")));
        assert_eq!(ResourceRef::parse(arn, "namespace"), None);
        assert_eq!(ResourceRef::parse("arn:aws:s3:::bucket/key", "service"), None);
        assert_eq!(ResourceRef::parse("anything", "service").unwrap().id, "anything");
    }

    #[test]
    fn instance_ids_follow_the_pattern() {
        assert!(InstanceId::parse("i_1/a:b.c@d-e").is_ok());
        assert_eq!(InstanceId::parse("a b"), Err(Constraint::Pattern("^[0-9a-zA-Z_/:.@-]+$")));
        assert_eq!(InstanceId::parse(""), Err(Constraint::Pattern("^[0-9a-zA-Z_/:.@-]+$")));
        assert_eq!(InstanceId::parse(&"a".repeat(65)), Err(Constraint::MaxLength(64)));
    }
}
