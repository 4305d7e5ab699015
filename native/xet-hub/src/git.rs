//! Git's object ids, so that every oid the Hub publishes is the one git would compute.

use std::fmt;
use std::fmt::Write as _;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::{Digest, Sha1};

/// A git object id: the SHA-1 of a blob, a tree or a commit. Text form: 40 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Oid([u8; 20]);

impl Oid {
    /// Reads 40 hex digits.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 40 {
            return None;
        }
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Self(bytes))
    }

    fn of(kind: &str, content: &[u8]) -> Self {
        let mut hasher = Sha1::new();
        hasher.update(format!("{kind} {}\0", content.len()).as_bytes());
        hasher.update(content);
        Self(hasher.finalize().into())
    }

    /// The id of a file's content.
    pub(crate) fn of_blob(content: &[u8]) -> Self {
        Self::of("blob", content)
    }

    /// The id of a folder, from `(name, is a folder, id)` of its entries, in any order.
    pub(crate) fn of_tree<'a>(entries: impl Iterator<Item = (&'a str, bool, Self)>) -> Self {
        let mut entries: Vec<_> = entries.collect();
        // Git compares the names of folders as if they ended in a slash.
        let key = |name: &str, folder: bool| {
            let mut key = name.as_bytes().to_vec();
            if folder {
                key.push(b'/');
            }
            key
        };
        entries.sort_by_cached_key(|&(name, folder, _)| key(name, folder));
        let mut body = Vec::new();
        for (name, folder, oid) in entries {
            body.extend_from_slice(if folder { b"40000 " } else { b"100644 " });
            body.extend_from_slice(name.as_bytes());
            body.push(0);
            body.extend_from_slice(&oid.0);
        }
        Self::of("tree", &body)
    }

    /// The id of a commit of `tree` by `author`, `seconds` after the Unix epoch.
    pub(crate) fn of_commit(
        tree: Self,
        parent: Option<Self>,
        author: &str,
        seconds: u64,
        message: &str,
    ) -> Self {
        let mut text = format!("tree {tree}\n");
        if let Some(parent) = parent {
            let _ = writeln!(text, "parent {parent}");
        }
        let who = format!("{author} <{author}@users.noreply.localhost> {seconds} +0000");
        let _ = write!(text, "author {who}\ncommitter {who}\n\n{message}\n");
        Self::of("commit", text.as_bytes())
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Oid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Oid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("not a git object id"))
    }
}

/// Bytes as lowercase hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The text that git stores in place of a large file (the Git LFS pointer format, version 1).
pub(crate) fn lfs_pointer(sha256: &str, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids equal those that git itself prints for the same objects.
    #[test]
    fn ids_are_those_of_git() {
        assert_eq!(Oid::of_blob(b"").to_string(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        let empty_tree = Oid::of_tree(std::iter::empty());
        assert_eq!(empty_tree.to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
        assert_eq!(Oid::from_hex(&empty_tree.to_string()), Some(empty_tree));
    }

    /// `a` (a folder) sorts after `a.b` (a file), because git sees `a/`.
    #[test]
    fn folders_sort_as_if_they_ended_in_a_slash() {
        let blob = Oid::of_blob(b"x");
        let one = Oid::of_tree([("a", true, blob), ("a.b", false, blob)].into_iter());
        let two = Oid::of_tree([("a.b", false, blob), ("a", true, blob)].into_iter());
        assert_eq!(one, two);
        assert_ne!(one, Oid::of_tree([("a", false, blob), ("a.b", false, blob)].into_iter()));
    }
}
