//! `GET …/xet-{read,write}-token/{revision}`: access to the CAS for a while.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::IntoResponse;
use serde_json::json;

use super::{Answer, Ask, json as answer};
use crate::errors::ApiError;
use crate::sign::{Scope, XetToken, now};
use crate::stats::Origin;
use crate::store::repo::Repo;

/// Issues a token. Python reads it from the headers, xet-core from the JSON.
pub(super) fn issue(ask: &Ask, repo: &Repo, scope: Scope, revision: &str) -> Answer {
    let state = repo.state();
    let opens_pr = ask.is_on("create_pr");
    match scope {
        Scope::Read => ask.caller.may_read(&state)?,
        // The revision of a request that opens a pull request means nothing.
        Scope::Write => {
            ask.caller.may_commit(&state, revision, opens_pr)?;
            if !state.xet {
                return Err(ApiError::not_found("This repository has no Xet storage"));
            }
        }
    }
    // What a pull request is opened from is `main`, unless a revision that exists is named.
    let revision = if opens_pr && state.resolve(revision).is_none() { "main" } else { revision };
    super::listing::commit(&state, revision)?;
    answer_with(ask, scope, state.key.to_string(), revision.to_owned())
}

/// Answers with a token for a repository or bucket, which is named by its path below `/api/`.
pub(super) fn answer_with(ask: &Ask, scope: Scope, repo: String, revision: String) -> Answer {
    let exp = now() + ask.app.config.token_ttl;
    let token = XetToken {
        scope,
        repo,
        revision,
        user: ask.caller.name().unwrap_or_default().to_owned(),
        exp,
    };
    let mut token = ask.app.signer.xet_token(&token).map_err(ApiError::internal)?;
    let length = ask.app.config.xet_token_length;
    if token.len() < length {
        token = format!("{:x<length$}", token + ".");
    }
    let cas = ask.app.url_of(Origin::Cas, ask.host());
    let body = answer(json!({"casUrl": &cas, "accessToken": &token, "exp": exp}));
    let mut headers = HeaderMap::new();
    for (name, text) in [
        ("x-xet-cas-url", cas),
        ("x-xet-access-token", token),
        ("x-xet-token-expiration", exp.to_string()),
    ] {
        let value = HeaderValue::try_from(text).map_err(ApiError::internal)?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok((headers, body).into_response())
}
