//! Content that is read piece by piece.

use std::ffi::c_char;
use std::ptr::null_mut;
use std::sync::Arc;

use super::XetStorage;
use crate::client::milliseconds;
use crate::progress::{CallObserver, XetCallbacks, struct_size};
use crate::ptr::{self, Given, Shared};
use crate::versioned;
use xet_ffi_core::model::error::Result;
use xet_ffi_core::storage::{Piece, Stream, StreamOptions, content_hash};

pub(crate) const XET_STREAM_UNORDERED: u32 = 1;

c_struct! {
    versions { 7: timeout_ms }
    struct XetStreamOptions {
        struct_size: u32,
        flags: u32,
        hash: *const c_char,
        size: u64,
        start: u64,
        end: u64,
        timeout_ms: u32,
    }
}

c_struct! {
    struct XetPiece {
        struct_size: u32,
        offset: u64,
        data: *const u8,
        data_len: usize,
    }
}

/// What the caller holds: a stream, and the storage that it's of.
pub(crate) struct XetStream {
    stream: Stream,
    storage: Arc<XetStorage>,
}

impl Shared for XetStream {}

impl Given for XetPiece {
    type Storage = Piece;
}

impl XetPiece {
    /// Gives the piece to the caller, who owes an [`xet_piece_free`].
    fn of(piece: Piece) -> *mut Self {
        let public = Self {
            struct_size: struct_size::<Self>(),
            offset: piece.offset,
            data: piece.bytes.as_ptr(),
            data_len: piece.bytes.len(),
        };
        public.give(piece)
    }
}

impl XetStreamOptions {
    /// # Safety
    /// The string is as for [`ptr::text`].
    unsafe fn to_options(self) -> Result<StreamOptions> {
        versioned::check_flags(self.flags, XET_STREAM_UNORDERED, "options.flags")?;
        // SAFETY: the caller's promise is the same.
        let hash = unsafe { ptr::required_text(self.hash, "options.hash")? };
        Ok(StreamOptions {
            hash: content_hash("options.hash", &hash)?,
            size: (self.size != 0).then_some(self.size),
            range: self.start..if self.end == 0 { u64::MAX } else { self.end },
            unordered: self.flags & XET_STREAM_UNORDERED != 0,
            timeout: milliseconds(self.timeout_ms),
        })
    }
}

entry! {
    fn xet_storage_open_stream(
        storage: *mut XetStorage,
        options: *const XetStreamOptions,
        out_stream: *mut *mut XetStream,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, and for strings that are
        // NUL-terminated.
        let (storage, out, options) = unsafe {
            let storage = ptr::share_handle(storage, "storage")?;
            let out = ptr::Out::new(out_stream, "out_stream")?;
            (storage, out, versioned::read_required(options, "options")?.to_options()?)
        };
        let stream = storage.storage.open_stream(options)?;
        out.write(ptr::give_handle(XetStream { stream, storage }));
        Ok(())
    }
}

entry! {
    fn xet_stream_next(
        stream: *mut XetStream,
        callbacks: *const XetCallbacks,
        out_piece: *mut *mut XetPiece,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, and for callbacks that may be
        // called until this function returns.
        let (stream, out, observer) = unsafe {
            let stream = ptr::share_handle(stream, "stream")?;
            let out = ptr::Out::new(out_piece, "out_piece")?;
            (stream, out, CallObserver::from_callbacks(callbacks)?)
        };
        let mut observer = observer.with_tokens(stream.storage.tokens);
        out.write(stream.stream.next(&mut observer)?.map_or(null_mut(), XetPiece::of));
        Ok(())
    }
}

release! {
    fn xet_piece_free(piece: XetPiece)
}

entry! {
    fn xet_stream_cancel(stream: *mut XetStream) -> Result {
        // SAFETY: `xet.h` asks for NULL or a stream that isn't freed.
        unsafe { ptr::share_handle(stream, "stream")? }.stream.cancel();
        Ok(())
    }
}

entry! {
    fn xet_stream_free(stream: *mut XetStream) -> () = () {
        // SAFETY: `xet.h` asks for NULL or a stream that isn't freed twice, and that no call begins on
        // afterwards.
        unsafe { ptr::release_handle(stream) }
    }
}
