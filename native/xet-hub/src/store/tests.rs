//! A store that is closed and opened again is the store that it was.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use super::repo::{ChangeError, Edit, NewCommit, Repo};
use super::state::{Gate, Record, Settings};
use super::tree::Content;
use super::{Found, NewRepo, Store};
use crate::ids::{RepoKey, RepoType};

fn key(id: &str) -> RepoKey {
    RepoKey::parse(RepoType::Model, id).unwrap()
}

fn new_repo(id: &str) -> NewRepo {
    NewRepo {
        key: key(id),
        owner: "alice".to_owned(),
        settings: Settings::default(),
        files: vec![("first".to_owned(), b"1".to_vec())],
    }
}

fn commit(edits: Vec<Edit>) -> NewCommit {
    NewCommit {
        revision: "main".to_owned(),
        parent: None,
        title: "title".to_owned(),
        body: String::new(),
        author: "alice".to_owned(),
        edits,
        pull_request: false,
    }
}

fn plain(path: &str, text: &str) -> Edit {
    Edit::Plain { path: path.to_owned(), bytes: text.as_bytes().to_vec().into() }
}

fn text(repo: &Repo, revision: &str, path: &str) -> Option<String> {
    let state = repo.state();
    let commit = &state.commits[state.resolve(revision)?];
    let Content::Plain { size, offset, .. } = commit.tree.file(path)?.content else { return None };
    Some(String::from_utf8(repo.read_blob(offset, size).unwrap().to_vec()).unwrap())
}

fn open_repo(data: &Path, id: &str) -> std::sync::Arc<Repo> {
    match Store::open(data).unwrap().find(&key(id)) {
        Some(Found::Repo(repo)) => repo,
        _ => panic!("{id} is missing"),
    }
}

/// Commits, pull requests, names and switches are all in the journal.
#[test]
fn a_reopened_store_is_the_same() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let repo = store.create(new_repo("a/b")).unwrap().unwrap();
    repo.commit(commit(vec![plain("d/x", "one"), plain("d/y", "two")])).unwrap();
    let folder = Edit::DeleteFolder { path: "d/".to_owned() };
    let made = repo.commit(commit(vec![folder, plain("d/x", "three")])).unwrap();
    repo.commit(NewCommit { pull_request: true, ..commit(vec![plain("p", "pr")]) }).unwrap();
    let settings = Settings { private: Some(true), gate: Some(Gate::Auto), ..Settings::default() };
    repo.record(vec![Record::Settings(settings)]).unwrap();
    assert!(store.rename(&repo, key("a/c")).unwrap());
    drop((repo, store));

    let store = Store::open(data.path()).unwrap();
    assert!(matches!(store.find(&key("a/b")), Some(Found::Renamed(_))));
    let repo = open_repo(data.path(), "a/c");
    assert_eq!(text(&repo, "main", "d/x").as_deref(), Some("three"));
    assert_eq!(text(&repo, "main", "d/y"), None);
    assert_eq!(text(&repo, "main", "first").as_deref(), Some("1"));
    assert_eq!(text(&repo, "refs/pr/1", "p").as_deref(), Some("pr"));
    let state = repo.state();
    assert_eq!(state.resolve("main"), state.commit_of(made.id));
    assert_eq!(state.resolve(&made.id.to_string()[..8]), state.commit_of(made.id));
    assert_eq!((state.private, state.gate), (true, Gate::Auto));
}

/// What a kill leaves of a creation or a deletion is cleaned up, and other repositories stay.
#[test]
fn half_made_repositories_disappear() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let repo = store.create(new_repo("a/b")).unwrap().unwrap();
    assert!(store.create(new_repo("a/b")).unwrap().is_none());
    for name in [".new-1", ".old-2"] {
        std::fs::create_dir(data.path().join("repos").join(name)).unwrap();
    }
    let store = Store::open(data.path()).unwrap();
    assert_eq!(std::fs::read_dir(data.path().join("repos")).unwrap().count(), 1);
    store.delete(&repo).unwrap();
    assert_eq!(std::fs::read_dir(data.path().join("repos")).unwrap().count(), 0);
}

/// A commit that can't be made whole changes nothing, in memory or on disk.
#[test]
fn refused_commits_leave_no_trace() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let repo = store.create(new_repo("a/b")).unwrap().unwrap();
    let delete = Edit::DeleteFile { path: "missing".to_owned() };
    let refused = repo.commit(commit(vec![plain("x", "1"), delete]));
    assert!(matches!(refused, Err(ChangeError::NoEntry(_))));
    let refused = repo.commit(commit(vec![plain("x", "1"), plain("first/y", "2")]));
    assert!(matches!(refused, Err(ChangeError::Conflict(_))));
    let refused = repo.commit(commit(vec![plain("../x", "1")]));
    assert!(matches!(refused, Err(ChangeError::BadPath(_))));
    let old = NewCommit { parent: Some("0".repeat(40)), ..commit(vec![plain("x", "1")]) };
    assert!(matches!(repo.commit(old), Err(ChangeError::Outdated)));
    for repo in [repo, open_repo(data.path(), "a/b")] {
        assert_eq!(repo.state().commits.len(), 1);
        assert_eq!(text(&repo, "main", "x"), None);
    }
}

/// A journal whose files don't add up to the commit ids in it is refused at start.
#[test]
fn a_journal_that_lies_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let repo = store.create(new_repo("a/b")).unwrap().unwrap();
    repo.commit(commit(vec![plain("x", "1")])).unwrap();
    let journal = repo.dir().join("journal.ndjson");
    let lines = std::fs::read_to_string(&journal).unwrap().replace("\"title\"", "\"other\"");
    let mut file = OpenOptions::new().write(true).truncate(true).open(&journal).unwrap();
    file.write_all(lines.as_bytes()).unwrap();
    assert!(Store::open(data.path()).is_err());
}
