//! Signatures of this Hub: expiring storage URLs and Xet tokens.
//!
//! Both are a text and its keyed BLAKE3 hash. The key is random, per data directory, and survives
//! restarts, so that a token or URL stays good for as long as it says.

use std::collections::HashMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::store::journal::write_atomic;

/// The signing key. Its `Debug` shows nothing of it.
pub(crate) struct Signer {
    key: [u8; 32],
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

/// The parameter of a signed URL that lists its ranges.
const SIGNED_RANGE: &str = "X-Xet-Signed-Range";

/// Why a signed text isn't accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// Without a signature.
    Unsigned,
    /// Not signed by this Hub, or changed since.
    Forged,
    /// Signed, but its time is over.
    Expired,
}

/// What a Xet token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// Reconstructions and dedup queries.
    Read,
    /// Uploads, and all that `Read` allows.
    Write,
}

/// The claims of a Xet token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct XetToken {
    /// What it allows.
    pub(crate) scope: Scope,
    /// The repository that it was issued for, as `models/org/name`.
    pub(crate) repo: String,
    /// The revision of it that it was issued for.
    pub(crate) revision: String,
    /// The user that it was issued to; empty for anonymous.
    pub(crate) user: String,
    /// When it ends, in seconds after the Unix epoch.
    pub(crate) exp: u64,
}

/// Now, in seconds after the Unix epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What the signature of a URL is made of.
fn signed_text(method: &str, path: &str, ranges: Option<&str>, expires: u64) -> String {
    let ranges = ranges.unwrap_or("all");
    format!("url {method} {path} {ranges} {expires}")
}

