//! A file on its way to the Hub.

use std::sync::Arc;

use super::content::UploadContent;
use super::request::ContentSource;
use crate::call::progress::FileProgress;
use crate::model::repo::RepoPath;

/// A file that is to be added; nobody has looked at it yet.
#[derive(Clone, Debug)]
pub(super) struct Addition {
    pub(super) path: RepoPath,
    pub(super) source: ContentSource,
}

/// One whose content can be read.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) path: RepoPath,
    pub(super) content: UploadContent,
    pub(super) progress: Arc<FileProgress>,
    /// Of the content, if that has been read already.
    pub(super) sha256: Option<String>,
}
