//! Mutations of sound input, for the fuzz tests that stand beside the parsers (`fuzz` in each).
//!
//! Noise dies at the first byte of a parser; a sound sample with a few edits gets behind it. Edits
//! know the words of a format ("..", `null`, huge numbers), so that they lie in its language. More
//! cases than in `make test`: `PROPTEST_CASES=100000 cargo test --release -p xet-ffi-core fuzz`.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The most edits of one mutation. None at all is a case, too: the sample must be taken.
const EDITS: usize = 6;

/// The longest piece that is cut out, copied or made up.
const PIECE: usize = 64;

/// What lies in most formats.
const NASTY: [&str; 14] = [
    "0",
    "-1",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "1e999",
    "null",
    "\u{0}",
    "\n",
    "\"",
    "\\",
    "..",
    "/",
    "\u{202e}é\u{1f980}",
];

#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    Cut(Index, usize),
    Copy(Index, Index, usize),
    Truncate(Index),
    Insert(Index, Vec<u8>),
    Word(Index, &'static str),
    /// Puts the word over the digits, or letters, that are there.
    Replace(Index, &'static str),
    /// Puts the word between two quotes that are there.
    Quote(Index, &'static str),
}

/// `sample` with up to [`EDITS`] edits, in which `words` of its format may occur.
pub(crate) fn mutated<S: Into<Vec<u8>>>(
    sample: S,
    words: &[&'static str],
) -> impl Strategy<Value = Vec<u8>> + use<S> {
    let sample = sample.into();
    let words: Vec<&'static str> = words.iter().copied().chain(NASTY).collect();
    vec(edit(words), 0..=EDITS).prop_map(move |edits| {
        let mut bytes = sample.clone();
        for edit in edits {
            edit.apply(&mut bytes);
        }
        bytes
    })
}

/// The same as text; what is no UTF-8 any more is replaced.
pub(crate) fn mutated_text(
    sample: &str,
    words: &[&'static str],
) -> impl Strategy<Value = String> + use<> {
    mutated(sample.to_owned(), words).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn edit(words: Vec<&'static str>) -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        1 => (at(), 1..=u8::MAX).prop_map(|(at, mask)| Edit::Flip(at, mask)),
        1 => (at(), 1..PIECE).prop_map(|(at, len)| Edit::Cut(at, len)),
        1 => (at(), at(), 1..PIECE).prop_map(|(from, to, len)| Edit::Copy(from, to, len)),
        1 => at().prop_map(Edit::Truncate),
        1 => (at(), vec(any::<u8>(), 1..PIECE)).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        1 => (at(), select(words.clone())).prop_map(|(at, word)| Edit::Word(at, word)),
        3 => (at(), select(words.clone())).prop_map(|(at, word)| Edit::Replace(at, word)),
        6 => (at(), select(words)).prop_map(|(at, word)| Edit::Quote(at, word)),
    ]
}

impl Edit {
    fn apply(self, bytes: &mut Vec<u8>) {
        let len = bytes.len();
        // Of a place between bytes, so that there is one in the empty input, too.
        let place = |index: Index| index.index(len + 1);
        match self {
            Self::Flip(at, mask) => {
                if let Some(byte) = bytes.get_mut(place(at)) {
                    *byte ^= mask;
                }
            }
            Self::Cut(at, n) => drop(bytes.drain(place(at)..len.min(place(at) + n))),
            Self::Copy(from, to, n) => {
                let piece = bytes[place(from)..len.min(place(from) + n)].to_vec();
                bytes.splice(place(to)..place(to), piece);
            }
            Self::Truncate(at) => bytes.truncate(place(at)),
            Self::Insert(at, piece) => drop(bytes.splice(place(at)..place(at), piece)),
            Self::Word(at, word) => drop(bytes.splice(place(at)..place(at), word.bytes())),
            Self::Replace(at, word) => {
                let start = place(at);
                let run = bytes[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric());
                let end = start + run.count();
                bytes.splice(start..end, word.bytes());
            }
            Self::Quote(at, word) => {
                let quotes: Vec<usize> =
                    (0..len).filter(|&position| bytes[position] == b'"').collect();
                if let Some(&[open, close]) =
                    quotes.as_chunks().0.get(at.index(len + 1) % (quotes.len() / 2).max(1))
                {
                    bytes.splice(open + 1..close, word.bytes());
                }
            }
        }
    }
}
