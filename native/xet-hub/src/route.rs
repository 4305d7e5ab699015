//! Reads the Hub's URLs. Routers that split at `/` can't: a repo id has one segment or two, and a
//! revision is one *encoded* segment whose text may hold slashes.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::errors::ApiError;
use crate::ids::{RepoKey, RepoType};
use crate::sign::Scope;

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Whoami,
    ValidateYaml,
    CreateRepo,
    DeleteRepo,
    MoveRepo,
    ListRepos(RepoType),
    Repo(RepoKey, Call),
    Bucket(String, BucketCall),
    Resolve { repo: RepoKey, revision: String, path: String },
    ResolveCache { repo: RepoKey, commit: String, path: String },
    LfsBatch(RepoKey),
    LfsVerify(RepoKey),
}

/// A call on one repository: what follows its id in an API path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Info,
    Revision(String),
    Tree { revision: String, path: String },
    PathsInfo(String),
    Refs,
    Commits(String),
    AuthCheck { write: bool },
    XetToken { scope: Scope, revision: String },
    Preupload(String),
    Commit(String),
    Branch(String),
    Tag(String),
    Settings,
    LfsDuplicate,
    Discussions,
    Discussion(u64),
    DiscussionMerge(u64),
    DiscussionStatus(u64),
    AskAccess,
}

/// A call on one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BucketCall {
    Whole,
    Tree(String),
    PathsInfo,
    Batch,
    XetToken(Scope),
    Resolve(String),
}

/// Kinds of requests, as statistics and fault rules name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RouteClass {
    Resolve,
    ResolveCache,
    Tree,
    Revision,
    PathsInfo,
    Refs,
    Commits,
    XetToken,
    Preupload,
    Commit,
    LfsBatch,
    Repo,
    Discussions,
    Account,
    Reconstruction,
    Chunks,
    FileChunkHashes,
    Xorb,
    Shard,
    Telemetry,
    Storage,
    Unknown,
}

impl Route {
    /// The kind of this request.
    pub(crate) fn class(&self) -> RouteClass {
        match self {
            Self::Whoami | Self::ValidateYaml => RouteClass::Account,
            Self::CreateRepo | Self::DeleteRepo | Self::MoveRepo | Self::ListRepos(_) => {
                RouteClass::Repo
            }
            Self::Resolve { .. } => RouteClass::Resolve,
            Self::ResolveCache { .. } => RouteClass::ResolveCache,
            Self::LfsBatch(_) | Self::LfsVerify(_) => RouteClass::LfsBatch,
            Self::Repo(_, call) => call.class(),
            Self::Bucket(_, call) => call.class(),
        }
    }

    /// Reads the path of a URL, still percent-encoded. `None`: no such route.
    pub(crate) fn parse(path: &str) -> Result<Option<Self>, ApiError> {
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match segments.as_slice() {
            ["api", "whoami-v2"] => Ok(Some(Self::Whoami)),
            ["api", "validate-yaml"] => Ok(Some(Self::ValidateYaml)),
            ["api", "repos", "create"] => Ok(Some(Self::CreateRepo)),
            ["api", "repos", "delete"] => Ok(Some(Self::DeleteRepo)),
            ["api", "repos", "move"] => Ok(Some(Self::MoveRepo)),
            ["api", "resolve-cache", kind, rest @ ..] => resolve_cache(kind, rest),
            ["api", "buckets", namespace, name, rest @ ..] => {
                let Some(call) = bucket_call(rest)? else { return Ok(None) };
                Ok(Some(Self::Bucket(decode_path(&[namespace, name])?, call)))
            }
            ["buckets", namespace, name, "resolve", path @ ..] => {
                let call = BucketCall::Resolve(decode_path(path)?);
                Ok(Some(Self::Bucket(decode_path(&[namespace, name])?, call)))
            }
            ["api", kind, rest @ ..] => api(kind, rest),
            [prefix @ ("datasets" | "spaces" | "kernels"), rest @ ..] => {
                web(RepoType::parse(prefix).unwrap_or_default(), rest)
            }
            rest => web(RepoType::Model, rest),
        }
    }
}

fn decode(text: &str) -> Result<String, ApiError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| ApiError::bad_request("Invalid UTF-8"))
}

fn decode_path(segments: &[&str]) -> Result<String, ApiError> {
    let parts: Result<Vec<_>, _> = segments.iter().map(|segment| decode(segment)).collect();
    Ok(parts?.join("/"))
}

fn repo(kind: RepoType, segments: &[&str]) -> Option<RepoKey> {
    RepoKey::parse(kind, &decode_path(segments).ok()?)
}

