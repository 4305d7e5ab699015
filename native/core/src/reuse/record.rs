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

/// Pages that are written at a time: the list of some 4 GiB of content. Other processes that write,
/// and forks, wait meanwhile.
const PART: usize = 64;

/// The list of a file of at most so many bytes is made before anybody has asked whether it's known: that costs less than
/// to ask.
const SHORT: u64 = 16 << 20;

/// More than a row takes, in bytes, and rows after which it's seen in any case whether the database is too large.
const ROW: u64 = 32 << 10;
const MOST_ROWS: u64 = 64;

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
    /// isn't known yet. A long list is written in parts, and leads nowhere before its last part. Returns whether
    /// it's remembered now.
    pub(crate) fn remember(
        &self,
        file: Finished<'_>,
        chunks: impl Iterator<Item = ChunkRecord>,
    ) -> bool {
        Self::is_for(file.size) && self.record(file, chunks, SEGMENT_SHARE)
    }

    /// Remembers a file that somebody has made to keep chunks in, of whatever size and in however many pieces.
    pub(crate) fn remember_pack(
        &self,
        pack: Finished<'_>,
        chunks: impl Iterator<Item = ChunkRecord>,
    ) -> bool {
        self.record(pack, chunks, 1)
    }

    /// With one segment for each `share` bytes at the most.
    fn record(
        &self,
        mut file: Finished<'_>,
        chunks: impl Iterator<Item = ChunkRecord>,
        share: u64,
    ) -> bool {
        let Ok(path) = std::fs::canonicalize(file.path) else { return false };
        let identity = path.metadata().ok().as_ref().and_then(FileIdentity::of);
        let Some(identity) = identity.filter(|identity| identity.size == file.size) else {
            return false;
        };
        let terms = std::mem::take(&mut file.terms);
        let has_terms = !terms.is_empty();
        let known = if file.size <= SHORT {
            None
        } else {
            match self.with(|store| find(&store.connection, &file)) {
                Some(known) => known,
                None => return false,
            }
        };
        let nothing_new = known.as_ref().is_some_and(|known| known.is_all(file.size, has_terms));
        let mut content = known.map(|known| known.id);
        let mut rows = Rows::new(terms, file.size, share, nothing_new);
        let mut chunks = chunks.fuse();
        loop {
            let part = rows.next_part(&mut chunks);
            let is_wrong = part.is_last && rows.is_wrong();
            if is_wrong && file.size > SHORT {
                // What was written of it leads nowhere, and is the oldest once it has to go.
                return false;
            }
            let written = self.with(|store| {
                let behavior = TransactionBehavior::Immediate;
                let transaction = store.connection.transaction_with_behavior(behavior)?;
                let Some(known) = row_of(&transaction, content, &file)? else { return Ok(None) };
                // Of a short file, it's only known now whether its list is needed at all.
                if content.is_some() || !known.is_all(file.size, has_terms) {
                    if is_wrong {
                        return Ok(None);
                    }
                    part.write(&transaction, known.id)?;
                    if part.is_last {
                        rows.complete(&transaction, known.id)?;
                    }
                }
                if part.is_last {
                    add_place(&transaction, known.id, &path, &identity)?;
                }
                transaction.commit()?;
                if part.is_last {
                    store.shrink_to(self.limit)?;
                }
                Ok(Some(known.id))
            });
            content = written.flatten();
            if part.is_last || content.is_none() {
                return content.is_some();
            }
        }
    }

    /// Whether a content is known to be at `path`, as the file there is now.
    pub(crate) fn is_at(&self, hash: &MerkleHash, path: &Path) -> bool {
        self.has_place(hash, path, 0)
    }

    /// Whether all is known of a content that is at `path`, so that recording it would add nothing.
    pub(crate) fn has(&self, hash: &MerkleHash, path: &Path) -> bool {
        self.has_place(hash, path, 1)
    }

    /// The same, if so much of the content is `mapped`: 0, or 1 for all.
    fn has_place(&self, hash: &MerkleHash, path: &Path, mapped: u8) -> bool {
        let Ok(path) = std::fs::canonicalize(path) else { return false };
        let Some(identity) = path.metadata().ok().as_ref().and_then(FileIdentity::of) else {
            return false;
        };
        let known = self.with(|store| {
            store
                .connection
                .prepare_cached(
                    "SELECT 1 FROM place JOIN content ON content.id = place.content \
                     WHERE path = ?1 AND hash = ?2 AND mapped >= ?6 * size \
                     AND device = ?3 AND inode = ?4 AND modified = ?5",
                )?
                .exists(params![
                    path.as_os_str().as_bytes(),
                    hash.as_bytes(),
                    identity.device.cast_signed(),
                    identity.inode.cast_signed(),
                    identity.modified,
                    mapped
                ])
        });
        known.unwrap_or(false)
    }
}

