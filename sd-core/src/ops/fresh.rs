//! The identifiers of what a request creates.

use std::{fmt, sync::OnceLock};

use crate::{
    model::{
        HostedZoneId, Incarnation, NamespaceId, OperationId, Timestamp,
        newtype::{encode_base32, encode_base32_into},
    },
    settings::id_source::IdSource,
};

/// The identifiers that one request may need. They are drawn once, so that planning the request again after a conflict
/// gives the same entity and the same operation.
#[derive(Clone, Debug)]
pub(crate) struct Fresh {
    incarnation: Incarnation,
    operation: [u8; 20],
    /// Made at the first call of [`Fresh::operation_id`].
    operation_id: OnceLock<OperationId>,
    namespace: [u8; 10],
}

impl Fresh {
    /// Draws identifiers from the source.
    pub(crate) fn draw(ids: &dyn IdSource) -> Self {
        let mut bytes = [0; 38];
        ids.fill(&mut bytes);
        let (mut incarnation, mut operation, mut namespace) = ([0; 8], [0; 20], [0; 10]);
        // A sequential source counts in the last bytes, so every part includes them.
        incarnation.copy_from_slice(&bytes[30..]);
        operation.copy_from_slice(&bytes[18..]);
        namespace.copy_from_slice(&bytes[28..]);
        if bytes[..18].iter().any(|b| *b != 0) {
            // With random bytes, the parts share nothing.
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

    /// The incarnation of the entity that the request creates.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The id of the operation that the request starts. `created` is the moment of the request.
    pub(crate) fn operation_id(&self, created: Timestamp) -> OperationId {
        let make = || {
            let mut text = String::with_capacity(48);
            encode_base32_into(&self.operation, &mut text);
            text.push('-');
            push_base36(&mut text, created.as_millis());
            OperationId::of_checked(&text)
        };
        self.operation_id.get_or_init(make).clone()
    }

    /// The id of the namespace that the request creates.
    pub(crate) fn namespace_id(&self) -> NamespaceId {
        NamespaceId::of_checked(&format!("ns-{}", encode_base32(&self.namespace)))
    }

    /// The id of a request to Route 53 that this request would make, as a UUID (RFC 9562).
    pub(crate) fn request_id(&self) -> impl fmt::Display + use<> {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = self.operation;
        let part = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let parts: [&[u8]; 5] =
            [&[a, b, c, d], &[e, f], &[g & 0x0f | 0x40, h], &[i & 0x3f | 0x80, j], &[k, l, m, n, o, p]];
        parts.map(part).join("-")
    }

    /// The id of the hosted zone that the request creates: `Z` and 20 upper-case alphanumerics.
    pub(crate) fn hosted_zone_id(&self) -> HostedZoneId {
        let text = encode_base32(&self.operation).to_ascii_uppercase();
        HostedZoneId::of_checked(&format!("Z{}", &text[text.len() - 20..]))
    }
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
    use crate::settings::id_source::{RandomIds, SequentialIds};

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
    fn operation_ids_end_in_their_creation_time() {
        // An operation in the AWS CLI's examples: `…-k9302yzd` was created at 1587055860.121 s.
        let id = Fresh::draw(&RandomIds).operation_id(Timestamp::from_millis(1_587_055_860_121));
        let (random, time) = id.as_str().split_once('-').unwrap();
        assert_eq!(random.len(), 32);
        assert_eq!(time, "k9302yzd");
    }

    #[test]
    fn ids_have_the_format_of_aws() {
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
}
