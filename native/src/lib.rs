//! The C interface of `xet.h`: the only `extern "C"` of the crate. One file per section of the
//! header.
//!
//! An entry point converts its arguments ([`ptr`], [`versioned`]), calls safe code, and converts
//! the result back, all inside
//! [`guard`], which nothing unwinds out of. The contract (ownership, threads, callbacks) is written once, in `xet.h`; the safety
//! comments here refer to it. Nothing outside this module knows of C.

#[macro_use]
mod layout;
mod guard;
mod ptr;
mod versioned;

mod cache;
mod client;
mod downloading;
mod errors;
mod listing;
mod logs;
mod planning;
mod progress;
mod uploading;
mod version;
