//! Looking after a cache: what is in it, whether it's still what it was, and what may go.
//!
//! ```text
//! inventory   what there is, and what holds on to what
//! verify      hashing everything again
//! prune       removing what nothing holds on to
//! ```
//!
//! What `huggingface_hub` considers referenced stays: what a ref names, what such a revision links
//! to, what a manifest of the shared store has a live line for. What a download is at work on stays,
//! too: whoever removes something holds its lock, and looks once more under it.

pub mod inventory;
pub mod prune;
pub mod verify;

pub use inventory::{Inventory, Usage};
pub use prune::{PruneOptions, Pruned};
pub use verify::{Finding, Verified};
