//! Feeding files to sessions, block by block, within a bound on memory that depends neither on their
//! size nor on their number.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use xet_core_structures::merklehash::MerkleHash;
use xet_data::processing::{FileUploadSession, Sha256Policy, SingleFileCleaner};

use super::super::super::content::{BLOCK, Reader};
use super::super::super::item::Item;
use super::super::super::learn::StoredFile;
use super::fault::Whose;
use super::parts::{self, Composed, Cutter};
use super::sessions::{self, Sessions};
use crate::call::Call;
use crate::call::scheduler::{OffWorker, Permit};
use crate::model::content::hex;
use crate::model::error::{Error, Result};
use crate::reuse::ChunkRecord;

/// A file holds up to a xorb of its content until it is sent.
const PER_FILE: u64 = 64 << 20;
/// How long before a file's next xorb is full its reader waits for its turn.
const MARGIN: u64 = 4 << 20;

/// A file that has been read; its last chunks may still wait for a xorb.
pub(super) struct Ingested {
    pub(super) sha256: String,
    pub(super) hash: MerkleHash,
    pub(super) chunks: Vec<ChunkRecord>,
}

/// Feeds files to sessions.
pub(super) struct Feeder<'a> {
    pub(super) sessions: &'a Sessions,
    pub(super) whose: &'a Whose<'a>,
    pub(super) call: &'a Call,
}

impl Feeder<'_> {
    /// Feeds one file to the session.
    pub(super) async fn ingest(&self, item: Item) -> Result<Ingested> {
        let mut room = Room { feeder: self, item: &item, permit: None, fed: 0 };
        room.make(0).await?;
        let (content, what) = (item.content.clone(), format!("the disk to open {}", item.path));
        let reader = self.call.blocking(what, move || content.read()).await?;
        let reader = self.call.off_worker(reader);
        if item.content.size() > parts::PART {
            self.ingest_parts(&item, &mut room, reader).await
        } else {
            self.ingest_whole(&item, &mut room, reader).await
        }
    }

    /// A file in one go: the session hashes it, too, if nobody has.
    async fn ingest_whole(
        &self,
        item: &Item,
        room: &mut Room<'_>,
        mut reader: OffWorker<Reader>,
    ) -> Result<Ingested> {
        let policy = match &item.sha256 {
            Some(sha256) => Sha256Policy::from_hex(sha256),
            None => Sha256Policy::Compute,
        };
        let mut part = self.begin(item, Some(item.content.size()), policy)?;
        let mut block;
        (reader, block) = self.next(reader).await?;
        while let Some(bytes) = block {
            let length = bytes.len() as u64;
            room.make(length).await?;
            part.take_turn(length).await?;
            ((), (reader, block)) = tokio::try_join!(part.add(bytes), self.next(reader))?;
            item.progress.advance(length);
        }
        let ended = part.cleaner.finish_with_chunks().await;
        let (info, chunks, _) = ended.map_err(|error| self.explain(error))?;
        let unusable = || Error::internal("a Xet session left out the hashes of a file");
        let hash = MerkleHash::from_hex(&info.hash).map_err(|_| unusable())?;
        let sha256 = item.sha256.clone().or(info.sha256).ok_or_else(unusable)?;
        Ok(Ingested { sha256, hash, chunks: records(&chunks).collect() })
    }

    /// A large file, in parts.
    async fn ingest_parts(
        &self,
        item: &Item,
        room: &mut Room<'_>,
        mut reader: OffWorker<Reader>,
    ) -> Result<Ingested> {
        let size = item.content.size();
        let begin = || self.begin(item, None, Sha256Policy::Skip);
        let mut work = PartsWork { cutter: Cutter::new(parts::PART), sha256: Sha256::new() };
        let mut composed = Composed::default();
        let mut noted = Vec::new();
        let (mut total, mut in_session) = (0, 0);
        let mut part = begin()?;
        let mut block;
        (reader, block) = self.next(reader).await?;
        while let Some(bytes) = block {
            let length = bytes.len() as u64;
            let hash = item.sha256.is_none();
            let cut = self.call.blocking("a processor to look for chunks", move || {
                let pieces = work.take(&bytes, hash);
                Ok((work, pieces))
            });
            let next;
            ((work, next), (reader, block)) = tokio::try_join!(cut, self.next(reader))?;
            let pieces = next.len();
            for (number, piece) in next.into_iter().enumerate() {
                let long = piece.len() as u64;
                room.make(long).await?;
                part.take_turn(long).await?;
                part.add(piece).await?;
                total += long;
                let last = total == size;
                if !last && number + 1 == pieces {
                    break;
                }
                let ended = part.cleaner.finish_with_chunks_detached().await;
                let (_, chunks, info, _) = ended.map_err(|error| self.explain(error))?;
                composed.add(&chunks, info, last)?;
                if size <= StoredFile::LARGEST {
                    noted.extend(records(&chunks));
                }
                if last {
                    item.progress.advance(length);
                    return self.compose(composed, work, item, noted).await;
                }
                // What is larger than a session is alone in it.
                if size > sessions::CONTENT {
                    in_session += chunks.len();
                }
                if in_session >= sessions::CHUNKS {
                    self.sessions.follow(|error| self.explain(error)).await?;
                    in_session = 0;
                }
                part = begin()?;
            }
            item.progress.advance(length);
        }
        Err(Error::internal("a file ended before its end"))
    }

    /// Puts together what `ingest_parts` has stored.
    async fn compose(
        &self,
        composed: Composed,
        work: PartsWork,
        item: &Item,
        chunks: Vec<ChunkRecord>,
    ) -> Result<Ingested> {
        let sha256 = item.sha256.clone().unwrap_or_else(|| hex(&work.sha256.finalize()));
        let (hash, info) = composed.finish(&sha256)?;
        let registered = self.sessions.current()?.register_composed_file(info).await;
        registered.map_err(|error| self.explain(error))?;
        Ok(Ingested { sha256, hash, chunks })
    }

    /// Begins a file, or a part of one.
    fn begin(&self, item: &Item, size: Option<u64>, policy: Sha256Policy) -> Result<Part<'_>> {
        let name = Arc::from(item.path.as_str());
        let session = self.sessions.current()?;
        let begun = session.start_clean(Some(name), size, policy);
        let (_, cleaner) = begun.map_err(|error| self.explain(error))?;
        Ok(Part { feeder: self, session, cleaner, fed: 0 })
    }

    async fn next(
        &self,
        mut reader: OffWorker<Reader>,
    ) -> Result<(OffWorker<Reader>, Option<Bytes>)> {
        self.call
            .blocking("the disk to read content", move || {
                let block = reader.next(BLOCK)?;
                Ok((reader, block))
            })
            .await
    }

    fn explain(&self, error: xet_data::error::DataError) -> Error {
        self.whose.explain(error)
    }
}

