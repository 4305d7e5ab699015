//! What is known of some paths of a revision.

use serde::Serialize;

use super::{Hub, routes, tree};
use crate::call::progress::Counters;
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
            entries.extend(
                tree::files(&url, page.to_string().as_bytes()).map_err(|e| about.locate(e))?,
            );
        }
        Ok(entries)
    }
}
