//! The `Link` header (RFC 8288): where the next page is, and where Xet tokens come from.

use reqwest::header::{HeaderMap, LINK};

/// The target of the first link with the relation `rel`, as written: perhaps relative.
#[must_use]
pub fn find(headers: &HeaderMap, rel: &str) -> Option<String> {
    headers
        .get_all(LINK)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(|value| find_in(value, rel).map(str::to_owned))
}

fn find_in<'a>(mut text: &'a str, rel: &str) -> Option<&'a str> {
    loop {
        let (target, rest) = text[text.find('<')? + 1..].split_once('>')?;
        let end = parameters_end(rest);
        if rest[..end].split(';').any(|parameter| names(parameter, rel)) {
            return Some(target);
        }
        text = &rest[end..];
    }
}

/// Where the parameters of a link end: at the next comma outside quotes.
fn parameters_end(text: &str) -> usize {
    let mut quoted = false;
    text.find(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .unwrap_or(text.len())
}

/// Whether a parameter is `rel=...` and holds `rel` among its space-separated relations.
fn names(parameter: &str, rel: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        name.trim().eq_ignore_ascii_case("rel")
            && value
                .trim()
                .trim_matches('"')
                .split_ascii_whitespace()
                .any(|relation| relation.eq_ignore_ascii_case(rel))
    })
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    /// A relation is found among several links, in each spelling that servers use, and only as a
    /// whole word.
    #[test]
    fn relations_are_found() {
        let hub = r#"<https://h/t>; rel="xet-auth", <https://c/v1>; rel="xet-reconstruction-info""#;
        for (text, rel, expected) in [
            (hub, "xet-auth", Some("https://h/t")),
            (hub, "xet-reconstruction-info", Some("https://c/v1")),
            (hub, "xet", None),
            (r#"<https://h/?a=1,2&b=;c>; rel="next""#, "next", Some("https://h/?a=1,2&b=;c")),
            ("</api?cursor=x>;rel=next", "next", Some("/api?cursor=x")),
            (r#"<a>; title="x, y"; REL="prev Next""#, "next", Some("a")),
            (r#"<a>; title="rel=next", <b>; rel=next"#, "next", Some("b")),
            ("<a>; rel=prev", "next", None),
            ("<a", "next", None),
            ("", "next", None),
        ] {
            assert_eq!(find_in(text, rel), expected, "{text} {rel}");
        }
    }
}
