//! Where xet-core keeps what it notes during an upload: in the Xet cache, or where that can't be used, in a
//! folder that goes with the session.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use xet_data::processing::configurations::{SessionContext, TranslatorConfig};
use xet_runtime::core::XetContext;

use super::super::super::scratch;
use super::fault;
use crate::call::Call;
use crate::cas::shards;
use crate::model::error::{Error, Kind, Result};

/// A place for a session, and what xet-core is told of it.
pub(super) struct Folder {
    pub(super) settings: TranslatorConfig,
    /// How many shards are there that it may use.
    shards: usize,
    /// Removed with it.
    private: Option<TempDir>,
}

impl Folder {
    /// In the Xet cache, where that is possible. `read` is what is known of the shards there.
    pub(super) fn open(
        context: &XetContext,
        session: SessionContext,
        cache: &Path,
        read: &mut shards::Read,
        call: &Call,
    ) -> Result<Self> {
        let apart = session.clone();
        let in_cache = |cache: &Path| Self::at(context, session, cache, read, call);
        scratch::open(cache, in_cache, || Self::private(context, apart, call))
    }

    /// In a folder of its own.
    pub(super) fn private(
        context: &XetContext,
        session: SessionContext,
        call: &Call,
    ) -> Result<Self> {
        let made = tempfile::Builder::new().prefix("xet-ffi-").tempdir();
        let place = made.map_err(|e| Error::io("make a folder in", &std::env::temp_dir(), e))?;
        let mut read = shards::KnownShards::default().take();
        let folder = Self::at(context, session, place.path(), &mut read, call)?;
        Ok(Self { private: Some(place), ..folder })
    }

    fn at(
        context: &XetContext,
        session: SessionContext,
        root: &Path,
        read: &mut shards::Read,
        call: &Call,
    ) -> Result<Self> {
        let session = SessionContext { cache_root: Some(root.to_path_buf()), ..session };
        let settings = TranslatorConfig::new(context, session)
            .map_err(|error| fault::of_disk(error, "use the Xet cache", root))?;
        for folder in folders(&settings) {
            try_out(&folder)?;
        }
        let [cached, staged, _] = &folders(&settings);
        let shards = read.check(&[cached, staged], call)?;
        Ok(Self { settings, shards, private: None })
    }

    /// Where the session notes what it has sent.
    pub(super) fn staged(&self) -> PathBuf {
        let [_, staged, _] = folders(&self.settings);
        staged
    }

    /// Whether a session may have failed because of what was there, and one without may not.
    pub(super) fn may_mislead(&self, error: &Error) -> bool {
        let is_of_storage =
            matches!(error.kind(), Kind::BadRequest | Kind::InvalidResponse | Kind::NotFound);
        self.private.is_none() && (is_of_storage && self.shards > 0 || fault::is_of_cache(error))
    }

    /// Removes what xet-core has noted there, since storage doesn't agree with it.
    pub(super) fn discard(&self) -> Result<()> {
        let [cached, staged, _] = &folders(&self.settings);
        shards::discard_all(&[cached, staged])
    }
}

/// Those of shards: from whole uploads, and from xorbs of sessions that didn't end; and that of sessions.
fn folders(settings: &TranslatorConfig) -> [PathBuf; 3] {
    let sessions = settings.shard_session_directory.clone();
    [settings.shard_cache_directory.clone(), sessions.join("xorb_metadata"), sessions]
}

/// Makes sure that files can be made in `folder`.
fn try_out(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .and_then(|()| tempfile::tempfile_in(folder))
        .map(drop)
        .map_err(|e| Error::io("write to", folder, e))
}
