//! The C interface of `xet.h`, over the crate `xet_ffi_core`, which knows nothing of C. One file per
//! section of the header; [`base`] is the one for existing callers.
//!
//! A function of the interface is made by `entry!` ([`entry`]), which puts it behind [`guard`], out of
//! which nothing unwinds. It converts its arguments ([`ptr`], [`versioned`]), calls safe code, and
//! converts the result back ([`list`]). The contract (ownership, threads, callbacks) is written once,
//! in `xet.h`; the safety comments here refer to it.

#[macro_use]
mod entry;
#[macro_use]
mod layout;
mod guard;
mod list;
mod ptr;
mod versioned;

mod base;
mod cache;
mod client;
mod downloading;
mod errors;
mod headers;
mod listing;
mod logs;
mod planning;
mod progress;
mod reading;
mod storage;
mod uploading;
mod version;

// NEON's part of BLAKE3 is C, and calls this function of the crate's Rust, which therefore has a C name.
// rustc would export it beside ours. Visibility is a symbol's most hidden one, wherever it stands. (The directive is
// ELF's, and so these systems'.)
#[cfg(all(target_arch = "aarch64", any(target_env = "gnu", target_env = "musl")))]
core::arch::global_asm!(".hidden blake3_compress_in_place_portable");
