//! Giving verified content its name, although somebody else may have been faster.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::check::content_matches;
use crate::model::error::Result;
use crate::model::repo::Entry;
use crate::sys::files;
use crate::sys::names::NewNames;

/// Gives `partial`, whose content is that of `entry`, the name `path`. It's gone afterwards. False: what somebody
/// else has finished has the name.
///
/// `alone`: a lock has kept everybody else out, so what has the name is to be replaced. Otherwise it may be
/// what somebody else has finished meanwhile, and others may be reading: that stays, if its hash is right.
pub(super) fn place(
    names: &NewNames,
    entry: &Entry,
    partial: &Path,
    path: &Path,
    alone: bool,
) -> Result<bool> {
    if alone {
        return names.move_file(partial, path).map(|()| true);
    }
    if names.take_name(partial, path)? {
        return Ok(true);
    }
    match content_matches(path, entry, &CancellationToken::new()) {
        Ok(true) => {
            tracing::debug!(path = %path.display(), "somebody else was faster");
            files::discard(partial);
            Ok(false)
        }
        found => {
            if let Err(error) = found {
                tracing::debug!(%error, "a file that is in the way can't be read");
            }
            names.move_file(partial, path).map(|()| true)
        }
    }
}
