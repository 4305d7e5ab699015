//! Finding chunks on this machine.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{OptionalExtension, params};
use xet_core_structures::merklehash::MerkleHash;

use super::Index;
use super::chunk_record::{self, ChunkRecord, PAGE};
use super::local_copy::LocalCopy;
use super::moved;
use super::record::{delete_content, today};
use super::schema::page_id;
use super::store::Store;
use crate::sys::identity::FileIdentity;

/// Segments of one xorb that are looked at. More than a few are revisions that share it.
const MOST_SEGMENTS: u32 = 1024;

/// What xorbs are called in the index: half of the hash, which is as unique as needed where the
/// other half of the answer is a guess, too.
pub(super) fn xorb_key(xorb: &MerkleHash) -> &[u8] {
    &xorb.as_bytes()[..16]
}

/// Chunks that follow each other in a xorb, and in a file on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Indices in the xorb. For a page of a [`Whole`], in the file.
    pub(crate) chunks: Range<u32>,
    /// One note for each.
    pub(crate) records: Vec<ChunkRecord>,
    /// The file that has them.
    pub(crate) local: Arc<LocalCopy>,
    /// Where the first one is in that file.
    pub(crate) at: u64,
}

impl Run {
    /// How many bytes all chunks have.
    pub(crate) fn len(&self) -> u64 {
        self.records.iter().map(|record| u64::from(record.len)).sum()
    }
}

/// A file on this machine that has all of a content.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) local: Arc<LocalCopy>,
    chunks: u32,
}

impl Whole {
    /// How many pages its chunks are on.
    pub(crate) fn pages(&self) -> u32 {
        self.chunks.div_ceil(PAGE)
    }
}

/// A row of `segment`.
struct Segment {
    content: i64,
    /// In the xorb.
    chunks: Range<u32>,
    /// Number of the first chunk in the content.
    chunk: u32,
    offset: u64,
}

/// A search in the index. It remembers which files it has looked at, and belongs to one file or one
/// call: what it knows gets old.
#[derive(Debug)]
pub(crate) struct Search {
    index: Arc<Index>,
    /// By content. `None`: no file has it any more.
    copies: HashMap<i64, Option<Arc<LocalCopy>>>,
    /// Files that were remembered and aren't what they were.
    dropped: HashSet<i64>,
}

impl Search {
    pub(super) fn new(index: Arc<Index>) -> Self {
        Self { index, copies: HashMap::new(), dropped: HashSet::new() }
    }

    /// Files that were remembered and have changed or gone, as far as this search met them.
    pub(crate) fn dropped(&self) -> u32 {
        u32::try_from(self.dropped.len()).unwrap_or(u32::MAX)
    }

    /// What this machine has of a run of a xorb's chunks: runs in the order of the xorb that don't
    /// overlap.
    pub(crate) fn runs(&mut self, xorb: &MerkleHash, wanted: &Range<u32>) -> Vec<Run> {
        let segments = self.index.with(|store| segments(store, xorb, wanted)).unwrap_or_default();
        let mut runs = Vec::new();
        let mut at = wanted.start;
        let mut rest = segments.as_slice();
        while at < wanted.end {
            // Of those that have the next chunk, the one that has most behind it; else the next one.
            let begun = rest.partition_point(|segment| segment.chunks.start <= at);
            let mut having: Vec<&Segment> =
                rest[..begun].iter().filter(|segment| segment.chunks.end > at).collect();
            having.sort_by_key(|segment| std::cmp::Reverse(segment.chunks.end));
            if let Some(run) =
                having.iter().find_map(|s| self.run(s, at..s.chunks.end.min(wanted.end)))
            {
                at = run.chunks.end;
                runs.push(run);
                continue;
            }
            rest = &rest[begun..];
            let Some(next) = rest.first() else { break };
            at = next.chunks.start;
        }
        runs
    }

