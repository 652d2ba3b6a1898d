//! Names of namespaces and services, and DNS names.

use std::{fmt, sync::Arc};

use crate::model::{
    constraint::{self, Constraint},
    newtype::text_newtype,
};

text_newtype! {
    /// The name of a namespace: 1–1024 printable ASCII characters without spaces, not beginning with `arn:`.
    ///
    /// This is the pattern of HTTP namespaces, which is the widest. [`parse_private`](Self::parse_private) and
    /// [`parse_public`](Self::parse_public) are narrower.
    NamespaceName, constraint::NAMESPACE_NAME_HTTP
}

impl NamespaceName {
    /// Parses the name of a private DNS namespace: at most 253 characters.
    ///
    /// # Errors
    /// The constraint that the text breaks.
    pub fn parse_private(text: &str) -> Result<Self, Constraint> {
        constraint::NAMESPACE_NAME_PRIVATE.check(text)?;
        Ok(Self::of_checked(text))
    }

    /// Parses the name of a public DNS namespace: a domain name with at least one dot, at most 253 characters.
    ///
    /// # Errors
    /// The constraint that the text breaks.
    pub fn parse_public(text: &str) -> Result<Self, Constraint> {
        constraint::NAMESPACE_NAME_PUBLIC.check(text)?;
        Ok(Self::of_checked(text))
    }
}

text_newtype! {
    /// The name of a service: 1–127 characters, in labels of 1–63 letters, digits, `_` and `-` that neither begin nor end
    /// with `-`, separated by dots; or a single dot for the apex of the namespace.
    ServiceName, constraint::SERVICE_NAME
}

impl ServiceName {
    /// The name of a service at the apex of its namespace. The pattern allows it; no document explains it.
    pub const APEX: &str = ".";
}

/// The name of a zone without a final dot, which makes no difference.
pub(crate) fn zone_text(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// An absolute domain name in wire form (RFC 1035 section 3.1), lower-cased, at most 255 octets, labels of 1–63 octets.
///
/// DNS compares names without case (RFC 4343), so the case is folded at construction.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Arc<[u8]>);

/// Why a text is not a domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DnsNameError {
    /// A label has no octets, as in `a..b`.
    #[error("a label is empty")]
    EmptyLabel,
    /// A label has more than 63 octets.
    #[error("a label is longer than 63 octets")]
    LongLabel,
    /// The name has more than 255 octets in wire form.
    #[error("the name is longer than 255 octets")]
    LongName,
    /// A backslash is not followed by three digits up to 255, or by a character that is not a digit.
    #[error("an escape is not \\DDD, 000-255, or a backslash before a character")]
    Escape,
}

impl DnsName {
    const MAX: usize = 255;

    /// The root.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::new([0]))
    }

    /// Parses the form that [`Display`](fmt::Display) writes: labels separated by dots, with an optional final dot; `.` is
    /// the root. `\DDD` is an octet and `\.` a dot inside a label (RFC 4343 section 2.1). Every octet is legal in a label
    /// (RFC 2181 section 11).
    ///
    /// Names of the API, such as those of namespaces, have no escapes: use [`prefixed`](Self::prefixed) for them.
    ///
    /// # Errors
    /// An empty label, one over 63 octets, a name over 255, or a malformed escape.
    pub fn parse(text: &str) -> Result<Self, DnsNameError> {
        if text == "." {
            return Ok(Self::root());
        }
        let (mut wire, mut label) = (Vec::with_capacity(text.len() + 2), Vec::new());
        let mut bytes = text.strip_suffix('.').filter(|rest| !ends_in_escape(rest)).unwrap_or(text).bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'.' => push_label(&mut wire, &std::mem::take(&mut label))?,
                b'\\' => label.push(escaped(&mut bytes)?),
                byte => label.push(byte),
            }
        }
        push_label(&mut wire, &label)?;
        Self::of_wire(wire, &[0])
    }

    /// The name with these labels, separated by dots, below this name: `web` below `app.local` is `web.app.local`. A
    /// backslash is an octet like any other.
    ///
    /// # Errors
    /// An empty label, one over 63 octets, or a name over 255.
    pub fn prefixed(&self, labels: &str) -> Result<Self, DnsNameError> {
        let mut wire = Vec::with_capacity(labels.len() + 1 + self.0.len());
        labels.split('.').try_for_each(|label| push_label(&mut wire, label.as_bytes()))?;
        Self::of_wire(wire, &self.0)
    }

    /// The name with these labels in wire form, followed by the rest of the name.
    fn of_wire(mut wire: Vec<u8>, rest: &[u8]) -> Result<Self, DnsNameError> {
        wire.extend_from_slice(rest);
        if wire.len() > Self::MAX { Err(DnsNameError::LongName) } else { Ok(Self(wire.into())) }
    }

    /// The wire form: length-prefixed labels and the root's zero.
    #[must_use]
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels from left to right, without the root's.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (len, tail) = rest.split_first()?;
            let (label, tail) = tail.split_at_checked(usize::from(*len))?;
            rest = tail;
            (!label.is_empty()).then_some(label)
        })
    }

    /// The labels before the zone's name, in wire form without the root's zero: empty at the apex, `None` if the name is
    /// not in the zone.
    #[must_use]
    pub fn relative_to(&self, zone: &Self) -> Option<&[u8]> {
        let prefix = self.0.strip_suffix(&zone.0[..])?;
        // The suffix must begin at a label, not inside one.
        let mut at = 0;
        while at < prefix.len() {
            at += 1 + usize::from(prefix[at]);
        }
        (at == prefix.len()).then_some(prefix)
    }
}