/// Splits a revision off: one encoded segment, or the unencoded `refs/pr/1` of pasted URLs.
fn revision<'a>(segments: &'a [&'a str]) -> Result<Option<(String, &'a [&'a str])>, ApiError> {
    match segments {
        ["refs", "pr" | "convert", _, rest @ ..] => Ok(Some((decode_path(&segments[..3])?, rest))),
        [first, rest @ ..] if !first.is_empty() => Ok(Some((decode(first)?, rest))),
        _ => Ok(None),
    }
}

fn resolve_cache(kind: &str, rest: &[&str]) -> Result<Option<Route>, ApiError> {
    let Some(kind) = RepoType::parse(kind) else {
        return Ok(None);
    };
    let is_commit = |text: &&str| text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let Some(at) = rest.iter().take(3).position(is_commit) else {
        return Ok(None);
    };
    let Some(repo) = repo(kind, &rest[..at]) else {
        return Ok(None);
    };
    let path = decode_path(&rest[at + 1..])?;
    Ok(Some(Route::ResolveCache { repo, commit: rest[at].to_owned(), path }))
}

fn web(kind: RepoType, rest: &[&str]) -> Result<Option<Route>, ApiError> {
    if let Some(at) = rest.iter().take(3).position(|&segment| segment == "resolve") {
        let Some(repo) = repo(kind, &rest[..at]) else {
            return Ok(None);
        };
        let Some((revision, path)) = revision(&rest[at + 1..])? else {
            return Ok(None);
        };
        return Ok(Some(Route::Resolve { repo, revision, path: decode_path(path)? }));
    }
    if let Some(at) = rest.iter().take(2).position(|segment| segment.strip_suffix(".git").is_some())
    {
        let id: Vec<&str> =
            rest[..=at].iter().map(|segment| segment.trim_end_matches(".git")).collect();
        let Some(repo) = repo(kind, &id) else {
            return Ok(None);
        };
        return Ok(match &rest[at + 1..] {
            ["info", "lfs", "objects", "batch"] => Some(Route::LfsBatch(repo)),
            ["info", "lfs", "verify"] => Some(Route::LfsVerify(repo)),
            _ => None,
        });
    }
    Ok(None)
}

fn api(kind: &str, rest: &[&str]) -> Result<Option<Route>, ApiError> {
    let Some(kind) = RepoType::parse(kind).filter(|found| found.plural() == kind) else {
        return Ok(None);
    };
    if rest.is_empty() {
        return Ok(Some(Route::ListRepos(kind)));
    }
    // The shortest id whose rest reads as a call; an id alone is the repository's info.
    for length in 1..=2.min(rest.len()) {
        if let Some(key) = repo(kind, &rest[..length])
            && let Some(call) = call(&rest[length..])?
        {
            return Ok(Some(Route::Repo(key, call)));
        }
    }
    Ok(None)
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

fn call(segments: &[&str]) -> Result<Option<Call>, ApiError> {
    Ok(match segments {
        [] => Some(Call::Info),
        ["refs"] => Some(Call::Refs),
        ["settings"] => Some(Call::Settings),
        ["lfs-files", "duplicate"] => Some(Call::LfsDuplicate),
        ["auth-check"] => Some(Call::AuthCheck { write: false }),
        ["auth-check", "write"] => Some(Call::AuthCheck { write: true }),
        ["ask-access"] => Some(Call::AskAccess),
        ["discussions"] => Some(Call::Discussions),
        ["discussions", n] => number(n).map(Call::Discussion),
        ["discussions", n, "merge"] => number(n).map(Call::DiscussionMerge),
        ["discussions", n, "status"] => number(n).map(Call::DiscussionStatus),
        // Branch and tag names may come with raw slashes.
        ["branch", name @ ..] if !name.is_empty() => Some(Call::Branch(decode_path(name)?)),
        ["tag", name @ ..] if !name.is_empty() => Some(Call::Tag(decode_path(name)?)),
        [verb, rest @ ..] => {
            let Some((revision, path)) = revision(rest)? else {
                return Ok(None);
            };
            match (*verb, path.is_empty()) {
                ("tree", _) => {
                    let path = decode_path(path)?.trim_matches('/').to_owned();
                    Some(Call::Tree { revision, path })
                }
                ("revision", true) => Some(Call::Revision(revision)),
                ("paths-info", true) => Some(Call::PathsInfo(revision)),
                ("commits", true) => Some(Call::Commits(revision)),
                ("preupload", true) => Some(Call::Preupload(revision)),
                ("commit", true) => Some(Call::Commit(revision)),
                ("xet-read-token", true) => Some(Call::XetToken { scope: Scope::Read, revision }),
                ("xet-write-token", true) => Some(Call::XetToken { scope: Scope::Write, revision }),
                _ => None,
            }
        }
    })
}

fn bucket_call(segments: &[&str]) -> Result<Option<BucketCall>, ApiError> {
    Ok(Some(match segments {
        [] => BucketCall::Whole,
        ["tree", prefix @ ..] => {
            BucketCall::Tree(decode_path(prefix)?.trim_matches('/').to_owned())
        }
        ["paths-info"] => BucketCall::PathsInfo,
        ["batch"] => BucketCall::Batch,
        ["xet-read-token"] => BucketCall::XetToken(Scope::Read),
        ["xet-write-token"] => BucketCall::XetToken(Scope::Write),
        _ => return Ok(None),
    }))
}

impl BucketCall {
    fn class(&self) -> RouteClass {
        match self {
            Self::Whole => RouteClass::Repo,
            Self::Tree(_) => RouteClass::Tree,
            Self::PathsInfo => RouteClass::PathsInfo,
            Self::Batch => RouteClass::Commit,
            Self::XetToken(_) => RouteClass::XetToken,
            Self::Resolve(_) => RouteClass::Resolve,
        }
    }
}

impl Call {
    fn class(&self) -> RouteClass {
        match self {
            Self::Info | Self::Revision(_) => RouteClass::Revision,
            Self::Tree { .. } => RouteClass::Tree,
            Self::PathsInfo(_) => RouteClass::PathsInfo,
            Self::Refs => RouteClass::Refs,
            Self::Commits(_) => RouteClass::Commits,
            Self::XetToken { .. } => RouteClass::XetToken,
            Self::Preupload(_) => RouteClass::Preupload,
            Self::Commit(_) => RouteClass::Commit,
            Self::LfsDuplicate => RouteClass::LfsBatch,
            Self::AuthCheck { .. }
            | Self::Branch(_)
            | Self::Tag(_)
            | Self::Settings
            | Self::AskAccess => RouteClass::Repo,
            Self::Discussions
            | Self::Discussion(_)
            | Self::DiscussionMerge(_)
            | Self::DiscussionStatus(_) => RouteClass::Discussions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: RepoType, id: &str) -> RepoKey {
        RepoKey::parse(kind, id).unwrap()
    }

    fn parse(path: &str) -> Option<Route> {
        Route::parse(path).unwrap()
    }

    /// Ids of one and two segments are told apart by what follows them.
    #[test]
    fn repo_ids_have_one_segment_or_two() {
        let model = |id| key(RepoType::Model, id);
        assert_eq!(parse("/api/models/gpt2"), Some(Route::Repo(model("gpt2"), Call::Info)));
        assert_eq!(parse("/api/models/a/b"), Some(Route::Repo(model("a/b"), Call::Info)));
        assert_eq!(parse("/api/models/gpt2/refs"), Some(Route::Repo(model("gpt2"), Call::Refs)));
        let call = Call::Revision("main".into());
        assert_eq!(
            parse("/api/models/gpt2/revision/main"),
            Some(Route::Repo(model("gpt2"), call.clone()))
        );
        assert_eq!(parse("/api/models/a/b/revision/main"), Some(Route::Repo(model("a/b"), call)));
        assert_eq!(parse("/api/models"), Some(Route::ListRepos(RepoType::Model)));
        assert_eq!(parse("/api/model/a/b"), None);
        assert_eq!(parse("/api/models/a/b/nonsense"), None);
    }

    /// A revision is one encoded segment; pasted URLs of pull requests are understood too.
    #[test]
    fn revisions_are_encoded_segments() {
        let repo = key(RepoType::Dataset, "a/b");
        let resolved = Route::Resolve {
            repo: repo.clone(),
            revision: "refs/pr/1".into(),
            path: "x y/ü+.bin".into(),
        };
        let encoded = "/datasets/a/b/resolve/refs%2Fpr%2F1/x%20y/%C3%BC+.bin";
        assert_eq!(parse(encoded), Some(resolved.clone()));
        assert_eq!(parse(&encoded.replace("%2F", "/")), Some(resolved));
        let tree = |path: &str| {
            let call = Call::Tree { revision: "main".into(), path: path.into() };
            Some(Route::Repo(repo.clone(), call))
        };
        assert_eq!(parse("/api/datasets/a/b/tree/main"), tree(""));
        assert_eq!(parse("/api/datasets/a/b/tree/main/x%2Fy"), tree("x/y"));
        assert_eq!(parse("/api/datasets/a/b/tree/main/x/y"), tree("x/y"));
    }

    /// Git LFS addresses the repository by its clone URL.
    #[test]
    fn lfs_urls_end_the_id_in_git() {
        let batch = Route::LfsBatch(key(RepoType::Space, "a/b.c"));
        assert_eq!(parse("/spaces/a/b.c.git/info/lfs/objects/batch"), Some(batch));
        let verify = Route::LfsVerify(key(RepoType::Model, "gpt2"));
        assert_eq!(parse("/gpt2.git/info/lfs/verify"), Some(verify));
    }

    /// Buckets have no revisions: all behind `resolve` is the path, with slashes encoded or not.
    #[test]
    fn buckets_have_no_revisions() {
        let file = |path: &str| Some(Route::Bucket("a/b".into(), BucketCall::Resolve(path.into())));
        assert_eq!(parse("/buckets/a/b/resolve/x%2Fy.bin"), file("x/y.bin"));
        assert_eq!(parse("/buckets/a/b/resolve/x/y.bin"), file("x/y.bin"));
        let token = Route::Bucket("a/b".into(), BucketCall::XetToken(Scope::Write));
        assert_eq!(parse("/api/buckets/a/b/xet-write-token"), Some(token));
        assert_eq!(parse("/api/buckets/a/b/revision/main"), None);
    }

    /// Bytes that aren't UTF-8 are refused, not replaced.
    #[test]
    fn broken_encoding_is_a_bad_request() {
        assert!(Route::parse("/a/b/resolve/main/%FF").is_err());
    }
}
