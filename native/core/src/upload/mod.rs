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
mod scratch;
mod sending;
mod stage;
mod stats;
mod store;
mod walk;

use std::time::Duration;

pub use borrowed::{BorrowGuard, Borrowed};
pub(crate) use content::UploadContent;
pub(crate) use learn::StoredFile;
pub(crate) use outcome::Outcome;
pub use request::{
    CommitOptions, CommitReport, CommitRequest, ContentSource, CreateBranchRequest,
    CreateRepoRequest, FolderRequest, Operation, ParentId, RepoReport,
};
pub(crate) use run::{Upload, Work};
pub(crate) use stage::{Staging, content_of};
pub(crate) use store::{
    ContentSha256, CutContent, Input, InputSource, Servers, Supply, Told, XetStore, xet_hash,
};
pub use walk::place;

use crate::config::Deadlines;

/// How long storage may take nothing of what is sent to it, or say nothing: half of a call's patience
/// with silence (three times the longest deadline), so that there is another attempt.
fn storage_patience(deadlines: &Deadlines) -> Duration {
    deadlines.longest() * 3 / 2
}

/// How long a server may look silently at what it has got before it answers, where asking again would
/// have it begin anew: all of the patience, by default 45 s. The Hub checks every file of a commit,
/// and cuts a request off after 60 s.
fn answer_patience(deadlines: &Deadlines) -> Duration {
    deadlines.longest() * 3
}
