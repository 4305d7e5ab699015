//! The hashes that the Hub publishes for content: SHA-256 for LFS and Xet files, the git blob id for
//! the rest. (Xet files that come as chunks are checked by their Merkle hash: `download::ledger`.)

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{Entry, Storage, is_lower_hex};

/// The largest size that a file can have on any file system: an offset is a signed 64-bit number. What others say
/// of sizes is no more than that, or isn't believed; a sum of several may be.
pub(crate) const MAX_SIZE: u64 = i64::MAX as u64;

/// An incremental hash of one file's content.
pub(crate) enum ContentHasher {
    Sha256(Sha256),
    GitBlob(Sha1),
    /// There is none of the content as a whole, only one of its chunks: no content has it.
    OfChunks,
}

impl ContentHasher {
    /// The hash that `entry`'s etag is.
    pub(crate) fn new(entry: &Entry) -> Self {
        match entry.storage {
            Storage::Git => Self::GitBlob(git_blob(entry.size)),
            Storage::Lfs { .. } | Storage::Xet { .. } => Self::Sha256(Sha256::new()),
            Storage::XetAlone { .. } => Self::OfChunks,
        }
    }

    /// The hash that a blob of that name and size is checked by; `None` if the name is no hash.
    pub(crate) fn for_etag(etag: &str, size: u64) -> Option<Self> {
        if is_lower_hex(etag, 64) {
            Some(Self::Sha256(Sha256::new()))
        } else if is_lower_hex(etag, 40) {
            Some(Self::GitBlob(git_blob(size)))
        } else {
            None
        }
    }

    /// The digits.
    pub(crate) fn digits(self) -> String {
        self.finish().1
    }

    /// Adds content.
    pub(crate) fn update(&mut self, data: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(data),
            Self::GitBlob(hasher) => hasher.update(data),
            Self::OfChunks => {}
        }
    }

    /// Whether the content was that of `entry`.
    pub(crate) fn matches(self, entry: &Entry) -> bool {
        self.finish().1 == entry.etag()
    }

    /// Fails if the content wasn't that of `entry`.
    pub(crate) fn verify(self, entry: &Entry) -> Result<()> {
        let (name, actual) = self.finish();
        if actual == entry.etag() {
            return Ok(());
        }
        Err(mismatch(entry, name, entry.etag(), &actual))
    }

    /// The hash's name and digits.
    fn finish(self) -> (&'static str, String) {
        match self {
            Self::Sha256(hasher) => ("SHA-256", hex(&hasher.finalize())),
            Self::GitBlob(hasher) => ("git blob id", hex(&hasher.finalize())),
            Self::OfChunks => ("hash", String::new()),
        }
    }
}

/// The git blob id of the LFS pointer file for a content: the oid that a listing has for it. Format:
/// git-lfs `docs/spec.md`.
pub(crate) fn pointer_oid(sha256: &str, size: u64) -> String {
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n");
    let mut hasher = git_blob(pointer.len() as u64);
    hasher.update(pointer);
    hex(&hasher.finalize())
}

/// Whether a hash is that of no bytes, as git or SHA-256 have it.
pub(crate) fn is_of_nothing(hash: &str) -> bool {
    const GIT: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    matches!(hash, GIT | SHA256)
}

/// git hash-object: the object's type and size go before the content.
pub(crate) fn git_blob(size: u64) -> Sha1 {
    Sha1::new().chain_update(format!("blob {size}\0"))
}

/// The error for a xorb that isn't one, where the content should be.
pub(crate) fn undecodable(entry: &Entry, xorb: &str, why: &Error) -> Error {
    let place = match entry.storage {
        Storage::XetAlone { .. } => "in storage",
        _ => "on the server",
    };
    let message = format!(
        "{}: xorb {xorb}, which holds a part of it, is damaged {place}: {}",
        entry.path,
        why.message()
    );
    Error::new(Kind::ChecksumMismatch, message).with(|c| c.file = Some(entry.path.to_string()))
}

/// The error for content that isn't what was published.
pub(crate) fn mismatch(entry: &Entry, hash: &str, expected: &str, actual: &str) -> Error {
    let (published, place) = match entry.storage {
        Storage::XetAlone { .. } => ("it should be", "in storage"),
        _ => ("the Hub published", "on the server"),
    };
    Error::new(
        Kind::ChecksumMismatch,
        format!(
            "{}: the content received has the {hash} {actual}, {published} {expected}; \
             nothing was kept. Try again; if it stays, the file is damaged {place}",
            entry.path
        ),
    )
    .with(|c| c.file = Some(entry.path.to_string()))
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String can't fail
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::repo::RepoPath;

    fn entry(storage: Storage, oid: &str) -> Entry {
        Entry { path: RepoPath::new("a.txt").unwrap(), size: 6, oid: oid.into(), storage }
    }

    /// The git blob id of "hello\n" is what `git hash-object` prints for it.
    #[test]
    fn git_blobs_hash_like_git() {
        let entry = entry(Storage::Git, "ce013625030ba8dba906f756967f9e9ca394464a");
        let mut hasher = ContentHasher::new(&entry);
        hasher.update(b"hel");
        hasher.update(b"lo\n");
        hasher.verify(&entry).unwrap();
    }

    /// A wrong byte is a checksum mismatch that names the file.
    #[test]
    fn a_wrong_byte_names_the_file() {
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03".to_owned();
        let entry = entry(Storage::Lfs { sha256 }, "");
        let mut hasher = ContentHasher::new(&entry);
        hasher.update(b"hello\n");
        hasher.verify(&entry).unwrap();
        let mut hasher = ContentHasher::new(&entry);
        hasher.update(b"jello\n");
        let error = hasher.verify(&entry).unwrap_err();
        assert_eq!(error.kind(), Kind::ChecksumMismatch);
        assert!(error.message().contains("a.txt"));
    }
}
