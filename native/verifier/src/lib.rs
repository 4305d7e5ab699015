//! Whom connections trust that are made by a library on its own: whom the caller of the library says,
//! and else nobody.
//!
//! xet-core makes an HTTP client for itself, whatever it's given (`connections.rs` in the engine), and
//! takes reqwest's defaults for it: servers are trusted as this crate says. The published one reads
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` by rules that aren't ours, knows no other variable, and fails
//! where it finds no certificate, even if the client will never speak HTTPS; xet-core panics then.
//!
//! Our own clients are given their certificates, and don't come here.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

thread_local! {
    static TRUSTED: RefCell<Option<Arc<RootCertStore>>> = const { RefCell::new(None) };
}

/// Has the verifiers that `make` makes on this thread trust `authorities`. They may be none.
pub fn trusting<T>(authorities: &Arc<RootCertStore>, make: impl FnOnce() -> T) -> T {
    /// Puts back what was there, after a panic, too.
    struct Before(Option<Arc<RootCertStore>>);
    impl Drop for Before {
        fn drop(&mut self) {
            TRUSTED.set(self.0.take());
        }
    }
    let _before = Before(TRUSTED.replace(Some(Arc::clone(authorities))));
    make()
}

/// Trusts the authorities of [`trusting`].
#[derive(Debug)]
pub struct Verifier {
    provider: Arc<CryptoProvider>,
    /// `None`: nobody is trusted.
    trusted: Option<Arc<WebPkiServerVerifier>>,
}

impl Verifier {
    /// Trusts who was named when it was made.
    pub fn new(provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        Self::new_with_extra_roots([], provider)
    }

    /// Trusts `extra`, too.
    pub fn new_with_extra_roots(
        extra: impl IntoIterator<Item = CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let mut roots = TRUSTED.with_borrow(|roots| roots.as_deref().cloned());
        for certificate in extra {
            roots.get_or_insert_with(RootCertStore::empty).add(certificate)?;
        }
        let trusted = match roots.filter(|roots| !roots.is_empty()) {
            None => None,
            Some(roots) => {
                let verifier = WebPkiServerVerifier::builder_with_provider(
                    Arc::new(roots),
                    Arc::clone(&provider),
                );
                Some(verifier.build().map_err(|error| Error::General(error.to_string()))?)
            }
        };
        Ok(Self { provider, trusted })
    }

    fn trusted(&self) -> Result<&WebPkiServerVerifier, Error> {
        self.trusted.as_deref().ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.trusted()?.verify_server_cert(server, chain, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trusted()?.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trusted()?.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn verifier() -> Verifier {
        Verifier::new(Arc::new(rustls::crypto::aws_lc_rs::default_provider())).unwrap()
    }

    /// A client that nobody has told whom to trust can be made, and trusts nobody.
    #[test]
    fn nobody_is_trusted_unless_named() {
        for verifier in [verifier(), trusting(&Arc::new(RootCertStore::empty()), verifier)] {
            let name = ServerName::try_from("hub.example").unwrap();
            let server = CertificateDer::from(vec![0x30, 0]);
            let verified = verifier.verify_server_cert(&server, &[], &name, &[], UnixTime::now());
            let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
            assert_eq!(verified.unwrap_err(), unknown);
            assert!(!verifier.supported_verify_schemes().is_empty());
        }
    }

    /// What one says is for what it makes, and for nobody after it.
    #[test]
    fn trust_ends_with_what_it_was_for() {
        let named = |authorities: &Arc<RootCertStore>| {
            TRUSTED.with_borrow(|trusted| {
                trusted.as_ref().is_some_and(|trusted| Arc::ptr_eq(trusted, authorities))
            })
        };
        let (outer, inner) = (Arc::new(RootCertStore::empty()), Arc::new(RootCertStore::empty()));
        trusting(&outer, || {
            trusting(&inner, || assert!(named(&inner)));
            assert!(named(&outer));
            let panics = || trusting(&inner, || panic!("as xet-core does"));
            assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
            assert!(named(&outer));
        });
        assert!(TRUSTED.with_borrow(Option::is_none));
    }
}
