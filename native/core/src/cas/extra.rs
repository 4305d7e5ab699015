//! Headers of the caller's that go with requests to the CAS, and to nobody else: not to the storage behind it, whose
//! URLs are signed, nor to where a redirect would lead.

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap,
    HeaderName, RANGE, TRANSFER_ENCODING,
};

/// What requests say by themselves, or their connection does.
const OURS: [HeaderName; 8] = [
    AUTHORIZATION,
    RANGE,
    HOST,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    ACCEPT_ENCODING,
    CONNECTION,
    TRANSFER_ENCODING,
];

/// Headers that are added to requests to the CAS.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExtraHeaders(HeaderMap);

impl ExtraHeaders {
    /// Leaves out those that requests have of their own.
    pub(crate) fn new(mut headers: HeaderMap) -> Self {
        for name in OURS {
            if headers.remove(&name).is_some() {
                tracing::debug!(%name, "a header of the caller's is left out: requests have their own");
            }
        }
        Self(headers)
    }

    /// The headers of a request to the CAS, so far.
    pub(crate) fn begin(&self) -> HeaderMap {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderValue, USER_AGENT};

    use super::*;

    /// A caller can add to what a request says, also several times by one name, and change nothing of it.
    #[test]
    fn what_a_request_says_itself_stays() {
        let mut headers = HeaderMap::new();
        for name in OURS.iter().chain([&USER_AGENT]) {
            headers.insert(name, HeaderValue::from_static("mine"));
        }
        for value in ["one", "two"] {
            headers.append("x-xet-test", HeaderValue::from_static(value));
        }
        let left = ExtraHeaders::new(headers).begin();
        let mut names: Vec<_> = left.iter().map(|(name, value)| (name.as_str(), value)).collect();
        names.sort_unstable();
        let value = HeaderValue::from_static;
        let expected = [
            ("user-agent", value("mine")),
            ("x-xet-test", value("one")),
            ("x-xet-test", value("two")),
        ];
        assert!(names.into_iter().eq(expected.iter().map(|(name, value)| (*name, value))));
    }
}
