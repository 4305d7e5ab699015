//! `GET /api/whoami-v2`

use serde_json::json;

use super::{Answer, Ask, json};

/// Who the token belongs to.
pub(super) fn whoami(ask: &Ask) -> Answer {
    let user = ask.caller.user()?;
    Ok(json(json!({
        "type": "user",
        "id": user.name,
        "name": user.name,
        "fullname": user.name,
        "isPro": false,
        "orgs": [],
        "auth": {
            "type": "access_token",
            "accessToken": {"displayName": user.name, "role": user.role},
        },
    })))
}
