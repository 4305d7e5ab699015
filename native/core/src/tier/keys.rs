//! What names a piece, and what seals it: derived from the xorb's hash, which the CAS tells only to who may read the
//! content, and from the secret of the deployment.
//!
//! So who has the password of the store alone sees how many pieces there are, how large and of what age, and which nodes
//! want the same; of their content nothing, nor whose it is. Who has the secret, too, and once had access to some
//! content, may read what the store still has of it.

use std::fmt::Write;
use std::ops::Range;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use xet_core_structures::merklehash::MerkleHash;

use super::piece::SALT;

/// The version of all that is derived and laid out here. Another one has other names: it's never read by mistake.
const VERSION: &str = "v1";

/// The length of a key for AES-256, in bytes.
pub(super) const SEAL: usize = 32;

/// Derives names and keys.
pub(super) struct Keys(hmac::Key);

/// The name of a piece in a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    /// Of the xorb: hexadecimal digits.
    pub(super) xorb: String,
    /// Which of its chunks.
    pub(super) chunks: Range<u32>,
}

impl Keys {
    /// Of the deployment with this secret, which may be empty.
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, secret))
    }

    /// What these chunks of a xorb are called.
    pub(super) fn name(&self, xorb: &MerkleHash, chunks: Range<u32>) -> Name {
        let digest = self.derive("name", xorb, &[]);
        let mut name = String::with_capacity(2 * SEAL);
        for byte in digest {
            // Writing to a string doesn't fail.
            let _ = write!(name, "{byte:02x}");
        }
        Name { xorb: name, chunks }
    }

    /// The key that one piece is sealed with; each has a salt of its own.
    pub(super) fn seal(
        &self,
        xorb: &MerkleHash,
        chunks: &Range<u32>,
        salt: &[u8; SALT],
    ) -> [u8; SEAL] {
        let (start, end) = (chunks.start.to_le_bytes(), chunks.end.to_le_bytes());
        self.derive("seal", xorb, &[&start, &end, salt])
    }

    fn derive(&self, purpose: &str, xorb: &MerkleHash, of: &[&[u8]]) -> [u8; SEAL] {
        let mut mac = hmac::Context::with_key(&self.0);
        // Each part has a fixed length but the purpose, which ends with a zero.
        for part in [b"xet-ffi/", VERSION.as_bytes(), b"/", purpose.as_bytes(), b"\0"] {
            mac.update(part);
        }
        mac.update(xorb.as_bytes());
        for part in of {
            mac.update(part);
        }
        let mut derived = [0; SEAL];
        derived.copy_from_slice(mac.sign().as_ref());
        derived
    }
}

impl Name {
    /// In a store without folders.
    pub(super) fn flat(&self) -> String {
        let Self { xorb, chunks } = self;
        format!("xet-ffi:{VERSION}:{xorb}:{}-{}", chunks.start, chunks.end)
    }

    /// What says who fetches it.
    pub(super) fn lease(&self) -> String {
        format!("{}:lease", self.flat())
    }

    /// In one with folders: the parts of the path. The first folder spreads xorbs over 256 of them.
    pub(super) fn path(&self) -> [String; 4] {
        let Self { xorb, chunks } = self;
        let spread = xorb.get(..2).unwrap_or_default().to_owned();
        [VERSION.to_owned(), spread, xorb.clone(), format!("{}-{}", chunks.start, chunks.end)]
    }
}

#[cfg(test)]
mod tests {
    use xet_core_structures::merklehash::compute_data_hash;

    use super::*;

    /// Names and keys depend on all that they are derived from, and names say nothing of the hash.
    #[test]
    fn all_that_is_derived_from_counts() {
        let (one, other) = (compute_data_hash(b"one"), compute_data_hash(b"other"));
        let (keys, others) = (Keys::new(b"secret"), Keys::new(b""));
        let name = keys.name(&one, 0..64);
        assert_eq!(name, Keys::new(b"secret").name(&one, 0..64));
        assert_ne!(name, keys.name(&one, 64..128));
        assert_ne!(name.xorb, keys.name(&other, 0..64).xorb);
        assert_ne!(name.xorb, others.name(&one, 0..64).xorb);
        assert!(!name.flat().contains(&one.hex()) && name.xorb.len() == 64);
        let seal = keys.seal(&one, &(0..64), &[1; SALT]);
        assert_eq!(seal, keys.seal(&one, &(0..64), &[1; SALT]));
        for different in [
            keys.seal(&other, &(0..64), &[1; SALT]),
            keys.seal(&one, &(0..63), &[1; SALT]),
            keys.seal(&one, &(0..64), &[2; SALT]),
            others.seal(&one, &(0..64), &[1; SALT]),
        ] {
            assert_ne!(seal, different);
        }
    }
}
