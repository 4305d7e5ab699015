//! Secrets reach neither a log nor an error. Our own words hold none; this is for those of others: records of the
//! libraries underneath, which may print a URL with its signature or a header with its token, and what a server
//! says, which may repeat what it was sent.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// What is secret, and what is shown in its place.
static SECRETS: LazyLock<[(Regex, &str); 6]> = LazyLock::new(|| {
    #[allow(clippy::expect_used, reason = "the patterns are literals, compiled by the test below")]
    let regex = |pattern| Regex::new(pattern).expect("a valid pattern");
    [
        // The query of a URL, where signatures are.
        (regex(r#"(https?://[^\s"'<>?]*)\?[^\s"'<>]+"#), "${1}?..."),
        // The user and the password of a URL.
        (regex(r#"(https?://)[^\s"'<>/@?]+@"#), "${1}...@"),
        (regex(r#"(?i)\b(bearer\s+)[^\s"',;\[]+"#), "${1}..."),
        // What signs a request, by itself.
        (
            regex(
                r#"(?i)\b((?:signature|credential|security-token|key-pair-id|policy)[=:]\s*)[^\s&"'<>;,]+"#,
            ),
            "${1}...",
        ),
        // A user access token of the Hub.
        (regex(r"\bhf_[A-Za-z0-9_]{16,}"), "hf_..."),
        // A JSON web token, which Xet's access tokens are.
        (regex(r"\beyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]+)*"), "eyJ..."),
    ]
});

/// Compiles the patterns. Before the first record, since a child that is forked while some thread
/// compiles them would wait for that thread, which it doesn't have, for ever.
pub fn prepare() {
    LazyLock::force(&SECRETS);
}

/// `text` without secrets.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut redacted = Cow::Borrowed(text);
    for (secret, shown) in &*SECRETS {
        if let Cow::Owned(changed) = secret.replace_all(&redacted, *shown) {
            redacted = Cow::Owned(changed);
        }
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens and signatures are hidden, and what surrounds them stays.
    #[test]
    fn secrets_are_hidden() {
        let cases = [
            ("GET https://x.co/a/b?Sig=abc&Exp=1 200", "GET https://x.co/a/b?... 200"),
            ("{url: \"http://u:p@h:1/a\"}", "{url: \"http://...@h:1/a\"}"),
            ("authorization: Bearer abc.def", "authorization: Bearer ..."),
            ("PUT /a X-Amz-Signature=abc&b=1", "PUT /a X-Amz-Signature=...&b=1"),
            ("token hf_abcdefghijklmnopqrstuvwxyz", "token hf_..."),
            ("jwt eyJhbGciOiJIUzI1NiJ9.e30.sig_-x end", "jwt eyJ... end"),
        ];
        for (text, expected) in cases {
            assert_eq!(redact(text), expected);
        }
    }

    /// What holds no secret isn't copied.
    #[test]
    fn other_text_is_left_alone() {
        let text = "list https://x.co/api/models/a/b/tree/main: 3 files (hf_xet)";
        assert!(matches!(redact(text), Cow::Borrowed(same) if same == text));
    }
}
