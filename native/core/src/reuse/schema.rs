//! The tables.

use rusqlite::Connection;

/// Raised with every change of the tables or of what is in them. An index of an earlier version is
/// made anew; one of a later version is left to whoever made it.
pub(super) const VERSION: i64 = 1;

/// `segment` isn't tied to `content` by a key of its own, which would double it: rows whose content
/// is gone are skipped, and removed together with the next cleaning. Ids of contents are therefore
/// never given twice (AUTOINCREMENT).
const TABLES: &str = "
-- A Xet file, by its Merkle hash.
CREATE TABLE content (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    -- Bytes of it whose xorbs are known.
    mapped INTEGER NOT NULL,
    -- The day of its last use, since 1970.
    used INTEGER NOT NULL
) STRICT;

-- A file on this machine that has the content.
CREATE TABLE place (
    id INTEGER PRIMARY KEY,
    content INTEGER NOT NULL,
    path BLOB NOT NULL UNIQUE,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    modified INTEGER NOT NULL
) STRICT;
CREATE INDEX place_of_content ON place (content);

-- The chunks of a content, in file order. The id is content << 20 | number of the page.
CREATE TABLE page (
    id INTEGER PRIMARY KEY,
    notes BLOB NOT NULL
) STRICT;

-- Chunks first..past of a xorb are those of a content from its chunk number `chunk`, at `offset`.
CREATE TABLE segment (
    xorb BLOB NOT NULL,
    first INTEGER NOT NULL,
    content INTEGER NOT NULL,
    chunk INTEGER NOT NULL,
    past INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY (xorb, first, content, chunk)
) STRICT, WITHOUT ROWID;
";

/// Makes the tables in an empty database, unless another process has made them just now.
pub(super) fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    // Has to come before the first table: space that is freed can be given back.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if transaction.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

/// The row of a page.
pub(super) fn page_id(content: i64, number: u32) -> i64 {
    (content << 20) | i64::from(number & 0xf_ffff)
}