    /// A file that has all of a content.
    pub(crate) fn whole(&mut self, hash: &MerkleHash, size: u64) -> Option<Whole> {
        let (content, chunks) = self.index.with(|store| {
            store
                .connection
                .prepare_cached("SELECT id, chunks FROM content WHERE hash = ?1 AND size = ?2")?
                .query_row(params![hash.as_bytes(), size], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })??;
        Some(Whole { local: self.local(content)?, chunks })
    }

    /// The chunks on a page of a whole file, of which the first is at `at`.
    pub(crate) fn page(&mut self, whole: &Whole, number: u32, at: u64) -> Option<Run> {
        let first = number * PAGE;
        let chunks = first..whole.chunks.min(first + PAGE);
        let records = self.records(whole.local.content, chunks.clone())?;
        Some(Run { chunks, records, local: Arc::clone(&whole.local), at })
    }

    /// Says that `place` doesn't have what it should.
    pub(crate) fn drop_copy(&mut self, copy: &LocalCopy) {
        if self.dropped.insert(copy.id) {
            self.index.forget(copy);
            self.copies.remove(&copy.content);
        }
    }

    /// Chunks of a segment as a run, if there is still a file that has them.
    fn run(&mut self, segment: &Segment, chunks: Range<u32>) -> Option<Run> {
        let local = self.local(segment.content)?;
        let skipped = chunks.start - segment.chunks.start;
        let first = segment.chunk.checked_add(skipped)?;
        let last = first.checked_add(chunks.end - chunks.start)?;
        // From the segment's first chunk on, to know where ours begins.
        let mut records = self.records(segment.content, segment.chunk..last)?;
        let before: u64 =
            records.drain(..skipped as usize).map(|record| u64::from(record.len)).sum();
        let at = segment.offset.checked_add(before)?;
        let run = Run { chunks, records, local, at };
        let end = run.at.checked_add(run.len())?;
        (end <= run.local.identity.size).then_some(run)
    }

    /// A file that has the content and hasn't changed. Those that have are forgotten.
    fn local(&mut self, content: i64) -> Option<Arc<LocalCopy>> {
        if let Some(known) = self.copies.get(&content) {
            return known.clone();
        }
        let copies = self.index.with(|store| copies(store, content)).unwrap_or_default();
        let mut found = None;
        for copy in copies {
            // In an index that can't be written, the dropped ones are still there.
            let is_dropped = self.dropped.contains(&copy.id);
            if !is_dropped && copy.is_unchanged() {
                found = Some(Arc::new(copy));
                break;
            }
            if !is_dropped && let Some(path) = moved::find(&copy.path, copy.identity) {
                self.index.moved(&copy, &path);
                found = Some(Arc::new(LocalCopy { path, ..copy }));
                break;
            }
            self.index.forget(&copy);
            self.dropped.insert(copy.id);
        }
        if found.is_some() {
            self.index.touch(content);
        }
        self.copies.insert(content, found.clone());
        found
    }

    fn records(&self, content: i64, chunks: Range<u32>) -> Option<Vec<ChunkRecord>> {
        self.index.with(|store| records(store, content, &chunks))?
    }
}

impl Index {
    /// A file is somewhere else now.
    fn moved(&self, copy: &LocalCopy, path: &Path) {
        self.with(|store| {
            let path = path.as_os_str().as_bytes();
            let update = "UPDATE OR REPLACE place SET path = ?2 WHERE id = ?1";
            store.connection.prepare_cached(update)?.execute(params![copy.id, path])
        });
    }

    /// Forgets a file that isn't what it was, and its content if it's nowhere else.
    pub(crate) fn forget(&self, copy: &LocalCopy) {
        self.with(|store| {
            let transaction = store.connection.transaction()?;
            transaction.execute("DELETE FROM place WHERE id = ?1", [copy.id])?;
            let elsewhere = transaction
                .prepare_cached("SELECT 1 FROM place WHERE content = ?1")?
                .exists([copy.content])?;
            if !elsewhere {
                delete_content(&transaction, copy.content)?;
            }
            transaction.commit()
        });
    }

