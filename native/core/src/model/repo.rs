//! The names of things on the Hub: repos, revisions, commits, file paths, and the entries of a
//! listing.
//!
//! Everything here is validated when it is built, so the rest of the crate can join these strings
//! to URLs and local paths without looking again. The rules are the Hub's, as huggingface_hub
//! applies them (`HFValidationError`, unsafe paths).

use std::fmt;

use xet_core_structures::merklehash::MerkleHash;

use crate::model::error::{Error, Kind, Result};

/// What sort of repo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the Hub's own words")]
pub enum RepoType {
    Model,
    Dataset,
    Space,
}

impl RepoType {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Model, Self::Dataset, Self::Space];

    /// Accepts the singular and the plural; the plural is what URLs and cache folders use.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "model" | "models" => Ok(Self::Model),
            "dataset" | "datasets" => Ok(Self::Dataset),
            "space" | "spaces" => Ok(Self::Space),
            other => Err(Error::invalid(
                "repo_type",
                format!("{other:?} is none of model, dataset, space"),
            )),
        }
    }

    /// `models`, `datasets` or `spaces`: the API segment and the prefix of cache folders.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
            Self::Space => "spaces",
        }
    }

    /// `model`, `dataset` or `space`.
    #[must_use]
    pub fn singular(self) -> &'static str {
        self.plural().trim_end_matches('s')
    }
}

/// A repo: its type and its validated id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repo {
    repo_type: RepoType,
    id: String,
}

impl Repo {
    /// Longest `namespace` or `name`.
    const MAX_PART: usize = 96;

    /// Validates `id` as `name` or `namespace/name`.
    pub fn new(repo_type: RepoType, id: &str) -> Result<Self> {
        let bad = |why: &str| {
            let shown: String = id.chars().take(200).collect();
            Error::new(
                Kind::InvalidRepoId,
                format!("repo_id: {shown:?} {why}; it must be \"name\" or \"namespace/name\""),
            )
            .with(|c| c.field = Some("repo_id".into()))
        };
        if id.is_empty() {
            return Err(bad("is empty"));
        }
        if id.split('/').count() > 2 {
            return Err(bad("has more than one '/'"));
        }
        if id.contains("--") || id.contains("..") {
            return Err(bad("contains '--' or '..'"));
        }
        // rfind instead of Path::extension: '.git' counts in any position at the end.
        if id.to_ascii_lowercase().ends_with(".git") {
            return Err(bad("ends in '.git'"));
        }
        for part in id.split('/') {
            if part.is_empty() || part.len() > Self::MAX_PART {
                return Err(bad("has a part that is empty or longer than 96 characters"));
            }
            if !part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')) {
                return Err(bad("has characters other than letters, digits, '_', '.' and '-'"));
            }
            if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
                return Err(bad("has a part that begins or ends with '-' or '.'"));
            }
        }
        Ok(Self { repo_type, id: id.to_owned() })
    }

    /// The repo that a folder of the cache belongs to, the reverse of
    /// [`folder_name`](Self::folder_name); `None` if there is none of that name.
    #[must_use]
    pub fn from_folder_name(folder: &str) -> Option<Self> {
        let (repo_type, id) = folder.split_once("--")?;
        let repo_type = RepoType::parse(repo_type).ok().filter(|found| found.plural() == repo_type);
        Self::new(repo_type?, &id.replace("--", "/")).ok()
    }

    /// `namespace/name`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What sort of repo.
    #[must_use]
    pub fn repo_type(&self) -> RepoType {
        self.repo_type
    }

    /// What stands before the id in resolve URLs: nothing, `datasets/` or `spaces/`.
    #[must_use]
    pub fn url_prefix(&self) -> &'static str {
        match self.repo_type {
            RepoType::Model => "",
            RepoType::Dataset => "datasets/",
            RepoType::Space => "spaces/",
        }
    }

    /// `models--namespace--name`: the repo's folder in the cache.
    #[must_use]
    pub fn folder_name(&self) -> String {
        format!("{}--{}", self.repo_type.plural(), self.id.replace('/', "--"))
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.repo_type.singular(), self.id)
    }
}

/// A commit id: 40 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommitId(String);

