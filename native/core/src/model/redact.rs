//! Secrets reach neither a log nor an error. Our own words hold none; this is for those of others: records of the
//! libraries underneath, which may print a URL with its signature or a header with its token, and what a server
//! says, which may repeat what it was sent, in JSON and in percent signs, too.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// A URL: what it begins with, and the rest.
static URL: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"(?i)([a-z][a-z0-9+.-]*(?::|%3A)(?:\\?/|%2F){2})([^\s"<>]+)"#));

/// Where its query begins.
static QUERY: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i)\?|%3F"));

/// What else is secret, and what is shown in its place.
static SECRETS: LazyLock<[(Regex, &str); 6]> = LazyLock::new(|| {
    // JSON may stand in JSON.
    let (quote, value) = (r#"\\?["']"#, r#"(?:[^\s&"'\\<>;,\[]|\\/)"#);
    let equals = format!(r"(?:{quote})?\s*(?:=|%3D)\s*(?:{quote})?|{quote}\s*:\s*{quote}");
    let colon = format!(r"(?:{quote})?\s*:\s*(?:{quote})?");
    // Names behind a percent sign have no boundary before them.
    let start = "(?:\\b|_|%[0-9A-Fa-f]{2})";
    let name = "signature|credential|security[-_]?token|key-pair-id|access[-_]?key(?:[-_]?id)?|\
        secret(?:[-_]?access)?[-_]?key|passw(?:or)?d";
    [
        (regex(r#"(?i)\b(bearer\s+)[^\s"',;\\\[]+"#), "${1}..."),
        // Words of ours may follow: "basic authentication". What is encoded has a capital or a digit in it.
        (regex(r"((?i:\bbasic)\s+)[A-Za-z0-9+/]{4,}[A-Z0-9+/][A-Za-z0-9+/]*=*"), "${1}..."),
        (regex(&format!("(?i)((?:{name}|{start}sig)(?:{equals})){value}+")), "${1}..."),
        // What stands behind these may be a word of a sentence.
        (
            regex(&format!("(?i)((?:{name}|token|policy)(?:{equals}|{colon})){value}{{16,}}")),
            "${1}...",
        ),
        // User access tokens of the Hub, of today and of once.
        (regex(&format!("({start}(?:hf|api_org)_)[A-Za-z0-9_]{{16,}}")), "${1}..."),
        // A JSON web token, which Xet's access tokens are.
        (regex(r"eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]+)*"), "eyJ..."),
    ]
});

#[allow(clippy::expect_used, reason = "the patterns are literals, compiled by the test below")]
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid pattern")
}

/// Compiles the patterns. Before the first record, since a child that is forked while some thread
/// compiles them would wait for that thread, which it doesn't have, for ever.
pub fn prepare() {
    LazyLock::force(&URL);
    LazyLock::force(&QUERY);
    LazyLock::force(&SECRETS);
}

/// `text` without secrets.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut redacted = without_urls(text);
    for (secret, shown) in &*SECRETS {
        if let Cow::Owned(changed) = secret.replace_all(&redacted, *shown) {
            redacted = Cow::Owned(changed);
        }
    }
    redacted
}

/// `text` without what is secret in URLs.
fn without_urls(text: &str) -> Cow<'_, str> {
    let (mut shown, mut done) = (String::new(), 0);
    for url in URL.captures_iter(text) {
        let (Some(start), Some(rest)) = (url.get(1), url.get(2)) else { continue };
        let (user, query) = secrets_of(rest.as_str());
        if user.is_none() && query.is_none() {
            continue;
        }
        shown += &text[done..start.end()];
        shown += if user.is_some() { "...@" } else { "" };
        shown += &rest.as_str()[user.unwrap_or(0)..query.unwrap_or(rest.len())];
        shown += if query.is_some() { "..." } else { "" };
        done = rest.end();
    }
    if done == 0 { Cow::Borrowed(text) } else { Cow::Owned(shown + &text[done..]) }
}

