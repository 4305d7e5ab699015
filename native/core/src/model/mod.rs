//! The words that everything here speaks in: repos, revisions, paths, patterns, hashes, errors.

mod cause;
pub mod content;
pub mod error;
pub mod hold;
pub mod pattern;
pub mod redact;
pub mod refused;
pub mod repo;
pub mod told;
