//! What is known of some paths of a revision.

use serde::Serialize;
use url::Url;

use super::loose::Loose;
use super::node::{Node, Seen};
use super::{Hub, routes};
use crate::call::progress::Counters;
use crate::http::body::{nonsense, problem_of};
use crate::model::error::Result;
use crate::model::repo::{Listed, Repo};

#[derive(Serialize)]
struct Question<'a> {
    paths: &'a [&'a str],
    expand: bool,
}

impl Hub {
    /// Paths of one question. The Hub takes 1,000; `huggingface_hub` sends no more than this.
    const MAX_PATHS: usize = 500;

    /// The entries of those `paths` that are files of `revision`; others are left out.
    pub(crate) async fn paths_info(
        &self,
        repo: &Repo,
        revision: &str,
        paths: &[&str],
        counters: &Counters,
    ) -> Result<Vec<Listed>> {
        let about = self.about(repo, revision, None);
        let what = format!("look up files of {repo}");
        let url = routes::paths_info(&self.config.endpoint, repo, revision);
        let mut entries = Vec::new();
        for paths in paths.chunks(Self::MAX_PATHS) {
            let question = Question { paths, expand: false };
            let page: serde_json::Value =
                self.post_json(&about, &what, counters, url.clone(), &question).await?;
            entries.extend(files(&url, &page.to_string()).map_err(|e| about.locate(e))?);
        }
        Ok(entries)
    }
}

/// The files of an answer, each of which must be described.
fn files(url: &Url, json: &str) -> Result<Vec<Listed>> {
    let nodes: Vec<Loose<'_, Node<'_>>> = serde_json::from_str(json)
        .map_err(|e| nonsense(url, 200, format!("JSON that is no listing ({})", problem_of(&e))))?;
    let seen = nodes.iter().filter_map(Loose::object).map(|node| node.read(url));
    let file = |seen| match seen {
        Seen::File(file) | Seen::Masked(file) => Some(Ok(file)),
        Seen::Vague(_, error) => Some(Err(error)),
        Seen::Folder(_) | Seen::Other(_) | Seen::Unknown(_) | Seen::Nameless => None,
    };
    seen.filter_map(file).collect()
}
