//! The files of one commit: an immutable tree whose unchanged folders are shared between commits.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use xet_core_structures::merklehash::MerkleHash;

use crate::git::{Oid, lfs_pointer};

/// Where a file's bytes are, and every id that the Hub publishes about them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Content {
    /// A plain git file, stored in the repository's pack.
    Plain {
        /// The id of the content.
        oid: Oid,
        /// Length of the content in bytes.
        size: u64,
        /// Where the content begins in the pack.
        offset: u64,
    },
    /// A large file: git holds a pointer, the content is in the CAS or in the LFS store.
    Large {
        /// The id of the **pointer** text.
        oid: Oid,
        /// The content's SHA-256, 64 hex digits.
        sha256: String,
        /// Length of the content in bytes.
        size: u64,
        /// The Xet file hash, if the content came through the CAS.
        xet: Option<String>,
    },
}

impl Content {
    /// A large file as git sees it.
    pub(crate) fn large(sha256: String, size: u64, xet: Option<String>) -> Self {
        let oid = Oid::of_blob(lfs_pointer(&sha256, size).as_bytes());
        Self::Large { oid, sha256, size, xet }
    }

    /// The id of the blob in git.
    pub(crate) fn oid(&self) -> Oid {
        match self {
            Self::Plain { oid, .. } | Self::Large { oid, .. } => *oid,
        }
    }

    /// The Xet file hash, if the content came through the CAS.
    pub(crate) fn xet_hash(&self) -> Option<MerkleHash> {
        match self {
            Self::Large { xet: Some(hash), .. } => MerkleHash::from_hex(hash).ok(),
            _ => None,
        }
    }

    /// Length of the content (not of the pointer) in bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Plain { size, .. } | Self::Large { size, .. } => *size,
        }
    }
}

/// A file at a path, and the commit that last changed it.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// The file's content.
    pub(crate) content: Content,
    /// Sequence number of the commit that brought this content to this path.
    pub(crate) commit: usize,
}

/// An entry of a folder.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// A file.
    File(Arc<File>),
    /// A folder.
    Folder(Arc<Tree>),
}

/// A folder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    entries: BTreeMap<Arc<str>, Node>,
    commit: usize,
    oid: OnceLock<Oid>,
}

/// A path runs through a file as if it were a folder, or the other way round.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is both a file and a folder")]
pub(crate) struct PathConflict(String);

impl Tree {
    /// The tree's id in git, computed once.
    pub(crate) fn oid(&self) -> Oid {
        *self.oid.get_or_init(|| {
            Oid::of_tree(self.entries.iter().map(|(name, node)| match node {
                Node::File(file) => (&**name, false, file.content.oid()),
                Node::Folder(tree) => (&**name, true, tree.oid()),
            }))
        })
    }

    /// Sequence number of the commit that last changed anything in this folder.
    pub(crate) fn commit(&self) -> usize {
        self.commit
    }

    /// Calls `look` with each file below this folder.
    pub(crate) fn each_file(&self, look: &mut impl FnMut(&File)) {
        for node in self.entries.values() {
            match node {
                Node::File(file) => look(file),
                Node::Folder(tree) => tree.each_file(look),
            }
        }
    }

