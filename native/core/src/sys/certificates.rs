//! Where the system keeps the certificates of the authorities that it trusts.

use std::path::PathBuf;

/// The bundle and the folders; what isn't there is left out.
pub(crate) fn places() -> (Option<PathBuf>, Vec<PathBuf>) {
    let found = openssl_probe::probe();
    (found.cert_file, found.cert_dir)
}