impl Signer {
    /// Reads the key of a data directory, or makes one.
    pub(crate) fn open(data: &Path) -> std::io::Result<Self> {
        let path = data.join("secret");
        let stored = match std::fs::read(&path) {
            Ok(stored) => stored,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let fresh = [*uuid::Uuid::new_v4().as_bytes(), *uuid::Uuid::new_v4().as_bytes()];
                let key = blake3::hash(&fresh.concat());
                // A temporary file has mode 0600, and the rename keeps it.
                write_atomic(&path, key.as_bytes())?;
                key.as_bytes().to_vec()
            }
            Err(error) => return Err(error),
        };
        let key = stored.try_into().map_err(|_| {
            let why = format!("{} is not 32 bytes long", path.display());
            std::io::Error::new(std::io::ErrorKind::InvalidData, why)
        })?;
        Ok(Self { key })
    }

    fn signature(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(blake3::keyed_hash(&self.key, text.as_bytes()).as_bytes())
    }

    fn verify(&self, text: &str, signature: &str) -> bool {
        let Ok(given) = URL_SAFE_NO_PAD.decode(signature) else {
            return false;
        };
        let Ok(given) = <[u8; 32]>::try_from(given) else {
            return false;
        };
        // Comparing `blake3::Hash` values takes the same time wherever they differ.
        blake3::keyed_hash(&self.key, text.as_bytes()) == given
    }

    /// The query that lets `method` (`GET` also stands for `HEAD`) use `path` until `expires`; only
    /// the positions that `ranges` lists, as a `Range` header does, if it isn't `None`.
    pub(crate) fn url_query(
        &self,
        method: &str,
        path: &str,
        ranges: Option<&str>,
        expires: u64,
    ) -> String {
        let signature = self.signature(&signed_text(method, path, ranges, expires));
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(ranges) = ranges {
            query.append_pair(SIGNED_RANGE, ranges);
        }
        query.append_pair("Expires", &expires.to_string());
        query.append_pair("Signature", &signature);
        query.finish()
    }

    /// Checks what [`Self::url_query`] made, and returns its ranges.
    pub(crate) fn check_url(
        &self,
        method: &str,
        path: &str,
        query: &str,
    ) -> Result<Option<String>, Rejected> {
        let query: HashMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let expires = query.get("Expires").and_then(|expires| expires.parse().ok());
        let (Some(expires), Some(signature)) = (expires, query.get("Signature")) else {
            return Err(Rejected::Unsigned);
        };
        let ranges = query.get(SIGNED_RANGE).map(|ranges| &**ranges);
        let method = if method == "HEAD" { "GET" } else { method };
        if !self.verify(&signed_text(method, path, ranges, expires), signature) {
            return Err(Rejected::Forged);
        }
        if expires <= now() { Err(Rejected::Expired) } else { Ok(ranges.map(str::to_owned)) }
    }

    /// Makes a Xet token.
    pub(crate) fn xet_token(&self, token: &XetToken) -> serde_json::Result<String> {
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(token)?);
        let signature = self.signature(&format!("xet {claims}"));
        Ok(format!("xet_{claims}.{signature}"))
    }

    /// Checks a Xet token and returns its claims.
    pub(crate) fn check_xet_token(&self, token: &str) -> Result<XetToken, Rejected> {
        let signed = token.strip_prefix("xet_").and_then(|token| token.split_once('.'));
        let (claims, signature) = signed.ok_or(Rejected::Unsigned)?;
        // What may stand behind it makes the token longer, and nothing else.
        let signature = signature.split_once('.').map_or(signature, |(signature, _)| signature);
        if !self.verify(&format!("xet {claims}"), signature) {
            return Err(Rejected::Forged);
        }
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| Rejected::Forged)?;
        let token: XetToken = serde_json::from_slice(&claims).map_err(|_| Rejected::Forged)?;
        if token.exp <= now() { Err(Rejected::Expired) } else { Ok(token) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer { key: [7; 32] }
    }

    /// A signed URL is good for one path, one method, its ranges and a limited time.
    #[test]
    fn urls_are_bound_to_path_method_ranges_and_time() {
        let signer = signer();
        let query = signer.url_query("GET", "/xorbs/x", Some("bytes=0-9,20-29"), 9_000_000_000);
        let ranges = Ok(Some("bytes=0-9,20-29".to_owned()));
        assert_eq!(signer.check_url("GET", "/xorbs/x", &query), ranges);
        assert_eq!(signer.check_url("HEAD", "/xorbs/x", &query), ranges);
        let forged = Err(Rejected::Forged);
        assert_eq!(signer.check_url("PUT", "/xorbs/x", &query), forged);
        assert_eq!(signer.check_url("GET", "/xorbs/y", &query), forged);
        for changed in [
            query.replace("Expires=9", "Expires=8"),
            query.replace("20-29", "20-39"),
            query.split_once('&').unwrap().1.to_owned(),
        ] {
            assert_ne!(changed, query);
            assert_eq!(signer.check_url("GET", "/xorbs/x", &changed), forged);
        }
        assert_eq!(signer.check_url("GET", "/xorbs/x", "Expires=1"), Err(Rejected::Unsigned));
        let late = signer.url_query("GET", "/p", None, 1);
        assert_eq!(signer.check_url("GET", "/p", &late), Err(Rejected::Expired));
        let all = signer.url_query("PUT", "/p", None, 9_000_000_000);
        assert_eq!(signer.check_url("PUT", "/p", &all), Ok(None));
    }

    /// A token's claims can be neither changed nor used after their end.
    #[test]
    fn tokens_are_checked_and_expire() {
        let signer = signer();
        let claims = |exp| XetToken {
            scope: Scope::Read,
            repo: "r".into(),
            revision: "main".into(),
            user: "u".into(),
            exp,
        };
        let token = signer.xet_token(&claims(now() + 60)).unwrap();
        assert_eq!(signer.check_xet_token(&token).unwrap().scope, Scope::Read);
        let signature = token.split_once('.').unwrap().1;
        let other = XetToken { scope: Scope::Write, ..claims(now() + 60) };
        let forged = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&other).unwrap());
        let forged = format!("xet_{forged}.{signature}");
        assert_eq!(signer.check_xet_token(&forged), Err(Rejected::Forged));
        let expired = signer.xet_token(&claims(1)).unwrap();
        assert_eq!(signer.check_xet_token(&expired), Err(Rejected::Expired));
    }
}
