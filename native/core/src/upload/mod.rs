//! Uploads: what an upload call does, from the files of a caller to a commit on the Hub.
//!
//! A commit is the only thing that anyone else can see, so it comes last: the Hub says how each
//! file travels, unchanged files are left out, large ones go to storage, and one request names them
//! all. Whatever fails before leaves nothing on the Hub but content without a name.
//!
//! Running a broken upload again is how it is resumed: what was committed is unchanged then, and what
//! was stored is not sent again.

mod borrowed;
mod change;
mod commit;
mod content;
mod copies;
mod deletions;
mod folder;
mod item;
mod learn;
mod outcome;
mod pace;
mod prepare;
mod request;
mod run;
mod stage;
mod stats;
mod store;
mod walk;

use std::time::Duration;

pub use borrowed::{BorrowGuard, Borrowed};
pub(crate) use outcome::Outcome;
pub use request::{
    CommitOptions, CommitReport, CommitRequest, ContentSource, CreateRepoRequest, FolderRequest,
    Operation, ParentId, RepoReport,
};
pub(crate) use run::{Upload, Work};
pub use walk::place;

/// What a wait for an upload is allowed before the watchdog looks at it: those who send content watch
/// for themselves whether it moves, and a server may take longer to answer than to other requests.
const OWN_DEADLINE: Duration = Duration::from_hours(24);
