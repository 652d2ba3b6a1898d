//! Identifiers: newtypes that cannot hold a bad value, ARNs, and where new identifiers come from.

use std::{
    fmt,
    hash::Hasher,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use data_encoding::{Encoding, Specification};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::{
    clock::Timestamp,
    constraint::{self, Constraint, Text},
    name::ServiceName,
};

/// Declares a newtype over shared text with one fallible constructor.
macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $text:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks the text and keeps it.
            ///
            /// # Errors
            /// The constraint that the text breaks.
            pub fn parse(text: &str) -> Result<Self, $crate::constraint::Constraint> {
                const TEXT: &$crate::constraint::Text = $text;
                TEXT.check(text)?;
                Ok(Self::of_checked(text))
            }

            /// Keeps a text that was checked before.
            pub(crate) fn of_checked(text: &str) -> Self {
                Self(text.into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::constraint::Constraint;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
    };
}
pub(crate) use text_newtype;

/// Lower-case base32 without padding (RFC 4648 section 6), the alphabet of the service's identifiers.
fn base32() -> &'static Encoding {
    static BASE32: std::sync::LazyLock<Encoding> = std::sync::LazyLock::new(|| {
        let mut specification = Specification::new();
        specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        // The specification is a constant, and `a_base32_encoding_exists` covers it.
        specification.encoding().unwrap_or(data_encoding::BASE32_NOPAD)
    });
    &BASE32
}

pub(crate) fn encode_base32(bytes: &[u8]) -> String {
    base32().encode(bytes)
}

pub(crate) fn decode_base32(text: &str) -> Option<Vec<u8>> {
    base32().decode(text.as_bytes()).ok()
}

/// The form of ids that this library gives.
const ID: &Text = &Text::of_length(1, 64);

text_newtype! {
    /// The identifier of a namespace: `ns-` and 16 characters of `a-z2-7`.
    NamespaceId, ID
}

text_newtype! {
    /// The identifier of a service: `srv-` and 16 characters of `a-z2-7`.
    ///
    /// It follows from the namespace and the name: a service that is created again has the same id
    /// (terraform-provider-aws issue 46930), so that what points at it, such as ECS, notices nothing.
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
    /// The identifier of a VPC: at most 64 characters, no format is modelled.
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
    /// The partition that the Region belongs to, for ARNs.
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

/// The account and Region that a resource lives in. Nothing is shared between scopes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<(AccountId, Region)>);

impl Scope {
    /// A scope of this account and Region.
    #[must_use]
    pub fn new(account: AccountId, region: Region) -> Self {
        Self(Arc::new((account, region)))
    }

    /// Checks both texts.
    ///
    /// # Errors
    /// The constraint that the account (12 digits) or the Region breaks.
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

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a member of the model's type `Arn` names: an id, or an ARN of this service.
///
/// Every `Id`, `ServiceId` and `NamespaceId` member takes either form (API model, type `Arn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResourceRef<'a> {
    /// Account and Region of an ARN; `None` for a plain id, which is of the caller's scope.
    pub(crate) owner: Option<(&'a str, &'a str)>,
    pub(crate) id: &'a str,
}

impl<'a> ResourceRef<'a> {
    /// Reads an id or an ARN of a resource of `kind` (`namespace`, `service`). Another ARN names nothing here.
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
}

/// A random number that an entity is given when it is created. It tells an entity from one created later under
/// the same id, which is how a precondition can say "this one, still".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({:016x})", self.0)
    }
}

/// Where the bytes of new identifiers come from.
pub trait IdSource: fmt::Debug + Send + Sync + 'static {
    /// Fills the buffer with bytes that were not given out before.
    fn fill(&self, bytes: &mut [u8]);
}

impl<S: IdSource + ?Sized> IdSource for Arc<S> {
    fn fill(&self, bytes: &mut [u8]) {
        S::fill(self, bytes);
    }
}

/// Random identifiers, seeded by the operating system; a process that was forked has others than its parent.
/// The default.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn fill(&self, bytes: &mut [u8]) {
        crate::random::fill_unique(bytes);
    }
}

/// Identifiers that count up: the same in every run, for tests that compare whole answers.
///
/// A registry takes its identifiers from one source: another that starts from the beginning gives out again what the
/// registry has. The handle on a fork therefore takes a clone, which counts on from where this one stands.
#[derive(Debug, Default)]
pub struct SequentialIds(AtomicU64);

impl Clone for SequentialIds {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

impl IdSource for SequentialIds {
    fn fill(&self, bytes: &mut [u8]) {
        let next = (self.0.fetch_add(1, Ordering::Relaxed) + 1).to_be_bytes();
        bytes.fill(0);
        let len = bytes.len().min(next.len());
        let start = bytes.len() - len;
        bytes[start..].copy_from_slice(&next[next.len() - len..]);
    }
}

/// The identifiers that one request may need, drawn once, so that planning the request again after a conflict gives
/// the same entity and the same operation.
#[derive(Clone, Debug)]
pub struct Fresh {
    incarnation: Incarnation,
    operation: [u8; 20],
    /// Made once, at the moment of the request.
    operation_id: OnceLock<OperationId>,
    namespace: [u8; 10],
}

impl Fresh {
    /// Draws from the source.
    #[must_use]
    pub fn draw(ids: &dyn IdSource) -> Self {
        let mut bytes = [0; 38];
        ids.fill(&mut bytes);
        let (mut incarnation, mut operation, mut namespace) = ([0; 8], [0; 20], [0; 10]);
        // The low end is where a sequential source counts, so every part takes its low bytes from there.
        incarnation.copy_from_slice(&bytes[30..]);
        operation.copy_from_slice(&bytes[18..]);
        namespace.copy_from_slice(&bytes[28..]);
        if bytes[..18].iter().any(|b| *b != 0) {
            // Random bytes: the parts share nothing.
            operation[..].copy_from_slice(&bytes[..20]);
            namespace.copy_from_slice(&bytes[20..30]);
        }
        Self {
            incarnation: Incarnation(u64::from_be_bytes(incarnation)),
            operation,
            operation_id: OnceLock::new(),
            namespace,
        }
    }

