//! What is asked for, as far as limits can tell requests apart.

use std::hash::{DefaultHasher, Hash, Hasher};

use reqwest::Method;
use reqwest::header::{HeaderMap, RANGE};
use url::Url;

use super::{CONTENT, Sort};
use crate::http::origin::{authority, bare};

/// One request, and the limit that it's under.
#[derive(Clone, Debug)]
pub(in crate::http) struct Asked {
    /// The server, and what it may count by itself.
    pub(super) limit: (String, Sort),
    pub(super) request: Request,
}

/// What stays the same when a request is made again. Pages, ranges and methods are refused each for itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Request {
    /// Without its query, which may hold a signature.
    pub(super) url: String,
    /// Of the rest.
    hash: u64,
}

impl Asked {
    pub(in crate::http) fn of(method: &Method, url: &Url, headers: &HeaderMap, sort: Sort) -> Self {
        // Content is signed anew for each attempt to get it, and the signature says nothing of what it is.
        let is_signed = sort == CONTENT && matches!(*method, Method::GET | Method::HEAD);
        let query = url.query().filter(|_| !is_signed);
        let mut hasher = DefaultHasher::new();
        (method, query, headers.get(RANGE)).hash(&mut hasher);
        let request = Request { url: bare(url), hash: hasher.finish() };
        Self { limit: (authority(url), sort), request }
    }

    pub(in crate::http) fn by(request: &reqwest::Request, sort: Sort) -> Self {
        Self::of(request.method(), request.url(), request.headers(), sort)
    }
}
