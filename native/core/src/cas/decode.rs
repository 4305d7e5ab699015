//! Cuts the body of a xorb fetch into chunks while it arrives.
//!
//! A body is a sequence of chunks, each an 8-byte header (version, compressed length, scheme,
//! uncompressed length) and its data; the format, its limits and its decompressors are xet-core's.
//! This decoder does no I/O: bytes go in as they come from the network, in pieces of any size, and
//! whole chunks come out. It holds at most one piece and one incomplete chunk.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use xet_core_structures::xorb_object::byte_grouping::bg4::bg4_regroup;
use xet_core_structures::xorb_object::{
    CompressionScheme, XORB_CHUNK_HEADER_LENGTH, XorbChunkHeader, parse_chunk_header,
};

use crate::model::error::{Error, Kind, Result};

/// The decoder of one body.
#[derive(Default)]
pub(crate) struct ChunkDecoder {
    /// The beginning of a chunk whose rest hasn't come yet.
    partial: BytesMut,
    /// The piece that is being cut.
    piece: Bytes,
    /// Where the chunk that `next` returned last ends in the body.
    taken: u64,
}

/// A chunk of a body.
pub(crate) struct Decoded {
    /// As it came, with its header.
    pub(crate) raw: Bytes,
    /// Decompressed.
    pub(crate) content: Bytes,
}

impl ChunkDecoder {
    /// Takes the next piece of the body. All chunks of earlier pieces must have been taken out.
    pub(crate) fn push(&mut self, piece: Bytes) {
        debug_assert!(self.piece.is_empty(), "push before next() returned None");
        self.piece = piece;
    }

    /// The next whole chunk; `None` if more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Decoded>> {
        let Some(header) = self.peek_header()? else { return Ok(None) };
        let whole = XORB_CHUNK_HEADER_LENGTH + header.get_compressed_length() as usize;
        let raw = if self.partial.is_empty() && self.piece.len() >= whole {
            // The common case: no copy.
            self.piece.split_to(whole)
        } else if self.fill(whole) {
            self.partial.split().freeze()
        } else {
            return Ok(None);
        };
        self.taken += whole as u64;
        let mut chunk = raw.clone();
        chunk.advance(XORB_CHUNK_HEADER_LENGTH);
        let len = header.get_uncompressed_length() as usize;
        let scheme = header.get_compression_scheme().map_err(malformed)?;
        let content = decompress(scheme, chunk, len)?;
        if content.len() != len || content.is_empty() {
            return Err(malformed("a chunk's length isn't what its header says"));
        }
        Ok(Some(Decoded { raw, content }))
    }

    /// Where in the body the chunk ends that was taken out last.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether the body may end here.
    pub(crate) fn is_at_boundary(&self) -> bool {
        self.partial.is_empty() && self.piece.is_empty()
    }

    fn peek_header(&mut self) -> Result<Option<XorbChunkHeader>> {
        let mut header = [0; XORB_CHUNK_HEADER_LENGTH];
        if self.partial.is_empty() && self.piece.len() >= header.len() {
            header.copy_from_slice(&self.piece[..XORB_CHUNK_HEADER_LENGTH]);
        } else if self.fill(XORB_CHUNK_HEADER_LENGTH) {
            header.copy_from_slice(&self.partial[..XORB_CHUNK_HEADER_LENGTH]);
        } else {
            return Ok(None);
        }
        parse_chunk_header(header).map(Some).map_err(malformed)
    }

    /// Moves bytes from the piece until `partial` holds `len`; false if the piece ended before.
    fn fill(&mut self, len: usize) -> bool {
        let take = len.saturating_sub(self.partial.len()).min(self.piece.len());
        self.partial.extend_from_slice(&self.piece.split_to(take));
        self.partial.len() >= len
    }
}