/// Room in memory for what a file's content takes until it is sent: as much as a xorb.
struct Room<'a> {
    feeder: &'a Feeder<'a>,
    item: &'a Item,
    permit: Option<Permit>,
    /// Since that was given.
    fed: u64,
}

impl Room<'_> {
    /// Before the next `length` bytes. Between two xorbs, of which the first is on its way then, those
    /// have their turn who wait for another call: a file may be as long as it likes.
    async fn make(&mut self, length: u64) -> Result<()> {
        let call = self.feeder.call;
        let gate = &call.scheduler.content;
        if self.fed + length > PER_FILE {
            self.fed = 0;
            if gate.is_wanted_by_others(&call.counters) {
                self.permit = None;
            }
        }
        self.fed += length;
        if self.permit.is_none() {
            let size = self.item.content.size().min(PER_FILE);
            let size = usize::try_from(size).map_err(Error::internal)?;
            let what = format!("its turn to take memory for {}", self.item.path);
            self.permit = Some(gate.turn(&call.counters, size, what).await?);
        }
        Ok(())
    }
}

/// A file, or a part of one, that the session is being fed.
struct Part<'a> {
    feeder: &'a Feeder<'a>,
    session: Arc<FileUploadSession>,
    cleaner: SingleFileCleaner,
    /// How much of it the session has got.
    fed: u64,
}

impl Part<'_> {
    /// Before its next `length` bytes: if its next xorb is about to be put together, which takes its
    /// size once more, waits until one of those on their way has arrived.
    async fn take_turn(&mut self, length: u64) -> Result<()> {
        if (self.fed % PER_FILE) + length > PER_FILE - MARGIN {
            let permit = self.session.client().acquire_upload_permit().await;
            drop(permit.map_err(|error| self.feeder.explain(error.into()))?);
        }
        Ok(())
    }

    async fn add(&mut self, bytes: Bytes) -> Result<()> {
        self.fed += bytes.len() as u64;
        let added = self.cleaner.add_data_from_bytes(bytes).await;
        added.map_err(|error| self.feeder.explain(error))
    }
}

/// What is made of a large file's blocks beside feeding them to the session.
struct PartsWork {
    cutter: Cutter,
    sha256: Sha256,
}

impl PartsWork {
    /// The pieces of a block, which is hashed with `hash`.
    fn take(&mut self, block: &Bytes, hash: bool) -> Vec<Bytes> {
        if hash {
            self.sha256.update(block);
        }
        self.cutter.cut(block)
    }
}

/// What the reuse index keeps of chunks. None is longer than 128 KiB.
fn records(chunks: &[(MerkleHash, u64)]) -> impl Iterator<Item = ChunkRecord> {
    chunks.iter().map_while(|(hash, length)| {
        u32::try_from(*length).ok().map(|length| ChunkRecord::new(length, hash))
    })
}
