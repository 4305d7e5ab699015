//! Once more, by the Hub's other word: what it says of a file by itself and what its listing has of it may
//! differ, as on mirrors, and the content shows which of them is wrong.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::snapshot::{Download, Placed, Resolved};
use crate::http::RetryPolicy;
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Entry, Revision, Storage};

/// Files that are asked about side by side.
const AT_ONCE: usize = 8;

impl Download {
    /// Once more, if the listing has something else of the file than the answer about it alone, by
    /// which its content was wrong, or none: `error`.
    pub(super) async fn transfer_as_listed(
        self: &Arc<Self>,
        (at, described): (CommitId, Entry),
        error: Error,
        is_held: bool,
    ) -> Result<Placed> {
        self.session.described.forget(&self.request.repo, &at);
        let hub = self.session.hub.with_retry(RetryPolicy::new(&self.session.config));
        let listed = self.listed_entry(&hub, &described.path, error.clone(), None).await;
        match listed {
            Ok((commit, entry))
                if (&commit, entry.etag(), entry.size)
                    != (&at, described.etag(), described.size) =>
            {
                tracing::warn!(file = %entry.path, %error, "the listing knows better; trying again");
                self.transfer(Resolved::one(commit, entry), is_held).await
            }
            Ok(_) => Err(error),
            Err(other) => Err(Error::cause(("its content", error), ("its listing", other))),
        }
    }

    /// Once more, if the answer about a file alone says something else than the listing, by which its content was
    /// wrong, or had another size: `error`. A listing that has pointers in place of what they point to is wrong
    /// about others, too, and isn't kept.
    pub(super) async fn transfer_as_looked_up(
        self: &Arc<Self>,
        error: Error,
        is_held: bool,
    ) -> Result<Placed> {
        let policy = RetryPolicy::new(&self.session.config);
        let hub = self.session.hub.with_retry(policy);
        let counters = &self.call.counters;
        let lost = |other| Error::cause(("its content", error.clone()), ("a look at it", other));
        let resolved = self.resolve(policy).await.map_err(lost)?;
        let revision = Revision::new(resolved.commit.as_str())?;
        let (repo, revision) = (&self.request.repo, &revision);
        let hub = &hub;
        let look = &|entry: Entry| async move {
            let found = hub.file_entry(repo, revision, &entry.path, counters).await;
            found.map(|(_, found)| found)
        };
        let failed = error.context().file.clone();
        let is_it =
            |entry: &&Entry| is_plain(entry) && Some(entry.path.as_str()) == failed.as_deref();
        let Some(listed) = resolved.entries.iter().find(is_it) else { return Err(error) };
        let found = look(listed.clone()).await.map_err(lost)?;
        if (found.etag(), found.size) == (listed.etag(), listed.size) {
            return Err(error);
        }
        tracing::warn!(%repo, file = %found.path, %error, "the listing is wrong; asking about each file");
        let looked_up = self.without_content(&resolved).await?;
        let each = resolved.entries.into_iter().zip(looked_up);
        let each = each.map(|(entry, is_looked_up)| async move {
            if is_looked_up { look(entry).await } else { Ok(entry) }
        });
        let each = stream::iter(each).buffered(AT_ONCE).try_collect::<Vec<Entry>>();
        let entries = each.await.map_err(lost)?;
        self.session.described.forget(repo, &resolved.commit);
        let (this, commit) = (Arc::clone(self), resolved.commit.clone());
        let forget = move || {
            this.target(&commit)?.forget_tree();
            Ok(())
        };
        self.call.blocking("the disk to forget a listing", forget).await?;
        self.transfer(Resolved { entries, ..resolved }, is_held).await
    }

    /// Of each entry, whether it's listed as a file of git's, and isn't here with the content that the listing
    /// says.
    async fn without_content(self: &Arc<Self>, resolved: &Resolved) -> Result<Vec<bool>> {
        let target = self.target(&resolved.commit)?;
        let (entries, call) = (resolved.entries.clone(), self.call.clone());
        let look = move || {
            let names = target.names();
            let look = |entry: &Entry| {
                call.beat();
                Ok(is_plain(entry) && target.find_among(&names, entry)?.is_none())
            };
            entries.iter().map(look).collect()
        };
        self.call.blocking("the disk to look for what came", look).await
    }
}

/// Whether it's listed as a file of git's, which a pointer is, too.
fn is_plain(entry: &Entry) -> bool {
    matches!(entry.storage, Storage::Git)
}
