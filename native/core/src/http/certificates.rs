//! Reading the certificates of trusted authorities.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls_native_certs::{CertificateResult, load_certs_from_paths};

use crate::config::Certificates;
use crate::model::error::{Error, Kind, Result};
use crate::sys::certificates::places;
use crate::sys::small;

/// The certificates of trusted authorities, read when the first connection needs them.
#[derive(Debug)]
pub(super) struct Authorities {
    from: Certificates,
    read: Mutex<Option<Vec<CertificateDer<'static>>>>,
}

impl Authorities {
    pub(super) fn of(from: &Certificates) -> Self {
        Self { from: from.clone(), read: Mutex::new(None) }
    }

    /// Reads them, unless that was done before; what failed is tried again.
    pub(super) fn read(&self) -> Result<Vec<CertificateDer<'static>>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(certificates) = &*read {
            return Ok(certificates.clone());
        }
        let certificates = all_of(&self.from)?;
        *read = Some(certificates.clone());
        Ok(certificates)
    }
}

/// Reads the certificates. There's at least one.
fn all_of(certificates: &Certificates) -> Result<Vec<CertificateDer<'static>>> {
    match certificates {
        Certificates::System => of_the_system(),
        Certificates::Named(named) => of_the_user(named),
    }
}

fn of_the_system() -> Result<Vec<CertificateDer<'static>>> {
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

/// From all that is named. As for OpenSSL, one that is of no use is passed over where another one is: lists of
/// folders are made for many machines.
fn of_the_user(named: &[(&'static str, PathBuf)]) -> Result<Vec<CertificateDer<'static>>> {
    let (mut all, mut useless) = (Vec::new(), Vec::new());
    for (variable, path) in named {
        match at(path) {
            Ok(certificates) => all.extend(certificates),
            Err(problem) => useless.push((*variable, path, problem)),
        }
    }
    let mut problems = useless
        .iter()
        .map(|(variable, path, problem)| (*variable, format!("{} {problem}", path.display())));
    if !all.is_empty() {
        for (variable, problem) in problems {
            tracing::warn!("{variable}: {problem}; what else is named is trusted");
        }
        return Ok(all);
    }
    let Some((first, problem)) = problems.next() else {
        return Err(Error::internal("no certificates are named"));
    };
    let others = problems.map(|(name, problem)| format!("{name}: {problem}"));
    let list: Vec<String> = std::iter::once(problem).chain(others).collect();
    let advice = "unset what names it to trust what the system trusts";
    let file = useless[0].1.display().to_string();
    Err(Error::invalid(first, format!("{}; {advice}", list.join("; ")))
        .with(|c| c.file = Some(file)))
}

/// The certificates in a file, or in the files of a folder: at least one, or what is wrong.
fn at(path: &Path) -> std::result::Result<Vec<CertificateDer<'static>>, String> {
    let kind = path.metadata().map_err(|error| format!("can't be read: {error}"))?;
    if !kind.is_dir() && !kind.is_file() {
        return Err(format!(
            "is {}, and neither a file nor a folder",
            small::kind(kind.file_type())
        ));
    }
    let found = if kind.is_dir() {
        load_certs_from_paths(None, Some(path))
    } else {
        load_certs_from_paths(Some(path), None)
    };
    let certificates = usable(&found);
    match found.errors.first() {
        _ if !certificates.is_empty() => Ok(certificates),
        Some(problem) => Err(format!("has no usable certificate: {problem}")),
        None => Err("has no certificate in PEM form".to_owned()),
    }
}

/// Those that can be used; the log says how many can't.
fn usable(found: &CertificateResult) -> Vec<CertificateDer<'static>> {
    for error in &found.errors {
        tracing::warn!(%error, "can't read a certificate");
    }
    let count = found.certs.len();
    // reqwest refuses a whole list for one that isn't well-formed.
    let is_usable =
        |one: &&CertificateDer<'static>| RootCertStore::empty().add((*one).clone()).is_ok();
    let certificates: Vec<_> = found.certs.iter().filter(is_usable).cloned().collect();
    if certificates.len() < count {
        tracing::warn!(count = count - certificates.len(), "certificates that can't be used");
    }
    certificates
}