fn push_label(wire: &mut Vec<u8>, label: &[u8]) -> Result<(), DnsNameError> {
    match u8::try_from(label.len()).unwrap_or(u8::MAX) {
        0 => return Err(DnsNameError::EmptyLabel),
        len @ 1..=63 => wire.push(len),
        64.. => return Err(DnsNameError::LongLabel),
    }
    wire.extend(label.iter().map(u8::to_ascii_lowercase));
    Ok(())
}

/// Whether the character after this text is escaped: the text ends in an odd number of backslashes.
fn ends_in_escape(text: &str) -> bool {
    text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The octet of an escape, after its backslash.
fn escaped(bytes: &mut impl Iterator<Item = u8>) -> Result<u8, DnsNameError> {
    let first = bytes.next().ok_or(DnsNameError::Escape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut number = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit).ok_or(DnsNameError::Escape)?;
        number = number * 10 + u16::from(digit - b'0');
    }
    u8::try_from(number).map_err(|_| DnsNameError::Escape)
}

impl std::str::FromStr for DnsName {
    type Err = DnsNameError;

    /// See [`parse`](Self::parse).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for DnsName {
    /// Writes the name with a final dot. Octets that are not printable ASCII are written as `\DDD`; dots and backslashes in
    /// a label are escaped (RFC 4343 section 2.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == 1 {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                    b if b.is_ascii_graphic() => write!(f, "{}", char::from(b))?,
                    b => write!(f, "\\{b:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DnsName({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn service_names_follow_the_pattern() {
        for good in ["a", "backend-api", "_http._tcp", "A.b-c.d_", ".", &"a".repeat(63), "a1", "__"] {
            assert!(ServiceName::parse(good).is_ok(), "{good}");
        }
        let long = format!("{0}.{0}.{0}", "a".repeat(63));
        for bad in ["", "_", "-a", "a-", "a..b", "a.", ".a", "a b", "é", &"a".repeat(64), &long] {
            assert!(ServiceName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn namespace_names_follow_the_pattern_of_their_type() {
        assert!(NamespaceName::parse("any!thing~").is_ok());
        assert!(NamespaceName::parse("arn:aws").is_err());
        assert!(NamespaceName::parse("a b").is_err());
        assert!(NamespaceName::parse(&"a".repeat(1025)).is_err());
        assert!(NamespaceName::parse_private(&"a".repeat(254)).is_err());
        assert!(NamespaceName::parse_private("test-domain-1a2b").is_ok());
        assert!(NamespaceName::parse_public("example.com").is_ok());
        for bad in ["example", "example.", "-a.com", "a_b.com", "a..com"] {
            assert!(NamespaceName::parse_public(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn domain_names_are_lower_cased_and_limited_in_length() {
        let name = DnsName::parse("Web.App.Local").unwrap();
        assert_eq!(name.as_wire(), b"\x03web\x03app\x05local\x00");
        assert_eq!(name, DnsName::parse("web.app.local.").unwrap());
        assert_eq!(name.to_string(), "web.app.local.");
        assert_eq!(DnsName::parse("a..b"), Err(DnsNameError::EmptyLabel));
        assert_eq!(DnsName::parse(&"a".repeat(64)), Err(DnsNameError::LongLabel));
        assert_eq!(DnsName::parse(&["abcdefg"; 33].join(".")), Err(DnsNameError::LongName));
        assert!(DnsName::parse(&["abcdefg"; 31].join(".")).is_ok());
    }

    #[test]
    fn escapes_are_octets_of_a_label() {
        let wire = |text: &str| DnsName::parse(text).map(|name| name.as_wire().to_vec());
        assert_eq!(wire("."), Ok(vec![0]));
        assert_eq!(DnsName::root().to_string(), ".");
        assert_eq!(wire("a\\.b.c"), Ok(b"\x03a.b\x01c\x00".to_vec()));
        assert_eq!(wire("a\\."), Ok(b"\x02a.\x00".to_vec()));
        assert_eq!(wire("a\\\\."), Ok(b"\x02a\\\x00".to_vec()));
        assert_eq!(wire("a\\032b\\065"), Ok(b"\x04a ba\x00".to_vec()));
        for bad in ["a\\", "a\\1", "a\\25.b", "a\\256", "a\\2\u{e9}"] {
            assert_eq!(wire(bad), Err(DnsNameError::Escape), "{bad}");
        }
        for empty in ["", "..", ".a", "a..", "a..b"] {
            assert_eq!(wire(empty), Err(DnsNameError::EmptyLabel), "{empty}");
        }
        // Names of the API have no escapes.
        assert_eq!(DnsName::root().prefixed("a\\.b").unwrap().as_wire(), b"\x02a\\\x01b\x00");
        assert_eq!(DnsName::root().prefixed(""), Err(DnsNameError::EmptyLabel));
    }

    proptest! {
        #[test]
        fn a_displayed_name_parses_to_itself(labels in vec(vec(any::<u8>(), 1..=63), 0..5)) {
            let mut wire = Vec::new();
            for label in &labels {
                push_label(&mut wire, label).unwrap();
            }
            let Ok(name) = DnsName::of_wire(wire, &[0]) else { return Ok(()) };
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }
    }

    #[test]
    fn a_name_is_in_a_zone_at_a_label_boundary() {
        let zone = DnsName::parse("app.local").unwrap();
        let relative = |name: &str| DnsName::parse(name).unwrap().relative_to(&zone).map(<[u8]>::to_vec);
        assert_eq!(relative("app.local"), Some(vec![]));
        assert_eq!(relative("web.app.local"), Some(b"\x03web".to_vec()));
        assert_eq!(relative("local"), None);
        assert_eq!(relative("myapp.local"), None);
        // A label that ends in the zone's wire form is not a boundary.
        let tricky = DnsName(b"\x0bx\x03app\x05local\x00".to_vec().into());
        assert_eq!(tricky.relative_to(&zone), None);
    }
}
