//! A commit as the Hub reads it: NDJSON, a header and then one line per change.
//!
//! The content of regular files is part of the lines, in base64. It is read while the lines are
//! sent, so that a commit takes no more memory than one block.

use std::fmt::Write;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::content::{Reader, UploadContent};
use super::outcome::Outcome;
use super::sending::counted;
use crate::call::Call;
use crate::call::scheduler::OffWorker;
use crate::http::{Outgoing, Patience};
use crate::model::content::hex;
use crate::model::error::Result;
use crate::model::repo::RepoPath;

/// Read at a time: base64 turns 3 bytes into 4, and so has no padding inside a file.
const BLOCK: usize = 3 << 18;
/// Lines are sent in pieces of at least this size.
const PIECE: usize = 1 << 20;

/// One change, ready to be committed.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A file that is part of the commit.
    Regular { path: RepoPath, content: UploadContent },
    /// A file that storage has under its hash.
    Stored { path: RepoPath, sha256: String, size: Option<u64> },
    /// A file that goes, by the name that the Hub has for it, whether it could be written here or not.
    Delete(String),
    /// A folder that goes.
    DeleteFolder(RepoPath),
}

impl Change {
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Regular { path, .. } | Self::Stored { path, .. } | Self::DeleteFolder(path) => {
                path.as_str()
            }
            Self::Delete(path) => path,
        }
    }

    /// Content that the commit itself carries.
    pub(super) fn carried(&self) -> u64 {
        match self {
            Self::Regular { content, .. } => content.size(),
            _ => 0,
        }
    }
}

/// The first line.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) title: String,
    pub(super) description: String,
    pub(super) parent: Option<String>,
}

/// The lines of a commit, for one attempt. Counts them as sent.
///
/// A commit of small changes is one piece, which goes with the head of the request: a server that
/// refuses it at once, and closes the connection, would not be heard by a client that is still
/// sending.
pub(super) async fn lines(
    header: &Header,
    changes: &Arc<Vec<Change>>,
    call: &Call,
    outcome: &Outcome,
    patience: Patience,
) -> Result<Outgoing> {
    let start = Lines { changes: Arc::clone(changes), next: 0, reading: None, text: header.line() };
    let (first, rest) = start.piece_of(call).await?;
    if rest.is_done() {
        let (length, counters) = (first.len() as u64, Arc::clone(&call.counters));
        let outcome = outcome.clone();
        return Ok(Outgoing::new(Some(length), patience, move || {
            let (first, outcome) = (first.clone(), outcome.clone());
            // Taken once there is a connection.
            let taken = async move {
                outcome.sent();
                Ok(first)
            };
            counted(stream::once(taken), Arc::clone(&counters))
        }));
    }
    let (header, changes, call) = (header.line(), Arc::clone(changes), call.clone());
    let outcome = outcome.clone();
    Ok(Outgoing::new(None, patience, move || {
        let (changes, call, outcome) = (Arc::clone(&changes), call.clone(), outcome.clone());
        let counters = Arc::clone(&call.counters);
        let lines = Lines { changes, next: 0, reading: None, text: header.clone() };
        let next = move |lines: Lines| {
            let (call, outcome) = (call.clone(), outcome.clone());
            async move {
                outcome.sent();
                let (piece, lines) = lines.piece_of(&call).await?;
                Ok((!piece.is_empty()).then_some((piece, lines)))
            }
        };
        counted(stream::try_unfold(lines, next), counters)
    }))
}

impl Header {
    fn line(&self) -> String {
        let mut value = json!({"summary": self.title, "description": self.description});
        if let Some(parent) = &self.parent {
            value["parentCommit"] = json!(parent);
        }
        json!({"key": "header", "value": value}).to_string() + "\n"
    }
}

/// Where the writing of the lines is.
struct Lines {
    changes: Arc<Vec<Change>>,
    next: usize,
    /// The regular file whose content is being written, and what of it has been.
    reading: Option<(OffWorker<Reader>, Sha256)>,
    /// What was written already.
    text: String,
}

impl Lines {
    /// As [`piece`](Self::piece), on a thread that may block.
    async fn piece_of(mut self, call: &Call) -> Result<(Bytes, Self)> {
        let beats = call.clone();
        let piece = move || Ok((self.piece(&beats)?, self));
        call.blocking("the disk to read content of a commit", piece).await
    }

    /// Whether all was written.
    fn is_done(&self) -> bool {
        self.reading.is_none() && self.next == self.changes.len()
    }

