//! Fills the gaps of a Xet file over plain HTTP.
//!
//! A gap begins and ends where chunks do, so the bytes that fill it are cut into the chunks that an
//! upload would make of them, today or formerly. Large gaps come in parts, which are cut where they stand, in
//! order. The chunks go where Xet's would have gone, ledgers and journal
//! included. By which rule the file was published, its Merkle hash shows; if by neither, its SHA-256
//! vouches for the content.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::super::http::follow;
use super::super::http::parts::LARGE;
use super::super::http::{self, Source};
use super::super::ranges::Ranges;
use super::super::received::Received;
use super::file::XetFile;
use crate::cas::chunker::{Cut, Cutter, Rule, Waiting};
use crate::cas::sources::ChunkSink;
use crate::model::error::{Error, Result};

/// Brings in all that is missing.
pub(super) async fn bring(file: &Arc<XetFile>, source: &Source<'_>) -> Result<()> {
    let job = file.job();
    let mut received = None;
    for gap in file.gaps() {
        file.doubt(gap.clone());
        if gap.end - gap.start > LARGE {
            if received.is_none() {
                received = Some(open_received(file).await?);
            }
            if let Some(received) = &received {
                received.reused(job, &gap);
                let filling = Filling::of(file, &gap, true);
                follow::bring(job, source, received, gap, filling, Filling::take).await?;
            }
            continue;
        }
        let filling = Filling::of(file, &gap, false);
        http::transfer(job, source, gap, move |queue| filling.drain(queue)).await?;
    }
    Ok(())
}

/// What has come in parts of the file, and isn't in the journal.
async fn open_received(file: &Arc<XetFile>) -> Result<Arc<Received>> {
    let (job, mut noted) = (file.job().clone(), Ranges::default());
    let target = Arc::clone(file);
    file.remains().into_iter().for_each(|range| noted.add(range));
    let what = format!("a look at what is here of {}", job.task.entry.path);
    let open = move || {
        target.begin_journal()?;
        Received::open(&job, false, &noted).map(Arc::new)
    };
    file.job().task.call.blocking(what, open).await
}

/// Cuts what comes of a gap into chunks, and enters them.
struct Filling {
    file: Arc<XetFile>,
    end: u64,
    /// Up to where it has come.
    at: u64,
    /// It stands in its place already.
    is_written: bool,
    cutter: Cutter,
    waiting: Waiting,
    /// Of what isn't entered here it isn't known what the hashes are of.
    is_all_new: bool,
}

impl Filling {
    fn of(file: &Arc<XetFile>, gap: &Range<u64>, is_written: bool) -> Self {
        let (cutter, waiting) = (Cutter::at(gap.start), Waiting::default());
        let (file, end, at) = (Arc::clone(file), gap.end, gap.start);
        Self { file, end, at, is_written, cutter, waiting, is_all_new: true }
    }

    fn drain(mut self, mut queue: mpsc::Receiver<Bytes>) -> Result<()> {
        while let Some(piece) = queue.blocking_recv() {
            if self.file.job().task.call.is_cancelled() {
                return Err(Error::cancelled());
            }
            self.take(&piece)?;
        }
        Ok(())
    }

    fn take(&mut self, piece: &Bytes) -> Result<()> {
        self.at += piece.len() as u64;
        for guess in self.cutter.push(piece, self.at == self.end) {
            let chunk = guess.placed()?;
            let is_new = if guess.cut == Cut::By(Rule::Before202509) {
                self.is_all_new && self.file.enter_older(&chunk)
            } else if self.is_written {
                self.file.enter_first(&chunk)?
            } else {
                self.file.put(&chunk, &guess.content)?
            };
            self.is_all_new &= is_new;
            if is_new {
                self.waiting.add(chunk);
            }
        }
        self.file.enter(&mut self.waiting.take(&self.cutter))
    }
}
