//! Whom a URL talks to, and how much of it may be shown.

use url::Url;

/// Whether credentials meant for `home` may go to `url`: the same scheme, host and port, or the
/// same host after an upgrade from http to https on the default ports, as browsers and
/// `huggingface_hub`'s HTTP stack have it.
#[must_use]
pub fn is_same_origin(home: &Url, url: &Url) -> bool {
    home.origin() == url.origin()
        || (home.scheme() == "http"
            && url.scheme() == "https"
            && home.host() == url.host()
            && home.port_or_known_default() == Some(80)
            && url.port_or_known_default() == Some(443))
}

/// `host:port`, for people.
#[must_use]
pub fn authority(url: &Url) -> String {
    match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => url.scheme().to_owned(),
    }
}

/// The URL without credentials, query and fragment: a signature is in the query.
#[must_use]
pub fn bare(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Credentials stay on one scheme, host and port; only the usual upgrade to https may change
    /// them.
    #[test]
    fn credentials_stay_on_their_origin() {
        for (home, url, same) in [
            ("https://hub.example/a", "https://hub.example/b?c", true),
            ("https://hub.example", "https://hub.example:443/", true),
            ("http://hub.example", "https://hub.example/", true),
            ("http://hub.example", "https://evil.example/", false),
            ("https://hub.example", "http://hub.example/", false),
            ("http://hub.example:8080", "https://hub.example/", false),
            ("http://hub.example", "https://hub.example:8443/", false),
            ("http://127.0.0.1:1", "http://127.0.0.1:2", false),
            ("https://hub.example", "https://cdn.hub.example/", false),
            ("https://hub.example", "https://hub.example.evil/", false),
        ] {
            let (home, url) = (Url::parse(home).unwrap(), Url::parse(url).unwrap());
            assert_eq!(is_same_origin(&home, &url), same, "{home} {url}");
        }
    }

    /// What is shown of a URL holds neither a signature nor a password.
    #[test]
    fn shown_urls_hold_no_secrets() {
        let url =
            Url::parse("https://user:pass@cdn.example:8443/a/b?X-Amz-Signature=secret#f").unwrap();
        assert_eq!(bare(&url), "https://cdn.example:8443/a/b");
        assert_eq!(authority(&url), "cdn.example:8443");
    }
}