    /// The next lines, or parts of them; nothing after the last.
    fn piece(&mut self, call: &Call) -> Result<Bytes> {
        let mut text = std::mem::take(&mut self.text);
        while text.len() < PIECE {
            // Each small file is opened, looked at twice, and read.
            call.beat();
            if let Some((mut reader, mut written)) = self.reading.take() {
                if let Some(block) = reader.next(BLOCK)? {
                    STANDARD.encode_string(&block, &mut text);
                    written.update(&block);
                    self.reading = Some((reader, written));
                } else {
                    if reader.is_touched() {
                        reader.still_has(&hex(&written.finalize()), call)?;
                    }
                    text.push_str("\"}}\n");
                }
                continue;
            }
            let Some(change) = self.changes.get(self.next) else { break };
            self.next += 1;
            self.reading =
                change.begin(&mut text)?.map(|reader| (call.off_worker(reader), Sha256::new()));
        }
        Ok(Bytes::from(text))
    }
}

impl Change {
    /// Writes the line, or its beginning: then the content follows, which the reader reads.
    fn begin(&self, text: &mut String) -> Result<Option<Reader>> {
        let line = match self {
            Self::Regular { path, content } => {
                let reader = content.read()?;
                let path = json!(path.as_str());
                // Writing to a String can't fail.
                let _ = write!(
                    text,
                    r#"{{"key":"file","value":{{"path":{path},"encoding":"base64","content":""#
                );
                return Ok(Some(reader));
            }
            Self::Stored { path, sha256, size } => {
                let mut value = json!({"path": path.as_str(), "algo": "sha256", "oid": sha256});
                if let Some(size) = size {
                    value["size"] = json!(size);
                }
                json!({"key": "lfsFile", "value": value})
            }
            Self::Delete(path) => {
                json!({"key": "deletedFile", "value": {"path": path}})
            }
            Self::DeleteFolder(path) => {
                json!({"key": "deletedFolder", "value": {"path": format!("{path}/")}})
            }
        };
        let _ = writeln!(text, "{line}");
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use serde_json::Value;

    use super::super::borrowed::Borrowed;
    use super::*;
    use crate::model::error::Kind;
    use crate::sys::identity::FileStamp;

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).unwrap()
    }

    /// The lines are JSON, in order, and hold the content byte for byte, however long it is.
    #[test]
    fn lines_hold_the_content() {
        let long: Bytes = (0..3_000_001_u32).map(|n| (n % 251) as u8).collect();
        let contents = [Bytes::from_static(b"a\n"), Bytes::new(), long];
        let mut changes = vec![Change::Delete("old \"1\".txt".to_owned())];
        changes.extend(contents.iter().map(|content| Change::Regular {
            path: path("ü.txt"),
            content: UploadContent::of_memory(Borrowed::owned(content.clone())),
        }));
        changes.push(Change::DeleteFolder(path("b")));
        let mut lines =
            Lines { changes: Arc::new(changes), next: 0, reading: None, text: String::new() };
        let mut text = Vec::new();
        while !lines.is_done() {
            let piece = lines.piece(&Call::default()).unwrap();
            assert!(piece.len() <= PIECE * 2 + 100);
            text.extend_from_slice(&piece);
        }
        let lines: Vec<Value> = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(lines[0], json!({"key": "deletedFile", "value": {"path": "old \"1\".txt"}}));
        for (line, content) in lines[1..].iter().zip(&contents) {
            let sent = STANDARD.decode(line["value"]["content"].as_str().unwrap()).unwrap();
            assert!(sent == content[..]);
            assert_eq!((&line["key"], &line["value"]["path"]), (&json!("file"), &json!("ü.txt")));
        }
        assert_eq!(lines[4], json!({"key": "deletedFolder", "value": {"path": "b/"}}));
    }

    /// A file that is written to while its line is made, and gets its old time again, isn't committed as a mixture.
    #[test]
    fn a_mixture_is_no_line() {
        let call = Call::default();
        for is_changed in [false, true] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), vec![1; BLOCK * 2]).unwrap();
            let before = file.as_file().metadata().unwrap();
            let content = UploadContent::of_file(file.path()).unwrap();
            let changes = Arc::new(vec![Change::Regular { path: path("a.bin"), content }]);
            let mut lines = Lines { changes, next: 0, reading: None, text: String::new() };
            lines.piece(&call).unwrap();
            assert!(!lines.is_done());
            let written = if is_changed { [2] } else { [1] };
            // The system's clock may go in steps of some milliseconds.
            while FileStamp::of(&file.as_file().metadata().unwrap()) == FileStamp::of(&before) {
                file.as_file().write_all_at(&written, 0).unwrap();
                file.as_file().set_modified(before.modified().unwrap()).unwrap();
            }
            let mut rest = Ok(Bytes::new());
            while rest.is_ok() && !lines.is_done() {
                rest = lines.piece(&call);
            }
            let failed = rest.err().map(|error| error.kind());
            assert_eq!(failed, is_changed.then_some(Kind::SourceChanged));
        }
    }
}
