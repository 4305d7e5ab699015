//! Entries of commits that the Hub has described, in the memory of one process: a commit's tree never changes, so a
//! file of one needn't be asked for again.
//!
//! They are known by the name that the repo was asked for by: what one name stands for, or one way to write it, says
//! nothing of another. Nobody gets content by one of them: who may have that is decided where it's fetched, by the route
//! for tokens and by that of the file itself.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::repo::{CommitId, Entry, Listed, Repo, RepoPath, Storage};

/// The most entries to keep, of all commits together: a few megabytes.
const MOST: usize = 1 << 14;

/// The entries that are kept, those of the commits that were described last. For many threads.
#[derive(Default)]
pub(crate) struct Described(Mutex<State>);

#[derive(Default)]
struct State {
    commits: HashMap<Key, Files>,
    /// The oldest first.
    order: VecDeque<Key>,
    /// Of all commits.
    entries: usize,
}

type Key = (Repo, CommitId);
type Files = HashMap<String, (Listed, Word)>;

/// Whose word an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Listing,
    /// The answer about the file by itself: a mirror's may be about its own copy.
    Answer,
}

impl Described {
    /// Keeps what the Hub has said of a file.
    pub(crate) fn add(&self, repo: &Repo, commit: &CommitId, entry: &Entry, word: Word) {
        if !is_for_good(&entry.storage) {
            return;
        }
        let (key, path) = ((repo.clone(), commit.clone()), entry.path.to_string());
        let mut state = self.state();
        let State { commits, order, entries } = &mut *state;
        let files = commits.entry(key).or_insert_with_key(|key| {
            order.push_back(key.clone());
            Files::new()
        });
        let before = files.insert(path, (entry.clone().into(), word));
        *entries += usize::from(before.is_none());
        state.make_room();
    }

    /// Keeps a listing of all files of a commit, in which none is masked, unless it's too long. One is given to those,
    /// too, who are kept from the content by a gate; of Xet files it has no hashes then, and without any it doesn't tell:
    /// whoever opens a file is to hear of a gate.
    pub(crate) fn add_listing(&self, repo: &Repo, commit: &CommitId, listing: &[Listed]) {
        let tells_rights = listing.iter().any(|entry| entry.xet_hash().is_some());
        if listing.len() > MOST || !tells_rights {
            return;
        }
        let kept = listing.iter().filter(|entry| is_for_good(&entry.storage));
        let files = kept.map(|entry| (entry.path.clone(), (entry.clone(), Word::Listing)));
        let (key, files) = ((repo.clone(), commit.clone()), files.collect::<Files>());
        let mut state = self.state();
        state.forget(&key);
        state.entries += files.len();
        state.order.push_back(key.clone());
        state.commits.insert(key, files);
        state.make_room();
    }

    /// What is known of a file, and whose word that is.
    pub(crate) fn find(
        &self,
        repo: &Repo,
        commit: &CommitId,
        path: &RepoPath,
    ) -> Option<(Listed, Word)> {
        let key = (repo.clone(), commit.clone());
        self.state().commits.get(&key)?.get(path.as_str()).cloned()
    }

    /// Forgets a commit: something of it isn't as it was described.
    pub(crate) fn forget(&self, repo: &Repo, commit: &CommitId) {
        self.state().forget(&(repo.clone(), commit.clone()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, key: &Key) {
        if let Some(files) = self.commits.remove(key) {
            self.entries -= files.len();
            self.order.retain(|other| other != key);
        }
    }

    fn make_room(&mut self) {
        while self.entries > MOST
            && let Some(key) = self.order.pop_front()
        {
            self.entries -= self.commits.remove(&key).map_or(0, |files| files.len());
        }
    }
}

/// Whether a file stays as it's described. One of LFS storage moves to Xet storage, sooner or later, in the same commit.
fn is_for_good(storage: &Storage) -> bool {
    !matches!(storage, Storage::Lfs { .. })
}

#[cfg(test)]
mod tests {
    use xet_core_structures::merklehash::MerkleHash;

    use super::*;
    use crate::model::repo::RepoType;

    fn repo(id: &str) -> Repo {
        Repo::new(RepoType::Model, id).unwrap()
    }

    fn commit(number: usize) -> CommitId {
        CommitId::parse(&format!("{number:040x}")).unwrap()
    }

    fn listing(files: usize) -> Vec<Listed> {
        let file = |number| Listed {
            path: format!("{number}.bin"),
            size: 1,
            oid: "0".repeat(40),
            storage: Storage::Git,
        };
        let mut listing: Vec<_> = (0..files).map(file).collect();
        let hash = MerkleHash::default();
        listing[files - 1].storage = Storage::Xet { sha256: "0".repeat(64), hash };
        listing
    }

    fn known(described: &Described, id: &str, number: usize) -> bool {
        let path = RepoPath::new("0.bin").unwrap();
        described.find(&repo(id), &commit(number), &path).is_some()
    }

    /// By the very name, at the very commit.
    #[test]
    fn a_file_is_known_by_the_name_that_was_asked_for() {
        let described = Described::default();
        described.add_listing(&repo("alice/model"), &commit(1), &listing(3));
        assert!(known(&described, "alice/model", 1));
        assert!(!known(&described, "Alice/model", 1) && !known(&described, "alice/model", 2));
        described.forget(&repo("alice/model"), &commit(1));
        assert!(!known(&described, "alice/model", 1));
        assert_eq!(described.state().entries, 0);
    }

    /// However much is described, the oldest commits go first, and what is too long is never kept.
    #[test]
    fn the_oldest_go_first() {
        let described = Described::default();
        let add = |number, files| {
            described.add_listing(&repo("alice/model"), &commit(number), &listing(files));
        };
        add(0, MOST + 1);
        assert!(!known(&described, "alice/model", 0));
        (1..=3).for_each(|number| add(number, MOST / 2));
        assert_eq!(
            [1, 2, 3].map(|number| known(&described, "alice/model", number)),
            [false, true, true]
        );
        // What is described again is no more than it was, and the newest.
        add(2, MOST / 2);
        add(4, 1);
        assert_eq!(
            [2, 3, 4].map(|number| known(&described, "alice/model", number)),
            [true, false, true]
        );
        for number in 5..5 + 2 * MOST {
            let entry = listing(1).remove(0).placed().unwrap();
            described.add(&repo("alice/model"), &commit(number), &entry, Word::Answer);
        }
        let state = described.state();
        assert_eq!((state.entries, state.order.len(), state.commits.len()), (MOST, MOST, MOST));
    }

    /// What may come over Xet the next time isn't kept as what it was.
    #[test]
    fn files_that_may_move_are_asked_for_again() {
        let described = Described::default();
        let mut files = listing(2);
        files[0].storage = Storage::Lfs { sha256: "0".repeat(64) };
        described.add_listing(&repo("alice/model"), &commit(1), &files);
        let entry = files.remove(0).placed().unwrap();
        described.add(&repo("alice/model"), &commit(1), &entry, Word::Answer);
        assert!(!known(&described, "alice/model", 1));
        assert_eq!(described.state().entries, 1);
    }

    /// Nor is a listing that doesn't say whether its reader may have the content.
    #[test]
    fn a_listing_that_tells_no_rights_is_not_kept() {
        let described = Described::default();
        described.add_listing(&repo("alice/model"), &commit(1), &listing(2)[..1]);
        assert!(!known(&described, "alice/model", 1));
        assert!(described.state().order.is_empty());
    }
}
