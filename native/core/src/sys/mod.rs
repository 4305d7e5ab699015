//! What the operating system does for us: files, locks, space, shared blocks and forks. The only
//! place that may differ from one system to another.

pub(crate) mod at_hand;
pub(crate) mod certificates;
pub(crate) mod copy;
pub(crate) mod disk;
pub(crate) mod failure;
pub mod files;
pub mod fork;
pub(crate) mod gather;
pub(crate) mod identity;
pub(crate) mod length;
pub(crate) mod limits;
pub mod lock;
pub mod names;
pub(crate) mod open;
pub(crate) mod parts;
pub(crate) mod refused;
pub(crate) mod rename;
pub(crate) mod resolver;
pub(crate) mod small;
pub(crate) mod socket;
pub(crate) mod sync;
pub(crate) mod unshared;
pub(crate) mod watch;
