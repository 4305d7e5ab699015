//! Which certificate authorities are trusted.

use std::path::PathBuf;

use super::Environment;

/// Where the certificates of trusted authorities are. Read when the first HTTPS connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificates {
    /// Where the system keeps them.
    System,
    /// In these files (several certificates in PEM form each) and folders of such files, each with the
    /// variable that names it, and nowhere else.
    Named(Vec<(&'static str, PathBuf)>),
}

impl Certificates {
    /// OpenSSL's variables, which Python's `ssl` and `huggingface_hub` know, too; else those of
    /// `requests` and curl, of which the first counts. An empty value is none.
    pub(super) fn resolve(environment: &Environment) -> Self {
        let named = |name: &'static str| environment.path(name).map(|path| (name, path));
        let folders = environment.path("SSL_CERT_DIR").into_iter().flat_map(|folders| {
            let folders: Vec<_> = std::env::split_paths(&folders).collect();
            folders.into_iter().map(|folder| ("SSL_CERT_DIR", folder))
        });
        let folders = folders.filter(|(_, folder)| !folder.as_os_str().is_empty());
        let openssl: Vec<_> = named("SSL_CERT_FILE").into_iter().chain(folders).collect();
        if !openssl.is_empty() {
            return Self::Named(openssl);
        }
        let bundle = named("REQUESTS_CA_BUNDLE").or_else(|| named("CURL_CA_BUNDLE"));
        bundle.map_or(Self::System, |bundle| Self::Named(vec![bundle]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which variables count, and in which order.
    #[test]
    fn variables_have_an_order() {
        let all = [
            ("SSL_CERT_FILE", "/f"),
            ("SSL_CERT_DIR", "/d:/e:"),
            ("REQUESTS_CA_BUNDLE", "/r"),
            ("CURL_CA_BUNDLE", "/c"),
        ];
        let file = ("SSL_CERT_FILE", PathBuf::from("/f"));
        let folders = ["/d", "/e"].map(|folder| ("SSL_CERT_DIR", PathBuf::from(folder)));
        let requests = ("REQUESTS_CA_BUNDLE", PathBuf::from("/r"));
        let curl = ("CURL_CA_BUNDLE", PathBuf::from("/c"));
        let of = |variables: &[(&str, &str)]| {
            Certificates::resolve(&Environment::of(variables.iter().copied()))
        };
        let [d, e] = folders;
        assert_eq!(of(&all), Certificates::Named(vec![file.clone(), d.clone(), e.clone()]));
        assert_eq!(of(&all[1..]), Certificates::Named(vec![d, e]));
        assert_eq!(of(&all[2..]), Certificates::Named(vec![requests.clone()]));
        assert_eq!(of(&all[3..]), Certificates::Named(vec![curl]));
        assert_eq!(of(&[]), Certificates::System);
        assert_eq!(of(&all.map(|(name, _)| (name, ""))), Certificates::System);
        let emptied = [("SSL_CERT_FILE", ""), ("SSL_CERT_DIR", ":"), all[2]];
        assert_eq!(of(&emptied), Certificates::Named(vec![requests]));
    }
}
