use super::zones::ZoneKey;

/// A name on the stack, lower-case and in wire form, with room before it for the key of its zone: both together are the
/// key that the name table is searched by.
#[derive(Clone, Debug)]
pub(crate) struct LookupName {
    bytes: [u8; Self::ROOM + Self::MAX],
    /// Of the name alone.
    len: usize,
}

impl LookupName {
    /// The most octets of a name (RFC 1035 section 2.3.4).
    pub(crate) const MAX: usize = 255;
    const ROOM: usize = size_of::<ZoneKey>();

    /// Folds a well-formed name, which ends in the root's zero and is no longer than names may be.
    #[inline]
    pub(crate) fn folded(wire: &[u8]) -> Self {
        let mut bytes = [0; Self::ROOM + Self::MAX];
        let len = wire.len().min(Self::MAX);
        bytes[Self::ROOM..Self::ROOM + len].copy_from_slice(&wire[..len]);
        // Lengths are at most 63, below the letters, so folding everything folds the labels alone.
        bytes[Self::ROOM..Self::ROOM + len].make_ascii_lowercase();
        Self { bytes, len }
    }

    /// The name.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.bytes[Self::ROOM..Self::ROOM + self.len]
    }

    /// Puts the name into a zone, for its [`key`](Self::key).
    pub(crate) fn set_zone(&mut self, zone: ZoneKey) {
        self.bytes[..Self::ROOM].copy_from_slice(&zone.to_be_bytes());
    }

    /// The key of the name in its zone, whose name begins at `zone_start`.
    pub(crate) fn key(&self, zone_start: usize) -> &[u8] {
        &self.bytes[..Self::ROOM + zone_start.min(self.len)]
    }
}

/// The key of a name that is written as labels before the zone's.
pub(super) fn key_of(zone: ZoneKey, relative: &[u8]) -> Box<[u8]> {
    [&zone.to_be_bytes(), relative].concat().into()
}

/// The keys of the names between this one and the apex of its zone, both excluded, deepest first.
pub(super) fn ancestors(key: &[u8]) -> impl Iterator<Item = Box<[u8]>> {
    let (zone, mut rest) = key.split_at(LookupName::ROOM.min(key.len()));
    std::iter::from_fn(move || {
        let label = usize::from(*rest.first()?);
        rest = rest.get(1 + label..).filter(|rest| !rest.is_empty())?;
        Some([zone, rest].concat().into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_zone_and_the_labels_before_it() {
        let mut name = LookupName::folded(b"\x03Web\x03App\x05Local\x00");
        assert_eq!(name.wire(), b"\x03web\x03app\x05local\x00");
        name.set_zone(7);
        assert_eq!(name.key(4), b"\x00\x00\x00\x07\x03web");
        assert_eq!(name.key(0), b"\x00\x00\x00\x07");
        assert_eq!(name.wire(), b"\x03web\x03app\x05local\x00");
    }

    #[test]
    fn ancestors_end_before_the_apex() {
        let of = |relative: &[u8]| ancestors(&key_of(1, relative)).collect::<Vec<_>>();
        assert!(of(b"").is_empty());
        assert!(of(b"\x01a").is_empty());
        assert_eq!(of(b"\x01a\x02bb\x01c"), [key_of(1, b"\x02bb\x01c"), key_of(1, b"\x01c")]);
    }
}
