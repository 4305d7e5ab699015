//! The Hub client against a real server, xet-hub, filled by plain HTTP calls as the Hub's own
//! clients make them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use futures_util::TryStreamExt;
use reqwest::Method;
use serde_json::json;
use support::live::{ALICE, BOB, LiveHub};
use support::{entry, model, path, revision};
use xet_ffi_core::call::progress::Counters;
use xet_ffi_core::cas::HubTokens;
use xet_ffi_core::hub::{Access, Content, Files, Hub, Names};
use xet_ffi_core::model::error::{Error, Kind};
use xet_ffi_core::model::repo::{CommitId, Entry, Repo, RepoType, Storage};

const REPO: &str = "models/alice/x";

/// A server with the repo `alice/x`, which holds `files`, and its commit.
async fn with_files(arguments: &[&str], files: &[(&str, &[u8])]) -> (LiveHub, CommitId) {
    let server = LiveHub::start(arguments);
    server.create("model", "x", false).await;
    let answer = server.commit(REPO, "main", files).await;
    (server, oid(&answer))
}

fn oid(answer: &serde_json::Value) -> CommitId {
    CommitId::parse(answer["commitOid"].as_str().unwrap()).unwrap()
}

async fn files(
    hub: &Hub,
    repo: &Repo,
    commit: &CommitId,
    counters: &Counters,
) -> Result<Files, Error> {
    hub.list(repo, commit, Names::Unasked, |_| true, counters).await
}

async fn list(hub: &Hub, repo: &Repo, commit: &CommitId) -> Vec<Entry> {
    let listed = files(hub, repo, commit, &Counters::default()).await.unwrap().entries;
    let mut entries: Vec<Entry> = listed.into_iter().map(|file| file.placed().unwrap()).collect();
    // The server adds this to every repo.
    entries.retain(|entry| entry.path.as_str() != ".gitattributes");
    entries
}

async fn bytes(content: Content) -> Vec<u8> {
    let chunks: Vec<_> = content.stream.try_collect().await.unwrap();
    chunks.concat()
}

/// A listing holds each file once, at all depths and with any name, over as many pages as it takes.
#[tokio::test]
async fn a_listing_holds_every_file_once() {
    let names: Vec<String> = (0..10)
        .map(|n| format!("dir {n}/ünï-{n}/100%+#?.txt"))
        .chain(["a".to_owned(), "b/c".to_owned()])
        .collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    let (server, commit) = with_files(&["--page-size", "4"], &files).await;
    server.reset_stats().await;
    let entries = list(&server.client(None), &model("alice/x"), &commit).await;
    let mut listed: Vec<_> = entries.iter().map(|entry| entry.path.as_str()).collect();
    let mut expected: Vec<_> = names.iter().map(String::as_str).collect();
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    // 12 files, .gitattributes, and 21 folders.
    assert_eq!(server.stats().await["requests"]["hub"]["tree"], json!(34_u32.div_ceil(4)));
}

/// One HEAD tells of a file what the listing tells, for git and LFS files, with any name.
#[tokio::test]
async fn a_look_at_one_file_agrees_with_the_listing() {
    let (server, _) = with_files(&[], &[("dir/ü 100%.txt", b"text"), ("empty", b"")]).await;
    let commit = oid(&server.commit_lfs(REPO, "big.bin", &vec![7; 100_000]).await);
    let (hub, repo) = (server.client(None), model("alice/x"));
    let entries = list(&hub, &repo, &commit).await;
    assert_eq!(entries.len(), 3);
    for entry in entries {
        server.reset_stats().await;
        let counters = Counters::default();
        let found = hub.file_entry(&repo, &revision("main"), &entry.path, &counters).await;
        assert_eq!(found.unwrap(), (commit.clone(), entry.clone()));
        let is_lfs = matches!(entry.storage, Storage::Lfs { .. });
        assert_eq!(is_lfs, entry.path.as_str() == "big.bin");
        let stats = server.stats().await;
        assert_eq!(stats["requests"]["hub"]["resolve"], 1, "{stats}");
        assert_eq!(stats["requests"]["storage"], json!(null), "{stats}");
    }
}

/// A file's bytes come from the Hub or from storage, from any offset, and storage never sees the
/// token.
#[tokio::test]
async fn bytes_come_from_any_offset() {
    let big: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let (server, _) = with_files(&[], &[("small", b"abcdef")]).await;
    let commit = oid(&server.commit_lfs(REPO, "big.bin", &big).await);
    server.reset_stats().await;
    let (hub, repo, counters) = (server.client(Some(ALICE)), model("alice/x"), Counters::default());
    for (name, expected) in [("small", &b"abcdef"[..]), ("big.bin", &big)] {
        let size = expected.len();
        for from in [0, 1, size - 1, size] {
            let offset = from as u64;
            let content = hub
                .open_file(&repo, &commit, &entry(name, size as u64), offset, None, &counters)
                .await
                .unwrap();
            assert_eq!((content.starts_at, content.total), (offset, Some(size as u64)), "{name}");
            assert_eq!(bytes(content).await, expected[from..], "{name} {from}");
        }
        let beyond = size as u64 + 1;
        // There is no such range, so all comes.
        let content = hub
            .open_file(&repo, &commit, &entry(name, size as u64), beyond, None, &counters)
            .await
            .unwrap();
        assert_eq!((content.starts_at, content.total), (0, Some(size as u64)), "{name}");
    }
    let stats = server.stats().await;
    assert_eq!(stats["requests"]["storage"]["storage"], 6, "{stats}");
    assert_eq!(stats["storage_requests_with_authorization"], 0, "{stats}");
}

