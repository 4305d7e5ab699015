//! Content codings. Gzip is asked for of JSON alone; the rest is to come as it is, and gateways
//! compress it all the same, or say so of what isn't compressed. Gzip and deflate are decoded, and of JSON
//! Zstandard, too; others are named.
//!
//! The length, and the range, of an encoded answer are those of the encoded bytes. So where the
//! length is the one that was published, nothing is encoded, whatever the answer says: the file may
//! be a `.gz` itself.

use std::io::{Read, Write};

use bytes::{Buf, Bytes};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use reqwest::Response;
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use ruzstd::decoding::StreamingDecoder;
use url::Url;

use super::body::nonsense;
use super::fault;
use crate::model::error::Error;

/// How a body is encoded, by its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coding {
    /// It isn't.
    Plain,
    /// As in a `.gz` file.
    Gzip,
    /// zlib's, or without its frame, as some servers have it.
    Deflate,
    /// Some other way, which is named here.
    Other(String),
}

impl Coding {
    /// What the headers say.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(CONTENT_ENCODING).iter();
        let values: Vec<_> = values.map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        let said = values.join(",").to_ascii_lowercase();
        let said: Vec<&str> = said
            .split(',')
            .map(str::trim)
            .filter(|name| !matches!(*name, "" | "identity"))
            .collect();
        match said[..] {
            [] => Self::Plain,
            ["gzip" | "x-gzip"] => Self::Gzip,
            ["deflate"] => Self::Deflate,
            _ => {
                Self::Other(said.join(", ").chars().filter(|c| !c.is_control()).take(40).collect())
            }
        }
    }

    /// The same for an answer that should have `published` bytes.
    #[must_use]
    pub fn of_content(response: &Response, published: u64) -> Self {
        if length(response.headers()) == Some(published) {
            return Self::Plain;
        }
        Self::of(response.headers())
    }

    /// The error for a body that can't be read because of its coding.
    #[must_use]
    pub fn undecodable(&self, url: &Url, status: u16) -> Error {
        let name = self.name();
        let what = format!(
            "content encoded as {name:?}, which nobody asked for and which can't be decoded here; a \
             gateway or proxy on the way has to pass content on as it is"
        );
        nonsense(url, status, what)
    }

    /// As it is in a header.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Plain => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Other(name) => name,
        }
    }
}

/// The length of a body as it is sent.
#[must_use]
pub fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// What is decoded in one step, about. A piece may stand for a thousand times as many bytes, which nobody has
/// counted before they are here.
const STEP: usize = 256 << 10;

/// Decodes a body, piece by piece, and each piece step by step.
pub(super) struct Decoder {
    url: Url,
    status: u16,
    coding: Coding,
    state: State,
    /// What has come, and isn't decoded yet.
    held: Bytes,
}

enum State {
    /// The first bytes tell whether the headers are right.
    Beginning,
    Plain,
    Gzip(MultiGzDecoder<Vec<u8>>),
    Zlib(ZlibDecoder<Vec<u8>>),
    Deflate(DeflateDecoder<Vec<u8>>),
}

impl Decoder {
    pub(super) fn new(url: &Url, status: u16, coding: Coding) -> Self {
        let state = if coding == Coding::Plain { State::Plain } else { State::Beginning };
        Self { url: url.clone(), status, coding, state, held: Bytes::new() }
    }

    /// Takes one more piece, once there's nothing left of those before it.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.held = if self.held.is_empty() {
            piece
        } else {
            [self.held.as_ref(), piece.as_ref()].concat().into()
        };
    }

    /// Some more of what the pieces so far decode to; empty: there's nothing left.
    pub(super) fn next(&mut self) -> Result<Bytes, Error> {
        if matches!(self.state, State::Beginning) {
            if self.held.len() < 2 {
                return Ok(Bytes::new());
            }
            self.begin();
        }
        while !self.held.is_empty() {
            let (taken, decoded) = match &mut self.state {
                State::Plain | State::Beginning => return Ok(std::mem::take(&mut self.held)),
                State::Gzip(decoder) => (decoder.write(&self.held), decoder.get_ref().len()),
                State::Zlib(decoder) => (decoder.write(&self.held), decoder.get_ref().len()),
                State::Deflate(decoder) => (decoder.write(&self.held), decoder.get_ref().len()),
            };
            // It takes nothing where the encoded bytes have ended, and others follow.
            let taken = taken.ok().filter(|&taken| taken > 0);
            let Some(taken) = taken else {
                return Err(self.coding.undecodable(&self.url, self.status));
            };
            self.held.advance(taken);
            if decoded >= STEP {
                break;
            }
        }
        Ok(self.taken())
    }

    /// What is left at the end of the body.
    pub(super) fn finish(&mut self) -> Result<Bytes, Error> {
        let ended = match &mut self.state {
            // An empty body, or nearly: not even a frame.
            State::Plain | State::Beginning => return Ok(std::mem::take(&mut self.held)),
            State::Gzip(decoder) => decoder.try_finish(),
            State::Zlib(decoder) => decoder.try_finish(),
            State::Deflate(decoder) => decoder.try_finish(),
        };
        // Whatever is said to be wrong with its end, the end is what is missing.
        ended.map_err(|_| fault::cut(&self.url))?;
        Ok(self.taken())
    }

    /// Chooses by the first bytes: headers that speak of a coding that isn't there are passed over,
    /// as far as one can tell.
    fn begin(&mut self) {
        let first = &self.held;
        let check = u16::from_be_bytes([first[0], first[1]]);
        let zlib = first[0] & 0x0f == 8 && check.is_multiple_of(31);
        self.state = match self.coding {
            Coding::Gzip if first.starts_with(&[0x1f, 0x8b]) => {
                State::Gzip(MultiGzDecoder::new(Vec::new()))
            }
            Coding::Deflate if zlib => State::Zlib(ZlibDecoder::new(Vec::new())),
            Coding::Deflate => State::Deflate(DeflateDecoder::new(Vec::new())),
            Coding::Gzip | Coding::Plain | Coding::Other(_) => State::Plain,
        };
    }

    fn taken(&mut self) -> Bytes {
        let decoded = match &mut self.state {
            State::Plain | State::Beginning => Vec::new(),
            State::Gzip(decoder) => std::mem::take(decoder.get_mut()),
            State::Zlib(decoder) => std::mem::take(decoder.get_mut()),
            State::Deflate(decoder) => std::mem::take(decoder.get_mut()),
        };
        decoded.into()
    }
}

