//! Looking after a cache: what is in it, whether it's still what it was, and what may go.
//!
//! ```text
//! inventory   what there is, and what holds on to what
//! look        taking one
//! doubt       what can't be understood in a repo, so that nothing of it may go
//! verify      hashing everything again
//! choice      what may go
//! prune       removing what nothing holds on to
//! remover     ... from one repo, under its locks
//! unwanted    removing what a person names
//! kept        what has come of contents out of storages
//! packs       what was read in place
//! ```
//!
//! What `huggingface_hub` considers referenced stays: what a ref names, what such a revision links
//! to, what a manifest of the shared store has a live line for. What a call is at work on stays, too.
//!
//! Locks, in the order in which they are taken: the repo's, which our own calls share and pruning has
//! for itself; those of the blobs to go, a few at a time, which `huggingface_hub` takes as well; that of
//! content in the shared store. The repo's is given back now and then, so that a download that comes
//! waits for a moment at most; whatever is removed is looked at once more under its locks. A dry run
//! takes none of them, and asks who does.

mod choice;
mod doubt;
pub mod inventory;
pub(crate) mod kept;
mod look;
pub(crate) mod packs;
pub mod prune;
mod remover;
mod unwanted;
pub mod verify;

pub use inventory::{Inventory, Usage};
pub use prune::{PruneOptions, Pruned, prune};
pub use unwanted::{Unwanted, remove};
pub use verify::{Finding, Verified};
