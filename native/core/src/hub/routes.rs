//! The Hub's URLs, and how names are written in them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::config::Endpoint;
use crate::model::repo::{CommitId, Repo, RepoPath, Revision};

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `/api/{type}/{repo}/revision/{revision}`. A revision is one segment: its slashes are encoded
/// too.
pub(super) fn revision(endpoint: &Endpoint, repo: &Repo, revision: &str) -> Url {
    let revision = utf8_percent_encode(revision, RESERVED);
    endpoint.join(&format!("{}/revision/{revision}", api(repo)))
}

/// The first page of a revision's files and folders, at all depths; those in `folder`, if it isn't empty.
/// A folder is one segment: its slashes are encoded too.
pub(super) fn tree(endpoint: &Endpoint, repo: &Repo, revision: &str, folder: &str) -> Url {
    let mut path = format!("{}/tree/{}", api(repo), utf8_percent_encode(revision, RESERVED));
    if !folder.is_empty() {
        path = format!("{path}/{}", utf8_percent_encode(folder, RESERVED));
    }
    let mut url = endpoint.join(&path);
    url.set_query(Some("recursive=true&expand=false"));
    url
}

/// Where a token for reading the commit's Xet files comes from.
pub(super) fn xet_read_token(endpoint: &Endpoint, repo: &Repo, commit: &CommitId) -> Url {
    endpoint.join(&format!("{}/xet-read-token/{commit}", api(repo)))
}

/// Where a token for storing what is to be committed comes from.
pub(super) fn xet_write_token(
    endpoint: &Endpoint,
    repo: &Repo,
    revision: &Revision,
    create_pr: bool,
) -> Url {
    at_revision(endpoint, repo, "xet-write-token", revision, create_pr)
}

/// How files are to be uploaded.
pub(super) fn preupload(
    endpoint: &Endpoint,
    repo: &Repo,
    revision: &Revision,
    create_pr: bool,
) -> Url {
    at_revision(endpoint, repo, "preupload", revision, create_pr)
}

/// Where a commit is made.
pub(super) fn commit(
    endpoint: &Endpoint,
    repo: &Repo,
    revision: &Revision,
    create_pr: bool,
) -> Url {
    at_revision(endpoint, repo, "commit", revision, create_pr)
}

/// The latest commits of a revision, newest first.
pub(super) fn commits(endpoint: &Endpoint, repo: &Repo, revision: &str) -> Url {
    let revision = utf8_percent_encode(revision, RESERVED);
    endpoint.join(&format!("{}/commits/{revision}", api(repo)))
}

/// What is known of some paths.
pub(super) fn paths_info(endpoint: &Endpoint, repo: &Repo, revision: &str) -> Url {
    let revision = utf8_percent_encode(revision, RESERVED);
    endpoint.join(&format!("{}/paths-info/{revision}", api(repo)))
}

/// Branches, tags and pull requests.
pub(super) fn refs(endpoint: &Endpoint, repo: &Repo) -> Url {
    let mut url = endpoint.join(&format!("{}/refs", api(repo)));
    url.set_query(Some("include_prs=1"));
    url
}

/// A repo's info.
pub(super) fn info(endpoint: &Endpoint, repo: &Repo) -> Url {
    endpoint.join(&api(repo))
}

/// Where repos are created.
pub(super) fn create_repo(endpoint: &Endpoint) -> Url {
    endpoint.join("api/repos/create")
}

/// Where a branch is created.
pub(super) fn branch(endpoint: &Endpoint, repo: &Repo, name: &Revision) -> Url {
    let name = utf8_percent_encode(name.as_str(), RESERVED);
    endpoint.join(&format!("{}/branch/{name}", api(repo)))
}

/// Git LFS: how objects are to be uploaded.
pub(super) fn lfs_batch(endpoint: &Endpoint, repo: &Repo) -> Url {
    endpoint.join(&format!("{}{}.git/info/lfs/objects/batch", repo.url_prefix(), repo.id()))
}

fn at_revision(
    endpoint: &Endpoint,
    repo: &Repo,
    call: &str,
    revision: &Revision,
    create_pr: bool,
) -> Url {
    let revision = utf8_percent_encode(revision.as_str(), RESERVED);
    let mut url = endpoint.join(&format!("{}/{call}/{revision}", api(repo)));
    if create_pr {
        url.set_query(Some("create_pr=1"));
    }
    url
}

/// A file: its metadata by HEAD, its bytes by GET. The slashes of its path stay.
pub(super) fn resolve(endpoint: &Endpoint, repo: &Repo, revision: &str, path: &RepoPath) -> Url {
    let revision = utf8_percent_encode(revision, RESERVED);
    let path: Vec<String> = path
        .as_str()
        .split('/')
        .map(|segment| utf8_percent_encode(segment, RESERVED).to_string())
        .collect();
    endpoint.join(&format!(
        "{}{}/resolve/{revision}/{}",
        repo.url_prefix(),
        repo.id(),
        path.join("/")
    ))
}

fn api(repo: &Repo) -> String {
    format!("api/{}/{}", repo.repo_type().plural(), repo.id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::repo::RepoType;

    /// Names with slashes, spaces, percent signs and letters beyond ASCII survive the way into a
    /// URL, and an endpoint's own path stays in front.
    #[test]
    fn names_are_encoded() {
        let hub = Endpoint::parse("endpoint", "https://hub.example/mirror/").unwrap();
        let repo = |repo_type| Repo::new(repo_type, "org/name").unwrap();
        let path = |text| RepoPath::new(text).unwrap();
        let commit = CommitId::parse(&"a".repeat(40)).unwrap();
        for (url, expected) in [
            (
                revision(&hub, &repo(RepoType::Model), "refs/pr/1"),
                "https://hub.example/mirror/api/models/org/name/revision/refs%2Fpr%2F1",
            ),
            (
                tree(&hub, &repo(RepoType::Dataset), commit.as_str(), ""),
                "https://hub.example/mirror/api/datasets/org/name/tree/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?recursive=true&expand=false",
            ),
            (
                tree(&hub, &repo(RepoType::Model), commit.as_str(), "a b/c"),
                "https://hub.example/mirror/api/models/org/name/tree/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/a%20b%2Fc?recursive=true&expand=false",
            ),
            (
                resolve(&hub, &repo(RepoType::Model), "main", &path("ü b/100%/a+?#.bin")),
                "https://hub.example/mirror/org/name/resolve/main/%C3%BC%20b/100%25/a%2B%3F%23.bin",
            ),
            (
                resolve(&hub, &repo(RepoType::Space), "refs/pr/1", &path("%2e%2e/x")),
                "https://hub.example/mirror/spaces/org/name/resolve/refs%2Fpr%2F1/%252e%252e/x",
            ),
            (
                resolve(&hub, &Repo::new(RepoType::Model, "gpt2").unwrap(), "v1.0", &path("...a")),
                "https://hub.example/mirror/gpt2/resolve/v1.0/...a",
            ),
        ] {
            assert_eq!(url.as_str(), expected);
        }
    }
}
