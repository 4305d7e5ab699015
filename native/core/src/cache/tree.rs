//! Listings on disk: `trees/<commit>.json`, byte for byte as `huggingface_hub` writes them. A
//! commit never changes, so neither does its listing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use xet_core_structures::merklehash::MerkleHash;

use super::layout::RepoCache;
use crate::model::content::MAX_SIZE;
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Listed, Listing, Storage, is_lower_hex};
use crate::sys::files::{self, Durability};

/// The format that is read and written; files of another one are ignored.
const FORMAT_VERSION: u64 = 1;

/// More bytes than a listing of millions of files has.
const LARGEST: u64 = 1 << 30;

#[derive(Deserialize)]
struct Version {
    format_version: u64,
}

#[derive(Deserialize, Serialize)]
struct Tree {
    format_version: u64,
    /// Sorted by code points, as Python sorts.
    files: BTreeMap<String, TreeEntry>,
}

#[derive(Deserialize, Serialize)]
struct TreeEntry {
    size: u64,
    blob_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    xet_hash: Option<String>,
}

impl RepoCache {
    /// The listing of a commit, if one is cached and well-formed.
    pub fn read_tree(&self, commit: &CommitId) -> Result<Option<Listing>> {
        read(self.folder(), commit)
    }

    /// Caches the listing of a commit: all of its files, also those that a pattern leaves out.
    pub fn write_tree(&self, listing: &Listing) -> Result<()> {
        self.make_folder()?;
        write(self.folder(), listing)
    }

    /// Forgets the listing of a commit.
    pub(super) fn forget_tree(&self, commit: &CommitId) {
        forget(self.folder(), commit);
    }
}

/// Removes a listing from `<folder>/trees/`. Without it, the Hub is asked again.
pub(super) fn forget(folder: &Path, commit: &CommitId) {
    files::discard(&tree_path(folder, commit));
}

/// Reads a listing from `<folder>/trees/`, sorted by path. One that can't be used counts as absent.
pub(super) fn read(folder: &Path, commit: &CommitId) -> Result<Option<Listing>> {
    let path = tree_path(folder, commit);
    let Some(text) = files::read_text(&path, LARGEST)? else { return Ok(None) };
    match parse(&text) {
        Ok(entries) => Ok(Some(Listing { commit: commit.clone(), entries })),
        Err(problem) => {
            tracing::warn!(path = %path.display(), problem, "ignored a cached listing");
            Ok(None)
        }
    }
}

/// Writes a listing to `<folder>/trees/`.
pub(super) fn write(folder: &Path, listing: &Listing) -> Result<()> {
    let path = tree_path(folder, &listing.commit);
    files::create_folder(files::parent(&path))?;
    files::write(&path, &to_json(&listing.entries)?, Durability::Lazy)
}

fn tree_path(folder: &Path, commit: &CommitId) -> PathBuf {
    folder.join("trees").join(format!("{commit}.json"))
}

fn parse(text: &str) -> Result<Vec<Listed>, String> {
    let version: Version = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if version.format_version != FORMAT_VERSION {
        return Err(format!("format version {}", version.format_version));
    }
    let tree: Tree = serde_json::from_str(text).map_err(|e| e.to_string())?;
    tree.files.into_iter().map(|(path, entry)| entry.into_entry(&path)).collect()
}

impl TreeEntry {
    fn into_entry(self, path: &str) -> Result<Listed, String> {
        let bad = |what: &str| format!("{path:?} has no valid {what}");
        if !is_lower_hex(&self.blob_id, 40) {
            return Err(bad("blob_id"));
        }
        let storage = match (self.lfs_sha256, self.xet_hash) {
            (None, None) => Storage::Git,
            (Some(sha256), _) if !is_lower_hex(&sha256, 64) => return Err(bad("lfs_sha256")),
            (Some(sha256), None) => Storage::Lfs { sha256 },
            (Some(sha256), Some(hash)) => {
                let hash = MerkleHash::from_hex(&hash).map_err(|_| bad("xet_hash"))?;
                Storage::Xet { sha256, hash }
            }
            // Without the SHA-256 the name of its blob isn't known.
            (None, Some(_)) => return Err(bad("lfs_sha256")),
        };
        let size = self.lfs_size.unwrap_or(self.size);
        if size > MAX_SIZE {
            return Err(bad("size"));
        }
        Ok(Listed { path: path.to_owned(), size, oid: self.blob_id, storage })
    }

    fn from_entry(entry: &Listed) -> Self {
        let (lfs_sha256, xet_hash) = match &entry.storage {
            Storage::Git => (None, None),
            Storage::Lfs { sha256 } => (Some(sha256.clone()), None),
            Storage::Xet { sha256, hash } => (Some(sha256.clone()), Some(hash.hex())),
            // No listing of a repo has one.
            Storage::XetAlone { digits, .. } => (None, Some(digits.clone())),
        };
        Self {
            size: entry.size,
            blob_id: entry.oid.clone(),
            lfs_size: lfs_sha256.is_some().then_some(entry.size),
            lfs_sha256,
            xet_hash,
        }
    }
}

fn to_json(entries: &[Listed]) -> Result<Vec<u8>> {
    let tree = Tree {
        format_version: FORMAT_VERSION,
        files: entries
            .iter()
            .map(|entry| (entry.path.clone(), TreeEntry::from_entry(entry)))
            .collect(),
    };
    let mut json = Vec::new();
    tree.serialize(&mut Serializer::with_formatter(&mut json, PythonFormatter::default()))
        .map_err(Error::internal)?;
    Ok(json)
}

/// Writes JSON as Python's `json.dump(..., indent=1)` does: ASCII only.
struct PythonFormatter(PrettyFormatter<'static>);

impl Default for PythonFormatter {
    fn default() -> Self {
        Self(PrettyFormatter::with_indent(b" "))
    }
}

impl Formatter for PythonFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for c in fragment.chars() {
            if matches!(c, ' '..='~') {
                writer.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod fuzz;