/// The first bytes of a body in Zstandard's coding (RFC 8878, 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Whether that is what begins here, as far as `beginning` goes. No JSON begins so.
pub(super) fn may_be_zstd(beginning: &[u8]) -> bool {
    is_zstd(beginning) || ZSTD.starts_with(beginning)
}

/// Whether it's in that coding.
pub(super) fn is_zstd(body: &[u8]) -> bool {
    body.starts_with(&ZSTD)
}

/// Decodes a whole body in Zstandard's coding, to at most `limit` bytes. The CAS has it for JSON.
pub(super) fn from_zstd(
    body: &[u8],
    limit: usize,
    (url, status): (&Url, u16),
) -> Result<Bytes, Error> {
    let coding = Coding::Other("zstd".to_owned());
    let broken = |_| coding.undecodable(url, status);
    let decoder = StreamingDecoder::new(body).map_err(broken)?;
    let mut json = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(most).read_to_end(&mut json).map_err(|_| fault::cut(url))?;
    if json.len() > limit {
        return Err(nonsense(url, status, format!("more than {limit} bytes")));
    }
    Ok(json.into())
}

/// As much of the beginning of a body as can be decoded: for a look, not for content.
pub(super) fn decoded_prefix(headers: &HeaderMap, url: &Url, body: Bytes) -> Bytes {
    let mut decoder = Decoder::new(url, 0, Coding::of(headers));
    decoder.push(body.clone());
    decoder.next().unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;
    use crate::model::error::Kind;

    const TEXT: &[u8] = b"{\"what\": \"is to come, is to come, is to come\"}";

    fn headers(said: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in said {
            headers.append(CONTENT_ENCODING, value.parse().unwrap());
        }
        headers
    }

    /// Decodes a body that comes in pieces of `step` bytes.
    fn decode(coding: Coding, body: &[u8], step: usize) -> Result<Vec<u8>, Error> {
        let url = Url::parse("https://hub.example/x").unwrap();
        let mut decoder = Decoder::new(&url, 200, coding);
        let mut content = Vec::new();
        for piece in body.chunks(step) {
            decoder.push(Bytes::copy_from_slice(piece));
            loop {
                let some = decoder.next()?;
                if some.is_empty() {
                    break;
                }
                content.extend_from_slice(&some);
            }
        }
        content.extend_from_slice(&decoder.finish()?);
        Ok(content)
    }

    fn gzip() -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(TEXT).unwrap();
        encoder.finish().unwrap()
    }

    /// Codings are told by their names, however those are spelt.
    #[test]
    fn codings_are_named() {
        let other = |name: &str| Coding::Other(name.to_owned());
        for (said, coding) in [
            (&[][..], Coding::Plain),
            (&["identity"], Coding::Plain),
            (&[""], Coding::Plain),
            (&["GZip"], Coding::Gzip),
            (&["x-gzip"], Coding::Gzip),
            (&["identity, deflate"], Coding::Deflate),
            (&["br"], other("br")),
            (&["zstd"], other("zstd")),
            (&["gzip, br"], other("gzip, br")),
        ] {
            assert_eq!(Coding::of(&headers(said)), coding, "{said:?}");
        }
    }

    /// What is encoded is decoded, whatever the pieces are; what only says so is passed on.
    #[test]
    fn bodies_are_decoded() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(TEXT).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(TEXT).unwrap();
        for (coding, body) in [
            (Coding::Gzip, gzip()),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, raw.finish().unwrap()),
            (Coding::Gzip, TEXT.to_vec()),
            (Coding::Plain, TEXT.to_vec()),
        ] {
            for step in [1, 2, 3, 1000] {
                assert_eq!(decode(coding.clone(), &body, step).unwrap(), TEXT, "{coding:?} {step}");
            }
        }
        assert_eq!(decode(Coding::Gzip, b"", 1).unwrap(), b"");
    }

    /// A body that was cut may come whole next time; one that is no such coding won't.
    #[test]
    fn broken_bodies_are_errors() {
        let mut broken = gzip();
        let cut = decode(Coding::Gzip, &broken[..broken.len() - 4], 7).unwrap_err();
        assert_eq!(cut.kind(), Kind::Connection);
        // A kind of block that there is none of, behind ten bytes of header.
        broken[10] = 0b111;
        let error = decode(Coding::Gzip, &broken, 7).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidResponse, "{error}");
        assert!(!error.is_transient() && error.message().contains("gzip"), "{error}");
    }
}
