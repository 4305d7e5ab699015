//! Reading files, cutting them into chunks, and feeding those to a session, within a bound on memory that depends
//! neither on their size nor on their number.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use xet_core_structures::merklehash::ChunkHashList;
use xet_core_structures::metadata_shard::{self, file_structs::FileMetadataExt};
use xet_data::deduplication::{Chunk, Chunker, DeduplicationMetrics, FileDeduper};

use super::super::super::content::{BLOCK, Reader, UploadContent};
use super::super::super::learn::StoredFile;
use super::cut::{PART, PART_CHUNKS};
use super::dedup::Dedup;
use super::hashing;
use super::input::{ContentSha256, CutContent, Fault, Input};
use super::parts::{Composed, check_terms};
use super::session::Session;
use crate::call::Call;
use crate::call::scheduler::{OffWorker, Permit};
use crate::model::content::hex;
use crate::model::error::{Error, Result};
use crate::model::repo::is_lower_hex;
use crate::reuse::ChunkRecord;

/// A file holds up to a xorb of its content until it is sent.
const PER_FILE: u64 = 64 << 20;

/// A file that has been read; its last chunks may still wait for a xorb.
pub(super) struct Ingested {
    pub(super) content: CutContent,
    pub(super) chunks: Vec<ChunkRecord>,
}

/// Feeds files to a session.
pub(super) struct Feeder<'a> {
    pub(super) session: &'a Arc<Session>,
    pub(super) call: &'a Call,
    /// Where content may be staged.
    pub(super) cache: &'a Path,
}

impl Feeder<'_> {
    /// Feeds one file to the session: while a block is read, the one before is cut and hashed, and the chunks of
    /// the one before that are looked for.
    pub(super) async fn ingest(&self, input: &Input) -> Result<Ingested, Fault> {
        input.check()?;
        if let ContentSha256::Given(given) = input.sha256()
            && !is_lower_hex(given, 64)
        {
            let error = Error::invalid("sha256", "is not 64 lower-case hex digits");
            return Err(Fault::OfContent(error));
        }
        let of_content = |error| self.of_content(error);
        let (content, progress) = input.open(self.call, self.cache).await.map_err(of_content)?;
        let mut room = Room::of(self, input, content.size());
        room.make().await?;
        let (read, what) = (content.clone(), format!("the disk to open {}", input.name()));
        let reader = self.call.blocking(what, move || read.read()).await.map_err(of_content)?;
        let mut reader = self.call.off_worker(reader);
        let mut file = File::begin(self.session, content.size(), Arc::clone(&room.xorbs));
        let mut chunker = Chunker::default();
        let mut hashing = Hashing::begin(input.sha256());
        let (mut block, mut chunks) = (None, Vec::new());
        let mut is_first = true;
        while is_first || block.is_some() {
            is_first = false;
            let length = block.as_ref().map_or(0, Bytes::len) as u64;
            if room.makes_way() {
                reader.trim();
            }
            // Only here: what is under way is of other files, too.
            input.check()?;
            room.make().await?;
            ((chunker, chunks), hashing, (reader, block), ()) = tokio::try_join!(
                of_upload(self.cut(chunker, block.clone())),
                of_upload(self.hash(hashing, block)),
                self.next(reader),
                of_upload(file.feed(chunks)),
            )?;
            progress.advance(length);
        }
        chunks.extend(chunker.finish());
        file.feed(chunks).await?;
        let (computed, sha256) = hashing.end();
        // What was found out before, about content of which the chunks would be others.
        if let ContentSha256::Expected(known) = input.sha256()
            && computed.as_ref() != Some(known)
        {
            return Err(Fault::OfContent(content.changed()));
        }
        if reader.is_touched() {
            self.read_again(input, content, reader, computed, file.read.clone()).await?;
        }
        input.check()?;
        Ok(file.end(sha256).await?)
    }

    /// A failure to read, which is the content's, unless the call is over.
    fn of_content(&self, error: Error) -> Fault {
        if self.call.is_cancelled() { Fault::OfUpload(error) } else { Fault::OfContent(error) }
    }

    /// Fails if content that somebody may have written to isn't what was read, of which the SHA-256 is known, or
    /// only what chunks it has.
    async fn read_again(
        &self,
        input: &Input,
        content: &UploadContent,
        mut reader: OffWorker<Reader>,
        sha256: Option<String>,
        read: Sha256,
    ) -> Result<(), Fault> {
        let (call, content) = (self.call.clone(), content.clone());
        let what = format!("the disk to read {} once more", input.name());
        let again = move || match sha256 {
            Some(sha256) => reader.still_has(&sha256, &call),
            None if hashing::chunks_of(&content, &call)? == hex(&read.finalize()) => Ok(()),
            None => Err(content.changed()),
        };
        self.call.blocking(what, again).await.map_err(|error| self.of_content(error))
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

    async fn hash(&self, mut hashing: Hashing, block: Option<Bytes>) -> Result<Hashing> {
        let Some(block) = block.filter(|_| hashing.sha256.is_some()) else { return Ok(hashing) };
        let hash = move || {
            if let Some(sha256) = &mut hashing.sha256 {
                sha256.update(&block);
            }
            Ok(hashing)
        };
        self.call.blocking("a processor to hash content", hash).await
    }

    async fn next(
        &self,
        mut reader: OffWorker<Reader>,
    ) -> Result<(OffWorker<Reader>, Option<Bytes>), Fault> {
        let read = move || {
            let block = reader.next(BLOCK)?;
            Ok((reader, block))
        };
        let read = self.call.blocking("the disk to read content", read).await;
        read.map_err(|error| self.of_content(error))
    }
}

