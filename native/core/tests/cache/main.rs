//! The local cache, through its public face, on a real file system.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod local_dir;
mod lock;
mod offline;
mod shared;
mod snapshot;
mod support;
mod tree;
