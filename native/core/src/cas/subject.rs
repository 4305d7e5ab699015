//! What work at the CAS is about, as its errors have it: a repo, or content that is known by its Xet hash alone.

use std::fmt;

use reqwest::Response;
use xet_core_structures::merklehash::MerkleHash;

use crate::config::Endpoint;
use crate::hub::refusal::{self, About, Refusal};
use crate::model::error::{Error, Kind};
use crate::model::repo::{CommitId, Repo};

/// What work at the CAS is about.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// What a repo has at a commit, or what it's going to have.
    Repo { repo: Repo, commit: Option<CommitId> },
    /// Content of storage, whatever repo it may be of.
    Content,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked<'a> {
    /// Where the bytes of a file are, or its chunks. The CAS knows.
    File(&'a MerkleHash),
    /// The bytes of a xorb. They are behind a URL that carries its own rights.
    Xorb(&'a MerkleHash),
}

impl Subject {
    /// Adds the repo to an error's context, if there is one and it doesn't say otherwise.
    pub(crate) fn locate(&self, error: Error) -> Error {
        let Self::Repo { repo, commit } = self else { return error };
        error.with(|c| {
            c.repo.get_or_insert_with(|| repo.id().to_owned());
            if let Some(commit) = commit {
                c.revision.get_or_insert_with(|| commit.to_string());
            }
        })
    }

    /// The error for an answer of the CAS, or of storage, by which it refuses what it was `asked` for.
    pub(super) async fn explain(
        &self,
        endpoint: &Endpoint,
        response: Response,
        asked: Asked<'_>,
    ) -> Error {
        let Self::Repo { repo, commit } = self else {
            return refusal::explain_in(response, |refusal| asked.words(refusal)).await;
        };
        let revision = commit.as_ref().map(CommitId::as_str);
        let about = About { endpoint, token: None, repo, revision, file: None, writes: false };
        refusal::explain(response, false, &about).await
    }
}

impl Asked<'_> {
    /// The kind of a refusal, and what it says to somebody who knows of no repo.
    fn words(&self, refusal: &Refusal) -> (Kind, String) {
        let (host, status) = (refusal.host(), refusal.status());
        let kind = match (refusal.kind_by_status(), self) {
            // Only the CAS takes tokens: storage refuses signatures.
            (Kind::Unauthorized, Self::Xorb(_)) => Kind::Forbidden,
            (kind, _) => kind,
        };
        let sentence = match (kind, self) {
            (Kind::Unauthorized, _) => format!(
                "Xet storage at {host} refused the token for {self}: it is unknown or has expired; get a new one"
            ),
            (Kind::Forbidden, Self::File(_)) => format!(
                "Xet storage at {host} forbids access to {self} (HTTP {status}): check the token's rights"
            ),
            (Kind::Forbidden, Self::Xorb(_)) => {
                format!("{host} refused the URL that Xet storage gave for {self} (HTTP {status})")
            }
            (Kind::NotFound, Self::File(_)) => format!(
                "Xet storage at {host} has no {self}, or doesn't show it (HTTP {status}): check the hash and the endpoint"
            ),
            (Kind::NotFound, Self::Xorb(_)) => {
                format!("{host} has no {self}, which Xet storage says is there (HTTP {status})")
            }
            _ => refusal
                .of_server(kind)
                .unwrap_or_else(|| format!("{host} refused {self} with HTTP {status}")),
        };
        (kind, sentence)
    }
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(hash) => write!(f, "file with the Xet hash {}", hash.hex()),
            Self::Xorb(hash) => write!(f, "xorb {}", hash.hex()),
        }
    }
}
