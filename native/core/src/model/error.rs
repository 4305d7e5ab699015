//! The one error type of the crate: a [`Kind`] for programs, a sentence for people, and the context
//! (repo, file, HTTP status, ...) that both need.
//!
//! Kinds are finer than the numeric [`Code`]s of `xet.h`; both are append-only.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

pub use super::hold::{Futile, Hold};

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The numeric classes that cross the C boundary (`XET_CODE_*` in `xet.h`). Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[allow(missing_docs, reason = "documented once, at XET_CODE_* in xet.h")]
pub enum Code {
    InvalidConfig = 1,
    AuthFailed = 2,
    NetworkError = 3,
    NotFound = 4,
    PermissionDenied = 5,
    ChecksumMismatch = 6,
    Cancelled = 7,
    IoError = 8,
    Timeout = 9,
    RateLimited = 10,
    Conflict = 11,
    NoSpace = 12,
    Offline = 13,
    Unknown = 99,
}

/// What went wrong. The name in snake case is `details.kind` of the C error, the Python exception's
/// `kind` and the Go error's `Kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A missing, malformed or contradictory argument; the context's `field` names it.
    InvalidArgument,
    /// Not `name` or `namespace/name` by the Hub's rules.
    InvalidRepoId,
    /// A path that is absolute, leaves its folder, or can't be a file name here.
    UnsafePath,
    /// The Hub refused the request as malformed (HTTP 400).
    BadRequest,
    /// The token is unknown or expired, or a token is needed.
    Unauthorized,
    /// No connection: DNS, refused, reset, TLS.
    Connection,
    /// HTTP 5xx after all retries.
    ServerError,
    /// An answer that the protocol doesn't allow: bad JSON, missing headers, lying lengths.
    InvalidResponse,
    /// The repo doesn't exist, or this identity can't see it.
    RepoNotFound,
    /// The repo has no such branch, tag, commit or PR.
    RevisionNotFound,
    /// The revision has no such file.
    EntryNotFound,
    /// Not in the local cache, and the network may not be used.
    LocalEntryNotFound,
    /// HTTP 404 of another sort.
    NotFound,
    /// The repo is gated and this identity isn't on its list.
    GatedRepo,
    /// The Hub has disabled the repo.
    RepoDisabled,
    /// HTTP 403 of another sort.
    Forbidden,
    /// A local file or folder may not be read or written.
    LocalPermission,
    /// Content that doesn't match its published hash.
    ChecksumMismatch,
    /// The caller asked for it.
    Cancelled,
    /// A local file system failure of another sort.
    Io,
    /// Connecting, waiting for bytes, or the whole call took too long.
    Timeout,
    /// HTTP 429, for longer than is waited.
    RateLimited,
    /// HTTP 409 or 412.
    Conflict,
    /// Disk or quota full.
    NoSpace,
    /// The network is switched off.
    Offline,
    /// A bug in this library.
    Internal,
    /// A file changed while it was being uploaded.
    SourceChanged,
    /// A stream of the caller's broke.
    ReadFailed,
    /// A commit was sent, and what became of it can't be found out.
    CommitUnknown,
    /// The process has reached a limit of the machine: threads, open files, memory.
    ResourceLimit,
    /// Downloaded files were removed by somebody else before the call could return.
    FilesRemoved,
    /// A server's certificate isn't one that can be trusted, or nobody is.
    Certificate,
    /// A proxy refused to pass a request on.
    ProxyRefused,
    /// The caller has no token to give.
    TokenCallback,
}