/// The row of a content.
struct Known {
    id: i64,
    /// Bytes of it whose xorbs are known.
    mapped: u64,
    /// Whether its list of chunks has been written to the end.
    has_chunks: bool,
}

impl Known {
    /// Whether there is nothing to add to it, of a content of `size` bytes.
    fn is_all(&self, size: u64, has_terms: bool) -> bool {
        self.has_chunks && (self.mapped >= size || !has_terms)
    }
}

fn find(connection: &rusqlite::Connection, file: &Finished<'_>) -> rusqlite::Result<Option<Known>> {
    connection
        .prepare_cached("SELECT id, mapped, chunks > 0 FROM content WHERE hash = ?1 AND size = ?2")?
        .query_row(params![file.hash.as_bytes(), file.size], |row| {
            Ok(Known { id: row.get(0)?, mapped: row.get(1)?, has_chunks: row.get(2)? })
        })
        .optional()
}

/// The row of a file's content, made if there is none. `None`: the one that was begun has been
/// removed since.
fn row_of(
    transaction: &Transaction<'_>,
    begun: Option<i64>,
    file: &Finished<'_>,
) -> rusqlite::Result<Option<Known>> {
    match (find(transaction, file)?, begun) {
        (Some(found), None) => Ok(Some(found)),
        (found, Some(begun)) => Ok(found.filter(|found| found.id == begun)),
        (None, None) => {
            transaction
                .prepare_cached(
                    "INSERT INTO content (hash, size, chunks, mapped, used) \
                     VALUES (?1, ?2, 0, 0, ?3)",
                )?
                .execute(params![file.hash.as_bytes(), file.size, today()])?;
            let id = transaction.last_insert_rowid();
            Ok(Some(Known { id, mapped: 0, has_chunks: false }))
        }
    }
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

/// The rows of a content, made part by part as its chunks go by. Terms that go on where the one
/// before ended become one segment: ranged answers cut them.
struct Rows {
    /// Of the content, or none if nothing is to be added.
    size: Option<u64>,
    terms: std::iter::Peekable<std::vec::IntoIter<Term>>,
    /// The term that the chunks are in, with the number of its first chunk.
    current: Option<(Term, u32)>,
    /// Chunks so far, and their bytes.
    count: u32,
    offset: u64,
    mapped: u64,
}

/// Rows that are written in one transaction.
#[derive(Default)]
struct Part {
    /// By their numbers.
    pages: Vec<(u32, Vec<u8>)>,
    segments: Vec<Segment>,
    is_last: bool,
}

/// A term, and the number of its first chunk in the file.
struct Segment {
    term: Term,
    first: u32,
}

impl Rows {
    /// Of a file of `size` bytes, about the longest of what `terms` are about: one for each `share` bytes. With
    /// `nothing_new` there are none, and its chunks aren't looked at.
    fn new(mut terms: Vec<Term>, size: u64, share: u64, nothing_new: bool) -> Self {
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
        let most = usize::try_from(size / share).unwrap_or(usize::MAX);
        let mut left_out = 0;
        if joined.len() > most {
            joined.sort_by_key(|term| std::cmp::Reverse(term.len));
            // Known all the same: there's no use in finding out again.
            left_out = joined.drain(most..).map(|term| term.len).sum();
            joined.sort_by_key(|term| term.offset);
        }
        Self {
            size: (!nothing_new).then_some(size),
            terms: joined.into_iter().peekable(),
            current: None,
            count: 0,
            offset: 0,
            mapped: left_out,
        }
    }

    /// The rows of the next chunks.
    fn next_part(&mut self, chunks: &mut impl Iterator<Item = ChunkRecord>) -> Part {
        let mut part = Part::default();
        if self.size.is_none() {
            return Part { is_last: true, ..part };
        }
        let mut page = Vec::new();
        while part.pages.len() < PART {
            part.segments.extend(self.at_chunk());
            let Some(chunk) = chunks.next() else {
                part.is_last = true;
                break;
            };
            chunk.pack(&mut page);
            self.count += 1;
            self.offset += u64::from(chunk.len);
            if self.count.is_multiple_of(PAGE) {
                part.pages.push(((self.count - 1) / PAGE, std::mem::take(&mut page)));
            }
        }
        if !page.is_empty() {
            part.pages.push(((self.count - 1) / PAGE, page));
        }
        part
    }

    /// A segment that ends where the next chunk begins, or the file ends.
    fn at_chunk(&mut self) -> Option<Segment> {
        let (number, offset) = (self.count, self.offset);
        let ended = self.current.take_if(|(term, _)| term.end() <= offset);
        // A term that begins inside a chunk isn't one of this file.
        while self.terms.next_if(|term| term.offset < offset).is_some() {}
        if let Some(term) = self.terms.next_if(|term| term.offset == offset) {
            self.current = Some((term, number));
        }
        // Only a term that has as many chunks as the file there is one of this file.
        let (term, first) = ended?;
        let fits = term.end() == offset && number - first == term.chunks.end - term.chunks.start;
        fits.then(|| {
            self.mapped += term.len;
            Segment { term, first }
        })
    }

    /// Whether the chunks that went by aren't those of the file.
    fn is_wrong(&self) -> bool {
        self.size.is_some_and(|size| size != self.offset)
    }

    /// Writes that all is written.
    fn complete(&self, transaction: &Transaction<'_>, content: i64) -> rusqlite::Result<()> {
        if self.size.is_some() {
            let sql = "UPDATE content SET chunks = ?2, mapped = max(mapped, ?3) WHERE id = ?1";
            transaction.prepare_cached(sql)?.execute(params![content, self.count, self.mapped])?;
        }
        Ok(())
    }
}

impl Part {
    fn write(&self, transaction: &Transaction<'_>, content: i64) -> rusqlite::Result<()> {
        let mut add_page = transaction
            .prepare_cached("INSERT OR REPLACE INTO page (id, notes) VALUES (?1, ?2)")?;
        for (number, page) in &self.pages {
            add_page.execute(params![page_id(content, *number), page])?;
        }
        let mut add_segment = transaction.prepare_cached(
            "INSERT OR REPLACE INTO segment (xorb, first, content, chunk, past, offset) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for Segment { term, first } in &self.segments {
            add_segment.execute(params![
                xorb_key(&term.xorb),
                term.chunks.start,
                content,
                first,
                term.chunks.end,
                term.offset
            ])?;
        }
        Ok(())
    }
}

impl Store {
    /// Removes what was not used for longest until the database takes less than `limit` bytes.
    fn shrink_to(&mut self, limit: u64) -> rusqlite::Result<()> {
        let changes = self.connection.total_changes();
        if changes < self.fits_until {
            return Ok(());
        }
        let bytes = self.bytes()?;
        if bytes <= limit {
            self.fits_until = changes + ((limit - bytes) / ROW).min(MOST_ROWS);
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