    /// The incarnation of an entity that the request creates.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The id of the operation that the request starts, at the moment of the request.
    #[must_use]
    pub fn operation_id(&self, created: Timestamp) -> OperationId {
        let make = || {
            let mut text = String::with_capacity(48);
            base32().encode_append(&self.operation, &mut text);
            text.push('-');
            push_base36(&mut text, created.as_millis());
            OperationId(text.into())
        };
        self.operation_id.get_or_init(make).clone()
    }

    /// The id of the namespace that the request creates.
    #[must_use]
    pub fn namespace_id(&self) -> NamespaceId {
        NamespaceId(format!("ns-{}", encode_base32(&self.namespace)).into())
    }

    /// An id for a request that this one makes of another service, in the form of a UUID (RFC 9562).
    #[must_use]
    pub(crate) fn request_id(&self) -> impl fmt::Display + use<> {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = self.operation;
        let part = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let parts: [&[u8]; 5] =
            [&[a, b, c, d], &[e, f], &[g & 0x0f | 0x40, h], &[i & 0x3f | 0x80, j], &[k, l, m, n, o, p]];
        parts.map(part).join("-")
    }

    /// The id of the hosted zone that the request creates: `Z` and 20 upper-case alphanumerics.
    #[must_use]
    pub fn hosted_zone_id(&self) -> HostedZoneId {
        let text = encode_base32(&self.operation).to_ascii_uppercase();
        HostedZoneId(format!("Z{}", &text[text.len() - 20..]).into())
    }
}

impl ServiceId {
    /// The id of the service of this name in this namespace, always the same: 80 bits of SipHash-1-3 of both.
    ///
    /// Where DNS is available names are compared without case, so they give the same id in any case.
    #[must_use]
    pub fn derive(namespace: &NamespaceId, name: &ServiceName, fold_case: bool) -> Self {
        Self::derive_again(namespace, name, fold_case, 0)
    }

    /// The id of this attempt to find one that is not taken. The first attempt, 0, is that of
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

/// The hash that is added to an `HttpName` whose plain form is taken: 8 characters that follow from the namespace's id.
pub(crate) fn name_hash(id: &NamespaceId) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(id.as_str().as_bytes());
    encode_base32(&hasher.finish128().as_bytes()[..5])
}

fn push_base36(text: &mut String, mut number: u64) {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut reversed = [0u8; 13];
    let mut len = 0;
    loop {
        reversed[len] = DIGITS[(number % 36) as usize];
        len += 1;
        number /= 36;
        if number == 0 {
            break;
        }
    }
    text.extend(reversed[..len].iter().rev().map(|b| char::from(*b)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_requests_are_random_uuids() {
        let ids: Vec<_> = (0..2).map(|_| Fresh::draw(&RandomIds).request_id().to_string()).collect();
        assert_ne!(ids[0], ids[1]);
        for id in ids {
            assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
            assert!(
                id.chars().all(|c| c == '-' || c.is_ascii_hexdigit()) && id[14..].starts_with('4'),
                "{id}"
            );
        }
    }

    #[test]
    fn a_base32_encoding_exists() {
        assert_eq!(encode_base32(&[0, 0, 0, 0, 1]), "aaaaaaab");
        assert_eq!(decode_base32("aaaaaaab").as_deref(), Some(&[0u8, 0, 0, 0, 1][..]));
        assert_eq!(decode_base32("AAAAAAAB"), None);
    }

    #[test]
    fn operation_ids_end_in_their_creation_time() {
        // An operation in the AWS CLI's examples: `…-k9302yzd` was created at 1587055860.121 s.
        let id = Fresh::draw(&RandomIds).operation_id(Timestamp::from_millis(1_587_055_860_121));
        let (random, time) = id.as_str().split_once('-').unwrap();
        assert_eq!(random.len(), 32);
        assert_eq!(time, "k9302yzd");
    }

    #[test]
    fn ids_have_the_shape_of_the_service() {
        let fresh = Fresh::draw(&RandomIds);
        let namespace = fresh.namespace_id();
        assert_eq!(namespace.as_str().len(), 19);
        assert!(
            namespace.as_str()[3..].bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b))
        );
        assert_eq!(fresh.hosted_zone_id().as_str().len(), 21);
        assert_ne!(Fresh::draw(&RandomIds).namespace_id(), namespace);
    }

    #[test]
    fn sequential_ids_are_the_same_in_every_run() {
        let ids = SequentialIds::default();
        assert_eq!(Fresh::draw(&ids).namespace_id().as_str(), "ns-aaaaaaaaaaaaaaab");
        assert_eq!(Fresh::draw(&ids).namespace_id().as_str(), "ns-aaaaaaaaaaaaaaac");
    }

    #[test]
    fn a_service_created_again_has_the_same_id() {
        let namespace = NamespaceId::parse("ns-ylexjili4cdxy3xm").unwrap();
        let lower = ServiceName::parse("web").unwrap();
        let upper = ServiceName::parse("Web").unwrap();
        let id = ServiceId::derive(&namespace, &lower, true);
        assert_eq!(id, ServiceId::derive(&namespace, &upper, true));
        assert_ne!(id, ServiceId::derive(&namespace, &upper, false));
        // Stored identifiers depend on this value: it may never change.
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
