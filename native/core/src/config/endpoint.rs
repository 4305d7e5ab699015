//! The address of a Hub.

use std::fmt;

use url::Url;

use crate::model::error::{Error, Result};

/// The base URL of a Hub: http or https, a host, perhaps a path; no credentials, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
}

impl Endpoint {
    /// The public Hub.
    pub const DEFAULT: &str = "https://huggingface.co";
    /// The Hub's staging site.
    pub const STAGING: &str = "https://hub-ci.huggingface.co";

    /// Validates `text`, which the caller knows as `field`. Trailing slashes are cut.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        // The text may hold a password, so no error shows more of it than the parser's own words.
        let mut url = Url::parse(text.trim()).map_err(|error| {
            Error::invalid(field, format!("is not a URL such as {}: {error}", Self::DEFAULT))
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::invalid(
                field,
                format!("begins with {:?}; it must be http or https", url.scheme()),
            ));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(Error::invalid(field, "names no host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::invalid(field, "holds credentials; pass a token instead"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Error::invalid(field, "has a query or fragment"));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self { url })
    }

    /// Without a trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// As a URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The URL of `path` on this Hub; `path` is percent-encoded already and begins with no slash.
    #[must_use]
    pub fn join(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path().trim_end_matches('/')));
        url
    }

    /// Behind a mirror or proxy, the public Hub's answers still name the public Hub: the same place
    /// on this endpoint. Other URLs, and all where this is a public Hub, are returned as they are, but
    /// for [`below`](Self::below).
    #[must_use]
    pub fn localize(&self, url: Url) -> Url {
        if is_public_hub(&self.url) || !is_public_hub(&url) {
            return self.below(url);
        }
        self.at(&url)
    }

    /// Behind a gateway that has the Hub below a path of its own, the Hub's answers name places from
    /// their own root: the same places below that path. Only those that are the Hub's, as the gateway
    /// may have others.
    #[must_use]
    pub fn below(&self, url: Url) -> Url {
        let prefix = format!("{}/", self.url.path().trim_end_matches('/'));
        let path = url.path();
        let is_hubs = path.starts_with("/api/") || path.contains("/resolve/");
        if self.url.origin() == url.origin() && !path.starts_with(&prefix) && is_hubs {
            return self.at(&url);
        }
        url
    }

    /// The place on this Hub that `url` names on another.
    fn at(&self, url: &Url) -> Url {
        let mut local = self.join(url.path().trim_start_matches('/'));
        local.set_query(url.query());
        local
    }
}

/// Whether the URL leads to the public Hub or its staging site.
fn is_public_hub(url: &Url) -> bool {
    [Endpoint::DEFAULT, Endpoint::STAGING]
        .iter()
        .any(|hub| url.origin().ascii_serialization() == *hub)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
