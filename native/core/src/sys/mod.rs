//! What the operating system does for us: files, locks, space and shared blocks. The only place that
//! may differ from one system to another.

pub(crate) mod disk;
pub mod files;
pub(crate) mod limits;
pub mod lock;
pub mod names;
