//! Files that can't be had: their names can't be written here, or nobody says what they are. One of them
//! isn't the others' fault: they are brought in, and at the end the call fails with the names of those
//! that weren't.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::error::{Error, Kind, Result};
use super::repo::{Entry, Listed};

/// How many reasons the error names.
const NAMED: usize = 20;

/// Those of one call, and why each was refused. For any thread.
#[derive(Debug, Default)]
pub struct Refused(Mutex<BTreeMap<String, Error>>);

impl Refused {
    /// Those of `listed` that can be written, each to a place of its own; the others are refused.
    pub fn sort_out(&self, listed: impl IntoIterator<Item = Listed>) -> Vec<Entry> {
        let mut placed: Vec<Entry> = Vec::new();
        for file in listed {
            let path = file.path.clone();
            match file.placed() {
                Ok(entry) => placed.push(entry),
                Err(error) => self.add(&path, error),
            }
        }
        let files: HashSet<String> = placed.iter().map(|entry| entry.path.to_string()).collect();
        placed.retain(|entry| {
            let path = entry.path.as_str();
            let mut folders = path.match_indices('/').map(|(end, _)| &path[..end]);
            let file = folders.find(|folder| files.contains(*folder));
            if let Some(file) = file {
                let message = format!(
                    "file path {path:?} is below {file:?}, which is a file of the same repo"
                );
                self.add(path, Error::new(Kind::UnsafePath, message));
            }
            file.is_none()
        });
        placed
    }

    /// Those of `entries` that have a place of their own on a disk to which upper and lower case are one; the others
    /// are refused. Files with the same content can be one.
    pub fn sort_out_case(&self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut first: HashMap<String, Entry> = HashMap::new();
        for entry in &entries {
            let known = first.entry(folded(entry)).or_insert_with(|| entry.clone());
            // Whatever their order: each call has the same one.
            if entry.path.as_str() < known.path.as_str() {
                *known = entry.clone();
            }
        }
        let keep = |entry: &Entry| {
            let Some(known) = first.get(&folded(entry)) else { return true };
            let (path, other) = (entry.path.as_str(), known.path.as_str());
            let is_replaced = path != other && known.etag() != entry.etag();
            if is_replaced {
                let message = format!(
                    "file path {path:?} is the same as {other:?} on this file system, which doesn't tell \
                     upper and lower case apart"
                );
                self.add(path, Error::new(Kind::UnsafePath, message));
            }
            !is_replaced
        };
        let mut kept = entries;
        kept.retain(keep);
        kept
    }

    /// Whether the file was refused.
    #[must_use]
    pub fn has(&self, entry: &Entry) -> bool {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.contains_key(entry.path.as_str())
    }

    /// The error for those that were refused, if there are any. A reason that several have is named once.
    pub fn verdict(&self) -> Result<()> {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, first)) = refused.first_key_value() else { return Ok(()) };
        let mut seen = HashSet::new();
        let reasons = refused.iter().filter_map(|(path, error)| {
            // Most begin with the name of the file.
            let reason = error.message().strip_prefix(path.as_str()).unwrap_or(error.message());
            seen.insert(reason).then_some(error.message())
        });
        let mut reasons: Vec<&str> = reasons.collect();
        if reasons.len() == 1 {
            return Err(first.clone());
        }
        let more = match reasons.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        reasons.truncate(NAMED);
        // What the system refuses is here only if a name was the reason.
        let by_name = refused.iter().all(|(path, error)| match error.kind() {
            Kind::UnsafePath | Kind::Io => true,
            Kind::EntryNotFound => is_no_text(path),
            _ => false,
        });
        let what = if by_name { "be written here under their names" } else { "be had" };
        let message = format!(
            "{} files can't {what}, all others are in place: {}{more}",
            refused.len(),
            reasons.join("; ")
        );
        Err(Error::new(first.kind(), message).with(|c| *c = first.context().clone()))
    }

    /// Refuses a file because of `error`.
    pub fn add(&self, path: &str, error: Error) {
        tracing::warn!(path, %error, "a file can't be had");
        let error = error.with(|c| {
            c.file.get_or_insert_with(|| path.to_owned());
        });
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.entry(path.to_owned()).or_insert(error);
    }
}

/// Whether the paths of some of the entries differ in upper and lower case only.
#[must_use]
pub fn differ_by_case(entries: &[Entry]) -> bool {
    let mut seen = HashSet::new();
    !entries.iter().all(|entry| seen.insert(folded(entry)))
}

fn folded(entry: &Entry) -> String {
    entry.path.as_str().to_lowercase()
}

/// Whether a listed path stands for one that isn't UTF-8.
pub(crate) fn is_no_text(path: &str) -> bool {
    path.contains(char::REPLACEMENT_CHARACTER)
}
