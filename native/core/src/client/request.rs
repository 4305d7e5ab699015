//! What a caller asks of a client, beside downloads and uploads.

use std::time::Duration;

use crate::config::options::DeadlineOptions;
use crate::model::repo::{Repo, Revision};

/// What to list, or to resolve.
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

/// How long a call that looks after the cache may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct MaintenanceLimits {
    /// Limit for the whole call.
    pub timeout: Option<Duration>,
    /// Limits of its requests.
    pub deadlines: DeadlineOptions,
}
