//! The local cache: `huggingface_hub`'s own layout, so that both tools share one cache in both
//! directions, under the same locks. Facts: `huggingface_hub` 2.4.
//!
//! ```text
//! <root>/CACHEDIR.TAG
//! <root>/.locks/models--org--name/<etag>.lock     [lock]    whoever makes or removes a blob
//! <root>/.locks/models--org--name/repo.xet.lock   [hold]    ours: calls share it, [gc] has it alone
//! <root>/blobs/<xx>/<xet hash>                    [shared]  content of any repo's Xet files
//! <root>/models--org--name/blobs/<etag>           [blob]    content, or a link to shared
//! <root>/models--org--name/refs/<revision>        [refs]    a commit
//! <root>/models--org--name/snapshots/<commit>/... [blob]    links to blobs: "pointers"
//! <root>/models--org--name/trees/<commit>.json    [tree]    listing
//! <root>/models--org--name/.xet/                  [layout]  ours: partial files and new links
//! ```
//!
//! A download goes to a [`Target`]: a snapshot in the cache, or a [`LocalDir`]. [`offline`] answers
//! from either without the network.
//!
//! Locks are taken in this order: the repo's, a blob's (or, in a local folder, a file's), that of
//! content in the shared store.
//!
//! Everything blocks on the file system, except [`Hold`] and [`LockWait`]: call it off the runtime's
//! worker threads; a [`Walk`](crate::call::walk::Walk) looks at many files. What gets a final name has been
//! written in full elsewhere on the same file system and is renamed, so a reader never sees a part of it; and
//! a rename replaces a link, it never writes through one. Where a lock may not keep everybody out, each writer
//! has a file of its own, and the first one gets the name. Folders with new names in them are synced once, at
//! the end of a call, however it ends ([`LastSync`](target::LastSync)).

mod adopt;
pub mod blob;
pub mod check;
pub mod gc;
mod hold;
mod kin;
pub mod layout;
pub mod local_dir;
mod lock_wait;
mod make_way;
mod metadata;
mod names;
pub mod offline;
mod place;
pub mod probe;
pub mod refs;
mod shared;
pub mod target;
pub mod tree;
mod verified;

pub(crate) use hold::Hold;
pub(crate) use layout::partial_name;
pub use layout::{Cache, RepoCache};
pub use local_dir::LocalDir;
pub(crate) use lock_wait::LockWait;
pub use names::Names;
pub use offline::Located;
pub use probe::Probed;
pub(crate) use target::LastSync;
pub use target::{Group, Target, dedupe};
