//! Which files of a snapshot are taken: `huggingface_hub`'s allow and ignore patterns.
//!
//! The meaning is `huggingface_hub.utils.filter_repo_objects`, which is Python's
//! `fnmatch.fnmatchcase`: case-sensitive, `*` and `?` cross `/`, `[seq]` and `[!seq]` are sets of
//! characters, nothing escapes, and the whole path must match. On top of that `\` counts as `/` in
//! patterns and in paths, and a pattern that ends in `/` means everything in that folder.

use std::iter::Peekable;
use std::str::Chars;

use regex::{RegexSet, RegexSetBuilder};

use crate::model::error::{Error, Result};

/// Longest list of patterns, in bytes of text. Far above any sane list, far below what hurts.
const MAX_TEXT: usize = 1 << 20;

/// Most memory that a compiled list may take, in bytes.
const MAX_COMPILED: usize = 32 << 20;

/// Allow and ignore patterns, compiled. The default takes every file.
#[derive(Clone, Debug, Default)]
pub struct PatternSet {
    /// `None`: no allow list was given.
    allow: Option<RegexSet>,
    /// What the patterns of the allow list begin with, up to their first wildcard.
    beginnings: Vec<String>,
    ignore: RegexSet,
}

impl PatternSet {
    /// `None` allows everything; an empty list allows nothing. What both lists match is ignored.
    ///
    /// Python accepts every text as a pattern, and so does this, up to a bound on size; beyond it
    /// the error names `allow_patterns` or `ignore_patterns`.
    pub fn new(allow: Option<&[String]>, ignore: &[String]) -> Result<Self> {
        Ok(Self {
            allow: allow.map(|list| compile("allow_patterns", list)).transpose()?,
            beginnings: allow
                .unwrap_or_default()
                .iter()
                .map(|pattern| beginning(pattern))
                .collect(),
            ignore: compile("ignore_patterns", ignore)?,
        })
    }

    /// Whether a file at `path` is taken.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let path = forward_slashes(path);
        self.allow.as_ref().is_none_or(|allow| allow.is_match(&path))
            && !self.ignore.is_match(&path)
    }

    /// Whether a file in the folder at `path` may be taken. True in doubt.
    #[must_use]
    pub fn may_take_below(&self, path: &str) -> bool {
        // Names that have nothing in common: a pattern that matches each of them matches all.
        const NAMES: [&str; 4] = ["a", "Z0", "\u{10ffff}", "0/-.~"];
        let folder = format!("{}/", forward_slashes(path));
        let may_begin = |beginning: &String| {
            beginning.starts_with(&folder) || folder.starts_with(beginning.as_str())
        };
        (self.allow.is_none() || self.beginnings.iter().any(may_begin))
            && !NAMES.iter().all(|name| self.ignore.is_match(&format!("{folder}{name}")))
    }
}

fn beginning(pattern: &str) -> String {
    forward_slashes(pattern).chars().take_while(|c| !matches!(c, '*' | '?' | '[')).collect()
}

fn compile(field: &str, patterns: &[String]) -> Result<RegexSet> {
    if patterns.iter().map(String::len).sum::<usize>() > MAX_TEXT {
        return Err(Error::invalid(
            field,
            format!("the patterns are longer than {MAX_TEXT} bytes"),
        ));
    }
    RegexSetBuilder::new(patterns.iter().map(|pattern| to_regex(pattern)))
        .size_limit(MAX_COMPILED)
        .build()
        .map_err(|_| {
            Error::invalid(field, "the patterns are too complex; use fewer or shorter ones")
        })
}

/// Repo paths use `/` only, but patterns are also built with a path library on Windows.
fn forward_slashes(text: &str) -> String {
    text.replace('\\', "/")
}

/// The regular expression that matches what `fnmatch` matches with `pattern`.
fn to_regex(pattern: &str) -> String {
    let mut pattern = forward_slashes(pattern);
    if pattern.ends_with('/') {
        pattern.push('*');
    }
    let mut regex = String::from(r"(?s)\A");
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' => {
                while rest.next_if_eq(&'*').is_some() {}
                regex.push_str(".*");
            }
            '?' => regex.push('.'),
            '[' => match bracket(&mut rest) {
                Some(body) => set(&body).write(&mut regex),
                // Without its end it's an ordinary character.
                None => literal('[', &mut regex),
            },
            other => literal(other, &mut regex),
        }
    }
    regex.push_str(r"\z");
    regex
}

