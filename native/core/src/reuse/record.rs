//! Adding a finished file.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};
use xet_core_structures::merklehash::MerkleHash;

use super::Index;
use super::chunk_record::{ChunkRecord, PAGE};
use super::query::xorb_key;
use super::schema::page_id;
use super::store::Store;
use super::term::Term;
use crate::sys::identity::FileIdentity;

/// A smaller file would take more than a thousandth of its size in the index.
pub(crate) const SMALLEST: u64 = 512 << 10;

/// A content has at most one segment for each 192 KiB, so that the index stays small for files in
/// many pieces, too. (Uploaders aim at 512 KiB.)
const SEGMENT_SHARE: u64 = 192 << 10;

/// A file whose content has been verified.
pub(crate) struct Finished<'a> {
    /// Its Merkle hash.
    pub(crate) hash: &'a MerkleHash,
    pub(crate) size: u64,
    /// Where it is. Links are followed.
    pub(crate) path: &'a Path,
    /// What is known of where its chunks come from, in any order; gaps are fine.
    pub(crate) terms: Vec<Term>,
}

impl Index {
    /// Whether a file of that size is worth remembering.
    pub(crate) fn is_for(size: u64) -> bool {
        size >= SMALLEST
    }

    /// Remembers a file. `chunks` are all of its chunks, in order; they're read only if the content
    /// isn't known yet.
    pub(crate) fn remember(&self, file: Finished<'_>, chunks: impl Iterator<Item = ChunkRecord>) {
        if !Self::is_for(file.size) {
            return;
        }
        let Ok(path) = std::fs::canonicalize(file.path) else { return };
        let identity = path.metadata().ok().as_ref().and_then(FileIdentity::of);
        let Some(identity) = identity.filter(|identity| identity.size == file.size) else { return };
        self.with(|store| {
            let behavior = TransactionBehavior::Immediate;
            let transaction = store.connection.transaction_with_behavior(behavior)?;
            if let Some(content) = add_content(&transaction, file, chunks)? {
                add_place(&transaction, content, &path, &identity)?;
                transaction.commit()?;
            } else {
                transaction.rollback()?;
            }
            store.shrink_to(self.limit)
        });
    }

    /// Whether all is known of a content that is at `path`, so that recording it would add nothing.
    pub(crate) fn has(&self, hash: &MerkleHash, path: &Path) -> bool {
        let Ok(path) = std::fs::canonicalize(path) else { return false };
        let Some(identity) = path.metadata().ok().as_ref().and_then(FileIdentity::of) else {
            return false;
        };
        let known = self.with(|store| {
            store
                .connection
                .prepare_cached(
                    "SELECT 1 FROM place JOIN content ON content.id = place.content \
                     WHERE path = ?1 AND hash = ?2 AND mapped = size \
                     AND device = ?3 AND inode = ?4 AND modified = ?5",
                )?
                .exists(params![
                    path.as_os_str().as_bytes(),
                    hash.as_bytes(),
                    identity.device.cast_signed(),
                    identity.inode.cast_signed(),
                    identity.modified
                ])
        });
        known.unwrap_or(false)
    }
}

/// The content's row, made or completed. `None`: `chunks` aren't those of this file.
fn add_content(
    transaction: &Transaction<'_>,
    file: Finished<'_>,
    chunks: impl Iterator<Item = ChunkRecord>,
) -> rusqlite::Result<Option<i64>> {
    let known: Option<(i64, u64)> = transaction
        .prepare_cached("SELECT id, mapped FROM content WHERE hash = ?1 AND size = ?2")?
        .query_row(params![file.hash.as_bytes(), file.size], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let content = match known {
        Some((content, mapped)) if mapped >= file.size || file.terms.is_empty() => {
            return Ok(Some(content));
        }
        Some((content, _)) => content,
        None => {
            transaction
                .prepare_cached(
                    "INSERT INTO content (hash, size, chunks, mapped, used) \
                     VALUES (?1, ?2, 0, 0, ?3)",
                )?
                .execute(params![file.hash.as_bytes(), file.size, today()])?;
            transaction.last_insert_rowid()
        }
    };
    let mut segments = Segments::new(content, file.terms, file.size / SEGMENT_SHARE);
    let mut pages = Pages { content, count: 0, page: Vec::new() };
    let mut offset = 0;
    for note in chunks {
        segments.at_chunk(transaction, pages.count, offset)?;
        pages.add(transaction, note)?;
        offset += u64::from(note.len);
    }
    segments.at_chunk(transaction, pages.count, offset)?;
    pages.flush(transaction)?;
    if offset != file.size {
        return Ok(None);
    }
    transaction
        .prepare_cached("UPDATE content SET chunks = ?2, mapped = max(mapped, ?3) WHERE id = ?1")?
        .execute(params![content, pages.count, segments.mapped])?;
    Ok(Some(content))
}

fn add_place(
    transaction: &Transaction<'_>,
    content: i64,
    path: &Path,
    identity: &FileIdentity,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO place (content, path, device, inode, modified) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            content,
            path.as_os_str().as_bytes(),
            identity.device.cast_signed(),
            identity.inode.cast_signed(),
            identity.modified
        ])?;
    Ok(())
}

