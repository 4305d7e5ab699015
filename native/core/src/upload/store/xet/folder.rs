//! Where what is known of chunks is noted, as xet-core does it: in the Xet cache, or where that can't be used, in a
//! folder that goes with the upload.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::utils::parse_shard_filename;
use xet_core_structures::metadata_shard::{ShardFileCache, get_shard_file_cache};
use xet_data::processing::configurations::{SessionContext, TranslatorConfig};
use xet_runtime::core::XetContext;

use super::super::super::scratch;
use super::fault;
use crate::call::Call;
use crate::call::scheduler::OffWorker;
use crate::cas::shards;
use crate::model::error::{Error, Result};

/// A place for one upload.
pub(super) struct Folder {
    /// What xet-core is told of it.
    pub(super) context: XetContext,
    pub(super) root: PathBuf,
    /// Shards of whole uploads.
    pub(super) cached: PathBuf,
    /// Of uploads under way.
    pub(super) sessions: PathBuf,
    /// Shards of xorbs that are stored and not registered.
    pub(super) staged: PathBuf,
    /// There is a shard by which an upload goes: it was there, or storage has sent it.
    has_shards: AtomicBool,
    /// Removed with it.
    private: Option<OffWorker<TempDir>>,
}

impl Folder {
    /// For storage at the endpoint `cas`, in the Xet cache, where that is possible. `read` is what is known of the shards there.
    pub(super) fn open(
        context: &XetContext,
        cas: &str,
        cache: &Path,
        read: &mut shards::Read,
        call: &Call,
    ) -> Result<Self> {
        let in_cache = |cache: &Path| Self::at(context, cas, cache, read, call);
        scratch::open(cache, in_cache, || Self::private(context, call))
    }

    /// In a folder of its own.
    pub(super) fn private(context: &XetContext, call: &Call) -> Result<Self> {
        let made = tempfile::Builder::new().prefix("xet-ffi-").tempdir();
        let place = made.map_err(|e| Error::io("make a folder in", &std::env::temp_dir(), e))?;
        let mut read = shards::KnownShards::default().take();
        // Whatever storage it is for: what is known of a folder would be noted in that.
        let folder = Self::at(context, "http://storage", place.path(), &mut read, call)?;
        Ok(Self { private: Some(call.off_worker(place)), ..folder })
    }

    fn at(
        context: &XetContext,
        cas: &str,
        root: &Path,
        read: &mut shards::Read,
        call: &Call,
    ) -> Result<Self> {
        // Only for the names of folders, which it makes.
        let session = SessionContext {
            endpoint: cas.trim_end_matches('/').to_owned(),
            auth: None,
            custom_headers: None,
            repo_paths: Vec::new(),
            session_id: None,
            cache_root: Some(root.to_path_buf()),
        };
        let names = TranslatorConfig::new(context, session)
            .map_err(|error| fault::of_cache(root, &error))?;
        let (cached, sessions) = (names.shard_cache_directory, names.shard_session_directory);
        let staged = sessions.join("xorb_metadata");
        for folder in [&cached, &staged, &sessions] {
            try_out(folder)?;
        }
        let shards = read.check(&[&cached, &staged], call)?;
        let (context, root) = (context.clone(), root.to_path_buf());
        let has_shards = AtomicBool::new(shards > 0);
        Ok(Self { context, root, cached, sessions, staged, has_shards, private: None })
    }

    /// How many shards are to be read there.
    pub(super) fn count(&self) -> usize {
        let found = [&self.cached, &self.staged].map(fs::read_dir);
        found.into_iter().flatten().map(Iterator::count).sum()
    }

    /// Whether there are any of xorbs that aren't registered.
    pub(super) fn has_staged(&self) -> bool {
        let mut found = fs::read_dir(&self.staged).into_iter().flatten().flatten();
        found.any(|entry| parse_shard_filename(entry.path()).is_some())
    }

    /// Those that xet-core has open.
    pub(super) fn files(&self) -> ShardFileCache {
        get_shard_file_cache(&self.context.common)
    }

    /// A shard has come to be there.
    pub(super) fn has_learnt(&self) {
        self.has_shards.store(true, Ordering::Relaxed);
    }

    /// Whether an upload may have failed because of what was there, and one without may not.
    pub(super) fn may_mislead(&self, error: &Error) -> bool {
        let by_shards = fault::is_of_known_chunks(error) && self.has_shards.load(Ordering::Relaxed);
        self.private.is_none() && (by_shards || fault::is_of_cache(error))
    }

    /// Removes what was noted there of these xorbs, since storage doesn't agree with it.
    pub(super) fn discard(&self, xorbs: &HashSet<MerkleHash>) -> Result<()> {
        shards::forget(&self.cached, &self.staged, xorbs)
    }
}

/// Makes sure that files can be made in `folder`.
fn try_out(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .and_then(|()| tempfile::tempfile_in(folder))
        .map(drop)
        .map_err(|e| Error::io("write to", folder, e))
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::super::settings;
    use super::*;
    use crate::model::error::Kind;

    /// An upload is made again without what is known only where storage refuses what is known, be it that it has
    /// sent it itself. What a gateway answers says nothing of shards: all content would be sent again in vain.
    #[tokio::test]
    async fn only_what_is_known_misleads() {
        let cas = Url::parse("http://127.0.0.1:9").unwrap();
        let (call, cache) = (Call::default(), tempfile::tempdir().unwrap());
        let mut read = shards::KnownShards::default().take();
        let folder =
            Folder::open(&settings::context(), cas.as_str(), cache.path(), &mut read, &call)
                .unwrap();
        let page = fault::nonsense(&cas, 200, "a page");
        let missing = Error::new(Kind::NotFound, "no such repo");
        let refused = fault::of_known_chunks(fault::nonsense(&cas, 400, "HTTP 400"));
        assert!(!folder.may_mislead(&refused), "nothing is known");
        folder.has_learnt();
        assert!(folder.may_mislead(&refused));
        assert!(!folder.may_mislead(&page) && !folder.may_mislead(&missing));
        assert!(folder.may_mislead(&fault::of_cache(cache.path(), &std::io::Error::other("?"))));
    }
}
