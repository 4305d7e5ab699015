//! libxet: moves Hugging Face repositories over the Xet protocol. The C interface is `xet.h`; this crate's own API, [`client`], is
//! what it is made of.

pub mod client;
pub mod error;
mod ffi;
pub mod pattern;
pub mod progress;
pub mod repo;