/// Branches, tags and pull requests are resolved to their commits, and files are found at each of
/// them.
#[tokio::test]
async fn revisions_are_resolved() {
    let (server, first) = with_files(&[], &[("f", b"1")]).await;
    server.post("/api/models/alice/x/branch/dev%2Fx", json!({})).await;
    server.post("/api/models/alice/x/tag/main", json!({"tag": "v1.0"})).await;
    let second = oid(&server.commit(REPO, "main", &[("f", b"22")]).await);
    server.commit(REPO, "main?create_pr=1", &[("f", b"333")]).await;
    let (hub, repo, counters) = (server.client(None), model("alice/x"), Counters::default());
    for (name, commit, size) in [
        ("main", Some(&second), 2),
        ("dev/x", Some(&first), 1),
        ("v1.0", Some(&first), 1),
        (first.as_str(), Some(&first), 1),
        ("refs/pr/1", None, 3),
    ] {
        let resolved = hub.commit_of(&repo, &revision(name), &counters).await.unwrap();
        assert!(commit.is_none_or(|commit| *commit == resolved), "{name}");
        let (at, entry) =
            hub.file_entry(&repo, &revision(name), &path("f"), &counters).await.unwrap();
        assert_eq!((at, entry.size), (resolved, size), "{name}");
    }
}

/// Datasets and spaces have their own addresses.
#[tokio::test]
async fn datasets_and_spaces_are_found() {
    let server = LiveHub::start(&[]);
    for (kind, repo_type) in [("dataset", RepoType::Dataset), ("space", RepoType::Space)] {
        let body = json!({"name": "x", "type": kind, "sdk": "static"});
        server.post("/api/repos/create", body).await;
        server.commit(&format!("{kind}s/alice/x"), "main", &[("f", kind.as_bytes())]).await;
        let (hub, counters) = (server.client(None), Counters::default());
        let repo = Repo::new(repo_type, "alice/x").unwrap();
        let commit = hub.commit_of(&repo, &revision("main"), &counters).await.unwrap();
        assert!(list(&hub, &repo, &commit).await.iter().any(|entry| entry.path.as_str() == "f"));
        let content =
            hub.open_file(&repo, &commit, &entry("f", 7), 0, None, &counters).await.unwrap();
        assert_eq!(bytes(content).await, kind.as_bytes());
    }
}

/// What is missing is told apart: the repo, the revision, the file.
#[tokio::test]
async fn what_is_missing_is_told_apart() {
    let (server, commit) = with_files(&[], &[("f", b"x")]).await;
    let (hub, counters) = (server.client(Some(ALICE)), Counters::default());
    let (repo, none) = (model("alice/x"), model("alice/none"));
    let (main, gone, file) = (revision("main"), revision("gone"), path("f"));
    let absent = CommitId::parse(&"9".repeat(40)).unwrap();
    for (error, kind) in [
        (hub.commit_of(&none, &main, &counters).await.unwrap_err(), Kind::RepoNotFound),
        (files(&hub, &none, &commit, &counters).await.unwrap_err(), Kind::RepoNotFound),
        (hub.file_entry(&none, &main, &file, &counters).await.unwrap_err(), Kind::RepoNotFound),
        (
            hub.xet_token(&none, &Access::Read(commit.clone()), &counters).await.unwrap_err(),
            Kind::RepoNotFound,
        ),
        (hub.commit_of(&repo, &gone, &counters).await.unwrap_err(), Kind::RevisionNotFound),
        (files(&hub, &repo, &absent, &counters).await.unwrap_err(), Kind::RevisionNotFound),
        (hub.file_entry(&repo, &gone, &file, &counters).await.unwrap_err(), Kind::RevisionNotFound),
        (
            hub.file_entry(&repo, &main, &path("no"), &counters).await.unwrap_err(),
            Kind::EntryNotFound,
        ),
        (
            hub.open_file(&repo, &commit, &entry("no", 7), 0, None, &counters).await.unwrap_err(),
            Kind::EntryNotFound,
        ),
    ] {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.context().request_id.is_some(), "{error:?}");
        assert_eq!(error.context().attempts, Some(1));
    }
}

