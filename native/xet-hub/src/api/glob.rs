//! Patterns of `.gitattributes` and `.gitignore`, as far as uploads need them.

use regex::Regex;

/// The `.gitattributes` that every new repository begins with, after the Hub's own: the usual
/// formats of weights, archives and columns are large files.
pub(super) const DEFAULT_ATTRIBUTES: [&str; 35] = [
    "*.7z",
    "*.arrow",
    "*.bin",
    "*.bz2",
    "*.ckpt",
    "*.ftz",
    "*.gz",
    "*.h5",
    "*.joblib",
    "*.lfs.*",
    "*.mlmodel",
    "*.model",
    "*.msgpack",
    "*.npy",
    "*.npz",
    "*.onnx",
    "*.ot",
    "*.parquet",
    "*.pb",
    "*.pickle",
    "*.pkl",
    "*.pt",
    "*.pth",
    "*.rar",
    "*.safetensors",
    "saved_model/**/*",
    "*.tar.*",
    "*.tar",
    "*.tflite",
    "*.tgz",
    "*.wasm",
    "*.xz",
    "*.zip",
    "*.zst",
    "*tfevents*",
];

/// Text of the first `.gitattributes`.
pub(super) fn default_gitattributes() -> String {
    let line = |pattern: &&str| format!("{pattern} filter=lfs diff=lfs merge=lfs -text\n");
    DEFAULT_ATTRIBUTES.iter().map(line).collect()
}

/// One pattern: without a slash it matches a name at any depth, with one the path from the root.
fn compile(pattern: &str) -> Option<Regex> {
    let anchored = pattern.trim_end_matches('/').contains('/');
    let mut regex = String::from(if anchored { "^" } else { "^(?:.*/)?" });
    let mut rest = pattern.trim_start_matches('/').trim_end_matches('/');
    while let Some(c) = rest.chars().next() {
        let (text, length) = if rest.starts_with("**/") {
            ("(?:.*/)?".to_owned(), 3)
        } else if rest.starts_with("**") {
            (".*".to_owned(), 2)
        } else if c == '[' && rest.contains(']') {
            let end = rest.find(']').unwrap_or(0) + 1;
            (rest[..end].replacen("[!", "[^", 1), end)
        } else {
            let text = match c {
                '*' => "[^/]*".to_owned(),
                '?' => "[^/]".to_owned(),
                c => regex::escape(&c.to_string()),
            };
            (text, c.len_utf8())
        };
        regex.push_str(&text);
        rest = &rest[length..];
    }
    regex.push('$');
    Regex::new(&regex).ok()
}

/// Which paths `.gitattributes` gives to LFS. The last line that speaks about a path wins.
pub(super) struct Attributes(Vec<(Regex, bool)>);

impl Attributes {
    /// Reads a `.gitattributes` file.
    pub(super) fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            let pattern = words.next().filter(|word| !word.starts_with('#'))?;
            let mut filter = words.filter_map(|word| match word {
                "filter=lfs" => Some(true),
                "-filter" | "!filter" => Some(false),
                _ => None,
            });
            Some((compile(pattern)?, filter.next_back()?))
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// Whether `path` is an LFS file.
    pub(super) fn is_lfs(&self, path: &str) -> bool {
        self.0.iter().rev().find(|(regex, _)| regex.is_match(path)).is_some_and(|&(_, lfs)| lfs)
    }
}

/// Which paths `.gitignore` leaves out. The last pattern that matches wins.
pub(super) struct Ignore(Vec<Pattern>);

struct Pattern {
    regex: Regex,
    negated: bool,
    folders_only: bool,
}

impl Ignore {
    /// Reads a `.gitignore` file.
    pub(super) fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                return None;
            }
            let (negated, pattern) = match line.strip_prefix('!') {
                Some(pattern) => (true, pattern),
                None => (false, line),
            };
            let folders_only = pattern.ends_with('/');
            Some(Pattern { regex: compile(pattern)?, negated, folders_only })
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// Whether `path`, a file, or one of the folders around it is ignored.
    pub(super) fn is_ignored(&self, path: &str) -> bool {
        let folders = path.match_indices('/').map(|(at, _)| (&path[..at], true));
        folders.chain([(path, false)]).any(|(path, is_folder)| {
            let matching = self.0.iter().rev().find(|pattern| {
                (is_folder || !pattern.folders_only) && pattern.regex.is_match(path)
            });
            matching.is_some_and(|pattern| !pattern.negated)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Hub's defaults send weights to LFS at any depth, and leave texts alone.
    #[test]
    fn default_attributes_know_weights() {
        let attributes = Attributes::parse(&default_gitattributes());
        for large in ["a.bin", "x/y/model.safetensors", "saved_model/a/b", "a.tar.gz"] {
            assert!(attributes.is_lfs(large), "{large}");
        }
        for plain in ["README.md", "a.bin.txt", "config.json", "bin"] {
            assert!(!attributes.is_lfs(plain), "{plain}");
        }
    }

    /// Later lines overrule earlier ones.
    #[test]
    fn the_last_attribute_wins() {
        let attributes =
            Attributes::parse("*.bin filter=lfs\nsmall.bin -filter\n# *.md filter=lfs");
        assert!(attributes.is_lfs("a.bin") && !attributes.is_lfs("small.bin"));
        assert!(!attributes.is_lfs("a.md"));
    }

    /// Folders, anchors and exceptions of `.gitignore`.
    #[test]
    fn ignored_paths() {
        let ignore = Ignore::parse("*.log\n!keep.log\nbuild/\n/root.txt\na[0-9].tmp\n");
        for ignored in ["x.log", "a/x.log", "build/x", "c/build/x", "root.txt", "d/a1.tmp"] {
            assert!(ignore.is_ignored(ignored), "{ignored}");
        }
        for kept in ["keep.log", "build", "a/root.txt", "ab.tmp", "log"] {
            assert!(!ignore.is_ignored(kept), "{kept}");
        }
    }
}