/// Of a URL, without its scheme, where the user and the password end, and where the query begins, if it has those.
fn secrets_of(url: &str) -> (Option<usize>, Option<usize>) {
    let host = &url[..url.find(['/', '\\', '?', '#']).unwrap_or(url.len())];
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_password =
        !host.starts_with('[') && host.split_once(':').is_some_and(|(_, behind)| !is_port(behind));
    let query = |from: usize| QUERY.find_at(url, from).filter(|query| query.end() < url.len());
    let user = if has_password {
        // In a password there may be anything.
        let before = query(0).map_or(url, |query| &url[..query.start()]);
        before.rfind('@').or_else(|| url.rfind('@'))
    } else {
        host.rfind('@')
    };
    let user = user.map(|at| at + 1);
    (user, query(user.unwrap_or(0)).map(|query| query.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens and signatures are hidden, and what surrounds them stays.
    #[test]
    fn secrets_are_hidden() {
        let token = "abcdefghijklmnopqrstuvwxyz";
        let cases = [
            ("GET https://x.co/a/b?Sig=abc&Exp=1 200", "GET https://x.co/a/b?... 200"),
            ("HTTPS://x.co/a?sig=abc end", "HTTPS://x.co/a?... end"),
            ("https://x.co/a?b='c'&sig=abc end", "https://x.co/a?... end"),
            (r#"{"to":"https:\/\/x.co\/a?sv=1&sig=abc"}"#, r#"{"to":"https:\/\/x.co\/a?..."}"#),
            ("to=https%3A%2F%2Fx.co%2Fa%3Fsig%3Dabc end", "to=https%3A%2F%2Fx.co%2Fa%3F... end"),
            ("s3://k:s@x.co/a", "s3://...@x.co/a"),
            ("{url: \"http://u:p@h:1/a\"}", "{url: \"http://...@h:1/a\"}"),
            ("https://user:p@ss/word@host end", "https://...@host end"),
            ("https://user:p?ss@host/a end", "https://...@host/a end"),
            ("https://u:p@x.co/a?m=a@b&sig=abc", "https://...@x.co/a?..."),
            ("https://x.co:443/a?m=a@b&sig=abc", "https://x.co:443/a?..."),
            ("https://secret@x.co/a@b", "https://...@x.co/a@b"),
            ("authorization: Bearer abc.def", "authorization: Bearer ..."),
            (r#"{\"Authorization\":\"Bearer abc\"}"#, r#"{\"Authorization\":\"Bearer ...\"}"#),
            ("Authorization: Basic dXNlcjpwYXNz end", "Authorization: Basic ... end"),
            ("proxy-authorization: basic dTpwYXNzd29yZA==", "proxy-authorization: basic ..."),
            ("PUT /a X-Amz-Signature=abc&b=1", "PUT /a X-Amz-Signature=...&b=1"),
            (r#"{"X-Amz-Signature":"abc","b":1}"#, r#"{"X-Amz-Signature":"...","b":1}"#),
            (r#"{"X-Amz-Credential" : "a/b\/c"}"#, r#"{"X-Amz-Credential" : "..."}"#),
            (r#"{\"X-Amz-Security-Token\":\"abc\"}"#, r#"{\"X-Amz-Security-Token\":\"...\"}"#),
            ("X-Amz-Signature: 0123456789abcdef end", "X-Amz-Signature: ... end"),
            ("Credential=abc, Signature=\"abc\", b", "Credential=..., Signature=\"...\", b"),
            ("b%26Signature%3Dabc end", "b%26Signature%3D... end"),
            ("AWSAccessKeyId=abc&b", "AWSAccessKeyId=...&b"),
            ("se=1&sig=abc%2B&b", "se=1&sig=...&b"),
            ("Policy=abcdefghijklmnopqr_&b", "Policy=...&b"),
            ("password=abc end", "password=... end"),
            ("token=0123456789abcdef end", "token=... end"),
            (r#"{"accessToken":"0123456789abcdef"}"#, r#"{"accessToken":"..."}"#),
            (&format!("token hf_{token}"), "token hf_..."),
            (&format!("x%3Dhf_{token}"), "x%3Dhf_..."),
            (&format!("old api_org_{token} end"), "old api_org_... end"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.e30.sig_-x end", "jwt eyJ... end"),
        ];
        for (text, expected) in cases {
            assert_eq!(redact(text), expected);
        }
    }

    /// What holds no secret isn't copied.
    #[test]
    fn other_text_is_left_alone() {
        let texts = [
            "list https://x.co/api/models/a/b/tree/main: 3 files (hf_xet)",
            "https://x.co:443/a/b@main and https://[::1]:80/a@b",
            "The request signature we calculated does not match the signature you provided.",
            "Signature: mismatch; credential: expired; password: wrong",
            "this endpoint has no basic authentication; WWW-Authenticate: Basic realm=\"Hub\"",
            "invalid token: expired; unexpected token=5; token = [token]",
            "blocked by CORS policy: No header",
            "design=1&config=2",
        ];
        for text in texts {
            assert!(
                matches!(redact(text), Cow::Borrowed(same) if same == text),
                "{}",
                redact(text)
            );
        }
    }
}