impl Kind {
    /// The class that the kind belongs to. An error of kind [`CommitUnknown`](Self::CommitUnknown)
    /// has that of its cause.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::InvalidArgument | Self::InvalidRepoId | Self::UnsafePath | Self::BadRequest => {
                Code::InvalidConfig
            }
            Self::Unauthorized | Self::TokenCallback => Code::AuthFailed,
            Self::Connection
            | Self::ServerError
            | Self::InvalidResponse
            | Self::CommitUnknown
            | Self::Certificate
            | Self::ProxyRefused => Code::NetworkError,
            Self::RepoNotFound
            | Self::RevisionNotFound
            | Self::EntryNotFound
            | Self::LocalEntryNotFound
            | Self::NotFound => Code::NotFound,
            Self::GatedRepo | Self::RepoDisabled | Self::Forbidden | Self::LocalPermission => {
                Code::PermissionDenied
            }
            Self::ChecksumMismatch => Code::ChecksumMismatch,
            Self::Cancelled => Code::Cancelled,
            Self::Io
            | Self::SourceChanged
            | Self::ReadFailed
            | Self::ResourceLimit
            | Self::FilesRemoved => Code::IoError,
            Self::Timeout => Code::Timeout,
            Self::RateLimited => Code::RateLimited,
            Self::Conflict => Code::Conflict,
            Self::NoSpace => Code::NoSpace,
            Self::Offline => Code::Offline,
            Self::Internal => Code::Unknown,
        }
    }
}

/// What is known about the circumstances; the keys of `details` in `xet.h`.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "documented once, at XetError.details in xet.h")]
#[allow(clippy::struct_excessive_bools, reason = "each says something else")]
pub struct Context {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_needed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_free: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<MadeCommit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_request_url: Option<String>,
    /// The answer came from storage or from the CAS, not from the Hub.
    #[serde(skip)]
    pub from_storage: bool,
    /// An answer that makes no sense, and needn't be the same if it's asked for again.
    #[serde(skip)]
    pub may_pass: bool,
    /// The server isn't to be asked for this now, but later.
    #[serde(skip)]
    pub hold: Option<Hold>,
    /// The server won't be another one a second later.
    #[serde(skip)]
    pub is_final: bool,
    /// The path that couldn't be looked up or given to anything, where that is what failed.
    #[serde(skip)]
    pub name: Option<PathBuf>,
    /// It's the Xet cache that can't be used, which can be done without.
    #[serde(skip)]
    pub is_of_xet_cache: bool,
    /// What is known of the chunks that storage has, from the Xet cache or from storage itself, doesn't hold.
    #[serde(skip)]
    pub is_of_known_chunks: bool,
    /// What storage has said of it itself.
    #[serde(skip)]
    pub words: Option<String>,
    /// The server has failed others shortly before, and wasn't asked.
    #[serde(skip)]
    pub is_known: bool,
    /// No connection could be made.
    #[serde(skip)]
    pub is_unconnected: bool,
    /// Nor will there be none for long: it's worth a longer wait.
    #[serde(skip)]
    pub is_away: bool,
}

/// A commit that an upload made before it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MadeCommit {
    /// Its id, 40 hex digits.
    pub oid: String,
    /// Its page on the Hub.
    pub url: String,
}

