//! The engine of libxet: moves Hugging Face repositories over the Xet protocol. Its interface is
//! [`client`]; the C interface, `xet.h`, is the crate above this one.
//!
//! The modules stand in the order in which they may use each other: each uses only those above it.
//! [`client`] and [`storage`] use them all.

pub mod cache;
pub mod call;
pub mod cas;
pub mod client;
pub mod config;
pub mod download;
pub mod http;
pub mod hub;
pub mod model;
mod read;
mod reuse;
pub mod storage;
pub mod sys;
mod tier;
pub mod upload;

#[cfg(test)]
mod fuzz;

/// What tests of modules share with those of the whole crate, which call it by its name.
#[cfg(test)]
extern crate self as xet_ffi_core;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;
#[cfg(test)]
mod world;