/// Consumes a `[...]` after its `[` and returns what is between the brackets, or consumes nothing.
/// A `]` right at the start, or right after a `!` there, is a member and not the end.
fn bracket(rest: &mut Peekable<Chars>) -> Option<Vec<char>> {
    let mut ahead = rest.clone();
    let mut body: Vec<char> = Vec::new();
    loop {
        let c = ahead.next()?;
        if c == ']' && !body.is_empty() && body != ['!'] {
            *rest = ahead;
            return Some(body);
        }
        body.push(c);
    }
}

/// A set of characters.
#[derive(Debug, PartialEq, Eq)]
struct Set {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Set {
    fn write(&self, regex: &mut String) {
        match (self.ranges.is_empty(), self.negated) {
            (true, true) => regex.push('.'),
            (true, false) => regex.push_str(r"[^\x{0}-\x{10FFFF}]"),
            (false, negated) => {
                regex.push_str(if negated { "[^" } else { "[" });
                for &(from, to) in &self.ranges {
                    literal(from, regex);
                    regex.push('-');
                    literal(to, regex);
                }
                regex.push(']');
            }
        }
    }
}

/// Writes one character so that it stands for itself, inside and outside of a set.
fn literal(c: char, regex: &mut String) {
    regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}

/// A character of a set, or the hyphen of a range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Item {
    Char(char),
    Hyphen,
}

/// Reads the inside of a `[...]` as `fnmatch.translate` does, with all of its corners: ranges that
/// run backwards vanish, together with their ends, *before* it is decided whether the set begins
/// with `!`.
fn set(body: &[char]) -> Set {
    let mut chunks = split_at_hyphens(body);
    for k in (1..chunks.len()).rev() {
        if chunks[k - 1].last() > chunks[k].first() {
            let right = chunks.remove(k);
            chunks[k - 1].pop();
            chunks[k - 1].extend(right.into_iter().skip(1));
        }
    }
    let mut items: Vec<Item> = Vec::new();
    for (i, chunk) in chunks.into_iter().enumerate() {
        if i > 0 {
            items.push(Item::Hyphen);
        }
        items.extend(chunk.into_iter().map(Item::Char));
    }
    let negated = items.first() == Some(&Item::Char('!'));
    Set { negated, ranges: ranges(&items[usize::from(negated)..]) }
}

/// Splits at the hyphens that mean a range. A hyphen is an ordinary member if it comes first (a `!`
/// aside), last, or next after the end of a range.
fn split_at_hyphens(body: &[char]) -> Vec<Vec<char>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let mut look = if body.first() == Some(&'!') { 2 } else { 1 };
    while let Some(at) =
        body.get(look..).and_then(|tail| tail.iter().position(|&c| c == '-')).map(|i| look + i)
    {
        chunks.push(body[start..at].to_vec());
        start = at + 1;
        look = at + 3;
    }
    match (body.get(start..), chunks.last_mut()) {
        (Some([]), Some(last)) => last.push('-'),
        (tail, _) => chunks.push(tail.unwrap_or_default().to_vec()),
    }
    chunks
}

