//! Names as keys of the table.

use super::zones::ZoneKey;

/// A name in lower case and wire form, on the stack. The room before it is for the key of its zone; both together are the
/// key of the name in the table.
#[derive(Clone, Debug)]
pub(crate) struct LookupName {
    bytes: [u8; Self::ROOM + Self::MAX],
    /// The length of the name.
    len: usize,
}

impl LookupName {
    /// The maximum length of a name in octets (RFC 1035 section 2.3.4).
    pub(crate) const MAX: usize = 255;
    const ROOM: usize = size_of::<ZoneKey>();

    /// Folds a well-formed name: at most [`MAX`](Self::MAX) octets, the root label at its end.
    #[inline]
    pub(crate) fn folded(wire: &[u8]) -> Self {
        let mut bytes = [0; Self::ROOM + Self::MAX];
        let len = wire.len().min(Self::MAX);
        bytes[Self::ROOM..Self::ROOM + len].copy_from_slice(&wire[..len]);
        // Label lengths are at most 63, which is below the letters, so folding does not change them.
        bytes[Self::ROOM..Self::ROOM + len].make_ascii_lowercase();
        Self { bytes, len }
    }

    /// The name in wire form.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.bytes[Self::ROOM..Self::ROOM + self.len]
    }

    /// Sets the zone of the name, for its [`key`](Self::key).
    pub(crate) fn set_zone(&mut self, zone: ZoneKey) {
        self.bytes[..Self::ROOM].copy_from_slice(&zone.to_be_bytes());
    }

    /// The key of the name. The name of its zone begins at `zone_start`.
    pub(crate) fn key(&self, zone_start: usize) -> &[u8] {
        &self.bytes[..Self::ROOM + zone_start.min(self.len)]
    }
}

/// The key of a name. `relative` are its labels before the name of the zone.
pub(super) fn key_of(zone: ZoneKey, relative: &[u8]) -> Box<[u8]> {
    [&zone.to_be_bytes(), relative].concat().into()
}

/// The keys of the names between a name and the apex of its zone, without either, deepest first.
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
