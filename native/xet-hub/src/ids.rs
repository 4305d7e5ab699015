//! Names of repositories: type, id, and the three places where a URL spells them differently.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest part of a repo id that the Hub accepts, in characters.
const MAX_PART: usize = 96;

/// The longest path of a file that the Hub accepts, in characters.
const MAX_PATH: usize = 1000;

/// The kinds of repositories that live in git (buckets don't: `store::bucket`).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RepoType {
    /// A model, the default: its resolve URLs have no prefix.
    #[default]
    Model,
    /// A dataset.
    Dataset,
    /// A space.
    Space,
    /// A kernel.
    Kernel,
}

impl RepoType {
    /// Every type, for routing.
    pub(crate) const ALL: [Self; 4] = [Self::Model, Self::Dataset, Self::Space, Self::Kernel];

    /// The form used in JSON bodies: `model`.
    pub(crate) fn singular(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
            Self::Space => "space",
            Self::Kernel => "kernel",
        }
    }

    /// The API segment: `models`.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
            Self::Space => "spaces",
            Self::Kernel => "kernels",
        }
    }

    /// What stands before the repo id in resolve, git and web URLs: empty for models.
    pub(crate) fn url_prefix(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Dataset => "datasets/",
            Self::Space => "spaces/",
            Self::Kernel => "kernels/",
        }
    }

    /// Reads either spelling.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.singular() == text || kind.plural() == text)
    }
}

/// A repository's public name: its type and `namespace/name` (or `name` for canonical repos).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct RepoKey {
    /// The repository's type.
    pub(crate) kind: RepoType,
    /// `namespace/name`, or `name` alone.
    pub(crate) id: String,
}

impl RepoKey {
    /// Accepts the ids that the Hub accepts; `None` for any other text.
    pub(crate) fn parse(kind: RepoType, id: &str) -> Option<Self> {
        let valid = !id.contains("--")
            && !id.contains("..")
            && id.strip_suffix(".git").is_none()
            && id.split('/').count() <= 2
            && id.split('/').all(valid_part);
        valid.then(|| Self { kind, id: id.to_owned() })
    }

    /// The user or organisation that owns the repository, if the id names one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.id.split_once('/').map(|(namespace, _)| namespace)
    }

    /// Reads what [`Self::api_path`] wrote.
    pub(crate) fn from_api_path(path: &str) -> Option<Self> {
        let (kind, id) = path.split_once('/')?;
        Self::parse(RepoType::parse(kind)?, id)
    }

    /// `models/org/name`: the path below `/api/`.
    pub(crate) fn api_path(&self) -> String {
        format!("{}/{}", self.kind.plural(), self.id)
    }

    /// `datasets/org/name`, or `org/name` for models: the path of web, git and resolve URLs.
    pub(crate) fn web_path(&self) -> String {
        format!("{}{}", self.kind.url_prefix(), self.id)
    }
}

impl fmt::Display for RepoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.api_path())
    }
}

fn valid_part(part: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=MAX_PART).contains(&part.len())
        && part.chars().all(|c| word(c) || c == '.' || c == '-')
        && part.starts_with(word)
        && part.ends_with(word)
}

/// Whether a path may become a file of a repository: relative, clean, and not git's own.
///
/// Clients check this too, but a server that trusts them plants traps for other clients.
pub(crate) fn valid_file_path(path: &str) -> bool {
    !path.is_empty()
        && path.chars().count() <= MAX_PATH
        && !path.contains(['\\', '\0'])
        && path.split('/').all(|part| !matches!(part, "" | "." | ".." | ".git"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Hub's rules for repo ids, one example each.
    #[test]
    fn repo_ids_follow_the_rules_of_the_hub() {
        for good in ["gpt2", "org/name", "a/b.c-d_e", "0/1"] {
            assert!(RepoKey::parse(RepoType::Model, good).is_some(), "{good}");
        }
        let long = "x".repeat(97);
        for bad in
            ["", "/", "a/", "a/b/c", "a--b", "a..b", "x.git", "-a", "a-", ".a", "a b", "ü", &long]
        {
            assert!(RepoKey::parse(RepoType::Model, bad).is_none(), "{bad}");
        }
    }

    /// Paths that would leave the repository, or enter git's own folder, are refused.
    #[test]
    fn hostile_file_paths_are_refused() {
        for good in ["a", "a/b c/ü.bin", "..a/b..", ".gitattributes"] {
            assert!(valid_file_path(good), "{good}");
        }
        for bad in ["", "/a", "a//b", "a/", "./a", "a/../b", "..", ".git/config", "a\\b", "a\0"] {
            assert!(!valid_file_path(bad), "{bad:?}");
        }
    }
}
