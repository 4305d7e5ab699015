//! Reading files, cutting them into chunks, and feeding those to a session, within a bound on memory that depends
//! neither on their size nor on their number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use xet_core_structures::merklehash::{ChunkHashList, MerkleHash};
use xet_core_structures::metadata_shard::{self, file_structs::FileMetadataExt};
use xet_data::deduplication::{Chunk, Chunker, FileDeduper};

use super::super::super::content::{BLOCK, Reader};
use super::super::super::item::Item;
use super::super::super::learn::StoredFile;
use super::cut::{PART, PART_CHUNKS};
use super::dedup::Dedup;
use super::parts::{Composed, check_terms};
use super::session::Session;
use crate::call::Call;
use crate::call::scheduler::{OffWorker, Permit};
use crate::model::content::hex;
use crate::model::error::{Error, Result};
use crate::reuse::ChunkRecord;

/// A file holds up to a xorb of its content until it is sent.
const PER_FILE: u64 = 64 << 20;

/// A file that has been read; its last chunks may still wait for a xorb.
pub(super) struct Ingested {
    pub(super) sha256: String,
    pub(super) hash: MerkleHash,
    pub(super) chunks: Vec<ChunkRecord>,
}

/// Feeds files to a session.
pub(super) struct Feeder<'a> {
    pub(super) session: &'a Arc<Session>,
    pub(super) call: &'a Call,
}

impl Feeder<'_> {
    /// Feeds one file to the session: while a block is read, the one before is cut and hashed, and the chunks of
    /// the one before that are looked for.
    pub(super) async fn ingest(&self, item: Item) -> Result<Ingested> {
        let mut room =
            Room { feeder: self, item: &item, permit: None, xorbs: Arc::default(), cut: 0 };
        room.make().await?;
        let (content, what) = (item.content.clone(), format!("the disk to open {}", item.path));
        let reader = self.call.blocking(what, move || content.read()).await?;
        let mut reader = self.call.off_worker(reader);
        let mut file = File::begin(self.session, &item, Arc::clone(&room.xorbs));
        let mut chunker = Chunker::default();
        let mut sha256 = Sha256::new();
        let (mut block, mut chunks) = (None, Vec::new());
        let mut is_first = true;
        while is_first || block.is_some() {
            is_first = false;
            let length = block.as_ref().map_or(0, Bytes::len) as u64;
            if room.makes_way() {
                reader.trim();
            }
            room.make().await?;
            ((chunker, chunks), sha256, (reader, block), ()) = tokio::try_join!(
                self.cut(chunker, block.clone()),
                self.hash(sha256, block),
                self.next(reader),
                file.feed(chunks),
            )?;
            item.progress.advance(length);
        }
        chunks.extend(chunker.finish());
        file.feed(chunks).await?;
        let sha256 = hex(&sha256.finalize());
        // What was found out before, about content of which the chunks would be others.
        if item.sha256.as_ref().is_some_and(|known| *known != sha256) {
            return Err(item.content.changed());
        }
        if reader.is_touched() {
            let (call, read) = (self.call.clone(), sha256.clone());
            let what = format!("the disk to read {} once more", item.path);
            self.call.blocking(what, move || reader.still_has(&read, &call)).await?;
        }
        file.end(sha256).await
    }

    async fn cut(
        &self,
        mut chunker: Chunker,
        block: Option<Bytes>,
    ) -> Result<(Chunker, Vec<Chunk>)> {
        let Some(block) = block else { return Ok((chunker, Vec::new())) };
        self.call
            .blocking("a processor to look for chunks", move || {
                let chunks = chunker.next_block_bytes(&block, false);
                Ok((chunker, chunks))
            })
            .await
    }

    async fn hash(&self, mut sha256: Sha256, block: Option<Bytes>) -> Result<Sha256> {
        let Some(block) = block else { return Ok(sha256) };
        self.call
            .blocking("a processor to hash content", move || {
                sha256.update(&block);
                Ok(sha256)
            })
            .await
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
}

/// A file that is being fed.
struct File<'a> {
    session: &'a Arc<Session>,
    size: u64,
    /// What has been fed of it.
    fed: u64,
    part: Part,
    /// Those parts that have ended.
    composed: Composed,
    is_in_parts: bool,
    /// What the reuse index keeps of it.
    chunks: Vec<ChunkRecord>,
    /// Xorbs that were cut from it.
    xorbs: Arc<AtomicU32>,
    /// Somebody had some of its chunks.
    has_duplicates: bool,
}

/// As much of a file as xet-core's deduplication keeps in mind at a time.
struct Part {
    deduper: FileDeduper<Dedup>,
    bytes: u64,
    chunks: usize,
}

impl Part {
    fn begin(session: &Arc<Session>, xorbs: &Arc<AtomicU32>) -> Self {
        let dedup = Dedup::new(Arc::clone(session), Arc::clone(xorbs));
        // Numbers of files are for xet-core's progress only.
        let deduper = FileDeduper::new(dedup, 0, session.context().clone());
        Self { deduper, bytes: 0, chunks: 0 }
    }

    fn is_full(&self) -> bool {
        self.bytes >= PART || self.chunks >= PART_CHUNKS
    }

