//! A piece: chunks of a xorb that follow each other, as they are in the serialised xorb, sealed.
//!
//! ```text
//! magic "xetp", version 1, three zeros, salt (16)      plain, and a part of what the seal covers
//! first chunk (u32), count (u32), offset in the        sealed with AES-256-GCM under a key that
//! serialised xorb (u64), stored length of each         no other piece has, so its nonce is zero;
//! chunk (u32 each), the chunks                         little endian
//! tag (16)
//! ```
//!
//! The seal shows that somebody who knows the xorb's hash, and the secret of the deployment, has made it of these
//! chunks; not that they are those of the xorb. That is for who reads them: each is hashed, as what storage sends is.

use std::ops::Range;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use bytes::Bytes;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::xorb_object::XORB_CHUNK_HEADER_LENGTH;
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::cell::{CHUNKS, whole};
use super::keys::Keys;

/// The length of what makes the key of each piece another one, in bytes.
pub(super) const SALT: usize = 16;

const MAGIC: [u8; 8] = *b"xetp\x01\0\0\0";
const HEAD: usize = MAGIC.len() + SALT;

/// Before the lengths.
const FIXED: usize = 16;

/// What compression may add to a chunk that it doesn't make smaller, at most.
const GROWTH: usize = 1024;

/// The largest piece, sealed, in bytes.
pub(super) const LARGEST: usize =
    HEAD + FIXED + CHUNKS as usize * (4 + XORB_CHUNK_HEADER_LENGTH + (1 << 17) + GROWTH) + 16;

/// Chunks of a xorb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Their numbers: in one cell, and never empty.
    pub(crate) chunks: Range<u32>,
    /// Where the first one begins in the serialised xorb.
    pub(crate) offset: u64,
    /// How long each is there, its header included.
    pub(crate) lengths: Vec<u32>,
    /// All of them.
    pub(crate) bytes: Bytes,
}

/// Why a value isn't the piece that it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damaged(pub(super) &'static str);

impl Piece {
    /// Where the last one ends in the serialised xorb.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    /// Only these of its chunks. `None`: it hasn't all of them.
    pub(super) fn cut(self, chunks: &Range<u32>) -> Option<Self> {
        if chunks.start < self.chunks.start || self.chunks.end < chunks.end || chunks.is_empty() {
            return None;
        }
        let skipped = (chunks.start - self.chunks.start) as usize;
        let lengths = self.lengths.get(skipped..skipped + chunks.len())?.to_vec();
        let sum = |lengths: &[u32]| lengths.iter().map(|&length| length as usize).sum::<usize>();
        let before = sum(&self.lengths[..skipped]);
        let bytes = self.bytes.slice(before..before + sum(&lengths));
        Some(Self { chunks: chunks.clone(), offset: self.offset + before as u64, lengths, bytes })
    }

    /// All of it in slices of whole chunks, each of `most` bytes or less if they are several.
    pub(crate) fn into_slices(mut self, most: usize) -> impl Iterator<Item = Bytes> {
        let mut lengths = self.lengths.into_iter().map(|length| length as usize).peekable();
        std::iter::from_fn(move || {
            let mut size = lengths.next()?;
            while let Some(next) = lengths.next_if(|next| size + next <= most) {
                size += next;
            }
            Some(self.bytes.split_to(size.min(self.bytes.len())))
        })
    }

    /// As it goes into a store. `None`: there is no randomness to be had, or it's larger than may be.
    pub(super) fn seal(
        chunks: &Range<u32>,
        offset: u64,
        parts: &[Bytes],
        keys: &Keys,
        xorb: &MerkleHash,
    ) -> Option<Vec<u8>> {
        let mut salt = [0; SALT];
        rand::fill(&mut salt).ok()?;
        let size: usize = parts.iter().map(Bytes::len).sum();
        let mut sealed = Vec::with_capacity(HEAD + FIXED + 4 * parts.len() + size + 16);
        sealed.extend_from_slice(&MAGIC);
        sealed.extend_from_slice(&salt);
        let mut body = sealed.split_off(HEAD);
        body.reserve_exact(FIXED + 4 * parts.len() + size + 16);
        body.extend_from_slice(&chunks.start.to_le_bytes());
        body.extend_from_slice(&u32::try_from(parts.len()).ok()?.to_le_bytes());
        body.extend_from_slice(&offset.to_le_bytes());
        for part in parts {
            body.extend_from_slice(&u32::try_from(part.len()).ok()?.to_le_bytes());
        }
        for part in parts {
            body.extend_from_slice(part);
        }
        let key = key_of(&keys.seal(xorb, chunks, &salt))?;
        key.seal_in_place_append_tag(nonce(), Aad::from(sealed.as_slice()), &mut body).ok()?;
        sealed.append(&mut body);
        (sealed.len() <= LARGEST).then_some(sealed)
    }

    /// What is in a value that is called the piece of these chunks.
    pub(super) fn open(
        mut value: Vec<u8>,
        chunks: &Range<u32>,
        keys: &Keys,
        xorb: &MerkleHash,
    ) -> Result<Self, Damaged> {
        if value.len() < HEAD + FIXED || value.len() > LARGEST || value[..MAGIC.len()] != MAGIC {
            return Err(Damaged("it's no piece"));
        }
        let (head, body) = value.split_at_mut(HEAD);
        let mut salt = [0; SALT];
        salt.copy_from_slice(&head[MAGIC.len()..]);
        let key = key_of(&keys.seal(xorb, chunks, &salt)).ok_or(Damaged("there is no key"))?;
        let opened = key.open_in_place(nonce(), Aad::from(&*head), body);
        let len = opened.map_err(|_| Damaged("its seal is broken"))?.len();
        value.truncate(HEAD + len);
        Self::parse(Bytes::from(value).slice(HEAD..), chunks)
    }