/// Decompresses a chunk, into no more than the `len` bytes that its header says: a few hundred kilobytes may
/// stand for a hundred times as many.
fn decompress(scheme: CompressionScheme, data: Bytes, len: usize) -> Result<Bytes> {
    let lz4 = |mut data: &[u8]| {
        let mut room = Room { bytes: Vec::with_capacity(len), most: len };
        let filled = CompressionScheme::LZ4.decompress_from_reader(&mut data, &mut room);
        filled.map(|_| room.bytes).map_err(malformed)
    };
    match scheme {
        CompressionScheme::None => Ok(data),
        CompressionScheme::LZ4 => Ok(lz4(&data)?.into()),
        CompressionScheme::ByteGrouping4LZ4 => Ok(bg4_regroup(&lz4(&data)?).into()),
        // For whoever makes a chunk, who says what was chosen.
        CompressionScheme::Auto => Err(malformed("a chunk doesn't say how it's compressed")),
    }
}

/// Takes so many bytes, and refuses more.
struct Room {
    bytes: Vec<u8>,
    most: usize,
}

impl io::Write for Room {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + piece.len() > self.most {
            return Err(io::Error::other("a chunk is longer than its header says"));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn malformed(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::ChecksumMismatch, format!("damaged xorb data: {why}"))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use xet_core_structures::xorb_object::serialize_chunk;

    use super::*;

    fn body() -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut random = fastrand::Rng::with_seed(7);
        let schemes =
            [CompressionScheme::None, CompressionScheme::LZ4, CompressionScheme::ByteGrouping4LZ4];
        let mut chunks = Vec::new();
        let mut body = Vec::new();
        for i in 0..30_usize {
            let mut chunk: Vec<u8> = (0..=250).cycle().take(random.usize(1..40_000)).collect();
            if i % 2 == 0 {
                random.fill(&mut chunk);
            }
            serialize_chunk(&chunk, &mut body, schemes[i % 3]).unwrap();
            chunks.push(chunk);
        }
        (chunks, body)
    }

    /// However the network cuts the body, the same chunks come out.
    #[test]
    fn chunks_do_not_depend_on_how_the_body_is_cut() {
        let (chunks, body) = body();
        for piece_len in [1, 3, 8, 1000, 65_536, body.len()] {
            let mut decoder = ChunkDecoder::default();
            let mut found = Vec::new();
            for piece in body.chunks(piece_len) {
                decoder.push(Bytes::copy_from_slice(piece));
                while let Some(chunk) = decoder.next().unwrap() {
                    found.push(chunk.content.to_vec());
                }
            }
            assert!(decoder.is_at_boundary());
            assert_eq!(found, chunks, "pieces of {piece_len}");
            assert_eq!(decoder.taken(), body.len() as u64);
        }
    }

    /// A body that stops inside a chunk is noticed.
    #[test]
    fn a_body_that_ends_inside_a_chunk_is_not_at_a_boundary() {
        let (_, body) = body();
        let mut decoder = ChunkDecoder::default();
        decoder.push(Bytes::copy_from_slice(&body[..body.len() - 1]));
        while decoder.next().unwrap().is_some() {}
        assert!(!decoder.is_at_boundary());
    }

    /// What grows to more than its header says is refused as soon as it does.
    #[test]
    fn a_chunk_does_not_grow_beyond_what_its_header_says() {
        for scheme in [CompressionScheme::LZ4, CompressionScheme::ByteGrouping4LZ4] {
            let zeros = vec![0; 32 << 20];
            let bomb = scheme.compress_from_slice(&zeros).unwrap();
            let error = decompress(scheme, bomb.into_owned().into(), 1000).unwrap_err();
            assert!(error.message().contains("longer than its header says"), "{error}");
        }
    }

    /// Garbage is an error of the server's, not a panic and not endless memory.
    #[test]
    fn garbage_is_refused() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..2_000 {
            let mut garbage = vec![0; random.usize(8..4_000)];
            random.fill(&mut garbage);
            garbage[0] = 0;
            garbage[4] = random.u8(0..5);
            let mut decoder = ChunkDecoder::default();
            decoder.push(Bytes::from(garbage));
            while let Ok(Some(_)) = decoder.next() {}
        }
        let mut decoder = ChunkDecoder::default();
        decoder.push(Bytes::from_static(&[9; 64]));
        assert_eq!(decoder.next().err().map(|error| error.kind()), Some(Kind::ChecksumMismatch));
    }
}
