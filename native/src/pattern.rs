//! Which files of a snapshot are taken: huggingface_hub's allow and ignore patterns.

use crate::error::Result;

/// Allow and ignore patterns, compiled.
#[derive(Clone, Debug, Default)]
pub struct PatternSet {}

impl PatternSet {
    /// `None` allows everything; an empty list allows nothing.
    pub fn new(_allow: Option<&[String]>, _ignore: &[String]) -> Result<Self> {
        Ok(Self {})
    }

    /// Whether a file at `path` is taken.
    #[must_use]
    pub fn matches(&self, _path: &str) -> bool {
        true
    }
}