    fn parse(mut body: Bytes, chunks: &Range<u32>) -> Result<Self, Damaged> {
        let wrong = || Damaged("what is sealed in it makes no sense");
        let u32_at = |at: usize| {
            let bytes = body.get(at..at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let u64_at = |at: usize| Some(u64::from(u32_at(at)?) | u64::from(u32_at(at + 4)?) << 32);
        let (first, count) = u32_at(0).zip(u32_at(4)).ok_or_else(wrong)?;
        let offset = u64_at(8).ok_or_else(wrong)?;
        if first != chunks.start || count as usize != chunks.len() || count > CHUNKS {
            return Err(wrong());
        }
        let lengths = (0..count as usize).map(|number| u32_at(FIXED + 4 * number));
        let lengths: Vec<u32> = lengths.collect::<Option<_>>().ok_or_else(wrong)?;
        let is_chunk = |&length: &u32| {
            (XORB_CHUNK_HEADER_LENGTH + 1..=XORB_CHUNK_HEADER_LENGTH + *MAX_CHUNK_SIZE + GROWTH)
                .contains(&(length as usize))
        };
        let bytes = body.split_off(FIXED + 4 * lengths.len());
        let sum: usize = lengths.iter().map(|&length| length as usize).sum();
        if !lengths.iter().all(is_chunk) || sum != bytes.len() || offset > u64::MAX / 2 {
            return Err(wrong());
        }
        let is_in_one = whole(first).end >= chunks.end;
        is_in_one.then(|| Self { chunks: chunks.clone(), offset, lengths, bytes }).ok_or_else(wrong)
    }
}

fn key_of(key: &[u8]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xet_core_structures::merklehash::compute_data_hash;

    use super::*;

    fn parts(count: usize) -> Vec<Bytes> {
        (0..count)
            .map(|number| Bytes::from(vec![u8::try_from(number).unwrap(); 9 + number * 1000]))
            .collect()
    }

    fn sealed(chunks: &Range<u32>, keys: &Keys) -> Vec<u8> {
        Piece::seal(chunks, 1000, &parts(chunks.len()), keys, &compute_data_hash(b"xorb")).unwrap()
    }

    /// What is sealed is opened, by who knows the same, and never twice the same bytes.
    #[test]
    fn what_is_sealed_is_opened() {
        let (keys, xorb) = (Keys::new(b"secret"), compute_data_hash(b"xorb"));
        for chunks in [0..1, 64..128, 70..80] {
            let value = sealed(&chunks, &keys);
            assert_ne!(value, sealed(&chunks, &keys));
            let piece = Piece::open(value, &chunks, &keys, &xorb).unwrap();
            assert_eq!((piece.offset, &piece.chunks), (1000, &chunks));
            assert_eq!(piece.bytes, parts(chunks.len()).concat());
            assert_eq!(piece.end(), 1000 + piece.bytes.len() as u64);
        }
    }

    /// Some of a piece's chunks are where they are in it.
    #[test]
    fn a_piece_is_cut() {
        let (keys, xorb) = (Keys::new(b""), compute_data_hash(b"xorb"));
        let piece = Piece::open(sealed(&(64..70), &keys), &(64..70), &keys, &xorb).unwrap();
        let cut = piece.clone().cut(&(66..68)).unwrap();
        assert_eq!(cut.bytes, parts(6)[2..4].concat());
        assert_eq!(cut.offset, 1000 + 9 + 1009);
        assert!(piece.clone().cut(&(63..65)).is_none() && piece.cut(&(69..71)).is_none());
    }

    /// A value that is of another xorb, other chunks or another deployment, that was cut, or has one bit changed, is
    /// damaged.
    #[test]
    fn what_is_foreign_or_changed_is_damaged() {
        let (keys, xorb) = (Keys::new(b"secret"), compute_data_hash(b"xorb"));
        let (chunks, value) = (0..3, sealed(&(0..3), &keys));
        let open = |value: &[u8], chunks: &Range<u32>, keys: &Keys, xorb: &MerkleHash| {
            Piece::open(value.to_vec(), chunks, keys, xorb)
        };
        assert!(open(&value, &chunks, &keys, &xorb).is_ok());
        assert!(open(&value, &chunks, &keys, &compute_data_hash(b"other")).is_err());
        assert!(open(&value, &(0..4), &keys, &xorb).is_err());
        assert!(open(&value, &chunks, &Keys::new(b"other"), &xorb).is_err());
        for end in 0..value.len() {
            assert!(open(&value[..end], &chunks, &keys, &xorb).is_err(), "cut at {end}");
        }
        for at in 0..value.len() {
            let mut changed = value.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(open(&changed, &chunks, &keys, &xorb).is_err(), "changed at {at}");
        }
    }

    proptest! {
        /// Whoever knows the secret may still seal nonsense: it's refused, or is what it says.
        #[test]
        fn nonsense_is_refused(body in proptest::collection::vec(any::<u8>(), 0..400), head in any::<[u8; 12]>()) {
            let mut all = vec![0; 8];
            all[4] = 2;
            all.extend(head);
            all.extend(body);
            if let Ok(piece) = Piece::parse(Bytes::from(all), &(0..2)) {
                let sum: u32 = piece.lengths.iter().sum();
                prop_assert_eq!(sum as usize, piece.bytes.len());
            }
        }
    }
}
