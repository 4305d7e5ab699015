//! Files that can't be had: their names can't be written here, or nobody says what they are. One of them
//! isn't the others' fault: they are brought in, and at the end the call fails with the names of those
//! that weren't.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::{Mutex, PoisonError};

use super::error::{self, Error, Kind, Result};
use super::repo::{Entry, Listed};

/// How many of them the error names.
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

    /// Takes `error`, which is what became of `entry`, if it's due to the name alone. False: it isn't.
    #[must_use]
    pub fn takes(&self, entry: &Entry, error: &Error) -> bool {
        let is_due_to_name = is_due_to_name(entry.path.as_str(), error);
        if is_due_to_name {
            self.add(entry.path.as_str(), error.clone());
        }
        is_due_to_name
    }

    /// Whether the file was refused.
    #[must_use]
    pub fn has(&self, entry: &Entry) -> bool {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.contains_key(entry.path.as_str())
    }

    /// The error for those that were refused, if there are any.
    pub fn verdict(&self) -> Result<()> {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, first)) = refused.first_key_value() else { return Ok(()) };
        if refused.len() == 1 {
            return Err(first.clone());
        }
        let reasons: Vec<&str> = refused.values().take(NAMED).map(Error::message).collect();
        let more = match refused.len() - reasons.len() {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let by_name = refused.iter().all(|(path, error)| is_due_to_name(path, error));
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

/// Whether a file can't be written because of what it's called, or because of what else has a name
/// on its way. What isn't UTF-8 in git is listed with a replacement character, and not found by that
/// name.
fn is_due_to_name(path: &str, error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|e| e.downcast_ref::<io::Error>());
    let by_system = error.kind() == Kind::Io && cause.is_some_and(error::is_due_to_name);
    error.kind() == Kind::UnsafePath
        || by_system
        || (error.kind() == Kind::EntryNotFound && path.contains(char::REPLACEMENT_CHARACTER))
}