    /// How many of these chunks it takes until it's full, which it isn't.
    fn room_for(&self, chunks: &[Chunk]) -> usize {
        let mut bytes = self.bytes;
        let has_room = |chunk: &&Chunk| {
            let had_room = bytes < PART;
            bytes += chunk.data.len() as u64;
            had_room
        };
        chunks.iter().take(PART_CHUNKS - self.chunks).take_while(has_room).count()
    }

    /// True: somebody had some of them.
    async fn add(&mut self, chunks: &[Chunk]) -> Result<bool> {
        self.bytes += chunks.iter().map(|chunk| chunk.data.len() as u64).sum::<u64>();
        self.chunks += chunks.len();
        Ok(self.deduper.process_chunks(chunks).await?.deduped_bytes > 0)
    }
}

impl<'a> File<'a> {
    fn begin(session: &'a Arc<Session>, item: &Item, xorbs: Arc<AtomicU32>) -> Self {
        Self {
            session,
            size: item.content.size(),
            fed: 0,
            part: Part::begin(session, &xorbs),
            composed: Composed::default(),
            is_in_parts: false,
            chunks: Vec::new(),
            xorbs,
            has_duplicates: false,
        }
    }

    /// Its next chunks.
    async fn feed(&mut self, mut chunks: Vec<Chunk>) -> Result<()> {
        if self.has_duplicates {
            // Of those that nobody has, each would keep the block that it's a slice of.
            chunks.iter_mut().for_each(own);
        }
        let mut rest = &chunks[..];
        while !rest.is_empty() {
            if self.size > PART && self.part.is_full() {
                self.end_part(false).await?;
            }
            let count = if self.size > PART { self.part.room_for(rest) } else { rest.len() };
            let (next, behind) = rest.split_at(count);
            self.fed += next.iter().map(|chunk| chunk.data.len() as u64).sum::<u64>();
            self.has_duplicates |= self.part.add(next).await?;
            rest = behind;
        }
        Ok(())
    }

    /// Its last chunk has been fed.
    async fn end(mut self, sha256: String) -> Result<Ingested> {
        if self.fed != self.size {
            return Err(Error::internal("a file ended before its end, or after it"));
        }
        if self.is_in_parts {
            self.end_part(true).await?;
            let (hash, info) = self.composed.finish(&sha256, self.size)?;
            self.session.add_file(info)?;
            return Ok(Ingested { sha256, hash, chunks: self.chunks });
        }
        let content = metadata_shard::Sha256::from_hex(&sha256).map_err(Error::internal)?;
        let metadata = Some(FileMetadataExt::new(content));
        let (hash, chunks, mut rest, metrics) = self.part.deduper.finalize(metadata);
        for (info, ..) in &rest.pending_file_info {
            check_terms(&info.segments, self.size)?;
        }
        if self.size > BLOCK as u64 {
            // They wait for other files, however long the rest of their blocks is.
            rest.chunks.iter_mut().for_each(own);
        }
        self.session.add(rest, &metrics).await?;
        Ok(Ingested { sha256, hash, chunks: records(&chunks).collect() })
    }

    async fn end_part(&mut self, is_last: bool) -> Result<()> {
        let part = std::mem::replace(&mut self.part, Part::begin(self.session, &self.xorbs));
        let (_, chunks, rest, metrics) = part.deduper.finalize(None);
        let info = self.session.add_part(rest, &metrics).await?;
        self.composed.add(&chunks, info, is_last)?;
        if self.size <= StoredFile::LARGEST {
            self.chunks.extend(records(&chunks));
        }
        self.is_in_parts = true;
        Ok(())
    }
}

/// Room in memory for what a file's content takes until it is sent: as much as a xorb.
struct Room<'a> {
    feeder: &'a Feeder<'a>,
    item: &'a Item,
    permit: Option<Permit>,
    /// How many xorbs were cut from the file.
    xorbs: Arc<AtomicU32>,
    /// How many of them there were when the permit was last looked at.
    cut: u32,
}

impl Room<'_> {
    /// When a xorb has just been cut, and is on its way, those have their turn who wait for another call: a file
    /// may be as long as it likes. True: the room is given up.
    fn makes_way(&mut self) -> bool {
        let call = self.feeder.call;
        let cut = self.xorbs.load(Ordering::Relaxed);
        let is_just_cut = std::mem::replace(&mut self.cut, cut) != cut;
        let makes_way = is_just_cut && call.scheduler.content.is_wanted_by_others(&call.counters);
        if makes_way {
            self.permit = None;
        }
        makes_way
    }

    /// Before more is read.
    async fn make(&mut self) -> Result<()> {
        let call = self.feeder.call;
        let gate = &call.scheduler.content;
        if self.permit.is_none() {
            let size = self.item.content.size().min(PER_FILE);
            let size = usize::try_from(size).map_err(Error::internal)?;
            let what = format!("its turn to take memory for {}", self.item.path);
            self.permit = Some(gate.turn(&call.counters, size, what).await?);
        }
        Ok(())
    }
}

/// Gives a chunk memory of its own.
fn own(chunk: &mut Chunk) {
    chunk.data = Bytes::copy_from_slice(&chunk.data);
}

/// What the reuse index keeps of chunks. None is longer than 128 KiB.
fn records(chunks: &ChunkHashList) -> impl Iterator<Item = ChunkRecord> {
    chunks.iter().map_while(|(hash, length)| {
        u32::try_from(*length).ok().map(|length| ChunkRecord::new(length, hash))
    })
}
