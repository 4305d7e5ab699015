//! Reading the certificates of trusted authorities.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{FutureExt, Shared};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use tokio::sync::oneshot;

use super::pem::Bundle;
use crate::config::Certificates;
use crate::model::error::{Error, Kind, Result};
use crate::sys::certificates::places;
use crate::sys::small;

/// The certificates of trusted authorities, read when the first connection needs them.
#[derive(Debug)]
pub(super) struct Authorities {
    from: Certificates,
    reading: Mutex<Option<Reading>>,
}

/// Certificates, or why there are none.
type Found = Result<Arc<[CertificateDer<'static>]>>;

/// What a thread reads, or has read: a disk that hangs keeps that one, however many wait for it.
type Reading = Shared<oneshot::Receiver<Found>>;

impl Authorities {
    pub(super) fn of(from: &Certificates) -> Self {
        Self { from: from.clone(), reading: Mutex::new(None) }
    }

    /// Those that were read, or are being read; what failed is tried again.
    pub(super) async fn read(&self) -> Found {
        let from = self.from.clone();
        self.read_by(move || all_of(&from)).await
    }

    async fn read_by(&self, read: impl FnOnce() -> Found + Clone + Send + 'static) -> Found {
        let under_way = {
            let mut reading = self.reading();
            let useful =
                reading.clone().filter(|it| it.peek().is_none_or(|done| matches!(done, Ok(Ok(_)))));
            match useful {
                Some(reading) => Ok(reading),
                None => begin(read.clone()).inspect(|begun| *reading = Some(begun.clone())),
            }
        };
        match under_way {
            Ok(reading) => reading.await.map_err(Error::internal)?,
            Err(error) => {
                tracing::debug!(%error, "certificates are read on a thread of the network's");
                read()
            }
        }
    }

    fn reading(&self) -> MutexGuard<'_, Option<Reading>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads certificates on a thread of their own, if there can be one.
fn begin(read: impl FnOnce() -> Found + Send + 'static) -> io::Result<Reading> {
    let (say, said) = oneshot::channel();
    let thread = std::thread::Builder::new().name("xet-connect".to_owned());
    thread.spawn(move || drop(say.send(read())))?;
    Ok(said.shared())
}

/// Reads the certificates. There's at least one.
fn all_of(certificates: &Certificates) -> Found {
    let found = match certificates {
        Certificates::System => of_the_system(),
        Certificates::Named(named) => of_the_user(named),
    };
    found.map(Arc::from)
}

fn of_the_system() -> Result<Vec<CertificateDer<'static>>> {
    let (file, folders) = places();
    let mut found = Bundle::default();
    if let Some(file) = file {
        found.add_file(&file);
    }
    // The folders hold the same once more, as a file each.
    if found.certificates.is_empty() {
        for folder in &folders {
            found.add_folder(folder);
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
    let mut found = Bundle::default();
    if kind.is_dir() {
        found.add_folder(path);
    } else {
        found.add_file(path);
    }
    let certificates = usable(&found);
    match found.problems.first() {
        _ if !certificates.is_empty() => Ok(certificates),
        Some(problem) => Err(format!("has no usable certificate: {problem}")),
        None => Err("has no certificate in PEM form".to_owned()),
    }
}

/// Those that can be used; the log says how many can't.
fn usable(found: &Bundle) -> Vec<CertificateDer<'static>> {
    for problem in &found.problems {
        tracing::warn!("can't read a certificate: {problem}");
    }
    let count = found.certificates.len();
    // reqwest refuses a whole list for one that isn't well-formed.
    let is_usable =
        |one: &&CertificateDer<'static>| RootCertStore::empty().add((*one).clone()).is_ok();
    let certificates: Vec<_> = found.certificates.iter().filter(is_usable).cloned().collect();
    if certificates.len() < count {
        tracing::warn!(count = count - certificates.len(), "certificates that can't be used");
    }
    certificates
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// However many ask while a disk hangs, and give up: one thread waits for it. What comes of that is for
    /// whoever asks next; a failure is for those who wait, and no longer.
    #[tokio::test]
    async fn one_thread_waits_for_a_disk_that_hangs() {
        let authorities = Authorities::of(&Certificates::System);
        let (readers, (end, ended)) = (Arc::new(AtomicU32::new(0)), mpsc::channel::<Found>());
        let ended = Arc::new(Mutex::new(ended));
        let read = {
            let readers = Arc::clone(&readers);
            move || {
                readers.fetch_add(1, Ordering::SeqCst);
                ended.lock().unwrap().recv().unwrap()
            }
        };
        for _ in 0..3 {
            let reading = authorities.read_by(read.clone());
            assert!(tokio::time::timeout(Duration::from_millis(20), reading).await.is_err());
        }
        for outcome in [Err(Error::internal("an odd disk")), Ok(Arc::from([]))] {
            let is_read = outcome.is_ok();
            end.send(outcome).unwrap();
            assert_eq!(authorities.read_by(read.clone()).await.is_ok(), is_read);
        }
        assert!(authorities.read_by(read.clone()).await.is_ok());
        assert_eq!(readers.load(Ordering::SeqCst), 2);
    }
}