/// An error. Cheap to move and to clone, so that every waiter for one download can have it.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    code: Code,
    message: String,
    context: Context,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that says `message`: one sentence, no token, no signed URL.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            code: kind.code(),
            message: message.into(),
            context: Context::default(),
            source: None,
        }))
    }

    /// A bad argument, named as the caller knows it: `options.repo_id`.
    pub fn invalid(field: impl Into<String>, problem: impl fmt::Display) -> Self {
        let field = field.into();
        Self::new(Kind::InvalidArgument, format!("{field}: {problem}"))
            .with(|c| c.field = Some(field))
    }

    /// The call was cancelled by its caller.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, "the call was cancelled")
    }

    /// The outcome of a commit can't be found out because of `cause`, whose code and context this
    /// error has: a call that was cancelled meanwhile is still a cancelled one.
    #[must_use]
    pub fn commit_unknown(cause: &Self) -> Self {
        let message = format!(
            "the commit was sent, and what became of it is unknown; look at the repo's history \
             before you make it again: {}",
            cause.message()
        );
        let mut error =
            Self::new(Kind::CommitUnknown, message).with(|c| *c = cause.context().clone());
        error.0.code = cause.code();
        error.0.source.clone_from(&cause.0.source);
        error
    }

    /// A broken invariant of this library.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(Kind::Internal, format!("internal error, please report it: {message}"))
    }

    /// Adds to the context: `error.with(|c| c.http_status = Some(503))`.
    #[must_use]
    pub fn with(mut self, add: impl FnOnce(&mut Context)) -> Self {
        add(&mut self.0.context);
        self
    }

    /// Keeps the cause for `Error::source`. The cause's text isn't shown to users, so it must be in
    /// the message if it helps.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// This error, with a way out of it.
    #[must_use]
    pub(crate) fn advise(mut self, way_out: &str) -> Self {
        self.0.message = format!("{}; {way_out}", self.0.message);
        self
    }

    /// This error, with another one beside it that isn't the reason: `when` ("before that") the way
    /// named `way` was tried and failed with `other`.
    #[must_use]
    pub(super) fn beside(mut self, when: &str, way: &str, other: &Self) -> Self {
        let tried = format!("{way}: {}", other.message());
        self.0.message = format!("{}; {when}, {tried}", self.0.message);
        self.with(|c| c.tried.push(tried))
    }

    /// This error, which came while something was to be tried again that had ended with `failure`.
    #[must_use]
    pub(crate) fn after(self, failure: &Self) -> Self {
        let error = self.beside("before that", "the last attempt", failure);
        error.with(|c| c.url.clone_from(&failure.context().url))
    }

    /// This error, with more to say about it.
    #[must_use]
    pub(crate) fn noting(mut self, note: &str) -> Self {
        self.0.message = format!("{}; {note}", self.0.message);
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The numeric class.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The circumstances.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// The JSON object of `XetError.details`.
    #[must_use]
    pub fn details(&self) -> String {
        #[derive(Serialize)]
        struct Details<'a> {
            kind: Kind,
            #[serde(flatten)]
            context: &'a Context,
        }
        let details = Details { kind: self.0.kind, context: &self.0.context };
        // Strings and integers only, so serialisation can't fail.
        serde_json::to_string(&details).unwrap_or_default()
    }

    /// Whether it's the way to a server that is closed, for whatever it is asked, now and a second later.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.0.context.is_final || matches!(self.0.kind, Kind::Certificate | Kind::ProxyRefused)
    }

    /// Whether storage refused a URL that the Hub had given out: it may have expired.
    #[must_use]
    pub fn is_refused_url(&self) -> bool {
        let is_refusal = match self.0.context.http_status {
            Some(401 | 403) => true,
            // Storage that says in words that it has expired; others may mean anything.
            Some(400) => self.0.kind == Kind::Forbidden,
            _ => false,
        };
        self.0.context.from_storage && is_refusal
    }

    /// Whether the same request may succeed if it is simply made again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.0.kind {
            _ if self.0.context.is_known || self.0.context.is_final => false,
            Kind::Connection | Kind::ServerError | Kind::Timeout | Kind::RateLimited => true,
            Kind::InvalidResponse => {
                self.0.context.http_status.is_none() || self.0.context.may_pass
            }
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("context", &self.0.context)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `details` is a JSON object that holds the kind and only what is known.
    #[test]
    fn details_hold_the_kind_and_what_is_known() {
        let error =
            Error::new(Kind::EntryNotFound, "no such file").with(|c| c.http_status = Some(404));
        assert_eq!(error.details(), r#"{"kind":"entry_not_found","http_status":404}"#);
        assert_eq!(error.code(), Code::NotFound);
    }

    /// Where the outcome of a commit is unknown, the code still says what was in the way, and what was
    /// done before stays known.
    #[test]
    fn an_unknown_commit_has_the_code_of_its_cause() {
        let made = MadeCommit { oid: "a".repeat(40), url: "http://hub/c".into() };
        let cause = Error::cancelled().with(|c| c.commits.push(made));
        let error = Error::commit_unknown(&cause);
        assert_eq!((error.kind(), error.code()), (Kind::CommitUnknown, Code::Cancelled));
        let details: serde_json::Value = serde_json::from_str(&error.details()).unwrap();
        assert_eq!(details["kind"], "commit_unknown");
        assert_eq!(details["commits"][0]["url"], "http://hub/c");
        assert!(!error.is_transient());
    }
}