/// Who may not read is told why: to strangers a private repo doesn't exist, a gated one says so, a
/// bad token is bad.
#[tokio::test]
async fn who_may_not_read_is_told_why() {
    let server = LiveHub::start(&[]);
    let settings = [
        ("private", json!({"private": true})),
        ("gated", json!({"gate": "manual"})),
        ("disabled", json!({"disabled": true})),
    ];
    for (name, switches) in settings {
        server.create("model", name, false).await;
        server.commit(&format!("models/alice/{name}"), "main", &[("f", b"x")]).await;
        server.set(&format!("model/alice/{name}"), switches).await;
    }
    for (name, token, expected) in [
        ("private", Some(ALICE), None),
        ("private", Some(BOB), Some(Kind::RepoNotFound)),
        ("private", None, Some(Kind::RepoNotFound)),
        ("gated", Some(ALICE), None),
        ("gated", Some(BOB), Some(Kind::GatedRepo)),
        ("gated", None, Some(Kind::GatedRepo)),
        ("disabled", Some(ALICE), Some(Kind::RepoDisabled)),
        ("private", Some("hf_wrong"), Some(Kind::Unauthorized)),
        ("gated", Some("hf_wrong"), Some(Kind::Unauthorized)),
    ] {
        let (hub, repo, counters) =
            (server.client(token), model(&format!("alice/{name}")), Counters::default());
        let found = hub.file_entry(&repo, &revision("main"), &path("f"), &counters).await;
        assert_eq!(
            found.as_ref().err().map(xet_ffi_core::model::error::Error::kind),
            expected,
            "{name} {token:?}"
        );
        if let Err(error) = found {
            assert!(!format!("{error:?}").contains("hf_"), "{error:?}");
        }
    }
}

/// A repo that was renamed is found by its old name, with the token sent along.
#[tokio::test]
async fn a_renamed_repo_is_found_by_its_old_name() {
    let server = LiveHub::start(&[]);
    server.create("model", "old", true).await;
    let commit = oid(&server.commit("models/alice/old", "main", &[("f", b"x")]).await);
    let moved = json!({"fromRepo": "alice/old", "toRepo": "alice/new", "type": "model"});
    server.post("/api/repos/move", moved).await;
    let (hub, repo, counters) =
        (server.client(Some(ALICE)), model("alice/old"), Counters::default());
    let main = revision("main");
    assert_eq!(hub.commit_of(&repo, &main, &counters).await.unwrap(), commit);
    assert_eq!(hub.file_entry(&repo, &main, &path("f"), &counters).await.unwrap().0, commit);
    assert_eq!(list(&hub, &repo, &commit).await.len(), 1);
    let content = hub.open_file(&repo, &commit, &entry("f", 7), 0, None, &counters).await.unwrap();
    assert_eq!(bytes(content).await, b"x");
}

/// A token for the CAS names the CAS, is fetched once, and says until when it is good.
#[tokio::test]
async fn a_token_for_the_cas_is_had() {
    let (server, commit) = with_files(&["--token-ttl", "600"], &[("f", b"x")]).await;
    let (hub, repo, counters) = (server.client(Some(ALICE)), model("alice/x"), Counters::default());
    let access = Access::Read(commit);
    let credentials = HubTokens::default().credentials(hub, repo, access);
    let token = credentials.token(&counters).await.unwrap();
    assert_eq!(token.cas_url.as_str().trim_end_matches('/'), server.cas);
    assert_eq!(credentials.token(&counters).await.unwrap(), token);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((now + 500..=now + 600).contains(&token.expires_at()), "{token:?}");
    assert_eq!(server.stats().await["requests"]["hub"]["xet-token"], 1);
}

/// A listing entry that would leave its folder is listed, and has no place.
#[tokio::test]
async fn a_planted_path_is_listed_and_has_no_place() {
    let (server, commit) = with_files(&[], &[("f", b"x")]).await;
    let entries = json!([{"path": "../../evil", "content": "x"}]);
    server
        .post(
            "/_hub/raw-tree",
            json!({"repo": "alice/x", "repo_type": "model", "entries": entries}),
        )
        .await;
    let hub = server.client(None);
    let listed = files(&hub, &model("alice/x"), &commit, &Counters::default()).await.unwrap();
    let planted = listed.entries.into_iter().find(|file| file.path == "../../evil").unwrap();
    let error = planted.placed().unwrap_err();
    assert_eq!(error.kind(), Kind::UnsafePath);
    assert_eq!(error.context().file.as_deref(), Some("../../evil"));
}

/// Server errors that pass are waited out; those that stay are reported with their status and the
/// attempts made.
#[tokio::test]
async fn server_errors_are_waited_out() {
    let (server, commit) = with_files(&[], &[("f", b"x")]).await;
    let fault = |times| json!([{"route": "tree", "times": times, "action": {"status": 503}}]);
    server.post("/_hub/faults", fault(2)).await;
    let (hub, repo, counters) = (server.client(None), model("alice/x"), Counters::default());
    assert!(files(&hub, &repo, &commit, &counters).await.unwrap().is_whole);
    assert_eq!(counters.retries(), 2);
    server.post("/_hub/faults", fault(99)).await;
    let error = files(&hub, &repo, &commit, &counters).await.unwrap_err();
    assert_eq!(error.kind(), Kind::ServerError);
    assert_eq!((error.context().http_status, error.context().attempts), (Some(503), Some(3)));
    server.ask(Method::DELETE, "/_hub/faults", "").await;
}
