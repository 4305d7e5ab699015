//! The database file: opening it, and starting over when it's no good.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::schema;
use crate::sys::lock::FileLock;
use crate::sys::{disk, parts};

/// The database in its folder.
pub(super) const FILE: &str = "reuse.sqlite";

/// How long to wait at a time for another process that writes; a fork waits as long. Writing takes
/// milliseconds.
const BUSY: Duration = Duration::from_millis(100);

/// Others of the group may use the index, too.
const LOCK_MODE: u32 = 0o664;

/// Pages of the write-ahead log before it's folded into the database.
const LOG_PAGES: i64 = 512;

/// Why the database can't be used.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    /// It was made by a later version of this library, which may need it.
    Newer(i64),
    /// Something else has one of its names.
    NoFile,
    /// Another process is making it anew.
    Locked,
    /// The database would take this for somebody else's lock, and wait.
    NoLocks(std::io::Error),
    Folder(crate::model::error::Error),
}

impl Fault {
    /// Whether the file is at fault, so that a new one would help; and not the disk, a permission,
    /// or another process.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => matches!(
                error.code,
                // `Unknown` is what SQL that asks for a missing table gets.
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown
            ),
            // A value of ours that is too large for the database.
            Self::Sqlite(rusqlite::Error::ToSqlConversionFailure(_))
            | Self::Newer(_)
            | Self::Locked
            | Self::NoLocks(_)
            | Self::Folder(_) => false,
            // What is there is no database at all; a value that isn't of the type that the schema promises; a
            // missing table.
            Self::NoFile | Self::Sqlite(_) => true,
        }
    }
}

impl Fault {
    /// Whether another process is at work on it, which will have ended soon.
    pub(super) fn is_busy(&self) -> bool {
        match self {
            Self::Locked => true,
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => {
                matches!(error.code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
            }
            Self::Sqlite(_)
            | Self::Newer(_)
            | Self::NoFile
            | Self::NoLocks(_)
            | Self::Folder(_) => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(error) => error.fmt(f),
            Self::Newer(version) => write!(f, "it has the version {version} of a later library"),
            Self::NoFile => f.write_str("something that isn't a file has its name"),
            Self::Locked => f.write_str("another process is making it anew"),
            Self::NoLocks(error) => write!(f, "the file system has no locks for it ({error})"),
            Self::Folder(error) => error.fmt(f),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<crate::model::error::Error> for Fault {
    fn from(error: crate::model::error::Error) -> Self {
        Self::Folder(error)
    }
}

/// An open database. What belongs to it is partly kept in state of the whole process, and its locks
/// aren't those of a forked child: it must only be used, opened and closed under
/// [`hold_off`](crate::sys::fork::hold_off), and be closed before a fork.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) connection: Connection,
    /// Whether there was a bad one, which is gone now.
    pub(super) replaced: bool,
    /// Rows that can be changed before it may be too large.
    pub(super) fits_until: u64,
}

impl Store {
    /// Opens the database in `folder`, and makes it if there is none, or only a bad one.
    pub(super) fn open(folder: &Path) -> Result<Self, Fault> {
        let found = {
            let _shared =
                FileLock::share_within(&lock_of(folder), LOCK_MODE, BUSY)?.ok_or(Fault::Locked)?;
            Self::connect(folder)
        };
        match found {
            Err(fault) if fault.is_damage() => {
                let _alone = lock(folder)?;
                match Self::connect(folder) {
                    Err(fault) if fault.is_damage() => {
                        remove(folder);
                        Ok(Self { replaced: true, ..Self::connect(folder)? })
                    }
                    // Another process has made it anew.
                    opened => opened,
                }
            }
            opened => opened,
        }
    }

    /// Closes it without folding its log into the database, which takes time: whoever opens it next
    /// finds the log.
    pub(super) fn close_at_once(self) {
        // Without this, closing only takes longer.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    /// Makes an empty database, whatever is there. Processes that have the old one open go on with
    /// that, and lose what they add.
    pub(super) fn recreate(folder: &Path) -> Result<Self, Fault> {
        let _lock = lock(folder)?;
        remove(folder);
        Self::connect(folder)
    }

    fn connect(folder: &Path) -> Result<Self, Fault> {
        // SQLite would wait for whoever writes to a pipe.
        for file in files(&folder.join(FILE)) {
            if fs::metadata(&file).is_ok_and(|found| !found.is_file()) {
                return Err(Fault::NoFile);
            }
        }
        parts::can_be_locked(&lock_of(folder)).map_err(Fault::NoLocks)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(folder.join(FILE), flags)?;
        connection.busy_timeout(BUSY)?;
        // The file may be anybody's.
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        match connection.pragma_query_value(None, "user_version", |row| row.get(0))? {
            schema::VERSION => {}
            newer if newer > schema::VERSION => return Err(Fault::Newer(newer)),
            _ => {
                let tables = "SELECT count(*) FROM sqlite_schema";
                if connection.query_row(tables, [], |row| row.get::<_, i64>(0))? > 0 {
                    // An earlier version, or something else.
                    return Err(rusqlite::Error::InvalidQuery.into());
                }
                schema::create(&mut connection)?;
            }
        }
        // With a write-ahead log, readers and the writer don't wait for each other, but it takes
        // memory that all users share: of no use between machines. After a power cut the last
        // entries may be missing.
        let journal = if disk::is_remote(folder) { "TRUNCATE" } else { "WAL" };
        connection.pragma_update_and_check(None, "journal_mode", journal, |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        connection.pragma_update_and_check(None, "journal_size_limit", 1 << 20, |_| Ok(()))?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(Self { connection, replaced: false, fits_until: 0 })
    }
}

/// Held alone by whoever replaces the database, and shared by those who open it: each of its files
/// must be of the same database.
fn lock_of(folder: &Path) -> PathBuf {
    folder.join("reuse.lock")
}

fn lock(folder: &Path) -> Result<FileLock, Fault> {
    FileLock::acquire_within(&lock_of(folder), LOCK_MODE, BUSY)?.ok_or(Fault::Locked)
}

/// The database, and the files that are kept beside it while it's open.
pub(super) fn files(database: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

fn remove(folder: &Path) {
    for file in files(&folder.join(FILE)) {
        // One that stays is found to be damaged once more.
        let _ = fs::remove_file(&file);
    }
}
