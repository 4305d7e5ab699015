//! Users, their tokens, and who may do what with a repository.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use axum::http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::errors::ApiError;
use crate::git::hex;
use crate::store::bucket::BucketState;
use crate::store::journal::write_atomic;
use crate::store::state::{Gate, State};

/// What a token allows.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Reading what its user may see.
    Read,
    /// Also writing to the repositories of its user.
    Write,
    /// Also writing to every repository.
    Admin,
}

/// A user of the Hub. The token itself is never kept, only its hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct User {
    /// Name, which is also a namespace.
    pub(crate) name: String,
    /// What the token allows.
    pub(crate) role: Role,
    token_sha256: String,
}

/// Whoever makes a request.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// No token.
    Anonymous,
    /// A user with a valid token.
    User(User),
}

/// The users of a data directory and those given on the command line.
#[derive(Debug, Default)]
pub(crate) struct Users {
    by_hash: HashMap<String, User>,
}

fn hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

fn users_path(data: &Path) -> PathBuf {
    data.join("users.json")
}

impl User {
    fn new(name: &str, token: &str, role: Role) -> Self {
        Self { name: name.to_owned(), role, token_sha256: hash(token) }
    }

    /// Reads `USER:TOKEN[:ROLE]`; the role defaults to `write`.
    pub(crate) fn from_flag(flag: &str) -> Result<Self, String> {
        let mut parts = flag.splitn(3, ':');
        let (Some(name), Some(token)) = (parts.next(), parts.next()) else {
            return Err("expected USER:TOKEN[:ROLE]".to_owned());
        };
        if name.is_empty() || token.is_empty() {
            return Err("the user and the token must not be empty".to_owned());
        }
        let role = match parts.next() {
            None | Some("write") => Role::Write,
            Some("read") => Role::Read,
            Some("admin") => Role::Admin,
            Some(_) => return Err("the role must be read, write or admin".to_owned()),
        };
        Ok(Self::new(name, token, role))
    }
}

impl Users {
    /// Reads the users of a data directory.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let users: Vec<User> = match std::fs::read(users_path(data)) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut found = Self::default();
        for user in users {
            found.add(user);
        }
        Ok(found)
    }

    /// Adds a user for the life of this process.
    pub(crate) fn add(&mut self, user: User) {
        self.by_hash.insert(user.token_sha256.clone(), user);
    }

    /// Adds a user (or a further token of one) to a data directory and returns the new token.
    pub(crate) fn create(data: &Path, name: &str, role: Role) -> io::Result<String> {
        let mut users = Self::open(data)?;
        let random = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(|id| id.simple().to_string());
        let token = format!("hf_{}", random.concat());
        users.add(User::new(name, &token, role));
        let mut all: Vec<_> = users.by_hash.into_values().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        write_atomic(&users_path(data), &serde_json::to_vec_pretty(&all)?)?;
        Ok(token)
    }

    /// Whether any user has this name.
    pub(crate) fn exists(&self, name: &str) -> bool {
        self.by_hash.values().any(|user| user.name == name)
    }

    /// Who sent these headers. A token that is no user's is an error, not anonymity.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Ok(Caller::Anonymous);
        };
        let token = value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        token
            .and_then(|token| self.by_hash.get(&hash(token)))
            .map(|user| Caller::User(user.clone()))
            .ok_or_else(ApiError::bad_token)
    }
}

impl Caller {
    /// The user's name.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::User(user) => Some(&user.name),
        }
    }

    fn role(&self) -> Option<Role> {
        match self {
            Self::Anonymous => None,
            Self::User(user) => Some(user.role),
        }
    }

    /// The user, or the answer to someone who has to sign in.
    pub(crate) fn user(&self) -> Result<&User, ApiError> {
        match self {
            Self::Anonymous => Err(ApiError::unauthenticated()),
            Self::User(user) => Ok(user),
        }
    }

    /// The user, if the token allows writing at all.
    pub(crate) fn writer(&self) -> Result<&User, ApiError> {
        let user = self.user()?;
        if user.role < Role::Write {
            return Err(ApiError::forbidden(
                "Forbidden: you must use a write token to do this action",
            ));
        }
        Ok(user)
    }

    /// Whether the caller belongs to the repository: its creator, its namespace, or an admin.
    pub(crate) fn is_member(&self, state: &State) -> bool {
        self.owns(&state.owner, state.key.namespace())
    }

    fn owns(&self, owner: &str, namespace: Option<&str>) -> bool {
        self.role() == Some(Role::Admin)
            || self.name().is_some_and(|name| owner == name || namespace == Some(name))
    }

    fn owns_bucket(&self, state: &BucketState) -> bool {
        self.owns(&state.owner, state.id.split_once('/').map(|(namespace, _)| namespace))
    }

    /// Whether the caller may know that the bucket exists, and read all of it.
    pub(crate) fn may_see_bucket(&self, state: &BucketState) -> Result<(), ApiError> {
        if state.private && !self.owns_bucket(state) {
            return Err(ApiError::repo_not_found(self));
        }
        Ok(())
    }

    /// Whether the caller may change the bucket.
    pub(crate) fn may_write_bucket(&self, state: &BucketState) -> Result<(), ApiError> {
        self.may_see_bucket(state)?;
        self.writer()?;
        if !self.owns_bucket(state) {
            return Err(ApiError::forbidden(
                "Forbidden: you don't have the rights to write to this bucket",
            ));
        }
        Ok(())
    }

    fn has_access(&self, state: &State) -> bool {
        self.is_member(state) || self.name().is_some_and(|name| state.access.contains(name))
    }

    /// Whether the caller may know that the repository exists, and read its listings.
    pub(crate) fn may_see(&self, state: &State) -> Result<(), ApiError> {
        if state.private && !self.has_access(state) {
            return Err(ApiError::repo_not_found(self));
        }
        if state.disabled {
            return Err(ApiError::forbidden("Access to this resource is disabled."));
        }
        Ok(())
    }

    /// Whether the caller may read the content of files, which a gate can hold back.
    pub(crate) fn may_read(&self, state: &State) -> Result<(), ApiError> {
        self.may_see(state)?;
        if state.gate != Gate::Open && !self.has_access(state) {
            return Err(ApiError::gated(self, &state.key));
        }
        Ok(())
    }

    /// Whether the caller may change the repository.
    pub(crate) fn may_write(&self, state: &State) -> Result<&User, ApiError> {
        self.may_see(state)?;
        let user = self.writer()?;
        if !self.is_member(state) {
            return Err(ApiError::forbidden(
                "Forbidden: you don't have the rights to write to this repository",
            ));
        }
        Ok(user)
    }

    /// Whether the caller may add commits (and so upload) to `revision`. Whoever can read may
    /// propose: open a pull request, and commit to it afterwards.
    pub(crate) fn may_commit(
        &self,
        state: &State,
        revision: &str,
        opens_pr: bool,
    ) -> Result<&User, ApiError> {
        let number = revision.strip_prefix("refs/pr/").and_then(|number| number.parse().ok());
        let own = |number: u64| {
            let found = state.discussions.iter().find(|discussion| discussion.number == number);
            found.is_some_and(|discussion| Some(discussion.author.as_str()) == self.name())
        };
        if opens_pr || number.is_some_and(own) {
            self.may_read(state)?;
            return self.writer();
        }
        self.may_write(state)
    }
}
