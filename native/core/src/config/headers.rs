//! Headers that callers add to requests.

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap,
    HeaderName, HeaderValue, RANGE, TRANSFER_ENCODING, USER_AGENT,
};

use crate::model::error::{Error, Result};

/// A name and a value.
pub type Header = (String, String);

/// What requests to the Hub have of their own.
const OWN: [HeaderName; 7] =
    [ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RANGE, TRANSFER_ENCODING];

/// Headers that requests can have. The error doesn't show values, which may be secrets.
pub(crate) fn headers(field: &str, given: &[Header]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(given.len());
    for (index, (name, value)) in given.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let name = HeaderName::from_bytes(name.trim().as_bytes())
            .map_err(|_| Error::invalid(&field, format!("{name:?} is no name of a header")))?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| {
            let problem = format!("the value of {name} has characters that no header can have");
            Error::invalid(&field, problem)
        })?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// Those of requests to the Hub, which replace none that it needs.
pub(super) fn for_the_hub(field: &str, given: &[Header]) -> Result<HeaderMap> {
    let headers = headers(field, given)?;
    for name in headers.keys() {
        let instead = match name {
            name if name == AUTHORIZATION => "; `token` is for it",
            name if name == USER_AGENT => "; `user_agent` is for it",
            name if OWN.contains(name) => ", as requests have one of their own",
            _ => continue,
        };
        return Err(Error::invalid(field, format!("{name} can't be among them{instead}")));
    }
    Ok(headers)
}