    /// The entry at `path`.
    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        match path.split_once('/') {
            None => self.entries.get(path),
            Some((first, rest)) => match self.entries.get(first)? {
                Node::Folder(tree) => tree.get(rest),
                Node::File(_) => None,
            },
        }
    }

    /// The file at `path`.
    pub(crate) fn file(&self, path: &str) -> Option<&Arc<File>> {
        match self.get(path)? {
            Node::File(file) => Some(file),
            Node::Folder(_) => None,
        }
    }

    /// Puts `file` at `path`, replacing a file that is there.
    pub(crate) fn insert(&mut self, path: &str, file: Arc<File>) -> Result<(), PathConflict> {
        let commit = file.commit;
        match path.split_once('/') {
            None => {
                if let Some(Node::Folder(_)) = self.entries.get(path) {
                    return Err(PathConflict(path.to_owned()));
                }
                self.entries.insert(Arc::from(path), Node::File(file));
            }
            Some((first, rest)) => {
                let node = self
                    .entries
                    .entry(Arc::from(first))
                    .or_insert_with(|| Node::Folder(Arc::default()));
                match node {
                    Node::Folder(tree) => Arc::make_mut(tree).insert(rest, file)?,
                    Node::File(_) => return Err(PathConflict(first.to_owned())),
                }
            }
        }
        self.touch(commit);
        Ok(())
    }

    /// Removes the file or folder at `path`, and every folder that this leaves empty.
    /// Returns whether there was anything.
    pub(crate) fn remove(&mut self, path: &str, commit: usize) -> bool {
        let removed = match path.split_once('/') {
            None => self.entries.remove(path).is_some(),
            Some((first, rest)) => {
                let Some(Node::Folder(tree)) = self.entries.get_mut(first) else {
                    return false;
                };
                let tree = Arc::make_mut(tree);
                let removed = tree.remove(rest, commit);
                if tree.entries.is_empty() {
                    self.entries.remove(first);
                }
                removed
            }
        };
        if removed {
            self.touch(commit);
        }
        removed
    }

    fn touch(&mut self, commit: usize) {
        self.commit = commit;
        self.oid = OnceLock::new();
    }

    /// The entries below this folder with their paths, which begin with `prefix`: this level only,
    /// or all levels, each folder just before what it holds.
    pub(crate) fn list(&self, prefix: &str, recursive: bool) -> Vec<(String, &Node)> {
        let mut found = Vec::new();
        self.list_into(prefix, recursive, &mut found);
        found
    }

    fn list_into<'a>(&'a self, prefix: &str, recursive: bool, found: &mut Vec<(String, &'a Node)>) {
        for (name, node) in &self.entries {
            let path = format!("{prefix}{name}");
            let below = format!("{path}/");
            found.push((path, node));
            if let (Node::Folder(tree), true) = (node, recursive) {
                tree.list_into(&below, true, found);
            }
        }
    }

    /// All files with their paths.
    pub(crate) fn files(&self) -> Vec<(String, Arc<File>)> {
        self.list("", true)
            .into_iter()
            .filter_map(|(path, node)| match node {
                Node::File(file) => Some((path, Arc::clone(file))),
                Node::Folder(_) => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, commit: usize) -> Arc<File> {
        let content = Content::Plain {
            oid: Oid::of_blob(text.as_bytes()),
            size: text.len() as u64,
            offset: 0,
        };
        Arc::new(File { content, commit })
    }

    /// Removing the last file of a folder removes the folder, and the id goes back to what it was.
    #[test]
    fn folders_live_as_long_as_their_files() {
        let mut tree = Tree::default();
        tree.insert("a", file("1", 0)).unwrap();
        let before = tree.oid();
        tree.insert("b/c/d", file("2", 1)).unwrap();
        assert_ne!(tree.oid(), before);
        assert!(tree.remove("b/c/d", 2));
        assert!(tree.get("b").is_none());
        assert_eq!(tree.oid(), before);
        assert!(!tree.remove("b/c/d", 3));
    }

    /// A clone shares folders, and changing one copy never shows in the other.
    #[test]
    fn commits_do_not_see_later_changes() {
        let mut tree = Tree::default();
        tree.insert("a/b", file("1", 0)).unwrap();
        let old = tree.clone();
        tree.insert("a/b", file("2", 1)).unwrap();
        assert_eq!(old.file("a/b").map(|file| file.commit), Some(0));
        assert_eq!(tree.file("a/b").map(|file| file.commit), Some(1));
        assert_ne!(old.oid(), tree.oid());
    }

    /// A name can't be a file and a folder at once.
    #[test]
    fn a_path_through_a_file_is_a_conflict() {
        let mut tree = Tree::default();
        tree.insert("a", file("1", 0)).unwrap();
        assert!(tree.insert("a/b", file("2", 0)).is_err());
        tree.insert("c/d", file("3", 0)).unwrap();
        assert!(tree.insert("c", file("4", 0)).is_err());
    }
}
