//! The on-disk truth of one repository: an append-only journal of records and a pack of file bytes.
//!
//! A record is acknowledged only after it is on stable storage. A kill between two writes leaves
//! either nothing or a torn last line, which the next start cuts off: it was never acknowledged.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Makes the names in `dir` durable: a rename or a new file counts only after this.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Writes `content` to `path` so that a crash leaves the old file or the new one, never a mix.
pub(crate) fn write_atomic(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut temp = tempfile::NamedTempFile::new_in(dir)?;
    temp.write_all(content)?;
    temp.as_file().sync_all()?;
    temp.persist(path).map_err(|error| error.error)?;
    sync_dir(dir)
}

/// An append-only file of JSON lines.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    end: u64,
}

impl Journal {
    /// Opens (or creates) the journal at `path` and returns the records in it.
    pub(crate) fn open<R: DeserializeOwned>(path: &Path) -> io::Result<(Self, Vec<R>)> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let mut records = Vec::new();
        let mut end = 0;
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            if !line.ends_with(b"\n") {
                tracing::warn!(path = %path.display(), "cutting off a torn record");
                break;
            }
            let record = serde_json::from_slice(line).map_err(|error| {
                let place = format!("{}: bad record at byte {end}: {error}", path.display());
                io::Error::new(io::ErrorKind::InvalidData, place)
            })?;
            records.push(record);
            end += line.len() as u64;
        }
        file.set_len(end)?;
        Ok((Self { file, end }, records))
    }

    /// Appends `records` and waits until they are durable.
    pub(crate) fn append<R: Serialize>(&mut self, records: &[R]) -> io::Result<()> {
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
        }
        self.file.seek(SeekFrom::Start(self.end))?;
        let written = self.file.write_all(&lines).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // A half-written record must not stand in the way of the next one.
            self.file.set_len(self.end)?;
            return Err(error);
        }
        self.end += lines.len() as u64;
        Ok(())
    }
}

/// The bytes of plain files, one after another, found again by offset.
#[derive(Debug)]
pub(crate) struct Pack {
    file: File,
    end: u64,
}

impl Pack {
    /// Opens (or creates) the pack at `path`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let end = file.metadata()?.len();
        Ok(Self { file, end })
    }

    /// Appends each of `contents`, waits until they are durable, and returns where each begins.
    pub(crate) fn append(&mut self, contents: &[&[u8]]) -> io::Result<Vec<u64>> {
        if contents.is_empty() {
            return Ok(Vec::new());
        }
        let mut offsets = Vec::with_capacity(contents.len());
        let mut bytes = Vec::with_capacity(contents.iter().map(|content| content.len()).sum());
        for content in contents {
            offsets.push(self.end + bytes.len() as u64);
            bytes.extend_from_slice(content);
        }
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        self.end += bytes.len() as u64;
        Ok(offsets)
    }

    /// A handle to read from while others append.
    pub(crate) fn reader(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a kill in the middle of a write leaves behind is dropped; all before it stays.
    #[test]
    fn a_torn_record_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, records) = Journal::open::<u32>(&path).unwrap();
        assert!(records.is_empty());
        journal.append(&[1, 2]).unwrap();
        drop(journal);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"33").unwrap();
        let (mut journal, records) = Journal::open::<u32>(&path).unwrap();
        assert_eq!(records, [1, 2]);
        journal.append(&[4]).unwrap();
        assert_eq!(Journal::open::<u32>(&path).unwrap().1, [1, 2, 4]);
    }

    /// Damage before the end is not a torn write: the server must refuse, not forget commits.
    #[test]
    fn damage_in_the_middle_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, "1\nx\n3\n").unwrap();
        assert!(Journal::open::<u32>(&path).is_err());
    }

    /// Offsets stay valid over a reopened pack.
    #[test]
    fn packed_bytes_are_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pack");
        Pack::open(&path).unwrap().append(&[b"abc"]).unwrap();
        let mut pack = Pack::open(&path).unwrap();
        let offsets = pack.append(&[b"de", b"", b"f"]).unwrap();
        assert_eq!(offsets, [3, 5, 5]);
        let mut found = [0; 3];
        pack.reader().unwrap().read_exact_at(&mut found, 3).unwrap();
        assert_eq!(&found, b"def");
    }
}
