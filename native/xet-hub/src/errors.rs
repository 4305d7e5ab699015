//! Errors as the Hub answers them: a status, `X-Error-Code`, `X-Error-Message` and a JSON body.

use std::fmt::Display;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::auth::Caller;
use crate::ids::RepoKey;
use crate::store::repo::{ChangeError, OpenError};

/// An answer that isn't a success.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: Option<&'static str>,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether the body is the message alone instead of JSON.
    text: bool,
}

impl ApiError {
    /// An error without a code.
    pub(crate) fn new(status: StatusCode, message: impl Display) -> Self {
        Self { status, code: None, message: message.to_string(), headers: Vec::new(), text: false }
    }

    fn coded(status: StatusCode, code: &'static str, message: impl Display) -> Self {
        Self { code: Some(code), ..Self::new(status, message) }
    }

    /// Adds a header to the answer.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// 400.
    pub(crate) fn bad_request(message: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 403.
    pub(crate) fn forbidden(message: impl Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404 for something that is neither a repository nor a part of one.
    pub(crate) fn not_found(message: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 409.
    pub(crate) fn conflict(message: impl Display) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 500. The cause goes to the log, not to the client.
    pub(crate) fn internal(cause: impl Display) -> Self {
        tracing::error!(%cause, "internal error");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error")
    }

    /// A token that is no user's.
    pub(crate) fn bad_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Invalid credentials in Authorization header")
    }

    /// Something that needs a user, asked for without one.
    pub(crate) fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Invalid username or password.")
    }

    /// A repository that doesn't exist for this caller. Anonymous callers are asked to sign in,
    /// so that they can't tell a private repository from none.
    pub(crate) fn repo_not_found(caller: &Caller) -> Self {
        match caller {
            Caller::Anonymous => {
                let message = "Invalid username or password.";
                let challenge = "Bearer realm=\"Authentication required\", charset=\"UTF-8\"";
                Self::coded(StatusCode::UNAUTHORIZED, "RepoNotFound", message)
                    .with(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
            }
            Caller::User(_) => {
                Self::coded(StatusCode::NOT_FOUND, "RepoNotFound", "Repository not found")
            }
        }
    }

    /// Answers with plain text: resolve's bodies are files, and so are its errors.
    pub(crate) fn into_text(mut self) -> Self {
        self.text = true;
        self
    }

    /// As the real Hub says it: without a code, where anonymous callers are asked to sign in.
    pub(crate) fn uncoded_401(mut self) -> Self {
        if self.status == StatusCode::UNAUTHORIZED && self.code == Some("RepoNotFound") {
            self.code = None;
        }
        self
    }

    /// A repository whose content this caller may not read yet.
    pub(crate) fn gated(caller: &Caller, key: &RepoKey) -> Self {
        let what = format!("Access to {} {} is restricted", key.kind.singular(), key.id);
        match caller {
            Caller::Anonymous => Self::coded(
                StatusCode::UNAUTHORIZED,
                "GatedRepo",
                format_args!(
                    "{what}. You must have access to it and be authenticated to access it. \
                     Please log in."
                ),
            ),
            Caller::User(_) => Self::coded(
                StatusCode::FORBIDDEN,
                "GatedRepo",
                format_args!(
                    "{what} and you are not in the authorized list. Visit its page to ask for \
                     access."
                ),
            ),
        }
    }

    /// A revision that doesn't exist.
    pub(crate) fn revision_not_found(revision: &str) -> Self {
        let message = format!("Invalid rev id: {revision}");
        Self::coded(StatusCode::NOT_FOUND, "RevisionNotFound", message)
    }

    /// A path that doesn't exist at `commit`.
    pub(crate) fn entry_not_found(commit: &str) -> Self {
        let error = Self::coded(StatusCode::NOT_FOUND, "EntryNotFound", "Entry not found");
        match HeaderValue::from_str(commit) {
            Ok(value) => error.with(HeaderName::from_static("x-repo-commit"), value),
            Err(_) => error,
        }
    }
}

/// Text that fits into a header: anything else becomes `?`.
fn header_text(text: &str) -> HeaderValue {
    let text: String =
        text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("?"))
}

impl Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (body, kind) = if self.text {
            (self.message.clone(), "text/plain; charset=utf-8")
        } else {
            (json!({ "error": self.message }).to_string(), "application/json")
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.extend(self.headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert("x-error-message", header_text(&self.message));
        if let Some(code) = self.code {
            headers.insert("x-error-code", HeaderValue::from_static(code));
        }
        response
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NoRevision(revision) => Self::revision_not_found(&revision),
            ChangeError::Outdated => Self::new(StatusCode::PRECONDITION_FAILED, error),
            ChangeError::NoEntry(_) => Self::coded(StatusCode::NOT_FOUND, "EntryNotFound", error),
            ChangeError::RefExists(_) | ChangeError::Refused(_) => Self::conflict(error),
            ChangeError::NotMovable(_) | ChangeError::BadPath(_) | ChangeError::Conflict(_) => {
                Self::bad_request(error)
            }
            ChangeError::Io(_) | ChangeError::Replay(_) => Self::internal(error),
        }
    }
}

impl From<OpenError> for ApiError {
    fn from(error: OpenError) -> Self {
        Self::internal(error)
    }
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        Self::internal(error)
    }
}
