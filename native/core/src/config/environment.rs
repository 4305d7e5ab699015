//! Environment variables as `huggingface_hub` reads them. A value of its own, so that tests pass
//! theirs.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use crate::model::error::{Error, Result};

type Lookup = dyn Fn(&str) -> Option<OsString>;

/// A source of environment variables.
pub struct Environment {
    lookup: Box<Lookup>,
    /// The home folder of this account, where `HOME` isn't set.
    account_home: fn() -> Option<PathBuf>,
}

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn process() -> Self {
        Self { lookup: Box::new(|name| std::env::var_os(name)), account_home: std::env::home_dir }
    }

    /// Exactly the variables given, as (name, value), and an account without a home folder.
    pub fn of<N: Into<String>, V: Into<OsString>>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let variables: HashMap<String, OsString> =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { lookup: Box::new(move |name| variables.get(name).cloned()), account_home: || None }
    }

    fn get(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// Whether the variable has a value that isn't empty.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The value as text.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        match self.get(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(Error::invalid(name, "is not valid UTF-8")),
        }
    }

    /// Whether the value is one of `1 ON YES TRUE`, in any case.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| {
            ["1", "ON", "YES", "TRUE"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
        })
    }

    /// A whole number of seconds; 0 means "the default", hence `None`.
    pub fn seconds(&self, name: &str) -> Result<Option<Duration>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.trim().parse::<u32>() {
            Ok(0) => Ok(None),
            Ok(seconds) => Ok(Some(Duration::from_secs(seconds.into()))),
            Err(_) => Err(Error::invalid(name, format!("{text:?} is not a number of seconds"))),
        }
    }

    /// A whole number.
    pub fn number(&self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Error::invalid(name, format!("{text:?} is not a whole number"))),
        }
    }

    /// The value as a path, with `~` and `$VAR` expanded.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(|value| self.expand(&value))
    }

    /// The user's home folder.
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from).or_else(self.account_home)
    }

    /// A path that the caller knows as `field`, with a leading `~` expanded. It's the only thing that is:
    /// a `$` may be part of a name.
    pub fn user_path(&self, field: &str, path: &str) -> Result<PathBuf> {
        self.expand_home(path).ok_or_else(|| {
            Error::invalid(field, "begins with ~, and this account has no home folder; set HOME")
        })
    }

    /// Expands a leading `~` and every `$VAR` and `${VAR}`; unknown variables stay as they are.
    /// `~user` isn't expanded, and neither is anything in a path that isn't UTF-8.
    fn expand(&self, path: &OsStr) -> PathBuf {
        let Some(text) = path.to_str() else { return PathBuf::from(path) };
        let expanded = self.expand_variables(text);
        self.expand_home(&expanded).unwrap_or_else(|| PathBuf::from(expanded))
    }

    /// `None`: there is a `~` to expand, and no home folder.
    fn expand_home(&self, path: &str) -> Option<PathBuf> {
        let rest = path
            .strip_prefix('~')
            .filter(|rest| rest.is_empty() || rest.starts_with(std::path::is_separator));
        let Some(rest) = rest else { return Some(PathBuf::from(path)) };
        let home = self.home()?;
        let rest = rest.trim_start_matches(std::path::is_separator);
        Some(if rest.is_empty() { home } else { home.join(rest) })
    }

    fn expand_variables(&self, text: &str) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            expanded.push_str(&rest[..dollar]);
            rest = &rest[dollar..];
            let (reference, name) = leading_reference(rest);
            match (self.lookup)(name).and_then(|value| value.into_string().ok()) {
                Some(value) if !name.is_empty() => expanded.push_str(&value),
                _ => expanded.push_str(reference),
            }
            rest = &rest[reference.len()..];
        }
        expanded.push_str(rest);
        expanded
    }
}

/// Splits `$NAME...` or `${NAME}...` after the reference: the reference itself, and the name in it,
/// empty if there is none.
fn leading_reference(text: &str) -> (&str, &str) {
    let after = &text[1..];
    if let Some(braced) = after.strip_prefix('{') {
        return braced.find('}').map_or((&text[..1], ""), |end| (&text[..end + 3], &braced[..end]));
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
    (&text[..=end], &after[..end])
}
