//! Reading the certificates of trusted authorities.

use std::path::Path;

use reqwest::Certificate;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls_native_certs::{CertificateResult, load_certs_from_paths};

use crate::config::Certificates;
use crate::model::error::{Error, Kind, Result};
use crate::sys::certificates::places;
use crate::sys::small;

/// Reads the certificates. There's at least one.
pub(super) fn read(certificates: &Certificates) -> Result<Vec<Certificate>> {
    match certificates {
        Certificates::System => of_the_system(),
        Certificates::Named(named) => {
            let mut all = Vec::new();
            for (variable, path) in named {
                all.extend(of_the_user(variable, path)?);
            }
            Ok(all)
        }
    }
}

fn of_the_system() -> Result<Vec<Certificate>> {
    let (file, folders) = places();
    let mut found = load_certs_from_paths(file.as_deref(), None);
    // The folders hold the same once more, as a file each.
    if found.certs.is_empty() {
        for folder in &folders {
            found.certs.extend(load_certs_from_paths(None, Some(folder)).certs);
        }
    }
    let certificates = usable(&found);
    if certificates.is_empty() {
        return Err(Error::new(
            Kind::Certificate,
            "this system has no certificates of authorities, without which no server can be trusted; \
             install them (ca-certificates), or name a file of them in SSL_CERT_FILE",
        ));
    }
    Ok(certificates)
}

fn of_the_user(variable: &str, path: &Path) -> Result<Vec<Certificate>> {
    let refuse = |problem: &str| {
        Err(Error::invalid(
            variable,
            format!(
                "{} {problem}; unset the variable to trust what the system trusts",
                path.display()
            ),
        )
        .with(|c| c.file = Some(path.display().to_string())))
    };
    let kind = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) => return refuse(&format!("can't be read: {error}")),
    };
    if !kind.is_dir() && !kind.is_file() {
        return refuse(&format!(
            "is {}, and neither a file nor a folder",
            small::kind(kind.file_type())
        ));
    }
    let found = if kind.is_dir() {
        load_certs_from_paths(None, Some(path))
    } else {
        load_certs_from_paths(Some(path), None)
    };
    let problem = found.errors.first().map(ToString::to_string);
    let certificates = usable(&found);
    match (certificates.is_empty(), problem) {
        (false, _) => Ok(certificates),
        (true, Some(problem)) => refuse(&format!("has no usable certificate: {problem}")),
        (true, None) => refuse("has no certificate in PEM form"),
    }
}

/// Those that can be used; the log says how many can't.
fn usable(found: &CertificateResult) -> Vec<Certificate> {
    for error in &found.errors {
        tracing::warn!(%error, "can't read a certificate");
    }
    let count = found.certs.len();
    let certificates: Vec<_> = found.certs.iter().filter_map(authority).collect();
    if certificates.len() < count {
        tracing::warn!(count = count - certificates.len(), "certificates that can't be used");
    }
    certificates
}

/// As reqwest has it. It refuses a whole list for one that isn't well-formed.
fn authority(certificate: &CertificateDer<'static>) -> Option<Certificate> {
    RootCertStore::empty().add(certificate.clone()).ok()?;
    Certificate::from_der(certificate).ok()
}
