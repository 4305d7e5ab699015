//! A second name instead of a second copy, for a file of which the cache has the content already.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use xet_core_structures::merklehash::compute_data_hash;
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::file::XetFile;
use super::local::Local;
use crate::cas::sources::{ChunkSink, Pages, ThisMachine};
use crate::model::error::Result;
use crate::model::repo::Storage;

/// What came of an attempt to give the file a second name instead of a second copy.
pub(super) enum Linked {
    /// There is nothing to link to.
    No,
    Yes,
    /// The other file isn't what it should be. This one has claimed chunks that it doesn't have.
    Spoilt,
}

/// Makes the file another name of one in the cache that has the same content, after reading all of
/// that. Where repos share a store this isn't needed.
pub(super) async fn link(local: Option<&Arc<Local>>, file: &Arc<XetFile>) -> Result<Linked> {
    let Some(local) = local else { return Ok(Linked::No) };
    // Only its journal could tell whether it's still right, and a link has none.
    if let Storage::XetAlone { .. } = file.task().entry.storage {
        return Ok(Linked::No);
    }
    let (Some(source), Some(root)) =
        (local.source().cloned(), local.link_within().map(Path::to_path_buf))
    else {
        return Ok(Linked::No);
    };
    let file = Arc::clone(file);
    let call = file.task().call.clone();
    let what = format!("a look for another copy of {}", file.task().entry.path);
    call.blocking(what, move || {
        let task = file.task();
        if !file.is_empty() {
            return Ok(Linked::No);
        }
        let Some(pages) = source.whole(&file.hash(), task.entry.size) else {
            return Ok(Linked::No);
        };
        let local = Arc::clone(pages.local());
        if !local.path().starts_with(&root) {
            return Ok(Linked::No);
        }
        let Ok(opened) = local.open() else { return Ok(Linked::No) };
        let _waiting = task.at_disk("to read the other copy of");
        let is_good = claim_all(&opened, &source, pages, &file)? && file.verify().is_ok();
        if !is_good {
            source.drop_copy(&local);
            return Ok(Linked::Spoilt);
        }
        if !file.job().partial.link(local.path(), local.identity())? {
            return Ok(Linked::Spoilt);
        }
        task.progress.reused(task.entry.size);
        Ok(Linked::Yes)
    })
    .await
}

/// Reads what would be copied, and enters it as if it were here. False: it isn't what it should be.
fn claim_all(source: &File, index: &ThisMachine, mut pages: Pages, file: &XetFile) -> Result<bool> {
    let task = file.task();
    let mut buffer = vec![0; *MAX_CHUNK_SIZE];
    while let Some(copy) = pages.next(index) {
        let mut at = copy.at;
        for note in &copy.records {
            file.job().check_alive()?;
            let Some(chunk) = buffer.get_mut(..note.len as usize) else { return Ok(false) };
            if source.read_exact_at(chunk, at).is_err() {
                return Ok(false);
            }
            let hash = compute_data_hash(chunk);
            if !note.matches(&hash) || file.claim(at, hash, chunk.len())?.is_none() {
                return Ok(false);
            }
            task.progress.advance(note.len.into());
            at += u64::from(note.len);
        }
    }
    Ok(file.gaps().is_empty())
}