impl CommitId {
    /// `None` unless `text` is 40 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_lower_hex(text, 40).then(|| Self(text.to_owned()))
    }

    /// The hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A branch, tag, commit or sub-ref such as `refs/pr/1`, safe to use as a relative path under
/// `refs/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision(String);

impl Revision {
    /// The default branch, where none is named.
    pub const MAIN: &'static str = "main";

    /// Validates a revision; empty means `main`.
    pub fn new(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self(Self::MAIN.to_owned()));
        }
        let unsafe_segment = |s: &str| s.is_empty() || s == "." || s == "..";
        if text.len() > 1024
            || text.chars().any(|c| c.is_control() || c == '\\')
            || text.split('/').any(unsafe_segment)
        {
            let shown: String = text.chars().take(200).collect();
            return Err(Error::invalid(
                "revision",
                format!("{shown:?} can't be a branch, tag or commit"),
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The commit, if this is one by its shape (40 lower-case hex digits, as in huggingface_hub).
    #[must_use]
    pub fn as_commit(&self) -> Option<CommitId> {
        CommitId::parse(&self.0)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The path of a file in a repo, relative, with `/`; safe to join to a local folder on every
/// platform.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoPath(String);

impl RepoPath {
    /// Refuses what would leave the folder it is joined to: absolute paths, `..`, NUL; and what
    /// would do so on Windows, where the folder may end up: `..\x`, `\x`, `C:\x`, UNC. As
    /// `huggingface_hub`, but for `T:x`, which is a file's name here.
    pub fn new(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            let shown: String = text.chars().take(200).collect();
            Error::new(
                Kind::UnsafePath,
                format!("file path {shown:?} {why}; it must be relative and stay inside its repo"),
            )
            .with(|c| c.file = Some(shown))
        };
        if text.is_empty() {
            return Err(bad("is empty"));
        }
        if text.len() > 4096 {
            return Err(bad("is longer than 4,096 bytes"));
        }
        if text.contains('\0') {
            return Err(bad("holds a NUL"));
        }
        for segment in text.split('/') {
            if matches!(segment, "" | "." | "..") {
                return Err(bad("is absolute or has an empty, '.' or '..' segment"));
            }
            let below = without_drive(segment);
            let leaves = below.is_empty() || below.starts_with('\\');
            if leaves || below.split('\\').any(|part| part == "..") {
                return Err(bad("is absolute or leaves its folder on Windows"));
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The path as the Hub spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A segment of a path without Windows' drive letter.
fn without_drive(segment: &str) -> &str {
    match segment.as_bytes() {
        [letter, b':', ..] if letter.is_ascii_alphabetic() => &segment[2..],
        _ => segment,
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the Hub stores a file, and with that, the hash its content is checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In git: the entry's oid is the blob id of the content.
    Git,
    /// In LFS storage, over plain HTTP.
    Lfs {
        /// 64 lower-case hex digits.
        sha256: String,
    },
    /// In Xet storage, and over plain HTTP too.
    Xet {
        /// 64 lower-case hex digits.
        sha256: String,
        /// Merkle hash of the chunks.
        hash: MerkleHash,
    },
    /// In Xet storage, and known by its Xet hash alone: nobody has said which SHA-256 it has, nor of which repo
    /// it is.
    XetAlone {
        /// Merkle hash of the chunks.
        hash: MerkleHash,
        /// The same in hex digits.
        digits: String,
    },
}

/// One file of a commit, at a path of the kind `P`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<P = RepoPath> {
    /// Where in the repo.
    pub path: P,
    /// Of the content, in bytes.
    pub size: u64,
    /// Git blob id: of the content, or for LFS and Xet files of the pointer. 40 lower-case hex
    /// digits.
    pub oid: String,
    /// How it is stored.
    pub storage: Storage,
}

/// One file of a listing, whose path is what the Hub says: it may be none that can be written.
pub type Listed = Entry<String>;

impl<P> Entry<P> {
    /// The name of the file's blob in the cache: SHA-256 for LFS and Xet files, the git blob id
    /// otherwise. Equals the normalised ETag of a resolve answer. Of content that is known by its Xet hash
    /// alone: that, which no cache of a repo has anything under.
    #[must_use]
    pub fn etag(&self) -> &str {
        match &self.storage {
            Storage::Git => &self.oid,
            Storage::Lfs { sha256 } | Storage::Xet { sha256, .. } => sha256,
            Storage::XetAlone { digits, .. } => digits,
        }
    }

    /// The Xet hash, if the file is in Xet storage.
    #[must_use]
    pub fn xet_hash(&self) -> Option<&MerkleHash> {
        match &self.storage {
            Storage::Xet { hash, .. } | Storage::XetAlone { hash, .. } => Some(hash),
            _ => None,
        }
    }

    fn at<Q>(self, path: Q) -> Entry<Q> {
        Entry { path, size: self.size, oid: self.oid, storage: self.storage }
    }
}

impl Entry {
    /// Content that is known by its Xet hash alone, under the name that the caller has for it.
    #[must_use]
    pub fn of_xet_hash(name: RepoPath, hash: MerkleHash, size: u64) -> Self {
        let storage = Storage::XetAlone { hash, digits: hash.hex() };
        Self { path: name, size, oid: String::new(), storage }
    }
}

impl Listed {
    /// The file under a path that is safe to join, if its path is one.
    pub fn placed(self) -> Result<Entry> {
        let path = RepoPath::new(&self.path)?;
        Ok(self.at(path))
    }
}

impl From<Entry> for Listed {
    fn from(entry: Entry) -> Self {
        let path = entry.path.to_string();
        entry.at(path)
    }
}

/// The files of a repo at one commit.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The commit that the revision stands for.
    pub commit: CommitId,
    /// In the Hub's order.
    pub entries: Vec<Listed>,
}

/// Whether `text` is exactly `len` lower-case hex digits.
#[must_use]
pub fn is_lower_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids that the Hub knows are accepted, with one or two parts.
    #[test]
    fn valid_repo_ids_are_accepted() {
        for id in ["gpt2", "org/name", "a", "Org_1/na.me-2"] {
            assert!(Repo::new(RepoType::Model, id).is_ok(), "{id}");
        }
        let long = format!("{}/{}", "a".repeat(96), "b".repeat(96));
        assert!(Repo::new(RepoType::Model, &long).is_ok());
    }

    /// Everything that huggingface_hub refuses is refused, and the error names the field.
    #[test]
    fn invalid_repo_ids_are_refused() {
        let long = "a".repeat(97);
        for id in [
            "", "a/b/c", "a--b", "a..b", "x.git", "-a", "a.", "a/", "/a", "a b", "ä", "a/../b",
            &long,
        ] {
            let error = Repo::new(RepoType::Model, id).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidRepoId, "{id}");
            assert_eq!(error.context().field.as_deref(), Some("repo_id"));
        }
    }

    /// A path from the network can't leave the folder it is joined to.
    #[test]
    fn paths_that_leave_their_folder_are_refused() {
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../b",
            "a/..",
            "C:/x",
            "C:",
            "C:\\x",
            "C:..\\x",
            "a/C:\\x",
            "\\x",
            "a\\..\\b",
            "\\\\host\\x",
            "a//b",
            "./a",
            "a\0b",
        ] {
            assert_eq!(RepoPath::new(path).unwrap_err().kind(), Kind::UnsafePath, "{path:?}");
        }
        let names = ["a", "a/b.c", "ünï/cödé.bin", "..a", "a..", ".gitattributes", "a b "];
        for path in names.into_iter().chain(["T:0.json", ".\\x", "a\\b", "C:x", "CON"]) {
            assert!(RepoPath::new(path).is_ok(), "{path:?}");
        }
    }

    /// A revision can't leave the cache's refs folder either.
    #[test]
    fn revisions_stay_inside_refs() {
        for revision in ["../x", "a/../b", "/x", "a\0", "a\\b"] {
            assert!(Revision::new(revision).is_err(), "{revision:?}");
        }
        assert_eq!(Revision::new("").unwrap().as_str(), "main");
        assert_eq!(Revision::new("refs/pr/1").unwrap().as_str(), "refs/pr/1");
        assert!(Revision::new(&"a".repeat(40)).unwrap().as_commit().is_some());
        assert!(Revision::new(&"A".repeat(40)).unwrap().as_commit().is_none());
    }
}