async fn of_upload<T>(work: impl Future<Output = Result<T>>) -> Result<T, Fault> {
    Ok(work.await?)
}

/// The SHA-256 of a file that is being read, if that is to be found out, or what is told for it.
struct Hashing {
    sha256: Option<Sha256>,
    given: Option<String>,
}

impl Hashing {
    fn begin(wanted: &ContentSha256) -> Self {
        match wanted {
            ContentSha256::Computed | ContentSha256::Expected(_) => {
                Self { sha256: Some(Sha256::new()), given: None }
            }
            ContentSha256::Given(given) => Self { sha256: None, given: Some(given.clone()) },
            ContentSha256::None => Self { sha256: None, given: None },
        }
    }

    /// What was found out. What is told is that, or what was given.
    fn end(self) -> (Option<String>, Option<String>) {
        let computed = self.sha256.map(|sha256| hex(&sha256.finalize()));
        let told = computed.clone().or(self.given);
        (computed, told)
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
    /// The hashes of all chunks so far, by which it's known again without its SHA-256.
    read: Sha256,
    /// Of the parts that have ended.
    metrics: DeduplicationMetrics,
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
    fn begin(session: &'a Arc<Session>, size: u64, xorbs: Arc<AtomicU32>) -> Self {
        Self {
            session,
            size,
            fed: 0,
            part: Part::begin(session, &xorbs),
            composed: Composed::default(),
            is_in_parts: false,
            chunks: Vec::new(),
            read: Sha256::new(),
            metrics: DeduplicationMetrics::default(),
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
        for chunk in &chunks {
            hashing::add(&mut self.read, chunk);
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
    async fn end(mut self, sha256: Option<String>) -> Result<Ingested> {
        if self.fed != self.size {
            return Err(Error::internal("a file ended before its end, or after it"));
        }
        let told = sha256.as_deref().map(metadata_shard::Sha256::from_hex).transpose();
        let told = told.map_err(Error::internal)?.map(FileMetadataExt::new);
        let size = self.size;
        if self.is_in_parts {
            self.end_part(true).await?;
            let (hash, info) = self.composed.finish(told, size)?;
            self.session.add_file(info)?;
            let content = CutContent { hash, size, sha256, metrics: self.metrics };
            return Ok(Ingested { content, chunks: self.chunks });
        }
        let (hash, chunks, mut rest, metrics) = self.part.deduper.finalize(told);
        for (info, ..) in &rest.pending_file_info {
            check_terms(&info.segments, size)?;
        }
        if size > BLOCK as u64 {
            // They wait for other files, however long the rest of their blocks is.
            rest.chunks.iter_mut().for_each(own);
        }
        let metrics = self.session.add(rest, (hash, sha256.clone()), metrics).await?;
        let content = CutContent { hash, size, sha256, metrics };
        Ok(Ingested { content, chunks: records(&chunks).collect() })
    }

    async fn end_part(&mut self, is_last: bool) -> Result<()> {
        let part = std::mem::replace(&mut self.part, Part::begin(self.session, &self.xorbs));
        let (_, chunks, rest, metrics) = part.deduper.finalize(None);
        self.metrics.merge_in(&metrics);
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
    input: &'a Input,
    size: u64,
    permit: Option<Permit>,
    /// How many xorbs were cut from the file.
    xorbs: Arc<AtomicU32>,
    /// How many of them there were when the permit was last looked at.
    cut: u32,
}

impl<'a> Room<'a> {
    fn of(feeder: &'a Feeder<'a>, input: &'a Input, size: u64) -> Self {
        Self { feeder, input, size, permit: None, xorbs: Arc::default(), cut: 0 }
    }

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
    async fn make(&mut self) -> Result<(), Fault> {
        let call = self.feeder.call;
        let gate = &call.scheduler.content;
        if self.permit.is_none() {
            let size = usize::try_from(self.size.min(PER_FILE)).map_err(Error::internal)?;
            let what = format!("its turn to take memory for {}", self.input.name());
            let turn = gate.turn(&call.counters, size, what);
            self.permit = Some(self.input.unless_cancelled(turn).await?);
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
