//! Where repos are that were asked for by a former name, or in another case: the Hub redirects each such
//! request, which costs one more each time, until it's known. For the length of a call: a former name may become
//! that of another repo.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use url::Url;

use crate::config::Endpoint;
use crate::model::repo::Repo;

/// The names that repos turned out to have.
#[derive(Debug, Default)]
pub(super) struct Moved(Mutex<HashMap<Repo, Repo>>);

impl Moved {
    /// What the Hub calls `repo`, if that is something else.
    pub(super) fn of(&self, repo: &Repo) -> Option<Repo> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(repo).cloned()
    }

    /// `url`, which is about `repo`, by the name that the Hub has for it; `None`: nothing is known.
    pub(super) fn now(&self, endpoint: &Endpoint, repo: &Repo, url: &Url) -> Option<Url> {
        let moved = self.of(repo)?;
        let (before, rest) = around(endpoint, repo, url)?;
        let mut now = url.clone();
        now.set_path(&format!("{before}{}{rest}", moved.id()));
        Some(now)
    }

    /// Takes note of the redirects of `from`, a request about `repo` by this name or by the one that is known,
    /// as far as each leads to the same under another name: one name after the other, or back to the first.
    pub(super) fn note(
        &self,
        endpoint: &Endpoint,
        repo: &Repo,
        from: &Url,
        redirects: impl IntoIterator<Item = Url>,
    ) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(repo).unwrap_or(repo).clone();
        let (mut name, mut from) = (before.clone(), from.clone());
        for to in redirects {
            let Some(moved) = led_to(endpoint, &name, &from, &to) else { break };
            (name, from) = (moved, to);
        }
        if name == before {
            return;
        }
        tracing::info!(%repo, now = name.id(), "the Hub has another name for the repo");
        if name == *repo {
            known.remove(repo);
        } else {
            known.insert(repo.clone(), name);
        }
    }
}

/// The name by which a redirect of `from`, which is about `repo`, leads to the same.
fn led_to(endpoint: &Endpoint, repo: &Repo, from: &Url, to: &Url) -> Option<Repo> {
    let (before, rest) = around(endpoint, repo, from)?;
    let id = to.path().strip_prefix(&before)?.strip_suffix(rest)?;
    let moved = Repo::new(repo.repo_type(), id).ok()?;
    (moved != *repo && to.origin() == from.origin()).then_some(moved)
}

/// What stands before the repo's id in the path of a URL about it, and after it.
fn around<'a>(endpoint: &Endpoint, repo: &Repo, url: &'a Url) -> Option<(String, &'a str)> {
    let home = endpoint.url().path().trim_end_matches('/');
    let (plural, prefix) = (repo.repo_type().plural(), repo.url_prefix());
    [format!("{home}/api/{plural}/"), format!("{home}/{prefix}")].into_iter().find_map(|before| {
        let rest = url.path().strip_prefix(&before)?.strip_prefix(repo.id())?;
        let ends = rest.is_empty() || rest.starts_with('/') || rest.starts_with(".git/");
        ends.then_some((before, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::repo::RepoType;

    fn repo(id: &str) -> Repo {
        Repo::new(RepoType::Model, id).unwrap()
    }

    /// A redirect to the same of another name is followed once; one to elsewhere says nothing of names.
    #[test]
    fn a_redirect_tells_a_name() {
        let hub = Endpoint::parse("endpoint", "https://hub.example/mirror").unwrap();
        let url = |path: &str| Url::parse(&format!("https://hub.example/mirror/{path}")).unwrap();
        let (old, new) = (repo("gpt2"), repo("openai/gpt2"));
        for (from, to, tells) in [
            ("api/models/gpt2/tree/main?x=1", "api/models/openai/gpt2/tree/main?x=1", true),
            ("gpt2/resolve/main/a/b", "openai/gpt2/resolve/main/a/b", true),
            ("api/models/gpt2", "api/models/openai/gpt2", true),
            ("gpt2/resolve/main/a", "api/resolve-cache/models/gpt2/1/a", false),
            ("api/models/gpt2/tree/main", "api/models/openai/gpt2/tree/1", false),
            ("api/models/gpt2/tree/main", "api/models/a/b/c/tree/main", false),
            ("api/models/gpt2x/tree/main", "api/models/openai/gpt2/tree/main", false),
            ("api/models/gpt2/tree/main", "api/models/../tree/main", false),
        ] {
            let moved = Moved::default();
            moved.note(&hub, &old, &url(from), [url(to)]);
            assert_eq!(moved.of(&old), tells.then(|| new.clone()), "{from}");
            let asked = url("gpt2/resolve/main/c%20d?y");
            let now = tells.then(|| url("openai/gpt2/resolve/main/c%20d?y"));
            assert_eq!(moved.now(&hub, &old, &asked), now, "{from}");
        }
        let moved = Moved::default();
        let elsewhere = Url::parse("https://other.example/mirror/openai/gpt2/resolve/main/a");
        moved.note(&hub, &old, &url("gpt2/resolve/main/a"), elsewhere);
        assert_eq!(moved.of(&old), None);
    }

    /// A name that leads to one that leads to a third is the third's at once; what has moved on since, or back,
    /// is found out, too.
    #[test]
    fn names_that_change_again_are_followed() {
        let hub = Endpoint::parse("endpoint", "https://hub.example").unwrap();
        let url =
            |id: &str| Url::parse(&format!("https://hub.example/api/models/{id}/refs")).unwrap();
        let (moved, old) = (Moved::default(), repo("gpt2"));
        let now = |moved: &Moved| moved.of(&old).map(|repo| repo.id().to_owned());
        moved.note(&hub, &old, &url("gpt2"), [url("a/mid"), url("a/new")]);
        assert_eq!(now(&moved).as_deref(), Some("a/new"));
        moved.note(&hub, &old, &url("a/new"), [url("a/newest")]);
        assert_eq!(now(&moved).as_deref(), Some("a/newest"));
        // Somebody who had asked before that.
        moved.note(&hub, &old, &url("a/new"), [url("a/newest")]);
        moved.note(&hub, &old, &url("gpt2"), [url("a/mid")]);
        assert_eq!(now(&moved).as_deref(), Some("a/newest"));
        moved.note(&hub, &old, &url("a/newest"), [url("gpt2")]);
        assert_eq!(now(&moved), None);
    }
}
