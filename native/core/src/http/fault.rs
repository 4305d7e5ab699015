//! reqwest's failures in our words. reqwest's own text can hold a signed URL, so only the root
//! cause is quoted.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use url::Url;

use super::origin::{authority, bare};
use crate::model::error::{Error, Kind, way_out};

/// The error for a request to `url`, or an answer from it, that broke.
pub(super) fn explain(error: &reqwest::Error, url: &Url, connect_timeout: Duration) -> Error {
    let host = authority(url);
    let cause = root_cause(error);
    if let Some(advice) = limit(error) {
        let message = format!("can't connect to {host}: {cause}; {advice}");
        return Error::new(Kind::ResourceLimit, message).with(|c| c.url = Some(bare(url)));
    }
    let (kind, message) = if error.is_timeout() && error.is_connect() {
        (
            Kind::Timeout,
            format!(
                "no connection to {host} within {connect_timeout:?}; check the endpoint, your network and firewall"
            ),
        )
    } else if error.is_dns() {
        (
            Kind::Connection,
            format!(
                "can't find the host of {host}: {cause}; check the endpoint's name and your DNS"
            ),
        )
    } else if error.is_connect() {
        let advice = if is_refused(error) {
            "nothing listens there; check the endpoint's host and port"
        } else if cause.contains("InvalidContentType") {
            "it doesn't speak HTTPS there; is the endpoint an http:// one?"
        } else if cause.contains("certificate") {
            "check the system's CA certificates and clock"
        } else {
            "check the endpoint, your network and proxy"
        };
        (Kind::Connection, format!("can't connect to {host}: {cause}; {advice}"))
    } else if error.is_builder() {
        (Kind::Internal, format!("internal error, please report it: bad request: {cause}"))
    } else {
        // The system, too, gives a peer up that takes nothing any more: that is silence.
        let silent = io_causes(error).any(|cause| cause.kind() == io::ErrorKind::TimedOut);
        let kind = if silent { Kind::Timeout } else { Kind::Connection };
        (kind, format!("the connection to {host} broke: {cause}"))
    };
    Error::new(kind, message).with(|c| c.url = Some(bare(url)))
}

/// The error for a server that sent `what` ("nothing", "no answer") for as long as is waited for it.
pub(super) fn silence(url: &Url, what: &str, limit: Duration) -> Error {
    Error::new(Kind::Timeout, format!("{} sent {what} for {limit:?}", authority(url)))
        .with(|c| c.url = Some(bare(url)))
}

/// The text of the innermost error.
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn StdError = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // reqwest's own error prints the URL it was for; one without a source has nothing else to say.
    if cause.is::<reqwest::Error>() { "no further cause".to_owned() } else { cause.to_string() }
}

fn is_refused(error: &reqwest::Error) -> bool {
    io_causes(error).any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

/// What to do, if it's a limit of the machine that is in the way.
fn limit(error: &reqwest::Error) -> Option<&'static str> {
    io_causes(error).find_map(way_out)
}

fn io_causes(error: &reqwest::Error) -> impl Iterator<Item = &io::Error> {
    let first: &(dyn StdError + 'static) = error;
    let causes = std::iter::successors(Some(first), |cause| (**cause).source());
    causes.filter_map(|cause| cause.downcast_ref::<io::Error>())
}
