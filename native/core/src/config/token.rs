//! Access tokens: a type that can't be shown by accident, and where a Hub token comes from.

use std::fmt;
use std::io;
use std::path::Path;

use reqwest::header::HeaderValue;

use super::{Environment, absolute};
use crate::config::options::ClientOptions;
use crate::model::error::{Error, Result};
use crate::sys::small;

/// A bearer token of the Hub or the CAS. `Debug` and `Display` don't show it.
#[derive(Clone)]
pub struct Token {
    secret: String,
    bearer: HeaderValue,
    /// Where it was found.
    source: String,
}

impl Token {
    /// Stands for a token wherever it would have been shown.
    pub const REDACTED: &str = "[token]";

    /// Validates a token, which the caller knows as `field`: visible ASCII, at most 64 KiB. The
    /// error doesn't show it.
    pub fn new(field: &str, secret: &str) -> Result<Self> {
        if secret.is_empty() {
            return Err(Error::invalid(field, "is empty"));
        }
        if secret.len() > 64 * 1024 {
            return Err(Error::invalid(field, "is longer than 64 KiB"));
        }
        let unfit = || {
            Error::invalid(
                field,
                "has spaces, control characters or non-ASCII characters, so it isn't a token",
            )
        };
        if !secret.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(unfit());
        }
        let mut bearer = HeaderValue::from_str(&format!("Bearer {secret}")).map_err(|_| unfit())?;
        // Keeps it out of the Debug output of header maps, and out of HTTP/2's compression table.
        bearer.set_sensitive(true);
        Ok(Self { secret: secret.to_owned(), bearer, source: field.to_owned() })
    }

    /// The token itself. Only for what sends it.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The value of an `Authorization` header, marked sensitive.
    #[must_use]
    pub fn bearer(&self) -> HeaderValue {
        self.bearer.clone()
    }

    /// Where it comes from, as its maker named it: `options.token`, a variable, a file.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// `text` without this token: a server may echo what it was sent.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        text.replace(&self.secret, Self::REDACTED)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::REDACTED)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::REDACTED)
    }
}

/// More bytes than a file of a token has.
const LARGEST_FILE: u64 = 64 << 10;

/// A client's token, and where it comes from: "argument", the name of a variable, or the path of the
/// token file.
pub(super) type Found = (Token, String);

/// The token of a client: the caller's, else `HF_TOKEN` or `HUGGING_FACE_HUB_TOKEN`, else the token
/// file.
pub(super) fn resolve(
    options: &ClientOptions,
    environment: &Environment,
    hf_home: Option<&Path>,
    staging: bool,
) -> Result<Option<Found>> {
    // One that holds only blanks is none, as everywhere.
    let given = options.token.as_deref().map(str::trim).filter(|secret| !secret.is_empty());
    match (given, options.anonymous) {
        (Some(_), true) => {
            return Err(Error::invalid("options.token", "is given, and anonymous access too"));
        }
        (Some(secret), false) => {
            let token = Token::new("options.token", secret)?;
            return Ok(Some((token, "argument".to_owned())));
        }
        (None, true) => return Ok(None),
        (None, false) if environment.flag("HF_HUB_DISABLE_IMPLICIT_TOKEN") => return Ok(None),
        (None, false) => {}
    }
    if environment.is_set("HF_OIDC_RESOURCE") {
        tracing::warn!(
            "HF_OIDC_RESOURCE is set, but OIDC token exchange isn't supported here; using the other token sources"
        );
    }
    // A variable that holds only blanks is unset, but still hides the one after it.
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        if let Some(text) = environment.text(name)? {
            match clean(&text) {
                Some(secret) => return Ok(Some((Token::new(name, &secret)?, name.to_owned()))),
                None => break,
            }
        }
    }
    let file = if staging {
        environment.home().map(|home| home.join(".cache/huggingface_staging/token"))
    } else {
        environment.path("HF_TOKEN_PATH")
    };
    let Some(file) = file.or_else(|| hf_home.map(|home| home.join("token"))) else {
        return Ok(None);
    };
    let file = absolute("HF_TOKEN_PATH", &file)?;
    Ok(read_file(&file)?.map(|token| (token, file.display().to_string())))
}

/// The token in `path`; `None` if there is no such file. A file that can't be read is an error:
/// going on as another identity would end in a "not found" that nobody understands. It may be a pipe, as a shell
/// makes it of `<(...)`, and one that keeps silent for five seconds is given up.
fn read_file(path: &Path) -> Result<Option<Token>> {
    let text = match small::read_from_user(path, LARGEST_FILE) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(Error::io("read the token file", path, error)),
    };
    let field = format!("token file {}", path.display());
    clean(&text).map(|secret| Token::new(&field, &secret)).transpose()
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

impl Eq for Token {}

/// As `huggingface_hub`: without line breaks, trimmed; `None` if nothing is left.
fn clean(text: &str) -> Option<String> {
    let text = text.replace(['\r', '\n'], "");
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