/// Reads members and ranges as Python's `re` reads a set. A range hyphen can stand at the start if
/// a `!` was taken away before it; it's an ordinary member there.
fn ranges(items: &[Item]) -> Vec<(char, char)> {
    let char_of = |item: &Item| match item {
        Item::Char(c) => *c,
        Item::Hyphen => '-',
    };
    let mut ranges = Vec::new();
    let mut rest = items;
    while let Some((first, tail)) = rest.split_first() {
        let from = char_of(first);
        if let [Item::Hyphen, last, tail @ ..] = tail {
            ranges.push((from, char_of(last)));
            rest = tail;
        } else {
            ranges.push((from, from));
            rest = tail;
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    fn allow(pattern: &str) -> PatternSet {
        PatternSet::new(Some(&strings(&[pattern])), &[]).unwrap()
    }

    /// What `tests/fixtures/fnmatch_table.py` wrote. Matches are a hex number per pattern, one bit
    /// per name, the first name lowest.
    #[derive(serde::Deserialize)]
    struct Table {
        chosen: Chosen,
        exhaustive: Exhaustive,
    }

    #[derive(serde::Deserialize)]
    struct Chosen {
        names: Vec<String>,
        patterns: Vec<(String, String)>,
    }

    #[derive(serde::Deserialize)]
    struct Exhaustive {
        names: Grammar,
        patterns: Vec<(Grammar, String)>,
    }

    /// All words of up to `longest` letters between `before` and `after`.
    #[derive(serde::Deserialize)]
    struct Grammar {
        before: String,
        letters: String,
        longest: usize,
        after: String,
    }

    impl Grammar {
        /// By length, then by letter.
        fn words(&self) -> Vec<String> {
            let mut words = vec![String::new()];
            let mut previous = words.clone();
            for _ in 0..self.longest {
                let longer = |word: &String| {
                    self.letters.chars().map(move |c| format!("{word}{c}")).collect::<Vec<_>>()
                };
                previous = previous.iter().flat_map(longer).collect();
                words.extend_from_slice(&previous);
            }
            words.iter().map(|word| format!("{}{word}{}", self.before, self.after)).collect()
        }
    }

    fn table() -> Table {
        serde_json::from_str(include_str!("../../tests/fixtures/fnmatch.json")).unwrap()
    }

    fn assert_matches(pattern: &str, names: &[String], expected: &str) {
        let set = allow(pattern);
        let mut digits = expected.bytes().rev().map(|digit| char::from(digit).to_digit(16));
        for four in names.chunks(4) {
            let digit = digits.next().map_or(0, |digit| digit.expect("a hex digit"));
            for (bit, name) in four.iter().enumerate() {
                assert_eq!(set.matches(name), digit >> bit & 1 == 1, "{pattern:?} on {name:?}");
            }
        }
    }

    /// Chosen patterns match the same names as in Python's `huggingface_hub`.
    #[test]
    fn chosen_patterns_match_as_in_python() {
        let Chosen { names, patterns } = table().chosen;
        for (pattern, expected) in patterns {
            assert_matches(&pattern, &names, &expected);
        }
    }

    /// Every short pattern over the characters with a meaning matches the same names as in Python.
    #[test]
    fn all_short_patterns_match_as_in_python() {
        let table = table().exhaustive;
        let names = table.names.words();
        for (grammar, expected) in table.patterns {
            let patterns = grammar.words();
            let expected: Vec<&str> = expected.split(' ').collect();
            assert_eq!(patterns.len(), expected.len());
            for (pattern, expected) in patterns.iter().zip(expected) {
                assert_matches(pattern, &names, expected);
            }
        }
    }

    /// No allow list takes everything, an empty one nothing, and ignoring wins.
    #[test]
    fn ignore_wins_over_allow_and_an_empty_allow_list_takes_nothing() {
        assert!(PatternSet::default().matches("a"));
        assert!(PatternSet::new(None, &[]).unwrap().matches("a"));
        assert!(!PatternSet::new(Some(&[]), &[]).unwrap().matches("a"));
        let set =
            PatternSet::new(Some(&strings(&["*.bin", "d/"])), &strings(&["*/secret*"])).unwrap();
        assert!(set.matches("x/y.bin"));
        assert!(set.matches("d/y.txt"));
        assert!(!set.matches("y.txt"));
        assert!(!set.matches("d/secret.txt"));
    }

    /// A list too large to compile is refused by the name of its field.
    #[test]
    fn oversized_patterns_are_refused_by_field() {
        let text = PatternSet::new(Some(&["x".repeat(MAX_TEXT + 1)]), &[]).unwrap_err();
        assert_eq!(text.context().field.as_deref(), Some("allow_patterns"));
        let states = PatternSet::new(None, &["?".repeat(MAX_TEXT)]).unwrap_err();
        assert_eq!(states.context().field.as_deref(), Some("ignore_patterns"));
    }

    /// A folder is passed over only where all that could be in it would be.
    #[test]
    fn folders_are_told_by_their_patterns() {
        let list = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        for (allow, ignore, may) in [
            (None, &[][..], true),
            (None, &["a/b/*"], false),
            (None, &["a/"], false),
            (None, &["*"], false),
            (None, &["a/b/*.txt"], true),
            (None, &["a/b/?"], true),
            (None, &["a/b/[!a]*"], true),
            (None, &["a/c/*", "a"], true),
            (Some(&["a/b/c.txt"][..]), &[], true),
            (Some(&["a/*.txt"]), &[], true),
            (Some(&["*.txt"]), &[], true),
            (Some(&["a/c/*", "b"]), &[], false),
            (Some(&[]), &[], false),
        ] {
            let allowed = allow.map(&list);
            let patterns = PatternSet::new(allowed.as_deref(), &list(ignore)).unwrap();
            assert_eq!(patterns.may_take_below("a/b"), may, "{allow:?} {ignore:?}");
        }
    }
}
