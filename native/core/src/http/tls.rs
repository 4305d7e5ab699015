//! Why two sides didn't come to speak TLS: a server that can't prove to be the one that was asked for, one
//! that wants what isn't to be had here, one that speaks something else. All of it is final: nobody is
//! another one a second later.

use std::io;

use rustls::{AlertDescription as Alert, CertificateError as Problem, InvalidMessage};
use url::Url;

use super::fault::through;
use super::origin::{authority, bare};
use crate::config::Proxy;
use crate::model::error::{Error, Kind};

/// The failure of TLS in an I/O error, or in one that it holds: those aren't its sources.
pub(super) fn failure(error: &io::Error) -> Option<&rustls::Error> {
    std::iter::successors(Some(error), |cause| cause.get_ref()?.downcast_ref::<io::Error>())
        .find_map(|cause| cause.get_ref()?.downcast_ref::<rustls::Error>())
}

/// The error for a connection to `url` (through `proxy`) that failed like this; `None`: it may have been a
/// hiccup.
pub(super) fn explain(error: &rustls::Error, url: &Url, proxy: Option<&Proxy>) -> Option<Error> {
    let host = authority(url);
    let way = through(proxy);
    let (kind, message) = match error {
        rustls::Error::InvalidCertificate(problem) => {
            let why = distrust(problem);
            (Kind::Certificate, format!("the certificate of {host}{way} {why}"))
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            let at = at_fault(&host, url, proxy);
            (
                Kind::Connection,
                format!(
                    "{at} doesn't speak TLS: this port speaks plain HTTP, or another protocol; if it is \
                     the right one, its URL has to begin with http://"
                ),
            )
        }
        rustls::Error::AlertReceived(alert) => {
            let why = refusal(*alert)?;
            let kind =
                if is_about_certificates(*alert) { Kind::Certificate } else { Kind::Connection };
            (kind, format!("{host}{way} refused to speak TLS with us: {why} ({alert:?})"))
        }
        rustls::Error::PeerIncompatible(problem) => (
            Kind::Connection,
            format!(
                "{host}{way} speaks no TLS that is spoken here, which is 1.2 and 1.3 with today's ciphers \
                 ({problem:?})"
            ),
        ),
        rustls::Error::NoApplicationProtocol => {
            (Kind::Connection, format!("{host}{way} speaks TLS, but no HTTP over it"))
        }
        _ => return None,
    };
    Some(Error::new(kind, message).with(|c| (c.url, c.is_final) = (Some(bare(url)), true)))
}

/// Who doesn't speak TLS: a proxy that is to be spoken to over TLS is the first to.
fn at_fault(host: &str, url: &Url, proxy: Option<&Proxy>) -> String {
    match proxy {
        Some(proxy) if proxy.is_secure() && url.scheme() == "http" => proxy.to_string(),
        Some(proxy) if proxy.is_secure() => format!("{proxy}, or {host} behind it,"),
        proxy => format!("{host}{}", through(proxy)),
    }
}

/// Why a certificate isn't trusted.
fn distrust(problem: &Problem) -> String {
    match problem {
        Problem::UnknownIssuer => {
            "is signed by nobody who is trusted here; if it should be, name a file with its authority's \
             certificate in SSL_CERT_FILE"
                .to_owned()
        }
        Problem::Expired | Problem::ExpiredContext { .. } => {
            "has expired, or this machine's clock is wrong".to_owned()
        }
        Problem::NotValidYet | Problem::NotValidYetContext { .. } => {
            "isn't valid yet, or this machine's clock is wrong".to_owned()
        }
        Problem::NotValidForName | Problem::NotValidForNameContext { .. } => {
            "is one for another name".to_owned()
        }
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "is that of an authority (CA:TRUE, what openssl req -x509 makes unless told), which no server \
             may use as its own; make it with -addext basicConstraints=critical,CA:FALSE"
                .to_owned()
        }
        other => format!("can't be trusted: {other}"),
    }
}

/// What the other side's alert says about what it wants; `None`: about what happened to it, which may be
/// otherwise next time.
fn refusal(alert: Alert) -> Option<&'static str> {
    Some(match alert {
        Alert::ProtocolVersion => {
            "it speaks no version of TLS that is spoken here, which are 1.2 and 1.3"
        }
        Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            "it has no version or cipher in common with us, or wants a certificate of ours"
        }
        Alert::CertificateRequired | Alert::NoCertificate => {
            "it wants a certificate of its clients, which isn't supported"
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA => "it doesn't accept the certificate of its client, and we have none",
        Alert::AccessDenied => "it lets this client not in",
        Alert::UnrecognisedName => "it knows no server of this name",
        Alert::NoApplicationProtocol => "it speaks no HTTP over TLS",
        Alert::MissingExtension | Alert::UnsupportedExtension | Alert::InappropriateFallback => {
            "it wants another TLS than ours"
        }
        _ => return None,
    })
}

fn is_about_certificates(alert: Alert) -> bool {
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is about the two sides is final; what may have been damaged on its way, or a server's bad moment, is
    /// tried again.
    #[test]
    fn refusals_are_told_from_hiccups() {
        let url = Url::parse("https://hub.example/x?secret").unwrap();
        let alerts = (0..=u8::MAX).map(|code| rustls::Error::AlertReceived(Alert::from(code)));
        let is_final: Vec<u8> = (0..=u8::MAX)
            .zip(alerts)
            .filter(|(_, error)| {
                let explained = explain(error, &url, None);
                explained.is_some_and(|error| {
                    assert!(!error.is_transient() && error.message().contains("hub.example:443"));
                    assert!(!format!("{error:?}").contains("secret"));
                    true
                })
            })
            .map(|(code, _)| code)
            .collect();
        let wanted = [40, 41, 42, 43, 44, 45, 46, 48, 49, 70, 71, 86, 109, 110, 112, 116, 120];
        assert_eq!(is_final, wanted);
        for error in [
            rustls::Error::DecryptError,
            rustls::Error::InvalidMessage(InvalidMessage::MessageTooShort),
            rustls::Error::HandshakeNotComplete,
        ] {
            assert!(explain(&error, &url, None).is_none(), "{error}");
        }
    }
}
