//! libxet: moves Hugging Face repositories over the Xet protocol. The C interface is `xet.h`; this
//! crate's own API, [`client`], is what it is made of.

pub mod cache;
mod call;
pub mod care;
pub mod client;
pub mod config;
mod content;
mod disk;
mod download;
pub mod error;
mod ffi;
pub mod file_transfer;
#[cfg(test)]
mod fuzz;
pub mod hub;
pub mod net;
pub mod options;
pub mod pattern;
pub mod plan;
pub mod progress;
pub mod repo;
pub mod request;
mod reuse;
mod runtime;
mod transfer;
pub mod upload;
pub mod waits;
mod watchdog;
