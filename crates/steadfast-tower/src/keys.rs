//! A hash for keys of our own.

use std::hash::{BuildHasherDefault, Hasher};

/// Hashes keys that no stranger makes up: names of routes and policies, reasons, numbers that are hashes
/// with a secret already.
///
/// The hash of the standard library is made so that nobody can find keys that collide, and costs ten times
/// as much. What it guards against is of no use here: the tables hold a bounded number of keys, and whoever
/// asks for one that is not in them adds none.
pub(crate) type OwnKeys = BuildHasherDefault<OwnKeyHasher>;

/// Multiplies and rotates; see [`OwnKeys`].
#[derive(Default)]
pub(crate) struct OwnKeyHasher(u64);

impl OwnKeyHasher {
    fn mix(&mut self, bits: u64) {
        // The golden ratio, as a fraction of 2⁶⁴: odd, and without a pattern.
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
        self.0 = (self.0.rotate_left(5) ^ bits).wrapping_mul(SPREAD);
    }
}

impl Hasher for OwnKeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.mix(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    fn write_u16(&mut self, number: u16) {
        self.mix(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        // A product is best in its high bits, and a table takes the place of a key from the low ones.
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use steadfast_core::context::Name;

    use super::*;

    #[test]
    fn keys_that_are_alike_take_different_places() {
        let names = (0..1_000).map(|n| Name::from(format!("/orders/{{id}}/lines/{n}")));
        let places: HashSet<_> = names
            .flat_map(|name| (0..4_u16).map(move |kind| (name, kind)))
            .map(|key| OwnKeys::default().hash_one(key) & 0xFFFF)
            .collect();

        // Of 4,000 balls in 65,536 urns some 120 meet; a bad hash puts them into a few hundred.
        assert!(places.len() > 3_800, "{} places", places.len());
    }
}
