//! What a commit deletes. A file that it brings back is sent however unchanged it is: left out, it
//! would be deleted.

use std::collections::HashSet;

use super::request::Operation;
use crate::model::repo::RepoPath;

/// The files and folders that go.
#[derive(Debug, Default)]
pub(super) struct Deletions(HashSet<String>);

impl Deletions {
    pub(super) fn of(operations: &[Operation]) -> Self {
        let deletions = operations.iter().filter_map(|operation| match operation {
            Operation::Delete(path) | Operation::DeleteFolder(path) => Some(path.to_string()),
            Operation::Add { .. } | Operation::Copy { .. } => None,
        });
        Self(deletions.collect())
    }

    /// Whether `path` goes, or a folder that it is in.
    pub(super) fn covers(&self, path: &RepoPath) -> bool {
        let path = path.as_str();
        let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
        folders.chain([path]).any(|path| self.0.contains(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in a deleted folder goes, at any depth; what only has a name like it stays.
    #[test]
    fn folders_take_along_what_is_in_them() {
        let path = |text| RepoPath::new(text).unwrap();
        let deletions = Deletions::of(&[
            Operation::DeleteFolder(path("a/b")),
            Operation::Delete(path("c.txt")),
        ]);
        for (text, goes) in [
            ("a/b", true),
            ("a/b/c", true),
            ("a/b/c/d", true),
            ("c.txt", true),
            ("a", false),
            ("a/bc", false),
            ("a/c.txt", false),
            ("c.txt2", false),
        ] {
            assert_eq!(deletions.covers(&path(text)), goes, "{text}");
        }
    }
}
