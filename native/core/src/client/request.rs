//! What a caller asks of a client, beside downloads and uploads.

use std::time::Duration;

use crate::config::options::DeadlineOptions;
use crate::model::repo::{Repo, Revision};

/// What to list.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Of which repo.
    pub repo: Repo,
    /// At which revision.
    pub revision: Revision,
    /// Limit for the whole call.
    pub timeout: Option<Duration>,
    /// Limits of its requests.
    pub deadlines: DeadlineOptions,
}