    /// Forgets what was remembered of a path.
    pub(crate) fn forget_path(&self, path: &Path) {
        self.with(|store| {
            let sql = "DELETE FROM place WHERE path = ?1";
            store.connection.execute(sql, [path.as_os_str().as_bytes()])
        });
    }

    /// How many contents are known that are somewhere, and how many bytes they have.
    pub(crate) fn contents(&self) -> (u64, u64) {
        let found = self.with(|store| {
            store.connection.query_row(
                "SELECT count(*), coalesce(sum(size), 0) FROM content \
                 WHERE id IN (SELECT content FROM place)",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
        });
        found.unwrap_or_default()
    }

    /// Notes that a content is in use. Written once a day, so that looking something up is reading.
    fn touch(&self, content: i64) {
        self.with(|store| {
            let day = today();
            let old = store
                .connection
                .prepare_cached("SELECT 1 FROM content WHERE id = ?1 AND used < ?2")?
                .exists([content, day])?;
            if old {
                let sql = "UPDATE content SET used = ?2 WHERE id = ?1";
                store.connection.prepare_cached(sql)?.execute([content, day])?;
            }
            Ok(())
        });
    }
}

fn segments(
    store: &Store,
    xorb: &MerkleHash,
    wanted: &Range<u32>,
) -> rusqlite::Result<Vec<Segment>> {
    store
        .connection
        .prepare_cached(
            "SELECT content, first, past, chunk, offset FROM segment \
             WHERE xorb = ?1 AND first < ?3 AND past > ?2 ORDER BY first LIMIT ?4",
        )?
        .query_map(params![xorb_key(xorb), wanted.start, wanted.end, MOST_SEGMENTS], |row| {
            Ok(Segment {
                content: row.get(0)?,
                chunks: row.get(1)?..row.get(2)?,
                chunk: row.get(3)?,
                offset: row.get(4)?,
            })
        })?
        .collect()
}

/// The newest first.
fn copies(store: &Store, content: i64) -> rusqlite::Result<Vec<LocalCopy>> {
    store
        .connection
        .prepare_cached(
            "SELECT place.id, path, device, inode, modified, size FROM place \
             JOIN content ON content.id = place.content WHERE content = ?1 ORDER BY place.id DESC",
        )?
        .query_map([content], |row| {
            Ok(LocalCopy {
                id: row.get(0)?,
                content,
                path: OsString::from_vec(row.get(1)?).into(),
                identity: FileIdentity {
                    device: row.get::<_, i64>(2)?.cast_unsigned(),
                    inode: row.get::<_, i64>(3)?.cast_unsigned(),
                    modified: row.get(4)?,
                    size: row.get(5)?,
                },
            })
        })?
        .collect()
}

/// The notes of a content's chunks, by their numbers; `None` if there are no such chunks.
fn records(
    store: &Store,
    content: i64,
    chunks: &Range<u32>,
) -> rusqlite::Result<Option<Vec<ChunkRecord>>> {
    let mut records = Vec::with_capacity(chunks.len());
    let mut read = store.connection.prepare_cached("SELECT notes FROM page WHERE id = ?1")?;
    for number in chunks.start / PAGE..chunks.end.div_ceil(PAGE) {
        let page: Option<Vec<u8>> =
            read.query_row([page_id(content, number)], |row| row.get(0)).optional()?;
        let Some(page) = page.as_deref().and_then(chunk_record::unpack) else { return Ok(None) };
        let first = number * PAGE;
        let part = chunks.start.max(first) - first..chunks.end.min(first + PAGE) - first;
        let Some(part) = page.get(part.start as usize..part.end as usize) else { return Ok(None) };
        records.extend_from_slice(part);
    }
    Ok(Some(records))
}