/// Writes the list of chunks, page by page.
struct Pages {
    content: i64,
    count: u32,
    page: Vec<u8>,
}

impl Pages {
    fn add(&mut self, transaction: &Transaction<'_>, note: ChunkRecord) -> rusqlite::Result<()> {
        note.pack(&mut self.page);
        self.count += 1;
        if self.count.is_multiple_of(PAGE) { self.write(transaction) } else { Ok(()) }
    }

    fn flush(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        if self.page.is_empty() { Ok(()) } else { self.write(transaction) }
    }

    fn write(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let id = page_id(self.content, (self.count - 1) / PAGE);
        transaction
            .prepare_cached("INSERT OR REPLACE INTO page (id, notes) VALUES (?1, ?2)")?
            .execute(params![id, self.page])?;
        self.page.clear();
        Ok(())
    }
}

/// Writes which xorbs the chunks are of, as the chunks go by. Terms that go on where the one before
/// ended become one segment: ranged answers cut them.
struct Segments {
    content: i64,
    terms: std::iter::Peekable<std::vec::IntoIter<Term>>,
    /// The term that the chunks are in, with the number of its first chunk.
    current: Option<(Term, u32)>,
    mapped: u64,
}

impl Segments {
    /// The `most` longest of what `terms` are about.
    fn new(content: i64, mut terms: Vec<Term>, most: u64) -> Self {
        terms.sort_by_key(|term| term.offset);
        let mut joined: Vec<Term> = Vec::with_capacity(terms.len());
        for term in terms {
            match joined.last_mut() {
                Some(last) if last.is_followed_by(&term) => {
                    last.len += term.len;
                    last.chunks.end = term.chunks.end;
                }
                // The same part of the file, from another answer.
                Some(last) if term.offset < last.end() => {}
                _ => joined.push(term),
            }
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut left_out = 0;
        if joined.len() > most {
            joined.sort_by_key(|term| std::cmp::Reverse(term.len));
            // Known all the same: there's no use in finding out again.
            left_out = joined.drain(most..).map(|term| term.len).sum();
            joined.sort_by_key(|term| term.offset);
        }
        Self { content, terms: joined.into_iter().peekable(), current: None, mapped: left_out }
    }

    /// The chunk with that number begins at `offset`, or the file ends there.
    fn at_chunk(
        &mut self,
        transaction: &Transaction<'_>,
        number: u32,
        offset: u64,
    ) -> rusqlite::Result<()> {
        self.end_current(transaction, number, offset)?;
        // A term that begins inside a chunk isn't one of this file.
        while self.terms.next_if(|term| term.offset < offset).is_some() {}
        if let Some(term) = self.terms.next_if(|term| term.offset == offset) {
            self.current = Some((term, number));
        }
        Ok(())
    }

    fn end_current(
        &mut self,
        transaction: &Transaction<'_>,
        number: u32,
        offset: u64,
    ) -> rusqlite::Result<()> {
        let Some((term, first)) = self.current.take_if(|(term, _)| term.end() <= offset) else {
            return Ok(());
        };
        // Only a term that has as many chunks as the file there is one of this file.
        if term.end() == offset && number - first == term.chunks.end - term.chunks.start {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO segment (xorb, first, content, chunk, past, offset) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    xorb_key(&term.xorb),
                    term.chunks.start,
                    self.content,
                    first,
                    term.chunks.end,
                    term.offset
                ])?;
            self.mapped += term.len;
        }
        Ok(())
    }
}

impl Store {
    /// Removes what was not used for longest until the database takes less than `limit` bytes.
    fn shrink_to(&mut self, limit: u64) -> rusqlite::Result<()> {
        if self.bytes()? <= limit {
            return Ok(());
        }
        let enough = limit - limit / 8;
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        while used_bytes(&transaction)? > enough {
            let oldest: Vec<i64> = transaction
                .prepare(
                    "SELECT id FROM content ORDER BY used, id \
                     LIMIT (SELECT max(1, count(*) / 8) FROM content)",
                )?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            if oldest.is_empty() {
                break;
            }
            for content in oldest {
                delete_content(&transaction, content)?;
            }
            // Segments have no index by content, so this looks at all of them.
            transaction
                .execute("DELETE FROM segment WHERE content NOT IN (SELECT id FROM content)", [])?;
        }
        transaction.commit()?;
        // Each step gives one page back.
        let mut vacuum = self.connection.prepare("PRAGMA incremental_vacuum")?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }

    fn bytes(&self) -> rusqlite::Result<u64> {
        used_bytes(&self.connection)
    }
}

pub(super) fn used_bytes(connection: &rusqlite::Connection) -> rusqlite::Result<u64> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    Ok((number("page_count")? - number("freelist_count")?) * number("page_size")?)
}

/// Forgets a content and where it was.
pub(super) fn delete_content(
    connection: &rusqlite::Connection,
    content: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM page WHERE id >= ?1 AND id < ?2")?
        .execute([page_id(content, 0), page_id(content + 1, 0)])?;
    connection.prepare_cached("DELETE FROM place WHERE content = ?1")?.execute([content])?;
    connection.prepare_cached("DELETE FROM content WHERE id = ?1")?.execute([content])?;
    Ok(())
}

/// Days since 1970.
pub(super) fn today() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (since.as_secs() / 86_400).cast_signed()
}
