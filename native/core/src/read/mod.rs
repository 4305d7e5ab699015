//! Reading in place: parts of a file of a repo, without a download of it.
//!
//! What is on this machine is read from there ([`local`]). Of the rest, a read fetches the chunks that hold it
//! ([`gathered`]), by whichever way ([`remote`], [`plain`]), and the proof that they are the file's
//! ([`cas::chunks`](crate::cas::chunks)), side by side. What was read, and what is read ahead, is kept for a while
//! ([`window`]); of what is on its way, nothing is fetched twice ([`in_flight`]). All that is shared by those who
//! read the same content ([`contents`]).
//!
//! ```text
//! part       from the caller's ranges to what is fetched, and back into the caller's buffers
//! asking     what is asked about a part before there is room for it
//! packs      what was read stays on this machine
//! readahead  what to fetch before it's asked for
//! xet        what is proven of a file, and how more is
//! ```

mod asking;
mod contents;
mod gathered;
mod in_flight;
mod local;
mod packs;
mod part;
mod plain;
mod readahead;
mod remote;
mod window;
mod xet;

pub(crate) use contents::Contents;
pub(crate) use gathered::Chunks;
pub(crate) use local::LocalFile;
pub use part::Part;
pub(crate) use part::Wanted;
pub(crate) use remote::{Handle, Remote};

/// What a file keeps in memory, unless somebody says otherwise.
pub(crate) const WINDOW: u64 = 40 << 20;

/// What vouches for bytes that were given out. The numbers are `XET_PROOF_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Proven {
    /// Nothing but the server.
    No = 0,
    /// The Merkle tree of the file.
    ByTree = 1,
    /// The download that has brought the file here.
    ByCache = 2,
}
