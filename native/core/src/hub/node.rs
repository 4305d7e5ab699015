//! An entry of a listing as a server sends it, and what can be read of it.

use std::borrow::Cow;

use serde::Deserialize;
use url::Url;

use super::loose::{self, Loose};
use crate::http::body::nonsense;
use crate::model::content::{is_of_nothing, pointer_oid};
use crate::model::error::Error;
use crate::model::repo::{Listed, Storage, is_lower_hex};
use xet_core_structures::merklehash::MerkleHash;

/// An entry's fields. Strings are borrowed from the page unless they hold escapes.
#[derive(Deserialize)]
pub(super) struct Node<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Loose<'a>,
    #[serde(borrow, default, deserialize_with = "loose::name")]
    path: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    oid: Loose<'a>,
    #[serde(borrow, default)]
    size: Loose<'a>,
    #[serde(borrow, default)]
    lfs: Loose<'a, Lfs<'a>>,
    #[serde(borrow, default, rename = "xetHash")]
    xet_hash: Loose<'a>,
}

/// `oid` is the SHA-256 of the content here; repo info calls the same thing `sha256`.
#[derive(Deserialize)]
struct Lfs<'a> {
    #[serde(borrow, default)]
    oid: Loose<'a>,
    #[serde(borrow, default)]
    size: Loose<'a>,
}

/// What an entry says.
#[derive(Debug)]
pub(super) enum Seen {
    File(Listed),
    /// A file that has a Xet hash, of which something else is sent: to whom has no access, stars.
    Masked(Listed),
    /// A file, or what may be one, of which too little is said; and what that is.
    Vague(String, Error),
    Folder(String),
    /// Something that is neither, such as a submodule.
    Other(String),
    /// Something of a type that nobody knows here: a file, if it's among the names of files.
    Unknown(String),
    /// Nothing that it could be asked about by.
    Nameless,
}

impl Node<'_> {
    /// What the entry, which was sent by `url`, says.
    pub(super) fn read(&self, url: &Url) -> Seen {
        let Some(path) = self.path.as_deref() else { return Seen::Nameless };
        // As the Hub has it, or as git has.
        match self.kind.text() {
            Some(kind) if is_any(kind, ["file", "blob"]) => {}
            Some(kind) if is_any(kind, ["directory", "tree"]) => {
                return Seen::Folder(path.to_owned());
            }
            Some(kind) if is_any(kind, ["commit", "submodule"]) => {
                return Seen::Other(path.to_owned());
            }
            Some(_) => return Seen::Unknown(path.to_owned()),
            // Only a file has a size.
            None if self.size.size().is_some_and(|size| size > 0) => {}
            None => return Seen::Vague(path.to_owned(), vague(url, path, "no type")),
        }
        match self.file(path) {
            Ok(file) if self.has_xet() && !matches!(file.storage, Storage::Xet { .. }) => {
                Seen::Masked(file)
            }
            Ok(file) => Seen::File(file),
            Err(what) => Seen::Vague(path.to_owned(), vague(url, path, what)),
        }
    }

    fn file(&self, path: &str) -> Result<Listed, &'static str> {
        let path = path.to_owned();
        let own = digits(&self.oid).filter(|oid| is_lower_hex(oid, 40)).map(str::to_owned);
        let Some(lfs) = self.lfs.object() else {
            if self.has_xet() {
                return Err("a Xet hash but no SHA-256");
            }
            let oid = own.ok_or("a bad oid")?;
            let size = size_of(&oid, &[&self.size]).ok_or("a bad size")?;
            return Ok(Listed { path, size, oid, storage: Storage::Git });
        };
        let sha256 = digits(&lfs.oid).filter(|oid| is_lower_hex(oid, 64)).ok_or("a bad SHA-256")?;
        let size = size_of(sha256, &[&lfs.size, &self.size]).ok_or("a bad size")?;
        let oid = own.unwrap_or_else(|| pointer_oid(sha256, size));
        let storage = storage(sha256, self.xet_hash.text());
        Ok(Listed { path, size, oid, storage })
    }

    /// Whether something is sent as its Xet hash.
    fn has_xet(&self) -> bool {
        !matches!(self.xet_hash, Loose::Other)
    }
}

/// Whether it's one of the names, in capitals or not.
fn is_any(kind: &str, names: [&str; 2]) -> bool {
    names.iter().any(|name| kind.eq_ignore_ascii_case(name))
}

/// The digits of a hash; some servers put the algorithm's name before them.
fn digits<'a>(hash: &'a Loose<'_>) -> Option<&'a str> {
    let text = hash.text()?;
    Some(text.split_once(':').map_or(text, |(_, digits)| digits))
}

/// The first of the sizes that content with that hash can have: 0 only if it's the hash of nothing.
fn size_of(hash: &str, said: &[&Loose<'_>]) -> Option<u64> {
    let may_be = |size: &u64| *size > 0 || is_of_nothing(hash);
    said.iter().filter_map(|said| said.size()).find(may_be)
}

fn vague(url: &Url, path: &str, what: &str) -> Error {
    nonsense(url, 200, format!("{what} for file {path:?}")).with(|c| c.file = Some(path.to_owned()))
}

/// How a file with a SHA-256 is stored. What is no hash makes it an LFS file, as far as anybody can tell: the
/// SHA-256 checks the content either way.
pub(super) fn storage(sha256: &str, xet_hash: Option<&str>) -> Storage {
    let sha256 = sha256.to_owned();
    match xet_hash.and_then(|hash| MerkleHash::from_hex(hash).ok()) {
        Some(hash) => Storage::Xet { sha256, hash },
        None => Storage::Lfs { sha256 },
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
